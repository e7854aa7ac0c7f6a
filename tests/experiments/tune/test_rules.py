from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ltcam.experiments.tune.rules import (
    AREA_PRICE,
    RULE,
    RULES,
    agreement,
    best,
    contrast,
    score_drop,
    separability,
)

RULE_NAMED = {rule.name: rule for rule in RULES}


def spread(levels: NDArray[Any]) -> float:
    """Share of variance between the sides of the best cut, by trying every cut."""
    values = levels.astype(float).ravel()
    found = [0.0]
    for cut in range(256):
        low, high = values[values <= cut], values[values > cut]
        if low.size and high.size:
            within = (low.size * low.var() + high.size * high.var()) / values.size
            found.append(1 - within / values.var())
    return max(found)


@pytest.mark.parametrize("seed", range(4))
def test_separability_is_what_the_best_of_all_cuts_leaves_between(seed: int) -> None:
    rng = np.random.default_rng(seed)
    heatmap = rng.gamma(0.5, size=(12, 9)).astype(np.float32)
    low, high = heatmap.min(), heatmap.max()
    levels = np.rint(255 * (heatmap.astype(np.float64) - low) / (high - low))
    assert separability(heatmap) == pytest.approx(spread(levels), abs=1e-9)


def test_separability_of_the_extremes() -> None:
    two = np.array([[0, 0, 5], [0, 5, 0]], np.float32)
    assert separability(two) == pytest.approx(1)
    assert separability(np.full((3, 3), 2.5, np.float32)) == 0
    grades = np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10)
    assert 0.7 < separability(grades) < 0.8  # an even ramp, cut in its middle: 3/4


@given(scale=st.floats(0.01, 100), shift=st.floats(-10, 10))
def test_separability_knows_no_scale(scale: float, shift: float) -> None:
    heatmap = np.array([[0, 1, 2], [7, 8, 9]], np.float64)
    scaled: NDArray[Any] = scale * heatmap + shift
    assert separability(scaled) == pytest.approx(separability(heatmap.astype(np.float32)), abs=0.02)


def test_score_drop() -> None:
    assert score_drop(4.0, -2.0, -2.0) == 1
    assert score_drop(4.0, 4.0, -2.0) == 0
    assert score_drop(4.0, 1.0, -2.0) == 0.5
    assert score_drop(4.0, -9.0, -2.0) == 1  # better than OK is not better
    assert score_drop(4.0, 99.0, -2.0) == -1
    assert math.isnan(score_drop(-2.0, -3.0, -2.0))


def test_agreement() -> None:
    a = np.array([[1, 1, 0, 0]], bool)
    assert agreement(a, a) == 1
    assert agreement(a, ~a) == 0
    assert agreement(a, np.array([[0, 1, 1, 0]], bool)) == pytest.approx(1 / 3)
    nothing = np.zeros_like(a)
    assert agreement(nothing, nothing) == 0


def test_contrast_is_highest_where_the_mask_fits() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(118, 138, (80, 60, 3), dtype=np.uint8)
    image[30:40, 20:40] = 30
    exact, wide, aside = (np.zeros((80, 60), bool) for _ in range(3))
    exact[30:40, 20:40] = True
    wide[20:50, 10:50] = True
    aside[60:70, 20:40] = True
    assert contrast(image, exact) > 3 * contrast(image, wide)
    assert contrast(image, aside) < 0.5
    assert contrast(image, np.zeros((80, 60), bool)) == 0
    assert contrast(image, np.ones((80, 60), bool)) == 0


def judgements(**given: Any) -> dict[str, NDArray[np.float64]]:
    return {name: np.array(values, np.float64) for name, values in given.items()}


def test_rules_average_over_images_and_pass_over_what_is_unknown() -> None:
    judged = judgements(
        separability=[[0.1, 0.5], [0.3, 0.1]],
        drop=[[1.0, 0.8], [np.nan, np.nan]],
        area=[[1.0, 0.2], [1.0, 0.2]],
    )
    assert RULE_NAMED["separability"].values(judged) == pytest.approx([0.2, 0.3])
    expected = [1 - AREA_PRICE, 0.8 - 0.2 * AREA_PRICE]
    assert RULE_NAMED["drop_for_area"].values(judged) == pytest.approx(expected)
    unknown = judgements(drop=[[np.nan]], area=[[1.0]])
    assert math.isnan(RULE_NAMED["drop_for_area"].values(unknown)[0])


def test_best() -> None:
    assert best((0, 50, 90), [0.1, 0.3, 0.3]) == 50
    assert best((0, 50), [None, 0.1]) == 50
    assert best((0, 50), [math.nan, None]) is None


def test_the_deciding_rule_is_one_of_them() -> None:
    assert RULE in RULE_NAMED
    assert len(RULE_NAMED) == len(RULES)
