"""Inspections to files: one module per kind of file, all written image by image.

Memory does not grow with the number of images. The writers are meant to write into a temporary
folder (`ltcam_runtime.folders.output_folder`), which becomes the result once all are closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.names import OutputNames
from ltcam_runtime.results import Inspection
from ltcam_runtime.writers.coco import CocoWriter
from ltcam_runtime.writers.crops import CropWriter
from ltcam_runtime.writers.csv import CsvWriter
from ltcam_runtime.writers.cvat import CvatWriter
from ltcam_runtime.writers.heatmaps import HeatmapWriter
from ltcam_runtime.writers.json import JsonWriter
from ltcam_runtime.writers.label_studio import LabelStudioWriter
from ltcam_runtime.writers.labelme import LabelMeWriter
from ltcam_runtime.writers.masks import MaskWriter
from ltcam_runtime.writers.overlays import OverlayWriter
from ltcam_runtime.writers.protocol import ResultWriter
from ltcam_runtime.writers.raw_heatmaps import RawHeatmapWriter
from ltcam_runtime.writers.report import ReportSettings, ReportWriter
from ltcam_runtime.writers.yolo import YoloWriter

__all__ = [
    "CHOICES",
    "DEFAULT_KINDS",
    "KINDS",
    "MARKER",
    "TABLES",
    "ReportSettings",
    "ResultFacts",
    "ResultWriter",
    "open_writers",
]

TABLES = ("csv", "json", "coco")
"""What a folder of results always has."""

CHOICES = (
    "masks",
    "overlays",
    "heatmaps",
    "heatmaps-raw",
    "crops",
    "yolo",
    "label-studio",
    "cvat",
    "labelme",
)
"""What can be asked for beside it."""

KINDS = (*TABLES, *CHOICES)
"""What `open_writers` can write."""

DEFAULT_KINDS = (*TABLES, "masks", "overlays")
"""What it writes unless asked otherwise."""

MARKER = "predictions.json"
"""The file that tells a folder of results; always written."""


@dataclass(frozen=True, eq=False)
class ResultFacts:
    """What holds for all images of some results.

    Attributes:
        defect_classes: names of the defect classes, in the order of their COCO category ids.
        settings: what the results were made with, as JSON values; kept in `predictions.json`.
        left_out: what was found beside the images and is not inspected, as JSON values; kept in `predictions.json`.
        px_per_mm: pixels along a millimetre of the part, for sizes in millimetres beside those in pixels.
    """

    defect_classes: Sequence[str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    left_out: Sequence[Mapping[str, Any]] = ()
    px_per_mm: float | None = None


@contextmanager
def open_writers(
    folder: Path,
    facts: ResultFacts,
    *,
    kinds: Sequence[str] = DEFAULT_KINDS,
    report: ReportSettings | None = None,
) -> Iterator[ResultWriter]:
    """One writer that hands every inspection to those of all kinds asked for, and closes them at the end.

    Args:
        folder: an existing folder, without results so far.
        facts: what holds for all images.
        kinds: any of `KINDS`. "json" is always written, since it marks the folder as results.
        report: what `report.html` says beside the images; without it there is no page. Its threshold also
            scales the colours of heatmaps (0.5 without it).

    Raises:
        ValueError: an unknown kind, or settings that are no JSON values.
        OSError: a file cannot be written (an `output_folder` around it explains that).
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise ValueError(f"unknown kinds of results {unknown}; choose from {', '.join(KINDS)}")
    names = OutputNames()
    # Tables come last: where a picture cannot be made, they shall not say that it is there.
    makers: dict[str, Callable[[], ResultWriter]] = {
        "masks": lambda: MaskWriter(folder / "masks", names),
        "heatmaps": lambda: HeatmapWriter(folder / "heatmaps", names, report.threshold if report else 0.5),
        "heatmaps-raw": lambda: RawHeatmapWriter(folder / "heatmaps-raw", names),
        "overlays": lambda: OverlayWriter(folder / "overlays", names),
        "crops": lambda: CropWriter(folder / "crops", names),
        "csv": lambda: CsvWriter(folder / "predictions.csv", names, facts.px_per_mm),
        "json": lambda: JsonWriter(folder / MARKER, names, facts.settings, facts.left_out, facts.px_per_mm),
        "coco": lambda: CocoWriter(folder / "coco.json", facts.defect_classes),
        "yolo": lambda: YoloWriter(folder / "yolo", names, facts.defect_classes),
        "label-studio": lambda: LabelStudioWriter(folder / "label-studio", facts.defect_classes),
        "cvat": lambda: CvatWriter(folder / "cvat.xml", facts.defect_classes),
        "labelme": lambda: LabelMeWriter(folder / "labelme", names),
    }
    wanted = [kind for kind in makers if kind in kinds or kind == "json"]
    if report is not None:
        saved = [kind for kind in CHOICES if kind in kinds]
        makers["report"] = lambda: ReportWriter(folder, names, report, saved)
        wanted.insert(next(at for at, kind in enumerate(wanted) if kind in TABLES), "report")
    with ExitStack() as stack:
        writers: list[ResultWriter] = []
        for kind in wanted:
            writer = makers[kind]()
            stack.callback(writer.close)
            writers.append(writer)
        yield _Together(writers)


class _Together:
    """Several writers as one."""

    def __init__(self, writers: list[ResultWriter]) -> None:
        self._writers = writers

    def add(self, inspection: Inspection, image: NDArray[np.uint8]) -> None:
        for writer in self._writers:
            writer.add(inspection, image)

    def add_failure(self, image: str, reason: str) -> None:
        for writer in self._writers:
            writer.add_failure(image, reason)

    def close(self) -> None:
        """Nothing to do: `open_writers` closes them."""
