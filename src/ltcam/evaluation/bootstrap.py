"""Intervals over images: how far a number would move had other images of the same kind been taken.

Whole images are drawn with replacement, as many as there are; pixels of one image stay together,
since they are anything but independent. Ends are percentiles of the redrawn values. Redraws in which
a value is undefined (no defective image drawn, say) are left out of its interval.

Groups (commutators, lots) are not looked at: where images of one group resemble each other, the true
interval is wider.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ltcam.evaluation import curves

Interval = tuple[float, float]
"""(low, high); NaN where undefined."""

_CELLS_AT_ONCE = 4_000_000


def pooled_intervals(
    table: NDArray[np.float64],
    measure: Callable[[NDArray[np.float64]], Mapping[str, float]],
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Intervals for numbers made of counts that add up over images.

    Args:
        table: (N, K), one row of counts per image.
        measure: from the (K,) sum of rows to named numbers, the same names each time.
        resamples: how often N images are redrawn.
        seed: of the redraws; the same for the same table size, so metrics stay comparable.
        level: share of the redrawn values inside the interval.

    Returns:
        One interval per name of `measure`.

    Raises:
        ValueError: `resamples` < 1 or `level` outside (0, 1).
    """
    _check(resamples, level)
    values = [measure(sums) for drawn in _redraws(table.shape[0], resamples, seed) for sums in drawn @ table]
    return {name: _interval([value[name] for value in values], level) for name in values[0]}


def ranking_intervals(
    defective: Sequence[bool],
    scores: Sequence[float],
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Intervals of image `ap` and `auroc`.

    Args:
        defective: per image whether its label says defect.
        scores: per image, larger is more defective.
        resamples: as for `pooled_intervals`.
        seed: likewise; the same images are drawn.
        level: likewise.

    Raises:
        ValueError: `resamples` < 1 or `level` outside (0, 1).
    """
    _check(resamples, level)
    values = np.asarray(scores, np.float64)
    order = np.argsort(-values, kind="stable")
    labels = np.asarray(defective, np.bool_)[order]
    first_of_tie = np.flatnonzero(np.diff(values[order], prepend=np.nan) != 0)
    found: dict[str, list[float]] = {"ap": [], "auroc": []}
    for drawn in _redraws(values.size, resamples, seed):
        ranked = drawn[:, order]
        if ranked.shape[1]:
            positives = np.add.reduceat(ranked * labels, first_of_tie, axis=1)
            negatives = np.add.reduceat(ranked * ~labels, first_of_tie, axis=1)
        else:
            positives = negatives = ranked
        found["ap"].extend(curves.average_precision(positives, negatives).tolist())
        found["auroc"].extend(curves.auroc(positives, negatives).tolist())
    return {name: _interval(each, level) for name, each in found.items()}


def _redraws(images: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each redraw holds each image: (some resamples, images), until all were given."""
    rng = np.random.default_rng(seed)
    at_once = max(1, _CELLS_AT_ONCE // max(images, 1))
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        if not images:
            yield np.zeros((rows, 0))
            continue
        drawn = rng.integers(0, images, (rows, images)) + np.arange(rows)[:, None] * images
        counts = np.bincount(drawn.ravel(), minlength=rows * images)
        yield counts.reshape(rows, images).astype(np.float64)


def _interval(values: Sequence[float], level: float) -> Interval:
    array = np.asarray(values, np.float64)
    array = array[np.isfinite(array)]
    if not array.size:
        return float("nan"), float("nan")
    low, high = np.quantile(array, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def _check(resamples: int, level: float) -> None:
    if resamples < 1:
        raise ValueError(f"resamples is {resamples!r}; give at least 1")
    if not 0 < level < 1:
        raise ValueError(f"level is {level!r}; give a share in (0, 1), such as 0.95")
