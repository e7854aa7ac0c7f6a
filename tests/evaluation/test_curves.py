from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score

from ltcam.evaluation.curves import (
    ScoreHistogram,
    auroc,
    average_precision,
    per_region_overlap,
    pixel_curves,
    pixel_intervals,
)

relaxed = settings(max_examples=50)


def average_precision_bounds(histogram: ScoreHistogram) -> tuple[float, float]:
    """The interval that holds the average precision of the exact, unbinned scores."""
    counted = histogram.counts()
    p, n = counted.positives.astype(np.float64), counted.negatives.astype(np.float64)
    if not p.sum() or not n.sum():
        return np.nan, np.nan
    p, n, after, false = (values[p > 0] for values in (p, n, p.cumsum(), n.cumsum()))
    # Inside one bin: at best all positives come first, at worst all negatives do.
    best = after / (after + false - n)
    worst = (after - p + 1) / (after - p + 1 + false)
    return float((p * worst).sum() / p.sum()), float((p * best).sum() / p.sum())


def auroc_bounds(histogram: ScoreHistogram) -> tuple[float, float]:
    """The interval that holds the AUROC of the exact, unbinned scores."""
    p, n = histogram.positives.astype(np.float64), histogram.negatives.astype(np.float64)
    value = float(auroc(p[::-1], n[::-1]))
    ties = float((p * n).sum()) / 2
    slack = ties / float(p.sum() * n.sum()) if ties else 0.0
    return value - slack, value + slack


shapes = st.shared(hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=6), key="shape")
truths = hnp.arrays(np.bool_, shapes)
heatmaps = hnp.arrays(
    np.float32, shapes, elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)
)


def histogram_of(images: Sequence[tuple[NDArray[Any], NDArray[np.bool_]]], **options: Any) -> ScoreHistogram:
    histogram = ScoreHistogram(**options)
    for name, (heatmap, truth) in enumerate(images):
        histogram.add(heatmap, truth, str(name))
    return histogram


def smooth_images(
    number: int, seed: int = 0, shape: tuple[int, int] = (60, 90)
) -> list[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Heatmaps with ReLU zeros and differing scales, and truths that overlap their peaks in part."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(number):
        field = ndimage.gaussian_filter(rng.random(shape), 4)
        truth = np.roll(field > np.quantile(field, 0.95), 3, axis=0)
        heatmap = np.maximum(field - np.quantile(field, 0.6), 0) * rng.uniform(1, 10)
        images.append((heatmap.astype(np.float32), truth))
    return images


def literal_pro(images: Sequence[tuple[NDArray[Any], NDArray[np.bool_]]], limit: float) -> float:
    """MVTec AD's definition, threshold by threshold."""
    regions = []
    for heatmap, truth in images:
        labels, number = ndimage.label(truth, np.ones((3, 3)))
        regions += [heatmap[labels == label] for label in range(1, number + 1)]
    background = np.concatenate([heatmap[~truth] for heatmap, truth in images])
    points = [(0.0, 0.0)]
    for threshold in np.unique(np.concatenate([heatmap.ravel() for heatmap, _ in images]))[::-1]:
        overlap = np.mean([(region >= threshold).mean() for region in regions])
        points.append(((background >= threshold).mean(), overlap))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x1 <= limit:
            area += (x1 - x0) * (y0 + y1) / 2
        elif x0 < limit:
            at_limit = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            area += (limit - x0) * (y0 + at_limit) / 2
    return area / limit


def pooled(
    images: Sequence[tuple[NDArray[Any], NDArray[np.bool_]]],
) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    return (
        np.concatenate([truth.ravel() for _, truth in images]),
        np.concatenate([heatmap.ravel() for heatmap, _ in images]),
    )


@relaxed
@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=40))
def test_curves_of_tied_counts_equal_sklearn(pairs: list[tuple[int, bool]]) -> None:
    scores, labels = (np.array(column) for column in zip(*pairs, strict=True))
    positives = np.array([((scores == score) & labels).sum() for score in range(9, -1, -1)])
    negatives = np.array([((scores == score) & ~labels).sum() for score in range(9, -1, -1)])
    if labels.all() or not labels.any():
        assert np.isnan(average_precision(positives, negatives))
        assert np.isnan(auroc(positives, negatives))
        return
    assert average_precision(positives, negatives) == pytest.approx(average_precision_score(labels, scores))
    assert auroc(positives, negatives) == pytest.approx(roc_auc_score(labels, scores))


def test_curves_are_taken_along_the_last_axis() -> None:
    rng = np.random.default_rng(0)
    p, n = rng.integers(0, 5, (2, 4, 30))
    for curve in (average_precision, auroc, per_region_overlap):
        np.testing.assert_allclose(curve(p, n), [curve(a, b) for a, b in zip(p, n, strict=True)])


@relaxed
@given(truths, heatmaps)
def test_exact_scores_lie_within_the_bounds(truth: NDArray[np.bool_], heatmap: NDArray[np.float32]) -> None:
    if truth.all() or not truth.any():
        assert all(math.isnan(value) for value in average_precision_bounds(histogram_of([(heatmap, truth)])))
        return
    histogram = histogram_of([(heatmap, truth)], replicates=2)
    for (low, high), exact, mine in (
        (
            average_precision_bounds(histogram),
            average_precision_score(truth.ravel(), heatmap.ravel()),
            pixel_curves(histogram)["ap"],
        ),
        (
            auroc_bounds(histogram),
            roc_auc_score(truth.ravel(), heatmap.ravel()),
            pixel_curves(histogram)["auroc"],
        ),
    ):
        assert low - 1e-12 <= exact <= high + 1e-12
        assert low - 1e-12 <= mine <= high + 1e-12


def test_distinct_scores_far_enough_apart_are_exact() -> None:
    rng = np.random.default_rng(1)
    scores = rng.permutation(np.linspace(1, 2, 300)).astype(np.float32).reshape(3, 10, 10)
    images = [(-heatmap, rng.random((10, 10)) < 0.3) for heatmap in scores]
    found = pixel_curves(histogram_of(images))
    labels, values = pooled(images)
    assert found["ap"] == pytest.approx(average_precision_score(labels, values), abs=1e-12)
    assert found["auroc"] == pytest.approx(roc_auc_score(labels, values), abs=1e-12)
    assert found["pro"] == pytest.approx(literal_pro(images, 0.3), abs=1e-12)


def test_heatmaps_as_cams_give_them_agree_with_sklearn_and_the_literal_pro() -> None:
    images = smooth_images(5)
    labels, values = pooled(images)
    found = pixel_curves(histogram_of(images))
    assert found["ap"] == pytest.approx(average_precision_score(labels, values), abs=1e-4)
    assert found["auroc"] == pytest.approx(roc_auc_score(labels, values), abs=1e-6)
    small = smooth_images(3, seed=4, shape=(24, 30))
    for limit in (0.05, 0.3, 1.0):
        mine = pixel_curves(histogram_of(small), pro_limit=limit)["pro"]
        assert mine == pytest.approx(literal_pro(small, limit), abs=1e-4)


def test_pro_weighs_a_small_region_like_a_large_one() -> None:
    truth = np.zeros((10, 20), bool)
    truth[:8, :8] = True
    truth[9, 19] = True
    only_large = np.where(np.arange(20) < 8, 1.0, 0.0) * truth
    found = pixel_curves(histogram_of([(only_large, truth)]))
    # Half of the regions at no false positive; then all at once, so the line rises from 0.5 at 0 to 1 at 1.
    assert found["pro"] == pytest.approx((0.5 + 0.65) / 2)


def test_a_perfect_and_a_reversed_heatmap() -> None:
    truth = np.zeros((8, 8), bool)
    truth[2:4, 2:5] = True
    assert pixel_curves(histogram_of([(truth.astype(float), truth)])) == {"ap": 1, "auroc": 1, "pro": 1}
    worst = pixel_curves(histogram_of([(1 - truth, truth)]))
    assert worst["auroc"] == worst["pro"] == 0


def test_zeros_of_a_relu_are_ties_exactly() -> None:
    truth = np.zeros((10, 20), bool)
    truth[:2] = True
    heatmap = np.zeros((10, 20))
    heatmap[0, :4] = [4, 3, 2, 1]
    heatmap[5, :2] = [3.5, 1.5]
    found = pixel_curves(histogram_of([(heatmap, truth)]))
    assert found["ap"] == pytest.approx(average_precision_score(truth.ravel(), heatmap.ravel()), abs=1e-12)
    assert found["auroc"] == pytest.approx(roc_auc_score(truth.ravel(), heatmap.ravel()), abs=1e-12)


def test_minus_zero_is_zero() -> None:
    truth = np.array([[True, False]])
    found = pixel_curves(histogram_of([(np.array([[-0.0, 0.0]]), truth)]))
    assert found["auroc"] == 0.5


def test_scale_between_images_matters_and_a_common_scale_does_not() -> None:
    images = smooth_images(4)
    loud = [(heatmap * (1 if index % 2 else 100), truth) for index, (heatmap, truth) in enumerate(images)]
    same = [(heatmap * 4, truth) for heatmap, truth in images]
    base = pixel_curves(histogram_of(images))
    assert pixel_curves(histogram_of(same)) == base
    assert abs(pixel_curves(histogram_of(loud))["ap"] - base["ap"]) > 0.01


def test_order_and_batches_do_not_matter() -> None:
    images = smooth_images(6)
    whole, back, first, rest = (ScoreHistogram() for _ in range(4))
    for index, (heatmap, truth) in enumerate(images):
        whole.add(heatmap, truth, str(index))
        (first if index < 2 else rest).add(heatmap, truth, str(index))
    for index in reversed(range(6)):
        back.add(*images[index], str(index))
    merged = rest.merged(first)
    assert merged.images == whole.images == 6
    for other in (back, merged):
        np.testing.assert_array_equal(other.positives, whole.positives)
        np.testing.assert_array_equal(other.negatives, whole.negatives)
        assert pixel_curves(other) == pytest.approx(pixel_curves(whole), abs=1e-12)
        for name, interval in pixel_intervals(other).items():
            assert interval == pytest.approx(pixel_intervals(whole)[name], abs=1e-12)
    # Merging changed neither side.
    assert (first.images, rest.images) == (2, 4)
    with pytest.raises(ValueError, match="replicates"):
        first.merged(ScoreHistogram(replicates=3))


def test_images_that_are_all_alike_leave_no_doubt() -> None:
    heatmap, truth = smooth_images(1)[0]
    histogram = histogram_of([(heatmap, truth)] * 8)
    for name, value in pixel_curves(histogram).items():
        low, high = pixel_intervals(histogram)[name]
        assert high - low < 2e-3
        assert low == pytest.approx(value, abs=2e-3)


def test_intervals_match_a_bootstrap_over_the_images_themselves() -> None:
    images = smooth_images(12, seed=7, shape=(30, 40))
    histogram = histogram_of(images, replicates=600)
    rng = np.random.default_rng(0)
    redrawn: dict[str, Any] = {"ap": [], "auroc": []}
    for _ in range(200):
        labels, values = pooled([images[index] for index in rng.integers(0, 12, 12)])
        redrawn["ap"].append(average_precision_score(labels, values))
        redrawn["auroc"].append(roc_auc_score(labels, values))
    for name, drawn in redrawn.items():
        expected = np.quantile(drawn, [0.025, 0.975])
        low, high = pixel_intervals(histogram)[name]
        assert low < pixel_curves(histogram)[name] < high
        assert high - low == pytest.approx(expected[1] - expected[0], rel=0.4)


@pytest.mark.parametrize("defect", [False, True])
def test_one_kind_of_pixels_only_is_undefined(defect: bool) -> None:
    histogram = histogram_of([(np.ones((3, 3)), np.full((3, 3), defect))])
    assert all(math.isnan(value) for value in pixel_curves(histogram).values())
    assert all(math.isnan(end) for ends in pixel_intervals(histogram).values() for end in ends)
    assert all(math.isnan(value) for value in pixel_curves(ScoreHistogram()).values())


def test_bad_input_is_named() -> None:
    histogram, truth = ScoreHistogram(), np.zeros((3, 4), bool)
    with pytest.raises(ValueError, match=r"a\.png.*\(3, 3\).*\(3, 4\)"):
        histogram.add(np.zeros((3, 3)), truth, "a.png")
    for bad in (np.nan, np.inf, -np.inf):
        heatmap = np.zeros((3, 4))
        heatmap[1, 2] = bad
        with pytest.raises(ValueError, match="NaN or Inf"):
            histogram.add(heatmap, truth, "a.png")
    assert histogram.images == 0
    with pytest.raises(ValueError, match="false positive rate"):
        pixel_curves(histogram, pro_limit=0)
