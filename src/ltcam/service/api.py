"""REST under /v1: inspect, list, fetch, review, export. Thin: each route asks the intake or the history."""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from fastapi import APIRouter, Depends, HTTPException, Path, Request, Response
from fastapi.responses import StreamingResponse
from numpy.typing import NDArray
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from ltcam.service.batching import BusyError
from ltcam.service.exporting import as_annotations, as_csv, region_of
from ltcam.service.history import Entry, History, Review
from ltcam.service.intake import Intake, write_png
from ltcam.service.pictures import hash_of_mask
from ltcam.service.previews import Previews
from ltcam.service.schemas import (
    InspectionAnswer,
    ModelAnswer,
    Page,
    PreviewAnswer,
    Problem,
    RegionAnswer,
    ReviewGiven,
)
from ltcam.service.search_query import Asked, Exported, Given
from ltcam.service.served import Served
from ltcam_runtime.encoding import encoded
from ltcam_runtime.errors import InputError, LtcamError, OutputError, SettingsError
from ltcam_runtime.folders import explained, why_not_written
from ltcam_runtime.images import read_image
from ltcam_runtime.mask_reading import read_mask
from ltcam_runtime.masks import quantise
from ltcam_runtime.results import Inspection
from ltcam_runtime.settings import Overrides
from ltcam_runtime.writers.overlays import draw_overlay

Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="of an inspection")]

_IMAGE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"image": {"type": "string", "format": "binary"}},
                    "required": ["image"],
                }
            },
        },
    }
}
_MASK_BODY = {
    "requestBody": {
        "required": True,
        "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (400, 401, 403, 408, 413, 500, 503)
}


def history_of(request: Request) -> History:
    """The history that the application was made with."""
    history: History = request.app.state.history
    return history


def intake_of(request: Request) -> Intake:
    """The intake that the application was made with."""
    intake: Intake = request.app.state.intake
    return intake


def served_of(request: Request) -> Served:
    """The model that is served."""
    served: Served = request.app.state.served
    return served


HistoryDep = Annotated[History, Depends(history_of)]
ServedDep = Annotated[Served, Depends(served_of)]

router = APIRouter(prefix="/v1", responses=_PROBLEMS)


@router.post(
    "/inspections",
    status_code=201,
    openapi_extra=_IMAGE_BODY,
    responses={415: {"model": Problem}, 429: {"model": Problem}},
)
async def inspect(
    request: Request,
    intake: Annotated[Intake, Depends(intake_of)],
    given: Given,
) -> InspectionAnswer:
    """Inspect an image: its bytes as the body, or as the part `image` of a form."""
    content, given_name = await _image_of(request)
    try:
        received = await asyncio.to_thread(intake.receive, content, given.name or given_name, given.lot)
        record = await asyncio.wrap_future(intake.submit(received))
    except InputError as error:
        raise HTTPException(400, error.reason) from error
    except BusyError as error:
        raise HTTPException(503, str(error), {"Retry-After": f"{error.retry_after:.0f}"}) from error
    except OutputError as error:
        raise HTTPException(500, f"the image could not be kept: {error}") from error
    except LtcamError as error:
        raise HTTPException(500, f"the image could not be inspected: {error}") from error
    except OSError as error:
        raise HTTPException(500, f"the image could not be kept: {why_not_written(error)}") from error
    return InspectionAnswer.of(Entry(record, True, None))


@router.get("/inspections")
def search(history: HistoryDep, asked: Asked) -> Page:
    """Inspections, newest first."""
    entries = history.search(asked.search())
    more = len(entries) == asked.limit
    return Page(
        items=[InspectionAnswer.of(entry) for entry in entries],
        before=entries[-1].record.sequence if more else None,
    )


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {}, "application/zip": {}}}},
)
def export(history: HistoryDep, asked: Exported) -> Response:
    """All inspections that fit: a CSV table, or a ZIP of images and masks for an annotation tool."""
    wanted, form = asked.search(), asked.format
    if form == "csv":
        return _download(as_csv(history, wanted), "text/csv; charset=utf-8", "inspections.csv")
    return _download(as_annotations(history, wanted, form), "application/zip", f"inspections.{form}.zip")


def _download(content: Iterator[str] | Iterator[bytes], media_type: str, name: str) -> StreamingResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(content, media_type=media_type, headers=headers)


@router.get("/inspections/{id}", responses={404: {"model": Problem}})
def fetch(history: HistoryDep, id: Id) -> InspectionAnswer:  # noqa: A002
    """One inspection."""
    return InspectionAnswer.of(_entry(history, id))


@router.get(
    "/inspections/{id}/{what}",
    response_class=Response,
    responses={404: {"model": Problem}, 200: {"content": {"image/png": {}, "image/jpeg": {}}}},
)
def picture(
    history: HistoryDep,
    served: ServedDep,
    id: Id,  # noqa: A002
    what: Literal["image", "mask", "heatmap", "painted", "overlay"],
) -> Response:
    """A picture of an inspection: the image as PNG, its mask, heatmap (0 to 255), painted mask, or overlay."""
    entry, white = _entry(history, id), served.model.white
    try:
        if what == "overlay":
            return Response(_overlay(history, entry, white), media_type="image/jpeg", headers=_CACHED)
        file = _painted(history, entry) if what == "painted" else history.pictures.file(id, what)
        content = file.read_bytes()
        if what == "image" and not _is_shown_as_it_is(content, white):
            content = _encoded(".png", read_image(file, white=white))
    except (OSError, InputError):
        raise HTTPException(404, f"the {what} of this inspection is not kept") from None
    cache = _CACHED if what != "painted" else {}
    return Response(content, media_type="image/png", headers=cache)


def _painted(history: History, entry: Entry) -> FilePath:
    sha256 = "" if entry.review is None else entry.review.painted_sha256
    file = history.pictures.painted(entry.record.finding.id, sha256)
    if file is None:
        raise FileNotFoundError
    return file


def _is_shown_as_it_is(image: bytes, white: int | None) -> bool:
    """Whether every browser shows an image file as the network sees it: PNG, but not one of a camera's 12 bits."""
    return image.startswith(b"\x89PNG") and not (white is not None and image[24:25] == b"\x10")


_CACHED = {"Cache-Control": "private, max-age=86400, immutable"}


@router.post("/inspections/{id}/reviews", status_code=201, responses={404: {"model": Problem}})
def review(history: HistoryDep, id: Id, given: ReviewGiven) -> InspectionAnswer:  # noqa: A002
    """Keep what a person says of an inspection. Earlier reviews stay; the latest counts."""
    _entry(history, id)
    _keep_review(history, id, given)
    return InspectionAnswer.of(_entry(history, id))


@router.put(
    "/inspections/{id}/painted",
    openapi_extra=_MASK_BODY,
    responses={404: {"model": Problem}, 415: {"model": Problem}},
)
async def paint(request: Request, history: HistoryDep, id: Id) -> InspectionAnswer:  # noqa: A002
    """Keep the mask that a person painted: a PNG of the image's size, 0 or above."""
    entry = await asyncio.to_thread(_entry, history, id)
    content = await request.body()
    await asyncio.to_thread(_keep_painted, history, entry, content)
    return InspectionAnswer.of(await asyncio.to_thread(_entry, history, id))


@router.post("/inspections/{id}/preview", responses={404: {"model": Problem}})
def preview(request: Request, history: HistoryDep, id: Id, given: Overrides) -> PreviewAnswer:  # noqa: A002
    """What the run in use would find in this image with other settings."""
    previews: Previews = request.app.state.previews
    started = time.perf_counter()
    try:
        found = previews.preview(_entry(history, id), given)
    except InputError:
        raise HTTPException(404, "the image of this inspection is not kept") from None
    except BusyError as error:
        raise HTTPException(503, str(error), {"Retry-After": f"{error.retry_after:.0f}"}) from error
    pictures = {"heatmap": quantise(found.heatmap), "mask": found.mask.astype(np.uint8) * 255}
    return PreviewAnswer(
        verdict=found.verdict,
        score=found.score,
        regions=[RegionAnswer.model_validate(region.to_json()) for region in found.regions],
        **{name: base64.b64encode(_encoded(".png", pixels)).decode() for name, pixels in pictures.items()},
        seconds=time.perf_counter() - started,
    )


@router.get("/model")
def model(served: ServedDep) -> ModelAnswer:
    """What inspects now."""
    return model_answer(served)


@router.get(
    "/model/report",
    response_class=Response,
    responses={404: {"model": Problem}, 200: {"content": {"text/html": {}}}},
)
def report(served: ServedDep) -> Response:
    """The page that the training of the run in use wrote."""
    file = served.model.about.report
    try:
        if file is None:
            raise FileNotFoundError
        content = file.read_bytes()
    except OSError:
        raise HTTPException(404, "there is no report with this model") from None
    return Response(content, media_type="text/html; charset=utf-8", headers=_OF_A_REPORT)


_OF_A_REPORT = {
    "Content-Security-Policy": "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
}
"""A run's page may come from elsewhere: nothing in it is executed, and it belongs to no origin."""


@router.post("/model/rollback", responses={409: {"model": Problem}})
def roll_back(served: ServedDep) -> ModelAnswer:
    """Inspect with the model before this one again."""
    try:
        served.roll_back()
    except SettingsError as error:
        raise HTTPException(409, str(error)) from error
    except LtcamError as error:
        raise HTTPException(500, str(error)) from error
    return model_answer(served)


def model_answer(served: Served) -> ModelAnswer:
    """The model in use as the interface tells it."""
    found = served.model
    return ModelAnswer(
        name=found.name,
        classes=list(found.classes),
        settings=found.settings,
        sha256=found.sha256,
        settings_sha256=found.settings_sha256,
        can_roll_back=bool(served.earlier),
        methods=list(found.about.methods),
        stages=list(found.about.stages),
        evidence=found.about.evidence,
        report="/v1/model/report" if found.about.report is not None else None,
    )


_RAW = frozenset({"", "application/octet-stream", "application/x-www-form-urlencoded"})
"""Types that say nothing of a body; the last one is what curl calls whatever it is given."""


async def _image_of(request: Request) -> tuple[bytes, str]:
    """The bytes of the image in a request, and what the sender calls it."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        if kind not in _RAW and not kind.startswith("image/"):
            raise HTTPException(
                415, f"a body of type {kind!r}; send image/*, application/octet-stream or a form"
            )
        content = await request.body()
        if not content:
            raise HTTPException(400, "the body is empty; send the bytes of an image")
        return content, ""
    try:
        async with request.form(max_files=1, max_fields=8) as form:
            part = form.get("image")
            if not isinstance(part, UploadFile):
                raise HTTPException(400, "the form has no file part called 'image'")
            return await part.read(), part.filename or ""
    except (MultiPartException, ValueError, KeyError, AssertionError) as error:
        raise HTTPException(400, f"the form cannot be read: {error}") from error


def _entry(history: History, id_: str) -> Entry:
    entry = history.get(id_)
    if entry is None:
        raise HTTPException(404, "there is no inspection of this id")
    return entry


def _keep_review(history: History, id_: str, given: ReviewGiven, painted: str = "") -> None:
    texts = {name: getattr(given, name).replace("\x00", "\\x00") for name in ("kind", "reviewer", "note")}
    history.review(Review(id_, datetime.now(UTC), given.decision, **texts, painted_sha256=painted))


def _keep_painted(history: History, entry: Entry, content: bytes) -> None:
    finding = entry.record.finding
    if not content.startswith(b"\x89PNG"):
        raise HTTPException(415, "a painted mask is a PNG")
    file = history.pictures.file(finding.id, "painted")
    part = file.with_name(f"{file.name}.{uuid.uuid4().hex}.part")
    try:
        with explained("the painted mask"):
            file.parent.mkdir(exist_ok=True)
            part.write_bytes(content)
        mask = read_mask(part, max_pixels=finding.height * finding.width)
    except InputError as error:
        raise HTTPException(400, f"the painted mask: {error.reason}") from error
    finally:
        part.unlink(missing_ok=True)
    if mask.shape != (finding.height, finding.width):
        raise HTTPException(
            400,
            f"the painted mask is {mask.shape[0]} x {mask.shape[1]}, the image {finding.height} x {finding.width}",
        )
    sha256 = hash_of_mask(mask)
    write_png(history.pictures.to_paint(finding.id, sha256), mask.astype(np.uint8) * 255)
    last = entry.review
    decision = last.decision if last is not None else "confirmed" if mask.any() else "false_alarm"
    given = ReviewGiven(
        decision=decision,
        kind=last.kind if last else "",
        reviewer=last.reviewer if last else "",
        note=last.note if last else "",
    )
    _keep_review(history, finding.id, given, sha256)


def _overlay(history: History, entry: Entry, white: int | None) -> bytes:
    finding = entry.record.finding
    mask = read_mask(history.pictures.file(finding.id, "mask"))
    heatmap = read_image(history.pictures.file(finding.id, "heatmap"))[..., 0]
    found = Inspection(
        image=finding.name,
        size=mask.shape,
        verdict=finding.verdict,  # type: ignore[arg-type]  # one of the three
        score=finding.score,
        class_scores={},
        heatmap=heatmap.astype(np.float32),
        mask=mask,
        regions=tuple(region_of(region) for region in finding.regions),
    )
    drawn = draw_overlay(read_image(history.pictures.file(finding.id, "image"), white=white), found)
    return _encoded(".jpg", drawn)


def _encoded(suffix: str, pixels: NDArray[np.uint8]) -> bytes:
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1] if suffix == ".png" else [cv2.IMWRITE_JPEG_QUALITY, 90]
    return encoded(suffix, pixels, options)
