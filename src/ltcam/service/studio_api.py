"""What the studio asks beside /v1's inspections: data sets, trainings, runs, promotion, comparison."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ltcam.jobs.models import Model
from ltcam.service.api import HistoryDep, ServedDep, model_answer
from ltcam.service.findings import Findings, findings_of
from ltcam.service.history import Entry, History, Search
from ltcam.service.schemas import ModelAnswer, Problem, Text
from ltcam.service.trainings import Training, Trainings
from ltcam_runtime.errors import DataError, InputError, LtcamError, RunError, SettingsError
from ltcam_runtime.images import read_image

_COMPARED = 24

TrainingId = Annotated[str, Path(pattern="^[0-9a-f]{16}$")]


def trainings_of(request: Request) -> Trainings:
    """The trainings that the application was made with."""
    trainings: Trainings = request.app.state.trainings
    return trainings


TrainingsDep = Annotated[Trainings, Depends(trainings_of)]


class Names(BaseModel):
    """Folders that may be trained on."""

    names: list[str]


class TrainingAnswer(BaseModel):
    """A training as it stands."""

    id: str
    dataset: str
    run: str
    state: str
    stage: str
    done: int
    total: int
    left: str
    message: str
    epochs: int = Field(description="epochs that there are pictures of")


class MarkedAnswer(BaseModel):
    """An image, and what the network would have said of it after an epoch."""

    image: str
    label: str
    score: float = Field(description="probability of being defective, 0 to 1")
    held_back: bool = Field(description="false: it was trained on")
    picture: str = Field(description="where the image with the outline of its mask is")


class EpochAnswer(BaseModel):
    """What a training would have marked after an epoch."""

    epoch: int = Field(description="counted from 1")
    ap: float | None = Field(description="average precision on the validation images")
    pictures: list[MarkedAnswer]


class EpochsAnswer(BaseModel):
    """All epochs so far, the first one first."""

    items: list[EpochAnswer]


class TrainingsAnswer(BaseModel):
    """All trainings, the latest first."""

    items: list[TrainingAnswer]


class TrainingGiven(BaseModel):
    """What to train on."""

    model_config = ConfigDict(extra="forbid")

    dataset: Text


class RunGiven(BaseModel):
    """A run that was trained here."""

    model_config = ConfigDict(extra="forbid")

    run: Text


class ComparedAnswer(BaseModel):
    """One image judged by two runs."""

    id: str
    name: str
    old: str
    new: str
    old_score: float
    new_score: float


class ComparisonAnswer(BaseModel):
    """The latest images, judged by the run in use and by another one."""

    old: str
    new: str
    items: list[ComparedAnswer] = Field(description="the latest images in the history, newest first")


router = APIRouter(prefix="/v1", responses={404: {"model": Problem}, 409: {"model": Problem}})


@router.get("/datasets")
def datasets(trainings: TrainingsDep) -> Names:
    """Folders below the data root."""
    return Names(names=trainings.datasets())


@router.get("/datasets/{name}/check")
def check(trainings: TrainingsDep, name: Text) -> Findings:
    """What there is to say of a folder before one trains on it."""
    with _told():
        return findings_of(trainings.dataset(name))


@router.get("/trainings")
def all_trainings(trainings: TrainingsDep) -> TrainingsAnswer:
    """All trainings."""
    return TrainingsAnswer(items=[_answer(training) for training in trainings.all()])


@router.post("/trainings", status_code=201)
def start(trainings: TrainingsDep, given: TrainingGiven) -> TrainingAnswer:
    """Start a training; one at a time."""
    with _told():
        return _answer(trainings.start(given.dataset))


@router.get("/trainings/{id}/epochs")
def epochs(trainings: TrainingsDep, id: TrainingId) -> EpochsAnswer:  # noqa: A002
    """What a training would mark after each of its epochs."""
    with _told():
        found = trainings.epochs(id)
    items = []
    for each in found:
        place = f"/v1/trainings/{id}/epochs/{each['epoch']}"
        pictures = [
            MarkedAnswer(**about, picture=f"{place}/{number}")
            for number, about in enumerate(each["pictures"])
        ]
        items.append(EpochAnswer(epoch=each["epoch"], ap=each["ap"], pictures=pictures))
    return EpochsAnswer(items=items)


@router.get(
    "/trainings/{id}/epochs/{epoch}/{number}",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
)
def epoch_picture(
    trainings: TrainingsDep,
    id: TrainingId,  # noqa: A002
    epoch: Annotated[int, Path(ge=1, le=100_000)],
    number: Annotated[int, Path(ge=0, le=100)],
) -> Response:
    """An image with the outline of what a training would mark in it after an epoch."""
    with _told():
        content = trainings.picture(id, epoch, number)
    return Response(content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"})


@router.post("/trainings/{id}/cancel")
def cancel(trainings: TrainingsDep, id: TrainingId) -> TrainingAnswer:  # noqa: A002
    """Stop a training; it can be resumed."""
    with _told():
        return _answer(trainings.cancel(id))


@router.post("/trainings/{id}/resume")
def resume(trainings: TrainingsDep, id: TrainingId) -> TrainingAnswer:  # noqa: A002
    """Go on with a training."""
    with _told():
        return _answer(trainings.resume(id))


@router.post("/model/promote")
def promote(trainings: TrainingsDep, served: ServedDep, given: RunGiven) -> ModelAnswer:
    """Inspect with a run that was trained here from now on."""
    with _told():
        served.promote(trainings.run(given.run))
    return model_answer(served)


@router.post("/runs/{name}/compare")
def compare(trainings: TrainingsDep, served: ServedDep, history: HistoryDep, name: Text) -> ComparisonAnswer:
    """Judge the latest images by another run, beside the one in use."""
    with _told():
        other = served.load(trainings.run(name))
    found = (
        _compared(served.model, other, history, entry) for entry in history.search(Search(limit=_COMPARED))
    )
    items = [item for item in found if item is not None]
    return ComparisonAnswer(old=served.model.name, new=other.name, items=items)


def _compared(in_use: Model, other: Model, history: History, entry: Entry) -> ComparedAnswer | None:
    """What two models say of an image; None where it is not kept any more, or cannot be used."""
    finding = entry.record.finding
    file = history.pictures.file(finding.id, "image")
    try:
        [old], [new] = (
            model.inspector.inspect_batch([read_image(file, white=model.white)], [finding.name])
            for model in (in_use, other)
        )
    except InputError:
        return None
    return ComparedAnswer(
        id=finding.id,
        name=finding.name,
        old=old.verdict,
        new=new.verdict,
        old_score=old.score,
        new_score=new.score,
    )


def _answer(training: Training) -> TrainingAnswer:
    return TrainingAnswer(**vars(training))


@contextmanager
def _told() -> Iterator[None]:
    """Errors become answers."""
    try:
        yield
    except (SettingsError, RunError) as error:
        raise HTTPException(409, str(error)) from error
    except DataError as error:
        raise HTTPException(404, str(error)) from error
    except LtcamError as error:
        raise HTTPException(500, str(error)) from error
