"""The rank rule of NUMERICS 3.2, against exact arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ltcam.cam import percentile as module
from ltcam.cam.percentile import rank, smallest_kept, smallest_kept_at


def path(way: Callable[..., Tensor]) -> Callable[..., Any]:
    """One of the module's ways, as values."""

    def by(rows: Tensor, *percentiles: Any) -> Tensor:
        bits = way(rows.view({4: torch.int32, 8: torch.int64}[rows.itemsize]), percentiles)
        values = torch.where(bits > 0, bits.view(rows.dtype), torch.inf)
        return values[:, 0] if len(percentiles) == 1 else values

    return by


PATHS = tuple(map(path, (module._by_sorting, module._by_selection, module._by_sorting_on_device)))


def test_ranks_equal_fractions_for_all_small_counts_and_percents() -> None:
    counts = torch.arange(1, 61)
    for p in range(101):
        exact = [math.ceil(Fraction((m - 1) * p, 100)) for m in range(1, 61)]
        assert rank(counts, p).tolist() == exact


@pytest.mark.parametrize("p", [0.1, 12.5, 33.3, 50.000001, 66.66666666666667, 99.99999999999999, 1e-7])
def test_ranks_of_fractional_percentiles_are_exact_for_large_counts(p: float) -> None:
    counts = [0, 1, 2, 3, 10, 2047, 2048, 180_224, 46_137_344]
    exact = [math.ceil(max(m - 1, 0) * Fraction(str(p)) / 100) for m in counts]
    assert rank(torch.tensor(counts), p).tolist() == exact
    assert rank(torch.tensor([counts]), p).tolist() == [exact], "the shape stays"


def test_rank_of_nothing_is_zero() -> None:
    assert rank(torch.tensor([0]), 90).tolist() == [0]


@pytest.mark.parametrize("by", PATHS)
def test_kept_sets_equal_the_interpolated_definition(
    by: Callable[..., Any], literal: SimpleNamespace
) -> None:
    """60 rows with 1 to 60 positive values each."""
    random = np.random.default_rng(3)
    rows = -np.ones((60, 60))
    for m in range(1, 61):
        rows[m - 1, random.permutation(60)[:m]] = np.sort(random.integers(1, 1000, m))
    table = torch.from_numpy(rows)
    for p in (0, 1, 10, 25, 33, 50, 66, 75, 90, 99, 100):
        exact = [literal.kept_list(row.tolist(), p) for row in rows]
        assert by(table, p).tolist() == exact
        assert smallest_kept(table, p).tolist() == exact


@pytest.mark.parametrize("p", [0, 25, 50, 75, 100])
def test_masks_equal_numpy_where_its_ranks_are_exact(p: int) -> None:
    row = torch.randn(1, 1001, generator=torch.Generator().manual_seed(p), dtype=torch.float64)
    positive = row[row > 0].numpy()
    assert torch.equal(row >= smallest_kept(row, p), (row > 0) & (row >= np.percentile(positive, p)))


@pytest.mark.parametrize("by", PATHS)
@pytest.mark.parametrize("p", [0, 1, 50, 99, 100])
def test_zeros_of_both_signs_and_negatives_are_no_positive_values(by: Callable[..., Any], p: int) -> None:
    rows = torch.tensor([[0.0, -0.0, -3.0, 2.0], [0.0, -0.0, -1.0, -2.0]])
    assert by(rows, p).tolist() == [2.0, math.inf]
    assert smallest_kept(rows, p).tolist() == [2.0, math.inf]


@pytest.mark.parametrize("by", PATHS)
def test_smallest_subnormal_is_positive(by: Callable[..., Any]) -> None:
    tiny = torch.tensor([[5e-324, 0.0]], dtype=torch.float64)
    assert by(tiny, 50).item() == 5e-324
    assert smallest_kept(tiny, 0).item() == 5e-324


@pytest.mark.parametrize("by", PATHS)
def test_ties_at_the_threshold_are_all_kept(by: Callable[..., Any]) -> None:
    row = torch.tensor([[1.0, 2.0, 2.0, 2.0, 3.0]])
    assert (row >= by(row, 50)).tolist() == [[False, True, True, True, True]]
    assert by(torch.full((1, 9), 4.0), 90).item() == 4.0


@settings(max_examples=60)
@given(
    rows=st.integers(1, 12).flatmap(
        lambda width: st.lists(
            st.lists(
                st.sampled_from([-2.0, -0.0, 0.0, 1e-3, 0.5, 0.5000001, 1.0, 7.0]),
                min_size=width,
                max_size=width,
            ),
            min_size=1,
            max_size=4,
        )
    ),
    p=st.one_of(st.integers(0, 100), st.floats(0, 100, allow_nan=False)),
)
def test_all_paths_agree_with_the_definition(
    rows: list[list[float]], p: float, literal: SimpleNamespace
) -> None:
    table = torch.tensor(rows, dtype=torch.float64)
    exact = [literal.kept_list(row, p) for row in rows]
    wanted = [math.inf if value is None else value for value in exact]
    for values in (smallest_kept(table, p), *(by(table, p) for by in PATHS)):
        assert values.tolist() == wanted


@settings(max_examples=60)
@given(
    rows=st.integers(1, 12).flatmap(
        lambda width: st.lists(
            st.lists(st.sampled_from([-2.0, 0.0, 0.5, 1.0, 3.0, 7.0]), min_size=width, max_size=width),
            min_size=1,
            max_size=4,
        )
    ),
    percentiles=st.lists(st.sampled_from([0, 0.1, 10, 33.3, 50, 50.0, 90, 100]), min_size=1, max_size=6),
)
def test_several_percentiles_in_any_order_equal_one_at_a_time(
    rows: list[list[float]], percentiles: list[float]
) -> None:
    table = torch.tensor(rows, dtype=torch.float64)
    one_by_one = torch.stack([smallest_kept(table, p) for p in percentiles], 1)
    assert torch.equal(smallest_kept_at(table, percentiles), one_by_one)
    for by in PATHS:
        assert torch.equal(by(table, *percentiles).reshape(len(table), -1), one_by_one)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("zeros", [0.0, 0.75, 0.99, 1.0])
def test_wide_rows_are_selected_from_with_the_result_of_sorting(
    dtype: torch.dtype, zeros: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = torch.Generator().manual_seed(1)
    rows = torch.randn(3, 9000, generator=random, dtype=dtype)
    rows[torch.rand(rows.shape, generator=random) < zeros] = 0
    rows[1] = rows[1].round(decimals=1)  # many ties
    percentiles = (99, 37.5, 0, 100)
    for some in (percentiles, percentiles[:1]):
        by_rows = smallest_kept_at(rows, some)
        assert by_rows.dtype == dtype
        with monkeypatch.context() as patch:
            patch.setattr(module, "_SORTED_AT_ONCE", 9000)
            assert torch.equal(by_rows, smallest_kept_at(rows, some))
        assert torch.equal(by_rows, path(module._by_sorting_on_device)(rows, *some).reshape(3, -1))


def test_sorting_in_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.randn(7, 40, generator=torch.Generator().manual_seed(2))
    whole = smallest_kept_at(rows, (10, 60))
    for together in (1, 80, 130):
        monkeypatch.setattr(module, "_SORTED_TOGETHER", together)
        assert torch.equal(path(module._by_sorting_on_device)(rows, 10, 60), whole)


def test_rows_are_left_as_they_were_and_may_lie_apart_in_memory() -> None:
    rows = torch.randn(4, 6000, generator=torch.Generator().manual_seed(3))
    before = rows.clone()
    strided = rows.T.contiguous().T
    assert not strided.is_contiguous()
    for some in ((50,), (20, 80)):
        assert torch.equal(smallest_kept_at(rows, some), smallest_kept_at(strided, some))
        assert torch.equal(smallest_kept_at(rows[:, :50], some), smallest_kept_at(strided[:, :50], some))
    assert torch.equal(rows, before)
    assert torch.equal(smallest_kept(rows.requires_grad_(), 50), smallest_kept(before, 50))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_ordered_as_well(dtype: torch.dtype) -> None:
    rows = torch.tensor([[-1.0, 0.0, -0.0, 0.25, 3.0, 0.5], [-1.0, 0.0, -0.0, -2.0, -3.0, -4.0]], dtype=dtype)
    assert smallest_kept_at(rows, (0, 50, 100)).tolist() == [[0.25, 0.5, 3.0], [math.inf] * 3]


def test_more_values_than_torch_quantile_takes() -> None:
    row = torch.arange(1, 2**24 + 3, dtype=torch.float32).reshape(1, -1).clamp_max(1000)
    assert (
        smallest_kept(row, 0.001).item() == 169.0
    )  # rank ceil((2^24 + 1) / 100000) = 168, values count from 1
