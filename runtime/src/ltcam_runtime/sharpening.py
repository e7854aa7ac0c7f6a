"""A heatmap and the image itself to a heatmap with the defect's own boundary.

A class activation map says where a defect is, but only coarsely how far it reaches: its stages are small. The
image knows the boundary: most defects are darker, brighter or of another colour than the surface around them.
Multiplied, the two say where and how far. Which contrast a surface's defects show, if any, is chosen from image
labels alone (`ltcam train` does it); this module only applies it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.masks import heatmap_range, otsu

Polarity = Literal["dark", "bright", "either", "both", "colour"]
"""Darker than the surroundings; brighter; one of the two, whichever is stronger where this image's heatmap is hot; both
at once; or of another colour (distance in Lab)."""

_WINDOW_PX = 15  # the median's window where it is computed; larger ones are computed on a smaller image
_SMALLEST_WINDOW_PX = 5
_BLUR_PX = 1.0  # standard deviation; evens out single pixels of noise
_STRONG = 95  # percentile of the contrast in the hot part that counts as full evidence
_MOST = 1.5  # evidence above full counts no more than this


@dataclass(frozen=True)
class Contrast:
    """Which local contrast is a defect's.

    Attributes:
        polarity: see `Polarity`.
        window: side of the surroundings that a pixel is compared with, as a share of the image's shorter
            side, 0 to 1 (0 excluded). Defects wider than half of it disappear in their own median.
        floor: contrast that the flawless surface reaches by itself, in grey levels, 0 to 255; only what is
            above counts.

    Raises:
        ValueError: a value outside these.
    """

    polarity: Polarity
    window: float
    floor: float = 0.0

    def __post_init__(self) -> None:
        if self.polarity not in get_args(Polarity):
            raise ValueError(f"polarity={self.polarity!r}: choose from {', '.join(get_args(Polarity))}")
        if not 0 < self.window <= 1:
            raise ValueError(f"window={self.window} is not a share of the image's shorter side, 0 to 1")
        if not 0 <= self.floor <= 255:
            raise ValueError(f"floor={self.floor} is not a number of grey levels, 0 to 255")


def local_contrast(image: NDArray[np.uint8], contrast: Contrast) -> NDArray[np.float32]:
    """How much each pixel stands out from the median of its surroundings.

    Args:
        image: (H, W, 3) uint8 RGB.
        contrast: which differences count, and from where on. Without a heatmap, `either` is `both`.

    Returns:
        (H, W) float32, grey levels >= 0.
    """
    return np.asarray(np.maximum.reduce(_contrasts(image, contrast)), np.float32)


def _contrasts(image: NDArray[np.uint8], contrast: Contrast) -> list[NDArray[np.float32]]:
    """The local contrast (H, W), grey levels >= 0; of `either` the dark and the bright one."""
    if contrast.polarity == "colour":
        lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.uint8, copy=False)
        planes = [np.ascontiguousarray(lab[:, :, channel]) for channel in range(3)]
        squares = [np.square(_below_surroundings(plane, contrast.window)) for plane in planes]
        found = [np.sqrt(np.sum(squares, axis=0))]
    else:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)
        below = _below_surroundings(grey, contrast.window)
        signs = {"dark": [below], "bright": [-below], "either": [below, -below], "both": [np.abs(below)]}
        found = signs[contrast.polarity]
    smooth = [cv2.GaussianBlur(np.maximum(each, 0), (0, 0), _BLUR_PX) for each in found]
    return [np.asarray(np.maximum(each - contrast.floor, 0), np.float32) for each in smooth]


def sharpen(
    heatmap: NDArray[np.float32], image: NDArray[np.uint8], contrast: Contrast
) -> NDArray[np.float32]:
    """The heatmap times the image's local contrast.

    The contrast is scaled by what is strong in the hot part of this very heatmap, so that faint and clear
    defects are treated alike.

    Args:
        heatmap: (H, W) float32 at the image's own size, >= 0.
        image: (H, W, 3) uint8 RGB.
        contrast: which contrast counts.

    Returns:
        (H, W) float32. The heatmap itself where it is constant, or where its hot part shows no such contrast.

    Raises:
        ValueError: sizes differ, or a heatmap that `heatmap_range` refuses.
    """
    if heatmap.shape != image.shape[:2]:
        raise ValueError(
            f"heatmap has shape {heatmap.shape} and image {image.shape}; expected the same (H, W)"
        )
    low, high = heatmap_range(heatmap)
    if low == high:
        return heatmap
    hot = otsu(heatmap)
    full, found = max(
        ((float(np.percentile(each[hot], _STRONG)), each) for each in _contrasts(image, contrast)),
        key=lambda strength_and_contrast: strength_and_contrast[0],
    )
    if full <= 0:
        return heatmap
    return np.asarray((heatmap - low) * np.minimum(found / full, _MOST), np.float32)


def _below_surroundings(plane: NDArray[np.uint8], window: float) -> NDArray[np.float32]:
    """Median of the surroundings minus the pixel, (H, W) float32.

    The median of a large window is that of a smaller image: as good for what is meant to be the surface
    without its defects, and its cost does not grow with the window.
    """
    height, width = plane.shape
    side = max(_SMALLEST_WINDOW_PX, window * min(height, width))
    shrink = min(1.0, _WINDOW_PX / side)
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA) if shrink < 1 else plane
    median = cv2.medianBlur(small, round(side * shrink) | 1).astype(np.float32)
    if shrink < 1:
        median = cv2.resize(median, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    return np.asarray(median - plane, np.float32)
