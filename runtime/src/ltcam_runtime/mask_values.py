"""From the values in a mask file to the pixels that it marks, where nobody has said which values are meant.

Masks come in three kinds, and each wants another answer:

    two-valued     0 and 1, 0 and 255, 0.0 and 1.0    above 0 is marked
    class numbers  0, 1, 2, ... or a grey per class   above 0 is marked
    soft borders   JPEG, anti-aliased, resized        above the middle is marked

A value in between is a border if higher values stand beside it, and a class if an area of its own has it.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_CLASS_NUMBERS = 32  # whole numbers up to this are class numbers
_NOISE = 16  # of 255: what JPEG makes of black
_NEAR_AN_END = 32  # of 255: what JPEG makes of black and white beside an edge
_MANY = 32
_MOSTLY = 0.8


def suitable_threshold(values: NDArray[Any], *, lossy: bool = False) -> float:
    """The value above which a pixel of this mask is marked.

    Args:
        values: (H, W) of any real type, finite.
        lossy: whether the file was written with losses, as JPEG is.

    Returns:
        0, or half of the largest value where values in between are soft borders; the largest value
        where there is nothing but the noise of a lossy file.
    """
    levels = np.unique(values)
    high = float(levels[-1])
    if len(levels) <= 2 or high <= 0:
        return 0.0
    whole = values.dtype.kind in "iub"
    if lossy:
        return high if whole and high <= _NOISE else high / 2
    if whole and high <= _CLASS_NUMBERS:
        return 0.0
    scaled = values.astype(np.float32) * np.float32(255 / high)
    return high / 2 if _borders_only(scaled, many=len(levels) > _MANY) else 0.0


def _borders_only(scaled: NDArray[np.float32], *, many: bool) -> bool:
    """Whether what is between 0 and 255 stands at borders only: higher values beside it, no area of its own."""
    low, high = (_NEAR_AN_END, 255 - _NEAR_AN_END) if many else (0, 255)
    between = (scaled > low) & (scaled < high)
    if not between.any():
        return True
    square = np.ones((3, 3), np.uint8)
    flat = cv2.dilate(scaled, square, borderType=cv2.BORDER_REPLICATE) == cv2.erode(
        scaled, square, borderType=cv2.BORDER_REPLICATE
    )
    if bool((flat & between).any()):
        return False
    higher = cv2.dilate(scaled, np.ones((5, 5), np.uint8)) > scaled
    return bool(higher[between].mean() >= _MOSTLY)
