"""Exact bounds of a share that was counted: how good 1 of 1 is, or 21 of 21."""

from __future__ import annotations

import math

from scipy.stats import binomtest

Interval = tuple[float, float]


def exact_interval(hits: int, trials: int, level: float = 0.95) -> Interval:
    """Clopper and Pearson (1934): the shares under which so few, or so many, hits are not too unlikely.

    Args:
        hits: how many were right.
        trials: of how many.
        level: of the interval, in (0, 1).

    Returns:
        (low, high), 0 to 1; NaN without trials. Never of no width: 1 of 1 is 0.025 to 1.
    """
    if not trials:
        return math.nan, math.nan
    found = binomtest(hits, trials).proportion_ci(level, method="exact")
    return float(found.low), float(found.high)
