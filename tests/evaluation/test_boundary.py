from __future__ import annotations

import math
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ltcam.evaluation.boundary import (
    BoundaryCounts,
    CeilingCounts,
    boundary_counts,
    boundary_f1,
    boundary_precision,
    boundary_recall,
    ceiling_counts,
    ceiling_iou,
)
from ltcam.evaluation.counts import count_pixels, iou, precision, recall

relaxed = settings(max_examples=50)

shapes = st.shared(hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), key="shape")
sparse = hnp.arrays(np.bool_, shapes, elements=st.sampled_from([False, False, False, True]))


def uncertainty_ceiling(truth: NDArray[np.bool_], pixels: int = 2) -> float:
    return ceiling_iou(ceiling_counts(truth, pixels))


def near(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Literal: is any mask pixel within the radius?"""
    found = np.zeros(mask.shape, bool)
    pixels = np.argwhere(mask)
    for place in np.ndindex(mask.shape):
        found[place] = any(math.dist(place, pixel) <= radius for pixel in pixels)
    return found


@relaxed
@given(sparse, sparse, st.integers(1, 4))
def test_counts_equal_the_literal_definition(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], tolerance: int
) -> None:
    counts = boundary_counts(prediction, truth, [tolerance])[tolerance]
    assert counts == BoundaryCounts(
        predicted=prediction.sum(),
        predicted_right=(prediction & near(truth, tolerance)).sum(),
        true=truth.sum(),
        true_found=(truth & near(prediction, tolerance)).sum(),
    )


def test_counts_equal_distance_transforms_on_a_large_mask() -> None:
    rng = np.random.default_rng(3)
    blobs = [ndimage.gaussian_filter(rng.random((120, 200)), 4) for _ in range(2)]
    prediction, truth = (blob > np.quantile(blob, 0.9) for blob in blobs)
    to_truth = ndimage.distance_transform_edt(~truth)
    for tolerance, counts in boundary_counts(prediction, truth).items():
        assert counts.predicted_right == (prediction & (to_truth <= tolerance)).sum()


@relaxed
@given(sparse, sparse)
def test_more_tolerance_never_lowers_a_score_and_none_is_below_the_strict_one(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> None:
    counts = boundary_counts(prediction, truth, [1, 2, 3])
    strict = count_pixels(prediction, truth)
    for score, floor in (
        (boundary_precision, precision(strict)),
        (boundary_recall, recall(strict)),
        (boundary_f1, None),
    ):
        values = [score(each) for each in counts.values()]
        if floor is not None:
            values = [floor, *values]
        assert all(a <= b or (math.isnan(a) and math.isnan(b)) for a, b in pairwise(values))


@relaxed
@given(sparse)
def test_a_mask_agrees_with_itself(mask: NDArray[np.bool_]) -> None:
    for counts in boundary_counts(mask, mask).values():
        expected = 1 if mask.any() else math.nan
        assert boundary_f1(counts) == pytest.approx(expected, nan_ok=True)


def test_a_shift_within_the_tolerance_is_forgiven_and_one_beyond_is_not() -> None:
    truth, prediction = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    truth[10, 2:18] = True
    prediction[12, 2:18] = True
    counts = boundary_counts(prediction, truth)
    assert [boundary_f1(counts[tolerance]) for tolerance in (1, 2, 3)] == [0, 1, 1]


def test_empty_masks() -> None:
    empty, some = np.zeros((5, 5), bool), np.eye(5, dtype=bool)
    for tolerance in (1, 2, 3):
        assert math.isnan(boundary_f1(boundary_counts(empty, empty)[tolerance]))
        missed = boundary_counts(empty, some)[tolerance]
        assert boundary_recall(missed) == boundary_f1(missed) == 0
        assert math.isnan(boundary_precision(missed))
        assert boundary_f1(boundary_counts(some, empty)[tolerance]) == 0
    assert math.isnan(uncertainty_ceiling(empty))


@relaxed
@given(sparse, sparse)
def test_emptied_counts_are_those_of_an_empty_prediction(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> None:
    emptied = {tolerance: each.emptied() for tolerance, each in boundary_counts(prediction, truth).items()}
    assert emptied == boundary_counts(np.zeros_like(prediction), truth)


@relaxed
@given(sparse)
def test_ceiling_is_the_iou_of_the_truth_moved_in_and_out(truth: NDArray[np.bool_]) -> None:
    cross = ndimage.generate_binary_structure(2, 1)
    inner = ndimage.binary_erosion(truth, cross)
    outer = ndimage.binary_dilation(truth, cross)
    assert ceiling_counts(truth) == CeilingCounts(inner.sum(), outer.sum())
    assert uncertainty_ceiling(truth) == pytest.approx(iou(count_pixels(inner, outer)), nan_ok=True)
    assert ceiling_counts(truth, 4).inner <= ceiling_counts(truth).inner
    assert ceiling_counts(truth, 4).outer >= ceiling_counts(truth).outer


def test_ceiling_of_shapes_done_in_the_head() -> None:
    square = np.zeros((14, 14), bool)
    square[2:12, 2:12] = True
    # 8 x 8 inside; outside 10 more on each of four sides.
    assert uncertainty_ceiling(square) == 64 / 140
    # A pair of rows is too thin for two outlines two pixels apart to share anything.
    thin = np.zeros((14, 14), bool)
    thin[5:7, 2:12] = True
    assert uncertainty_ceiling(thin) == 0
    # The image's edge is an outline as well.
    assert uncertainty_ceiling(np.ones((6, 6), bool)) == 16 / 36


@pytest.mark.parametrize("pixels", [0, 1, 3, -2])
def test_ceiling_needs_an_even_width(pixels: int) -> None:
    with pytest.raises(ValueError, match="even"):
        uncertainty_ceiling(np.ones((4, 4), bool), pixels)


def test_bad_input_is_named() -> None:
    mask = np.zeros((4, 4), bool)
    with pytest.raises(ValueError, match="tolerance is 0"):
        boundary_counts(mask, mask, [0])
    with pytest.raises(ValueError, match=r"\(height, width\)"):
        boundary_counts(np.zeros(4, bool), np.zeros(4, bool))
    with pytest.raises(ValueError, match=r"\(4, 4\).*\(4, 5\)"):
        boundary_counts(mask, np.zeros((4, 5), bool))


@pytest.mark.ksdd
@pytest.mark.skipif("LTCAM_KSDD" not in os.environ, reason="LTCAM_KSDD does not name KolektorSDD's folder")
def test_ceiling_of_kolektorsdd() -> None:
    paths = sorted(Path(os.environ["LTCAM_KSDD"]).glob("kos*/*_label.bmp"))
    masks = [np.asarray(Image.open(path).convert("L")) > 0 for path in paths]
    masks = [mask for mask in masks if mask.any()]
    assert len(masks) == 52
    total = sum((ceiling_counts(mask) for mask in masks), CeilingCounts())
    assert ceiling_iou(total) == pytest.approx(0.671, abs=5e-4)
