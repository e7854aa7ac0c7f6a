"""Outlines of masks in pictures: one way for overlays, reports and thumbnails."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

DARK = (10, 20, 30)
"""RGB of the line around a line, so that one of them shows on any ground."""


@dataclass(frozen=True)
class Line:
    """How an outline looks.

    Attributes:
        colour: RGB.
        thickness: in pixels of the picture.
        dark: thickness of the dark line around it; 0 for none.
        distance: between the mask and the line.
    """

    colour: tuple[int, int, int]
    thickness: int = 2
    dark: int = 1
    distance: int = 0


def draw_outline(picture: NDArray[np.uint8], mask: NDArray[np.bool_], line: Line) -> None:
    """Draw a line just outside a mask into a picture, and a dark one around it; thin defects stay visible.

    Args:
        picture: (h, w, 3) uint8 RGB, of any size; is drawn into.
        mask: (H, W) bool.
        line: how it looks.
    """
    height, width = picture.shape[:2]
    # The average of an area is above zero where any of it is marked, which keeps hair-thin masks.
    way = cv2.INTER_AREA if height < mask.shape[0] else cv2.INTER_NEAREST
    marked = cv2.resize(mask.astype(np.uint8) * 255, (width, height), interpolation=way)
    inside = _widened((marked > 0).astype(np.uint8), line.distance)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    bright = cv2.dilate(inside, kernel, iterations=line.thickness)
    around = cv2.dilate(bright, kernel, iterations=line.dark) if line.dark else bright
    x, y, width, height = cv2.boundingRect(around)
    box = np.s_[y : y + height, x : x + width]
    picture[box][around[box] > bright[box]] = DARK
    picture[box][bright[box] > inside[box]] = line.colour


def _widened(marked: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    if not by:
        return marked
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * by + 1, 2 * by + 1))
    return np.asarray(cv2.dilate(marked, disc), np.uint8)
