"""How good a mask is, judged without a true one; and rules that choose the percentile by such judgements.

A rule values every percentile on a few defective images of the training side, known as such by their image labels
alone. Every tuning computes all rules and reports how far each one's choice falls behind that of true masks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.masks import otsu_level, quantise

AREA_PRICE = 0.1
"""How much of the score drop the whole area of the untruncated map's mask is worth."""

_RING = 0.04  # of the shorter side: how far around a mask its surroundings reach

Heatmap = NDArray[np.float32]
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


# ------------------------------------------------------------------------------- one mask at a time


def separability(heatmap: Heatmap) -> float:
    """Share of the levels' variance that lies between the two sides of Otsu's threshold.

    Args:
        heatmap: (H, W), float.

    Returns:
        0 (constant, or no gap) to 1 (two levels only).
    """
    levels = quantise(heatmap)
    values = levels.astype(np.float64)
    total = float(values.var())
    above = levels > otsu_level(levels)
    share = float(above.mean())
    if total == 0 or share in {0.0, 1.0}:
        return 0.0
    gap = float(values[above].mean() - values[~above].mean())
    return share * (1 - share) * gap**2 / total


def score_drop(score: float, without: float, normal: float) -> float:
    """How far the score falls towards that of OK images once the mask's pixels look OK.

    Args:
        score: of the image; log-odds of being defective.
        without: of the image with the mask filled in.
        normal: of OK images.

    Returns:
        1 if it falls all the way, 0 not at all; -1 to 1, NaN if the image's own score is not above `normal`.
    """
    if score <= normal:
        return math.nan
    return float(np.clip((score - without) / (score - normal), -1, 1))


def agreement(mask: Mask, other: Mask) -> float:
    """IoU of two masks of one image; 0 where both are empty, since nothing is no answer that could be stable."""
    union = int(np.count_nonzero(mask | other))
    return int(np.count_nonzero(mask & other)) / union if union else 0.0


def contrast(image: Image, mask: Mask) -> float:
    """How far the mask's pixels differ in brightness from those around it, in standard deviations of the latter.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.

    Returns:
        0 or more; 0 for a mask that is empty or leaves nothing around it.
    """
    reach = max(1, round(_RING * min(mask.shape)))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    around = (cv2.dilate(mask.astype(np.uint8), kernel) > 0) & ~mask
    if not mask.any() or not around.any():
        return 0.0
    grey = image.mean(axis=2)
    return float(abs(grey[mask].mean() - grey[around].mean()) / max(float(grey[around].std()), 1.0))


# ------------------------------------------------------------------------------------- the rules

Judgements = Mapping[str, NDArray[np.float64]]
"""By name (those of `ltcam.experiments.tune.judging`): one number per image and percentile (N, P)."""


@dataclass(frozen=True)
class Rule:
    """A way to value the percentiles.

    Attributes:
        name: in files.
        title: for people.
        sentence: what it prefers.
        value: judgements to one value per image and percentile (N, P); its mean over images is the
            percentile's value.
    """

    name: str
    title: str
    sentence: str
    value: Callable[[Judgements], NDArray[np.float64]]

    def values(self, judgements: Judgements) -> list[float]:
        """One per percentile, larger is better; NaN where no image says anything."""
        table = self.value(judgements)
        known = np.isfinite(table)
        sums = np.where(known, table, 0).sum(0)
        counts = known.sum(0)
        return [
            float(total / count) if count else math.nan for total, count in zip(sums, counts, strict=True)
        ]


RULES = (
    Rule(
        "separability",
        "Separability",
        "Otsu's threshold parts the heatmap's values most clearly",
        lambda judged: judged["separability"],
    ),
    Rule(
        "drop_for_area",
        "Score drop against area",
        f"the image looks OK with the mask filled in, less {AREA_PRICE:g} times the area",
        lambda judged: judged["drop"] - AREA_PRICE * judged["area"],
    ),
    Rule(
        "flip",
        "Stability under flips",
        "the mirrored image has the mirrored mask",
        lambda judged: judged["flip"],
    ),
    Rule(
        "scale",
        "Stability under scales",
        "the image at another size has the same mask",
        lambda judged: judged["scale"],
    ),
    Rule(
        "contrast",
        "Contrast",
        "the mask's pixels differ most from those around it",
        lambda judged: judged["contrast"],
    ),
)

RULE = "contrast"
"""The rule that decides: of all it fell behind true masks least, and it asks the network nothing. The measurement is in
docs/how-to/tune.md."""


def best(percentiles: Sequence[int], values: Sequence[float | None]) -> int | None:
    """The percentile of the largest value, the lowest of several; None if no value is known."""
    known = [
        (value, -percentile)
        for percentile, value in zip(percentiles, values, strict=True)
        if value is not None and math.isfinite(value)
    ]
    return -max(known)[1] if known else None
