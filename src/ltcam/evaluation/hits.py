"""Whether a heatmap points at the defect: its highest pixel against the true mask."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltcam.evaluation.counts import AnyMask, Counts, as_mask, ratio

NEAR_PX = 8
"""How far from the true mask a peak may lie and still be near it, in pixels of the image."""


@dataclass(frozen=True)
class HitCounts(Counts):
    """Where the peaks of heatmaps lie. Counts add up.

    Attributes:
        images: those with a defect and a true mask.
        near: peaks within `NEAR_PX` of the true mask, those inside it among them.
        inside: peaks inside the true mask.
    """

    images: int = 0
    near: int = 0
    inside: int = 0


def count_hit(heatmap: NDArray[Any], truth: AnyMask) -> HitCounts:
    """Where the peak of one image's heatmap lies.

    Args:
        heatmap: (H, W), raw, at the size of the truth; larger is more defective. Of several highest pixels the
            first in reading order counts; a heatmap that is the same everywhere points at nothing.
        truth: (H, W); bool, {0, 1} or {0, 255}. Where it is empty there is nothing to hit, and nothing counts.

    Raises:
        ValueError: shapes differ, or the truth is no mask.
    """
    true = as_mask(truth, "truth")
    if heatmap.shape != true.shape:
        raise ValueError(
            f"heatmap has shape {heatmap.shape}, truth {true.shape}; both must be (height, width)"
        )
    if not true.any():
        return HitCounts()
    peak = np.unravel_index(int(np.argmax(heatmap)), heatmap.shape)
    if heatmap[peak] == heatmap.min():
        return HitCounts(images=1)
    inside = bool(true[peak])
    return HitCounts(1, int(inside or _distance(true, peak) <= NEAR_PX), int(inside))


def hit_rate(counts: HitCounts) -> float:
    """Share of images whose peak is within `NEAR_PX` of the true mask; NaN without images."""
    return ratio(counts.near, counts.images)


def inside_rate(counts: HitCounts) -> float:
    """Share of images whose peak is inside the true mask; NaN without images."""
    return ratio(counts.inside, counts.images)


def _distance(true: NDArray[np.bool_], peak: tuple[Any, ...]) -> float:
    """From a pixel to the nearest pixel of a mask, Euclidean, centre to centre."""
    y, x = np.nonzero(true)
    return math.sqrt(float(np.min((y - peak[0]) ** 2 + (x - peak[1]) ** 2)))
