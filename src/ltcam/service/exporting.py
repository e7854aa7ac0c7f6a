"""What leaves the history: a table, or images and masks as annotation tools and the layouts of data sets read them.

What a person said counts before what was found: the painted mask, none where there is no defect, the kind that was
named. An image that is defective, or may be, without a pixel that says where is left out: it would come back as OK.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ltcam.jobs.import_reviews import suffix_of
from ltcam.service.history import Entry, History, Search
from ltcam.service.ledger import instant
from ltcam_runtime.errors import InputError
from ltcam_runtime.mask_reading import read_mask
from ltcam_runtime.names import OutputNames, output_name
from ltcam_runtime.regions import find_regions
from ltcam_runtime.results import Inspection, Region
from ltcam_runtime.writers.coco import CocoWriter
from ltcam_runtime.writers.csv import csv_text
from ltcam_runtime.writers.cvat import CvatWriter
from ltcam_runtime.writers.label_studio import LabelStudioWriter
from ltcam_runtime.writers.labelme import LabelMeWriter
from ltcam_runtime.writers.protocol import ResultWriter
from ltcam_runtime.writers.yolo import YoloWriter

Annotations = Literal["coco", "yolo", "cvat", "label-studio", "labelme"]

_PAGE = 500
_IMAGES = "images"
_COLUMNS = (
    "sequence", "id", "time", "name", "lot", "verdict", "score", "regions", "height", "width",
    "decision", "kind", "reviewer", "note", "model_sha256", "settings_sha256", "hash",
)  # fmt: skip


def as_csv(history: History, wanted: Search) -> Iterator[str]:
    """All inspections that fit, a row each. The limit is that of a page."""
    yield csv_text([_COLUMNS])
    for entry in _all(history, wanted):
        finding, said = entry.record.finding, entry.review
        texts = ("", "", "", "") if said is None else (said.decision, said.kind, said.reviewer, said.note)
        values = (
            entry.record.sequence, finding.id, instant(finding.time), finding.name, finding.lot, finding.verdict,
            finding.score, len(finding.regions), finding.height, finding.width,
            *texts, finding.model_sha256, finding.settings_sha256, entry.record.hash,
        )  # fmt: skip
        yield csv_text([values])


def as_annotations(history: History, wanted: Search, form: Annotations) -> Iterator[bytes]:
    """A ZIP of all images that fit and whose pictures are kept, with their masks; unpacked it is a data set.

    Args:
        history: where from.
        wanted: which; the limit is that of a page.
        form: whose files.
    """
    survey = _survey(_all(history, wanted))
    if wanted.before is None:
        wanted = replace(wanted, before=survey.last + 1)  # what comes in meanwhile is not of the survey
    stream = _Stream()
    with TemporaryDirectory() as scratch, zipfile.ZipFile(stream, "w") as archive:
        folder = Path(scratch)
        with closing(_writer(form, folder, survey)) as writer:
            for entry in _all(history, wanted):
                found = _annotated(history, entry, form)
                if found is None or not {region.class_name for region in found[0].regions} <= set(
                    survey.kinds
                ):
                    continue
                inspection, content = found
                name = f"{_IMAGES}/{_name(entry, content)}"
                archive.writestr(zipfile.ZipInfo(name, entry.record.finding.time.timetuple()[:6]), content)
                writer.add(inspection, _NO_PIXELS)
                yield stream.taken()
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(file, file.relative_to(folder).as_posix(), zipfile.ZIP_DEFLATED)
            yield stream.taken()
    yield stream.taken()


_NO_PIXELS = np.zeros((1, 1, 3), np.uint8)  # writers of annotations look at masks only


@dataclass(frozen=True)
class _Survey:
    """What a file has to know before its first line: kinds of defect, whom people judged, the last number."""

    kinds: tuple[str, ...]
    reviewed: frozenset[int]
    last: int


def _survey(entries: Iterable[Entry]) -> _Survey:
    kinds: dict[str, None] = {}
    reviewed, last = set(), 0
    for entry in entries:
        last = max(last, entry.record.sequence)
        kinds.update(dict.fromkeys(region.class_name for region in _regions(entry)))
        if entry.review is not None:
            reviewed.add(entry.record.sequence)
            if entry.review.painted_sha256:
                kinds[_kind(entry)] = None
    return _Survey(tuple(sorted(kinds)), frozenset(reviewed), last)


def _writer(form: Annotations, folder: Path, survey: _Survey) -> ResultWriter:
    kinds, names = survey.kinds, OutputNames()
    makers: dict[Annotations, Callable[[], ResultWriter]] = {
        "coco": lambda: CocoWriter(folder / "coco.json", kinds),
        "yolo": lambda: YoloWriter(folder, names, kinds),
        "cvat": lambda: CvatWriter(folder / "annotations.xml", kinds),
        "label-studio": lambda: LabelStudioWriter(
            folder, kinds, lambda name: _sequence(name) in survey.reviewed
        ),
        "labelme": lambda: LabelMeWriter(folder / _IMAGES, names),
    }
    return makers[form]()


def _mask_of(history: History, id_: str, painted: str) -> NDArray[np.bool_]:
    """What was painted, or found; FileNotFoundError where that is gone."""
    file = history.pictures.painted(id_, painted) if painted else history.pictures.file(id_, "mask")
    if file is None:
        raise FileNotFoundError
    return read_mask(file)


def _annotated(history: History, entry: Entry, form: Annotations) -> tuple[Inspection, bytes] | None:
    """An image with what is marked in it, and its bytes; None where they are gone or nobody knows what to mark."""
    finding, review = entry.record.finding, entry.review
    shape = (finding.height, finding.width)
    fine = finding.verdict == "ok" if review is None else not review.defective
    try:
        content = history.pictures.file(finding.id, "image").read_bytes()
        painted = "" if review is None else review.painted_sha256
        mask = np.zeros(shape, bool) if fine else _mask_of(history, finding.id, painted)
    except (OSError, InputError):
        return None
    if not fine and not mask.any():
        return None
    regions = find_regions(mask, mask.astype(np.float32), _kind(entry)) if painted else _regions(entry)
    name = _name(entry, content)
    return Inspection(
        image=f"{_IMAGES}/{name}" if form == "label-studio" else name,
        size=shape,
        verdict=finding.verdict,  # type: ignore[arg-type]  # one of the three
        score=finding.score,
        class_scores=finding.class_scores,
        heatmap=mask.astype(np.float32),
        mask=mask,
        regions=() if fine else regions,
    ), content


def _kind(entry: Entry) -> str:
    """The kind of defect that a person named, or that was found."""
    named = entry.review.kind if entry.review is not None else ""
    regions = entry.record.finding.regions
    return named or (str(regions[0]["class"]) if regions else "defect")


def _regions(entry: Entry) -> tuple[Region, ...]:
    """The regions that were found, of the kind that a person named."""
    named = entry.review.kind if entry.review is not None else ""
    found = (region_of(values) for values in entry.record.finding.regions)
    return tuple(replace(region, class_name=named or region.class_name) for region in found)


def region_of(values: Any) -> Region:
    """A region as the history keeps it."""
    box = tuple(values["box"])
    numbers = (values["area_px"], values["area_percent"], values["length_px"], values["peak"])
    return Region(values["class"], box, *numbers)


def _name(entry: Entry, content: bytes) -> str:
    """The record's number makes it the only one of its name, and leads back to the record."""
    stem = output_name(entry.record.finding.name).rpartition("/")[2]
    return f"{entry.record.sequence:06d}-{stem}{suffix_of(content[:8])}"


def _sequence(name: str) -> int:
    return int(name.rpartition("/")[2].partition("-")[0])


def _all(history: History, wanted: Search) -> Iterator[Entry]:
    """Every entry that fits, page by page."""
    wanted = replace(wanted, limit=_PAGE)
    while entries := history.search(wanted):
        yield from entries
        wanted = replace(wanted, before=entries[-1].record.sequence)


class _Stream:
    """Takes what a ZIP writes, and gives it away piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        """As a file."""
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing to close."""

    def taken(self) -> bytes:
        """All since the last time."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
