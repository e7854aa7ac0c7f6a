from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from ltcam.evaluation.counts import PixelCounts, f1
from ltcam.evaluation.images import (
    best_f1,
    confusion_matrix,
    count_images,
    image_auroc,
    image_average_precision,
)

relaxed = settings(max_examples=50)

judged = st.lists(st.tuples(st.booleans(), st.integers(0, 8).map(lambda v: v / 8)), min_size=1, max_size=30)


@relaxed
@given(judged, st.integers(0, 8).map(lambda v: v / 8))
def test_everything_agrees_with_sklearn(pairs: list[tuple[bool, float]], threshold: float) -> None:
    labels, scores = (list(column) for column in zip(*pairs, strict=True))
    predicted = [score >= threshold for score in scores]
    counts = count_images(labels, scores, threshold)
    expected = metrics.confusion_matrix(labels, predicted, labels=[False, True])
    assert [[counts.tn, counts.fp], [counts.fn, counts.tp]] == expected.tolist()
    if len(set(labels)) == 1:
        assert math.isnan(image_auroc(labels, scores))
        assert math.isnan(image_average_precision(labels, scores))
        assert all(math.isnan(value) for value in best_f1(labels, scores))
        return
    assert f1(counts) == pytest.approx(metrics.f1_score(labels, predicted))
    assert image_auroc(labels, scores) == pytest.approx(metrics.roc_auc_score(labels, scores))
    assert image_average_precision(labels, scores) == pytest.approx(
        metrics.average_precision_score(labels, scores)
    )
    best, at = best_f1(labels, scores)
    assert best == pytest.approx(max(f1(count_images(labels, scores, score)) for score in scores))
    assert f1(count_images(labels, scores, at)) == best


def test_the_threshold_belongs_to_the_defects() -> None:
    assert count_images([True, False], [0.5, 0.5], 0.5) == PixelCounts(tp=1, fp=1)


@relaxed
@given(st.lists(st.tuples(*[st.sampled_from(["ok", "crack", "pit"])] * 2), max_size=20))
def test_confusion_agrees_with_sklearn(pairs: list[tuple[str, str]]) -> None:
    labels, predicted = [a for a, _ in pairs], [b for _, b in pairs]
    classes = ["ok", "crack", "pit"]
    matrix = confusion_matrix(labels, predicted, classes)
    literal = [[pairs.count((row, column)) for column in classes] for row in classes]
    assert matrix.tolist() == literal
    assert matrix.dtype == np.int64


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="2 labels but 1 scores"):
        image_auroc([True, False], [0.5])
    with pytest.raises(ValueError, match="image 1 is not finite"):
        image_average_precision([True, False], [0.5, math.nan])
    with pytest.raises(ValueError, match="'dent' is not among"):
        confusion_matrix(["ok"], ["dent"], ["ok", "crack"])
    with pytest.raises(ValueError, match="1 labels but 0"):
        confusion_matrix(["ok"], [], ["ok"])
