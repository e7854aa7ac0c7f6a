"""The exact percentile that truncation needs: one order statistic of the positive gradients.

With `g >= delta` and delta interpolated between neighbours, the kept set is exactly `g >= v_k` with
k = ceil((m - 1) p / 100) over the m ascending positive values v_0 .. v_{m-1} (NUMERICS, 3.2): one
integer rank, no interpolation. Ranks are computed in integers, since floating ranks lose elements.

Order is taken of the bits: as integers, positive floats stand in the order of their values, and all
others (negative, zeros of both signs) are at most 0, so of a sorted row the last m values are the positive
ones. `benchmarks/percentile.py` compares the ways there; numpy's vectorised sorting and selecting of
integers are the fastest on CPUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

_SORTED_AT_ONCE = 2048  # values a row, times percentiles, up to which sorting all rows beats selecting
_SORTED_TOGETHER = 2**26  # values a sort on a GPU is given at once; it needs about 20 bytes for each
_BITS = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
}
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
        rows: (R, Z), floating point, no NaN.
        percentile: 0 to 100.

    Returns:
        (R,) in the same type; +inf for a row without positive values (nothing is kept there).
    """
    return smallest_kept_at(rows, (percentile,))[:, 0]


def smallest_kept_at(rows: Tensor, percentiles: Sequence[float]) -> Tensor:
    """`smallest_kept` at several percentiles, for the price of one sort at most.

    Args:
        rows: (R, Z), floating point, no NaN.
        percentiles: P numbers, 0 to 100, in any order.

    Returns:
        (R, P) in the same type; +inf for a row without positive values.
    """
    bits = rows.detach().view(_BITS[rows.dtype])
    if rows.device.type != "cpu":
        chosen = _by_sorting_on_device(bits, percentiles)
    elif rows.shape[1] <= _SORTED_AT_ONCE * len(percentiles):
        chosen = _by_sorting(bits, percentiles)
    else:
        chosen = _by_selection(bits, percentiles)
    return torch.where(chosen > 0, chosen.view(rows.dtype), torch.inf)


def _by_sorting(bits: Tensor, percentiles: Sequence[float]) -> Tensor:
    """All rows in one call (R, P); at most 0 for a row without positive values, as in the other two."""
    values = bits.numpy()
    counts = torch.from_numpy(np.count_nonzero(values > 0, axis=1))
    ordered = torch.from_numpy(np.sort(values, axis=1))
    return ordered.gather(1, _places(counts, values.shape[1], percentiles))


def _by_selection(bits: Tensor, percentiles: Sequence[float]) -> Tensor:
    """Row by row, quickselect over the positive values (R, P): behind a pooling most gradients are zeros.

    What is selected first leaves everything larger behind it, where the next higher percentile looks on.
    """
    values = bits.numpy()
    exact = sorted((Fraction(str(percentile)), index) for index, percentile in enumerate(percentiles))
    chosen = np.zeros((len(values), len(percentiles)), values.dtype)
    for row, found in zip(values, chosen, strict=True):
        positive, below = np.compress(row > 0, row), 0
        for p, index in exact if positive.size else ():
            k = _rank(positive.size, p)
            positive[below:].partition(k - below)
            found[index], below = positive[k], k
    return torch.from_numpy(chosen)


def _by_sorting_on_device(bits: Tensor, percentiles: Sequence[float]) -> Tensor:
    """A few rows at a time (R, P), so that sorting needs bounded memory; a single row is sorted whole."""
    together = max(1, _SORTED_TOGETHER // bits.shape[1])
    return torch.cat(
        [
            part.sort(1).values.gather(1, _places((part > 0).sum(1), part.shape[1], percentiles))
            for part in torch.split(bits, together)
        ]
    )


def _places(counts: Tensor, width: int, percentiles: Sequence[float]) -> Tensor:
    """Where the wanted values stand in ascending rows (R, P), whose last m = counts (R,) are positive.

    A row without positive values points at its last, which is not positive either.
    """
    ranks = torch.stack([rank(counts, percentile) for percentile in percentiles], 1)
    return (width - counts[:, None] + ranks).clamp_max(width - 1)
