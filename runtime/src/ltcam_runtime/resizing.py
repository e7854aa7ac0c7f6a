"""Pictures and heatmaps in another size."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize a picture: pixel areas are averaged where it shrinks, bilinear where it grows.

    Args:
        image: (H, W, 3) or (H, W) uint8.
        size: (height, width) wanted, each at least 1.

    Returns:
        uint8 of that size. An axis that shrinks while the other grows is treated first.
    """
    height, width = _checked_size(size)
    shrunk = (min(height, image.shape[0]), min(width, image.shape[1]))
    return _resized(_resized(image, shrunk, cv2.INTER_AREA), (height, width), cv2.INTER_LINEAR)


def resize_heatmap(heatmap: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize a heatmap bilinearly, pixel centres at half integers, without antialiasing.

    The same as torch's `interpolate(mode="bilinear", align_corners=False, antialias=False)`.

    Args:
        heatmap: (H, W) float32.
        size: (height, width) wanted, each at least 1.

    Returns:
        float32 of that size; never outside the range of the input.
    """
    return _resized(heatmap.astype(np.float32, copy=False), _checked_size(size), cv2.INTER_LINEAR)


def fitted_size(size: tuple[int, int], longest: int, *, enlarge: bool = False) -> tuple[int, int]:
    """(height, width) of the same shape with the longer side at `longest`, each at least 1.

    Args:
        size: (height, width) that there is.
        longest: side wanted, in pixels.
        enlarge: whether what is smaller grows to it, too; otherwise it stays as it is.
    """
    scale = longest / max(size) if enlarge else min(1.0, longest / max(size))
    height, width = (max(1, round(scale * side)) for side in size)
    return height, width


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"size is {size}; height and width must be at least 1")
    return height, width


def _resized(array: NDArray[Any], size: tuple[int, int], interpolation: int) -> NDArray[Any]:
    if array.shape[:2] == size:
        return array.copy()
    return np.asarray(cv2.resize(np.ascontiguousarray(array), size[::-1], interpolation=interpolation))
