from __future__ import annotations

import math
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from ltcam.evaluation.counts import (
    PixelCounts,
    accuracy,
    background_iou,
    count_pixels,
    f1,
    iou,
    precision,
    recall,
    two_class_miou,
)

relaxed = settings(max_examples=50)

masks = hnp.arrays(np.bool_, st.shared(hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), key="shape"))
many = st.integers(0, 10**12)
counts_strategy = st.builds(PixelCounts, many, many, many, many)


def test_golden_g7() -> None:
    first, second = PixelCounts(tp=8, fp=2, fn=0), PixelCounts(tp=1, fp=3, fn=4)
    pooled = first + second
    assert precision(pooled) == float(Fraction(9, 14))
    assert recall(pooled) == float(Fraction(9, 13))
    assert f1(pooled) == float(Fraction(2, 3))
    assert iou(pooled) == 0.5
    mean_iou = (iou(first) + iou(second)) / 2
    mean_f1 = (f1(first) + f1(second)) / 2
    assert mean_iou == pytest.approx(0.4625)
    assert mean_f1 == pytest.approx(5 / 9)
    assert 2 * mean_iou / (1 + mean_iou) == pytest.approx(0.632, abs=5e-4) != mean_f1


def test_micro_f1_is_not_pixel_accuracy() -> None:
    counts = PixelCounts(tp=9, fp=5, fn=4, tn=82)
    assert accuracy(counts) == 0.91
    assert f1(counts) == pytest.approx(2 / 3)
    assert background_iou(counts) == 82 / 91
    assert two_class_miou(counts) == (9 / 18 + 82 / 91) / 2


@relaxed
@given(masks, masks)
def test_counts_equal_a_pixel_by_pixel_count(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> None:
    seen = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    for pair in zip(prediction.ravel().tolist(), truth.ravel().tolist(), strict=True):
        seen[pair] += 1
    expected = PixelCounts(seen[True, True], seen[True, False], seen[False, True], seen[False, False])
    assert count_pixels(prediction, truth) == expected
    assert expected.total == prediction.size
    # All kinds of masks mean the same.
    assert count_pixels(prediction.astype(np.uint8) * 255, truth.astype(np.int64)) == expected
    assert count_pixels(prediction.astype(np.float32), truth.astype(np.uint8)) == expected
    # Emptying the prediction is counting an empty one.
    assert expected.emptied() == count_pixels(np.zeros_like(prediction), truth)


@relaxed
@given(counts_strategy)
def test_identities_of_pooled_ratios(counts: PixelCounts) -> None:
    p, r, f, i = precision(counts), recall(counts), f1(counts), iou(counts)
    if counts.tp:
        assert f == pytest.approx(2 * p * r / (p + r))
    if not math.isnan(f):
        assert i == pytest.approx(f / (2 - f))
        assert 0 <= i <= f <= 1


@relaxed
@given(st.lists(counts_strategy, min_size=1, max_size=5), st.randoms())
def test_counts_add_up_in_any_order(parts: list[PixelCounts], random: Random) -> None:
    total = sum(parts)
    random.shuffle(parts)
    assert sum(parts, PixelCounts()) == total
    assert total.tp == sum(part.tp for part in parts)
    assert total.total == sum(part.total for part in parts)


def test_nothing_anywhere_is_undefined_not_one() -> None:
    empty = np.zeros((3, 4), bool)
    counts = count_pixels(empty, empty)
    assert counts == PixelCounts(tn=12)
    for metric in (iou, f1, precision, recall, two_class_miou):
        assert math.isnan(metric(counts))
    assert background_iou(counts) == accuracy(counts) == 1
    full = count_pixels(~empty, ~empty)
    assert iou(full) == 1
    assert math.isnan(background_iou(full))
    assert math.isnan(accuracy(PixelCounts()))


def test_an_empty_prediction_misses_and_an_empty_truth_makes_false_alarms() -> None:
    empty, some = np.zeros((2, 2), bool), np.array([[True, False], [False, False]])
    missed = count_pixels(empty, some)
    assert (iou(missed), recall(missed), f1(missed)) == (0, 0, 0)
    assert math.isnan(precision(missed))
    alarm = count_pixels(some, empty)
    assert (iou(alarm), precision(alarm), f1(alarm)) == (0, 0, 0)
    assert math.isnan(recall(alarm))


def test_shapes_that_differ_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        count_pixels(np.zeros((2, 3), bool), np.zeros((3, 2), bool))


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        (np.array([[0, 1, 255]]), "0, 1, 255"),
        (np.array([[0, 128]]), "128"),
        (np.array([[-1, 1]]), "-1"),
        (np.array([[0.2, 1.0]]), "0.2"),
        (np.array([[np.nan, 1.0]]), "nan"),
    ],
)
def test_masks_of_other_values_are_refused_with_what_was_found(mask: NDArray[Any], found: str) -> None:
    with pytest.raises(ValueError, match=f"prediction .*{found}"):
        count_pixels(mask, np.zeros(mask.shape, bool))
    with pytest.raises(ValueError, match="truth"):
        count_pixels(np.zeros(mask.shape, bool), mask)


def test_masks_without_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="no pixels"):
        count_pixels(np.zeros((0, 4), bool), np.zeros((0, 4), bool))
