"""heatmaps-raw/NAME.png: the heatmap of every image as numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.masks import to_shares
from ltcam_runtime.names import OutputNames
from ltcam_runtime.results import Inspection
from ltcam_runtime.writers.encoding import png_options, write_picture

# The low bits of a smooth 16-bit picture hardly repeat: the best compression saves a fifth of the bytes and
# takes eight times as long as writing them as they are (500 x 1250: 1.09 MB in 24 ms, 1.25 MB in 3 ms).
_OPTIONS = png_options(cv2.IMWRITE_PNG_STRATEGY_DEFAULT, "NONE", level=0)


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


def write_heatmap(path: Path, heatmap: NDArray[np.floating[Any]]) -> None:
    """Write a (H, W) float heatmap as 16-bit PNG, stretched from its minimum to its maximum."""
    levels = to_shares(heatmap, 65535)
    write_picture(path, np.rint(levels, out=levels).astype(np.uint16), _OPTIONS)
