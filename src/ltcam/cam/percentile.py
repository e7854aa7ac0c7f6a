"""The exact percentile that truncation needs: one order statistic of the positive gradients.

With `g >= delta` and delta interpolated between neighbours, the kept set is exactly `g >= v_k` with
k = ceil((m - 1) p / 100) over the m ascending positive values v_0 .. v_{m-1} (NUMERICS, 3.2): one
integer rank, no interpolation. Ranks are computed in integers, since floating ranks lose elements.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

_SORTED_AT_ONCE = 2048  # values a row up to which sorting all rows together beats a loop of selections
_SMALL = 2**32  # numerators below it, times counts below 2^31, stay within int64


def rank(count: Tensor, percentile: float) -> Tensor:
    """Rank k = ceil((m - 1) p / 100) of the smallest kept value.

    Args:
        count: m, number of positive values, integers >= 0, any shape.
        percentile: p, 0 to 100.

    Returns:
        Integers, 0 where m = 0.
    """
    p = Fraction(str(percentile))
    if p.numerator < _SMALL and p.denominator < _SMALL:
        return -((-(count - 1).clamp_min(0) * p.numerator) // (p.denominator * 100))
    ranks = [_rank(m, p) for m in count.flatten().tolist()]
    return torch.tensor(ranks, dtype=count.dtype, device=count.device).reshape(count.shape)


def _rank(count: int, p: Fraction) -> int:
    return -((-max(count - 1, 0) * p.numerator) // (p.denominator * 100))


def smallest_kept(rows: Tensor, percentile: float) -> Tensor:
    """Smallest positive value of each row that truncation at this percentile keeps.

    Args:
        rows: (R, Z), float32 or float64.
        percentile: 0 to 100.

    Returns:
        (R,) in the same type; +inf for a row without positive values (nothing is kept there).
    """
    if percentile == 0:
        return torch.where(rows > 0, rows, torch.inf).amin(1)
    if percentile == 100:
        largest = rows.amax(1)
        return torch.where(largest > 0, largest, torch.inf)
    if rows.shape[1] <= _SORTED_AT_ONCE or rows.device.type != "cpu":
        return _by_sorting(rows, percentile)
    return _by_selection(rows, percentile)


def _by_sorting(rows: Tensor, percentile: float) -> Tensor:
    """All rows sorted together, non-positive values moved to the end as +inf."""
    positive = rows > 0
    count = positive.sum(1)
    ordered = torch.where(positive, rows, torch.inf).sort(1).values
    return ordered.gather(1, rank(count, percentile)[:, None])[:, 0]


def _by_selection(rows: Tensor, percentile: float) -> Tensor:
    """Row by row, quickselect over the positive values only."""
    values = rows.detach().numpy()
    p = Fraction(str(percentile))
    kept = np.full(len(values), math.inf, values.dtype)
    for index, row in enumerate(values):
        positive = row[row > 0]
        if positive.size:
            k = _rank(positive.size, p)
            kept[index] = np.partition(positive, k)[k]
    return torch.from_numpy(kept)
