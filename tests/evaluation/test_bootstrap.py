from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from ltcam.evaluation import bootstrap
from ltcam.evaluation.bootstrap import pooled_intervals, ranking_intervals
from ltcam.evaluation.counts import PixelCounts, iou


def measure(sums: NDArray[Any]) -> dict[str, float]:
    return {"iou": iou(PixelCounts(*(int(value) for value in sums)))}


def some_counts(images: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).integers(0, 1000, (images, 4)).astype(float)


def test_intervals_equal_redrawing_one_image_at_a_time() -> None:
    table = some_counts(9)
    rng = np.random.default_rng(5)
    values = []
    for drawn in rng.integers(0, 9, (400, 9)):
        pooled = sum((PixelCounts(*map(int, table[index])) for index in drawn), PixelCounts())
        values.append(iou(pooled))
    found = pooled_intervals(table, measure, resamples=400, seed=5)["iou"]
    assert found == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))


def test_ranking_intervals_equal_sklearn_on_redrawn_images() -> None:
    rng = np.random.default_rng(2)
    labels = rng.random(25) < 0.3
    scores = np.round(rng.random(25) + 0.3 * labels, 1)
    expected: dict[str, Any] = {"ap": [], "auroc": []}
    for drawn in np.random.default_rng(5).integers(0, 25, (300, 25)):
        if 0 < labels[drawn].sum() < 25:
            expected["ap"].append(average_precision_score(labels[drawn], scores[drawn]))
            expected["auroc"].append(roc_auc_score(labels[drawn], scores[drawn]))
    found = ranking_intervals(labels.tolist(), scores.tolist(), resamples=300, seed=5, level=0.9)
    for name, values in expected.items():
        assert found[name] == pytest.approx(tuple(np.quantile(values, [0.05, 0.95])))


def test_the_seed_decides_and_parts_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    table = some_counts(20)
    base = pooled_intervals(table, measure, seed=1)
    assert pooled_intervals(table, measure, seed=1) == base
    assert pooled_intervals(table, measure, seed=2) != base
    monkeypatch.setattr(bootstrap, "_CELLS_AT_ONCE", 60)
    assert pooled_intervals(table, measure, seed=1) == base


def test_intervals_hold_the_value_and_shrink_with_more_images() -> None:
    widths = []
    for images in (10, 1000):
        table = some_counts(images)
        low, high = pooled_intervals(table, measure)["iou"]
        assert low < measure(table.sum(axis=0))["iou"] < high
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0] / 10, rel=0.5)


def test_coverage_is_about_what_it_says() -> None:
    rng = np.random.default_rng(0)
    # Counts around IoU 0.4 with much variation between images; 60 images each time.
    truth = 0.4
    hits = 0
    for trial in range(120):
        areas = rng.lognormal(5, 0.6, 60)
        shares = rng.beta(4, 6, 60)
        table = np.stack([areas * shares, areas * (1 - shares), np.zeros(60), np.zeros(60)], axis=1)
        low, high = pooled_intervals(np.round(table * 100), measure, resamples=200, seed=trial)["iou"]
        hits += low <= truth <= high
    assert 0.87 <= hits / 120 <= 1


def test_one_image_none_and_one_class() -> None:
    single = some_counts(1)
    value = measure(single[0])["iou"]
    assert pooled_intervals(single, measure)["iou"] == (value, value)
    assert all(math.isnan(end) for end in pooled_intervals(np.zeros((0, 4)), measure)["iou"])
    for labels in ([True, True], [False], []):
        found = ranking_intervals(labels, [0.5] * len(labels), resamples=20)
        assert all(math.isnan(end) for ends in found.values() for end in ends)


def test_a_thousand_resamples_are_fast() -> None:
    table = some_counts(500)
    start = time.process_time()
    pooled_intervals(table, measure)
    ranking_intervals((table[:, 0] > 800).tolist(), table[:, 1].tolist())
    assert time.process_time() - start < 3


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match="resamples is 0"):
        pooled_intervals(some_counts(3), measure, resamples=0)
    with pytest.raises(ValueError, match="level is 95"):
        ranking_intervals([True, False], [1, 0], level=95)
