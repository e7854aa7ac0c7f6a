from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ltcam.evaluation.boxes import (
    Box,
    BoxCounts,
    box_ious,
    box_precision,
    box_recall,
    mask_boxes,
    match_boxes,
)

relaxed = settings(max_examples=50)

side, place = st.integers(1, 8), st.integers(0, 10)
box_lists = st.lists(st.tuples(place, place, side, side), max_size=5)


def dense_ious(first: Sequence[Box], second: Sequence[Box]) -> NDArray[np.float64]:
    ious = np.zeros((len(first), len(second)))
    rows, columns, values = box_ious(first, second)
    ious[rows, columns] = values
    return ious


def pixels(box: Box) -> set[tuple[int, int]]:
    x, y, width, height = box
    return {(column, row) for column in range(x, x + width) for row in range(y, y + height)}


@relaxed
@given(box_lists, box_lists)
def test_iou_equals_counting_pixels(first: list[Box], second: list[Box]) -> None:
    ious = dense_ious(first, second)
    assert ious.shape == (len(first), len(second))
    for row, a in enumerate(first):
        for column, b in enumerate(second):
            assert ious[row, column] == len(pixels(a) & pixels(b)) / len(pixels(a) | pixels(b))


@relaxed
@given(box_lists, box_lists, st.sampled_from([0.1, 0.3, 0.5, 1.0]))
def test_matching_equals_a_literal_greedy_one(predicted: list[Box], true: list[Box], min_iou: float) -> None:
    ious = dense_ious(predicted, true)
    pairs = sorted(
        (-ious[row, column], row, column)
        for row in range(len(predicted))
        for column in range(len(true))
        if ious[row, column] >= min_iou
    )
    used_rows, used_columns = set(), set()
    for _, row, column in pairs:
        if row not in used_rows and column not in used_columns:
            used_rows.add(row)
            used_columns.add(column)
    counts = match_boxes(predicted, true, [min_iou])[min_iou]
    assert counts == BoxCounts(len(used_rows), len(predicted), len(true))


def best_possible(ious: NDArray[np.float64], min_iou: float) -> int:
    rows, columns = ious.shape
    for size in range(min(rows, columns), 0, -1):
        for chosen in combinations(range(rows), size):
            for partners in permutations(range(columns), size):
                if all(ious[pair] >= min_iou for pair in zip(chosen, partners, strict=True)):
                    return size
    return 0


@relaxed
@given(
    st.lists(st.tuples(place, place, side, side), max_size=4),
    st.lists(st.tuples(place, place, side, side), max_size=4),
)
def test_greedy_matching_is_at_least_half_of_the_best_and_one_to_one(
    predicted: list[Box], true: list[Box]
) -> None:
    matched = match_boxes(predicted, true, [0.1])[0.1].matched
    best = best_possible(dense_ious(predicted, true), 0.1)
    assert best / 2 <= matched <= best


@relaxed
@given(box_lists, box_lists)
def test_a_lower_limit_never_matches_fewer(predicted: list[Box], true: list[Box]) -> None:
    counts = match_boxes(predicted, true, [0.1, 0.5])
    assert counts[0.1].matched >= counts[0.5].matched


def test_two_predictions_of_one_defect_count_once() -> None:
    counts = match_boxes([(0, 0, 10, 10), (0, 0, 10, 8)], [(0, 0, 10, 10)])
    assert counts == {0.5: BoxCounts(1, 2, 1), 0.1: BoxCounts(1, 2, 1)}
    assert box_precision(counts[0.5]) == 0.5
    assert box_recall(counts[0.5]) == 1


def test_limits_include_their_value() -> None:
    # 5 of 10 and 1 of 10 pixels.
    assert match_boxes([(0, 0, 5, 1)], [(0, 0, 10, 1)], [0.5])[0.5].matched == 1
    assert match_boxes([(0, 0, 1, 1)], [(0, 0, 10, 1)], [0.1])[0.1].matched == 1
    assert match_boxes([(0, 0, 4, 1)], [(0, 0, 10, 1)], [0.5])[0.5].matched == 0


def test_boxes_of_a_mask_join_diagonal_neighbours() -> None:
    mask = np.zeros((6, 8), np.uint8)
    mask[0, 0] = mask[1, 1] = 255
    mask[4:6, 3:8] = 255
    assert mask_boxes(mask) == ((0, 0, 2, 2), (3, 4, 5, 2))
    assert mask_boxes(np.zeros((3, 3), bool)) == ()


def test_nothing_predicted_or_nothing_there() -> None:
    nothing = match_boxes([], [])[0.5]
    assert nothing == BoxCounts()
    assert math.isnan(box_recall(nothing))
    assert math.isnan(box_precision(nothing))
    missed = match_boxes([], [(0, 0, 1, 1)])[0.5]
    assert box_recall(missed) == 0
    assert BoxCounts(1, 2, 3).emptied() + missed == BoxCounts(0, 0, 4)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"\(0, 0, 0, 3\) has no width or height"):
        box_ious([(0, 0, 0, 3)], [(0, 0, 1, 1)])
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        match_boxes([], [], [0.0])
