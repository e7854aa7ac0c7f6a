"""How many defects a mask finds, and how many of its regions are defects: boxes against boxes.

A true defect is a connected piece of the truth (8 neighbours). Predicted boxes are matched to true
ones one to one, best overlap first; a pair counts from a given IoU on. IoU 0.5 asks for the right
size, 0.1 only for the right place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ltcam.evaluation.counts import AnyMask, Counts, as_mask, ratio

Box = tuple[int, int, int, int]
"""(x, y, width, height) in pixels; origin top left."""

BOX_IOUS = (0.5, 0.1)
"""Overlaps that a summary reports."""


@dataclass(frozen=True)
class BoxCounts(Counts):
    """Boxes of one or many images. Counts add up.

    Attributes:
        matched: pairs of a predicted and a true box.
        predicted: predicted boxes.
        true: true boxes.
    """

    matched: int = 0
    predicted: int = 0
    true: int = 0

    def emptied(self) -> BoxCounts:
        """The counts had nothing been predicted: what a verdict of OK makes of them."""
        return BoxCounts(0, 0, self.true)


def box_precision(counts: BoxCounts) -> float:
    """Share of predicted boxes that match a defect; NaN if there are none."""
    return ratio(counts.matched, counts.predicted)


def box_recall(counts: BoxCounts) -> float:
    """Share of true boxes that were matched; NaN if there are none."""
    return ratio(counts.matched, counts.true)


def mask_boxes(mask: AnyMask) -> tuple[Box, ...]:
    """Boxes of the connected pieces (8 neighbours) of a (H, W) mask; empty for an empty mask."""
    _, _, statistics, _ = cv2.connectedComponentsWithStats(
        as_mask(mask, "mask").astype(np.uint8), connectivity=8
    )
    return tuple((int(x), int(y), int(width), int(height)) for x, y, width, height, _ in statistics[1:])


def box_ious(
    first: Sequence[Box], second: Sequence[Box]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """IoU of every two boxes that share a pixel.

    Args:
        first: boxes, widths and heights >= 1.
        second: boxes, likewise.

    Returns:
        Index into `first`, index into `second`, and IoU in (0, 1], of each such pair. A speckled mask
        has thousands of boxes, and next to none of their pairs meet.

    Raises:
        ValueError: a box without width or height.
    """
    (left_a, top_a, right_a, bottom_a), areas_a = _edges(first)
    (left_b, top_b, right_b, bottom_b), areas_b = _edges(second)
    meet = (left_a[:, None] < right_b) & (right_a[:, None] > left_b)
    meet &= top_a[:, None] < bottom_b
    meet &= bottom_a[:, None] > top_b
    a, b = np.nonzero(meet)
    width = np.minimum(right_a[a], right_b[b]) - np.maximum(left_a[a], left_b[b])
    height = np.minimum(bottom_a[a], bottom_b[b]) - np.maximum(top_a[a], top_b[b])
    shared = width * height
    return a, b, shared / (areas_a[a] + areas_b[b] - shared)


def match_boxes(
    predicted: Sequence[Box], true: Sequence[Box], min_ious: Sequence[float] = BOX_IOUS
) -> dict[float, BoxCounts]:
    """Greedy one-to-one matching of one image's boxes, per smallest IoU that counts.

    Args:
        predicted: boxes of the predicted regions.
        true: boxes of the true defects (`mask_boxes`).
        min_ious: each in (0, 1]; a pair with IoU >= it may match.

    Raises:
        ValueError: a smallest IoU outside (0, 1], or a box without width or height.
    """
    for min_iou in min_ious:
        if not 0 < min_iou <= 1:
            raise ValueError(f"smallest box IoU is {min_iou!r}; give a number in (0, 1]")
    pairs = _greedy_pairs(predicted, true)
    return {
        min_iou: BoxCounts(sum(pair >= min_iou for pair in pairs), len(predicted), len(true))
        for min_iou in min_ious
    }


def _greedy_pairs(predicted: Sequence[Box], true: Sequence[Box]) -> list[float]:
    """IoUs of the pairs that best-first matching makes, falling.

    A lower limit only adds pairs at the end of the order, so one matching serves every limit.
    """
    rows, columns, ious = box_ious(predicted, true)
    order = np.lexsort((columns, rows, -ious))
    matched_rows: set[int] = set()
    matched_columns: set[int] = set()
    pairs: list[float] = []
    for index in order.tolist():
        row, column = int(rows[index]), int(columns[index])
        if row not in matched_rows and column not in matched_columns:
            matched_rows.add(row)
            matched_columns.add(column)
            pairs.append(float(ious[index]))
    return pairs


def _edges(boxes: Sequence[Box]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(4, N) left, top, right, bottom (the last two just outside), and (N,) areas."""
    x, y, width, height = np.asarray(boxes, np.int64).reshape(-1, 4).T
    empty = np.flatnonzero((width <= 0) | (height <= 0))
    if empty.size:
        raise ValueError(f"box {tuple(boxes[empty[0]])} has no width or height; both must be at least 1 px")
    return np.stack((x, y, x + width, y + height)), width * height
