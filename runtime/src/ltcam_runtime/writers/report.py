"""report.html and thumbnails/: the page that shows all results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.encoding import write_picture
from ltcam_runtime.names import OutputNames
from ltcam_runtime.pages.results import ResultRecord, ResultsPage, results_page
from ltcam_runtime.phrases import counted
from ltcam_runtime.resizing import fitted_size
from ltcam_runtime.results import Inspection
from ltcam_runtime.writers.overlays import draw_found

_LONG_SIDE = (
    360  # of a thumbnail: 210 to 240 points wide on the page, on screens with more pixels than points too
)
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 78]


@dataclass(frozen=True)
class ReportSettings:
    """What the page says beside the images.

    Attributes:
        subtitle: one line below its heading.
        threshold: score from which an image is defective.
        px_per_mm: pixels along a millimetre of the part; None: sizes in pixels.
    """

    subtitle: str
    threshold: float
    px_per_mm: float | None = None


class ReportWriter:
    """Writes a thumbnail per image as it comes, and the page at the end; it keeps a line per image."""

    def __init__(
        self, folder: Path, names: OutputNames, settings: ReportSettings, saved: Sequence[str] = ()
    ) -> None:
        """Begin.

        Args:
            folder: of the results.
            names: gives the images' output names.
            settings: what the page says beside the images.
            saved: folders of pictures that the other writers make.
        """
        self._folder = folder
        self._names = names
        self._settings = settings
        self._saved = tuple(saved)
        self._scale = settings.px_per_mm or 1
        self._records: list[ResultRecord] = []
        self._failures: list[tuple[str, str]] = []

    def add(self, inspection: Inspection, image: NDArray[np.uint8]) -> None:
        """Write the thumbnail of one inspection and remember what is said of it."""
        name = self._names(inspection.image)
        size = fitted_size(inspection.size, _LONG_SIDE)
        picture = draw_found(image, inspection.mask, inspection.heatmap, inspection.regions, size)
        path = self._folder / "thumbnails" / f"{name}.jpg"
        write_picture(path, picture, _JPEG)
        kinds = Counter(region.class_name for region in inspection.regions)
        record = ResultRecord(
            name=inspection.image,
            verdict=inspection.verdict,
            score=inspection.score,
            kinds=tuple(kind for kind, _ in kinds.most_common()),
            regions=len(inspection.regions),
            largest=max((region.area_px for region in inspection.regions), default=0) / (self._scale**2),
            output=name,
            trust=inspection.trust,
        )
        self._records.append(record)

    def add_failure(self, image: str, reason: str) -> None:
        """Remember an image that could not be inspected."""
        self._failures.append((image, reason))

    def close(self) -> None:
        """Write the page."""
        page = ResultsPage(
            title=counted(len(self._records), "images inspected"),
            subtitle=self._settings.subtitle,
            threshold=self._settings.threshold,
            records=self._records,
            failures=self._failures,
            saved=self._saved,
            unit="mm²" if self._settings.px_per_mm else "px",
        )
        text = results_page(page)
        (self._folder / "report.html").write_text(text, encoding="utf-8", errors="backslashreplace")
