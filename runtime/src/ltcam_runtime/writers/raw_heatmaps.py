"""heatmaps-raw/NAME.png: the heatmap of every image as numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.names import OutputNames
from ltcam_runtime.results import Inspection
from ltcam_runtime.writers.heatmaps import write_heatmap


class RawHeatmapWriter:
    """Writes 16-bit grey PNG at the image's own size.

    0 is the heatmap's minimum and 65535 its maximum, image by image; a constant heatmap is 0. Values of
    different images cannot be compared.
    """

    def __init__(self, folder: Path, names: OutputNames) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._names = names

    def add(self, inspection: Inspection, image: NDArray[np.uint8]) -> None:  # noqa: ARG002
        """Write the heatmap of one inspection."""
        write_heatmap(self._folder / f"{self._names(inspection.image)}.png", inspection.heatmap)

    def add_failure(self, image: str, reason: str) -> None:
        """Nothing: there is no heatmap."""

    def close(self) -> None:
        """Nothing to finish."""
