"""Outlines of masks in pictures: one way for overlays, reports and thumbnails."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

DARK = (10, 20, 30)
"""RGB of the line around a line, so that one of them shows on any ground."""


def draw_outline(
    picture: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    colour: tuple[int, int, int],
    *,
    thickness: int = 2,
    dark: int = 1,
    distance: int = 0,
) -> None:
    """Draw a line just outside a mask into a picture, and a dark one around it; thin defects stay visible.

    Args:
        picture: (h, w, 3) uint8 RGB, of any size; is drawn into.
        mask: (H, W) bool.
        colour: RGB of the line.
        thickness: of the line, in pixels of the picture.
        dark: of the dark line; 0 for none.
        distance: between the mask and the line.
    """
    height, width = picture.shape[:2]
    # The average of an area is above zero where any of it is marked, which keeps hair-thin masks.
    way = cv2.INTER_AREA if height < mask.shape[0] else cv2.INTER_NEAREST
    marked = cv2.resize(mask.astype(np.uint8) * 255, (width, height), interpolation=way)
    inside = _widened((marked > 0).astype(np.uint8), distance)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    line = cv2.dilate(inside, kernel, iterations=thickness)
    around = cv2.dilate(line, kernel, iterations=dark) if dark else line
    x, y, width, height = cv2.boundingRect(around)
    box = np.s_[y : y + height, x : x + width]
    picture[box][around[box] > line[box]] = DARK
    picture[box][line[box] > inside[box]] = colour


def _widened(marked: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    if not by:
        return marked
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * by + 1, 2 * by + 1))
    return np.asarray(cv2.dilate(marked, disc), np.uint8)
