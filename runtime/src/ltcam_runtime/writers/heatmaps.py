"""heatmaps/NAME.jpg: every image with its heatmap over it, in one scale of colours for all images.

Every heatmap has a hottest place, that of a flawless part too, and the values of two images cannot be compared:
gradients say where, not how sure. So the colour of a pixel is its share of the image's own range times how sure the
classifier is of a defect. An OK part stays pale, a sure defect is red, whatever other images there are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.encoding import png_options, write_picture
from ltcam_runtime.masks import to_shares
from ltcam_runtime.names import OutputNames
from ltcam_runtime.resizing import fitted_size, resize, resize_heatmap
from ltcam_runtime.results import Inspection
from ltcam_runtime.writers.protocol import FolderWriter

_LONG_SIDE = 1024  # of a picture
_OK_MOST, _DEFECT_LEAST = 0.25, 0.6  # strength just below the verdict's threshold, and at it
_LOW = 0.06  # level below which nothing is drawn
_MOST_OPAQUE = 0.72
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 85]

# The low bits of a smooth 16-bit picture hardly repeat: the best compression saves a fifth of the bytes and
# takes eight times as long as writing them as they are (500 x 1250: 1.09 MB in 24 ms, 1.25 MB in 3 ms).
_PNG = png_options(cv2.IMWRITE_PNG_STRATEGY_DEFAULT, "NONE", level=0)


class HeatmapWriter(FolderWriter):
    """Writes a JPEG per image, its longer side 1024 pixels at most."""

    def __init__(self, folder: Path, names: OutputNames, threshold: float) -> None:
        """Begin the folder.

        Args:
            folder: made where it is missing.
            names: gives the images' output names.
            threshold: score from which an image is defective, above 0 and at most 1.
        """
        super().__init__(folder, names)
        self._threshold = threshold

    def add(self, inspection: Inspection, image: NDArray[np.uint8]) -> None:
        """Write the picture of one inspection."""
        shown = resize(image, fitted_size(inspection.size, _LONG_SIDE))
        picture = colour(shown, inspection.heatmap, strength(inspection.score, self._threshold))
        path = self.path(inspection, ".jpg")
        write_picture(path, picture, _JPEG)


def strength(score: float, threshold: float) -> float:
    """How much of the scale of colours an image may use.

    Args:
        score: probability of being defective, 0 to 1.
        threshold: score from which an image is defective.

    Returns:
        0 to 1: rising from 0 to 0.25 below the threshold, from 0.6 to 1 above it.
    """
    if score < threshold:
        return _OK_MOST * score / threshold
    above = (score - threshold) / (1 - threshold) if threshold < 1 else 1.0
    return _DEFECT_LEAST + (1 - _DEFECT_LEAST) * above


def colour(image: NDArray[np.uint8], heatmap: NDArray[np.floating[Any]], most: float) -> NDArray[np.uint8]:
    """A heatmap over its image.

    Args:
        image: (H, W, 3) uint8 RGB.
        heatmap: (h, w) float, raw; brought to the image's size.
        most: the level of its largest value, 0 to 1; its smallest value stays transparent.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    heat = resize_heatmap(heatmap.astype(np.float32), (image.shape[0], image.shape[1]))
    # The root shows what is faint beside a sharp peak.
    level = most * np.sqrt(np.clip(to_shares(heat), 0, 1))
    painted = cv2.applyColorMap(np.round(level * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    opacity = (_MOST_OPAQUE * np.clip((level - _LOW) / (0.5 - _LOW), 0, 1)).astype(np.float32)
    coloured = cv2.cvtColor(painted, cv2.COLOR_BGR2RGB)
    return np.asarray(cv2.blendLinear(coloured, np.ascontiguousarray(image), opacity, 1 - opacity))


def write_heatmap(path: Path, heatmap: NDArray[np.floating[Any]]) -> None:
    """Write a (H, W) float heatmap as numbers: 16-bit PNG, stretched from its minimum to its maximum."""
    levels = to_shares(heatmap, 65535)
    write_picture(path, np.rint(levels, out=levels).astype(np.uint16), _PNG)
