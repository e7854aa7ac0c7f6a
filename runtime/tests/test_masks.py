from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from ltcam_runtime.masks import (
    above,
    fill_holes,
    fixed,
    heatmap_range,
    otsu,
    otsu_level,
    quantise,
    to_shares,
)

G4 = np.array([[136, 115, 73, 52], [111, 97, 69, 55], [61, 61, 61, 61], [36, 43, 57, 64]]) / 64
G4_WHOLE = np.array([[8, 6, 2, 0], [6, 5, 3, 2], [2, 3, 5, 6], [0, 2, 6, 8]]) / 16
STEPS = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 4], [0, 0, 4, 4]], float)


def criterion(levels: np.ndarray, level: int) -> float:
    """w0 w1 (mu0 - mu1)^2, literally."""
    low, high = levels[levels <= level].astype(float), levels[levels > level].astype(float)
    if not low.size or not high.size:
        return 0.0
    return float(low.size * high.size / levels.size**2 * (low.mean() - high.mean()) ** 2)


def exact_otsu(levels: np.ndarray) -> int:
    """The definition in fractions, over every threshold."""
    values: list[int] = levels.ravel().tolist()
    best, best_value = min(values), Fraction(0)
    for level in range(255):
        low = [value for value in values if value <= level]
        high = [value for value in values if value > level]
        if low and high:
            means = Fraction(sum(low), len(low)) - Fraction(sum(high), len(high))
            value = len(low) * len(high) * means**2
            if value > best_value:
                best, best_value = level, value
    return best


# ---------------------------------------------------------------------------------- quantising


def test_golden_levels() -> None:
    assert quantise(G4).tolist() == [
        [255, 201, 94, 41],
        [191, 156, 84, 48],
        [64, 64, 64, 64],
        [0, 18, 54, 71],
    ]
    assert quantise(G4_WHOLE).tolist() == [
        [255, 191, 64, 0],
        [191, 159, 96, 64],
        [64, 96, 159, 191],
        [0, 64, 191, 255],
    ]
    assert set(quantise(STEPS).ravel().tolist()) == {0, 64, 255}


def test_half_levels_go_to_the_even_one() -> None:
    heatmap = np.array([[0.0, 0.5, 1.5, 2.5, 255.0]])
    assert quantise(heatmap).tolist() == [[0, 0, 2, 2, 255]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [0.0, -3.0, 1e-4, 1e4])
def test_constant_maps_are_empty(dtype: type[np.floating[Any]], value: float) -> None:
    heatmap = np.full((6, 5), value, dtype)
    eps = np.finfo(dtype).eps
    for noise in (0, 1, 8):
        noisy = heatmap.copy()
        noisy[2, 2] = dtype(value * (1 + noise * eps))
        low, high = heatmap_range(noisy)
        assert low == high
        assert not quantise(noisy).any()
        assert not otsu(noisy).any()
        assert not fixed(noisy, 0).any()


def test_a_faint_map_is_not_constant() -> None:
    heatmap = np.full((4, 4), 1.0, np.float32)
    heatmap[0, 0] = 1 + 40 * np.finfo(np.float32).eps
    assert quantise(heatmap).max() == 255
    assert otsu(heatmap).sum() == 1
    tiny = np.zeros((2, 2), np.float32)
    tiny[1, 1] = 1e-40  # scale alone says nothing
    assert otsu(tiny).tolist() == [[False, False], [False, True]]


@settings(max_examples=60)
@given(
    hnp.arrays(np.float32, (7, 9), elements=st.floats(0, 1, width=32)),
    st.sampled_from([1e-6, 0.25, 1.0, 1024.0]),
    st.sampled_from([-8.0, 0.0, 2.0]),
)
def test_levels_follow_the_formula_and_ignore_scale(heatmap: np.ndarray, scale: float, shift: float) -> None:
    wide = heatmap.astype(np.float64)
    low, high = wide.min(), wide.max()
    if high - low <= 16 * np.finfo(np.float32).eps * abs(wide).max():
        assert not quantise(heatmap).any()
        return
    levels = quantise(heatmap)
    np.testing.assert_array_equal(levels, np.rint(255 * (wide - low) / (high - low)))
    if high - low > 1e-6:
        moved = quantise(wide * scale + shift)
        assert np.abs(moved.astype(int) - levels).max() <= 1  # only where rounding meets a half
        assert (moved != levels).mean() <= 0.05
    np.testing.assert_allclose(to_shares(heatmap), (wide - low) / (high - low), atol=1e-12)


# ---------------------------------------------------------------------------------------- Otsu


def test_golden_masks() -> None:
    upper_left = np.zeros((4, 4), bool)
    upper_left[:2, :2] = True
    assert otsu_level(quantise(G4)) == 94
    assert criterion(quantise(G4), 94) == pytest.approx(3955.79296875)
    assert (otsu(G4) == upper_left).all()
    assert otsu_level(quantise(G4_WHOLE)) == 96
    assert criterion(quantise(G4_WHOLE), 96) == pytest.approx(5112.25)
    assert (otsu(G4_WHOLE) == upper_left | upper_left[::-1, ::-1]).all()
    assert otsu_level(quantise(STEPS)) == 64
    assert (otsu(STEPS) == (STEPS == 4)).all()


@settings(max_examples=80)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_otsu_is_the_lowest_exact_maximum(levels: np.ndarray) -> None:
    assert otsu_level(levels) == exact_otsu(levels)


@settings(max_examples=40)
@given(st.lists(st.sampled_from([0, 10, 20, 128, 200, 255]), min_size=2, max_size=12))
def test_otsu_on_ties(values: list[int]) -> None:
    levels = np.array([values + [255 - value for value in values]], np.uint8)  # symmetric: many ties
    assert otsu_level(levels) == exact_otsu(levels)


@pytest.mark.parametrize("seed", range(12))
def test_otsu_as_opencv_has_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    blob = cv2.GaussianBlur(rng.random((60, 80)), (0, 0), 1 + seed).astype(np.float32)
    levels = quantise(blob**2)
    theirs, mask = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    assert otsu_level(levels) == theirs
    assert (otsu(blob**2) == mask.astype(bool)).all()
    values = [criterion(levels, level) for level in range(256)]
    assert criterion(levels, otsu_level(levels)) == pytest.approx(max(values), rel=1e-12)


def test_constant_levels_give_nothing() -> None:
    for value in (0, 9, 255):
        levels = np.full((3, 3), value, np.uint8)
        assert not (levels > otsu_level(levels)).any()


# ------------------------------------------------------------------- a share of the range, a value


def test_fixed_takes_a_share_of_the_range() -> None:
    heatmap = np.array([[-1.0, 0.0, 1.0, 3.0]], np.float32)
    assert fixed(heatmap, 0).tolist() == [[False, True, True, True]]
    assert fixed(heatmap, 0.25).tolist() == [[False, False, True, True]]
    assert fixed(heatmap, 0.5).tolist() == [[False, False, False, True]]
    assert not fixed(heatmap, 1).any()


def test_holes_are_what_the_border_does_not_reach() -> None:
    mask = np.array(
        [
            [1, 1, 1, 0, 0, 1],
            [1, 0, 1, 0, 1, 0],
            [1, 1, 1, 0, 0, 1],
            [0, 0, 0, 0, 0, 0],
        ],
        bool,
    )
    expected = mask.copy()
    expected[1, 1] = True
    assert np.array_equal(fill_holes(mask), expected)
    assert np.array_equal(fill_holes(expected), expected)
    assert fill_holes(np.ones((3, 3), bool)).all()
    assert not fill_holes(np.zeros((3, 3), bool)).any()


def test_a_diagonal_wall_holds_water() -> None:
    ring = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)
    assert fill_holes(ring)[1, 1], "an 8-connected ring encloses its middle"


def ring_with_gap(gap: int) -> NDArray[np.bool_]:
    """A ring of radius 30, three pixels wide, in an image of 200 x 240, with a gap on its right side."""
    y, x = np.mgrid[:200, :240]
    distance = np.hypot(y - 100, x - 120)
    ring = (distance > 28) & (distance < 32)
    return np.asarray(ring & ~((x > 120) & (np.abs(y - 100) < gap / 2)))


@pytest.mark.parametrize(("gap", "filled"), [(0, True), (6, True), (16, True), (24, False)])
def test_a_rim_with_a_gap_encloses_what_is_broad(gap: int, filled: bool) -> None:
    mask = ring_with_gap(gap)
    found = fill_holes(mask)
    assert (found >= mask).all()
    assert found[100, 110] == filled
    y, x = np.mgrid[:200, :240]
    assert not found[np.hypot(y - 100, x - 120) > 34].any(), "nothing outside the ring"


@pytest.mark.parametrize("gap", [3, 6, 12, 18, 25])
def test_defects_side_by_side_enclose_nothing(gap: int) -> None:
    bars, squares, dots = np.zeros((3, 200, 240), bool)
    bars[60:140, 100:102] = bars[60:140, 102 + gap : 104 + gap] = True
    squares[150:180, 100:130] = squares[150:180, 130 + gap : 160 + gap] = True
    dots[10:90:gap, 10:90:gap] = True
    for mask in (bars, squares, dots):
        assert np.array_equal(fill_holes(mask), mask)


@pytest.mark.parametrize("side", [60, 200, 400])
def test_small_rims_and_large_ones(side: int) -> None:
    """Rims of a fifteenth to a third of the side, all with a small gap."""
    for radius in (side // 15, side // 8, side // 3):
        y, x = np.mgrid[:side, :side] - side // 2
        distance = np.hypot(y, x)
        rim = (distance > radius - 1.5) & (distance < radius + 1.5)
        rim &= ~((x > 0) & (np.abs(y) < side / 60))
        assert fill_holes(rim)[side // 2, side // 2]


def test_filling_does_not_depend_on_where_in_the_image_the_mask_is() -> None:
    mask = ring_with_gap(12)
    moved = np.roll(mask, (-60, -80), (0, 1))
    assert np.array_equal(np.roll(fill_holes(mask), (-60, -80), (0, 1)), fill_holes(moved))


def test_above_takes_the_value_as_it_is() -> None:
    heatmap = np.array([[0.2, 0.5], [0.51, 0.4]], np.float32)
    assert np.array_equal(above(heatmap, 0.5), [[False, False], [True, False]])
    assert not above(np.full((2, 2), 0.3), 0.5).any()
    assert above(np.full((2, 2), 0.7), 0.5).all(), "a constant probability is one all the same"


def test_reaching_down_keeps_what_hangs_together() -> None:
    heatmap = np.array(
        [
            [9, 5, 0, 0, 5],
            [0, 0, 5, 0, 5],
            [0, 0, 0, 0, 0],
            [5, 0, 0, 0, 9],
        ],
        np.float32,
    )
    assert above(heatmap, 7, reach=0.5).astype(int).tolist() == [
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 1],
    ]


@settings(max_examples=60)
@given(hnp.arrays(np.float32, (8, 9), elements=st.floats(0, 1, width=32)), st.floats(0, 1), st.floats(0, 1))
def test_reaching_down_against_flooding(heatmap: np.ndarray, value: float, reach: float) -> None:
    weak, mask = above(heatmap, reach * value), above(heatmap, value)
    while True:
        grown = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & weak
        if (grown == mask).all():
            break
        mask = grown
    assert (above(heatmap, value, reach) == mask).all()


# ----------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("heatmap", "words"),
    [
        (np.zeros((0, 4), np.float32), r"shape \(0, 4\)"),
        (np.zeros(4, np.float32), r"shape \(4,\)"),
        (np.zeros((1, 2, 2), np.float32), r"shape \(1, 2, 2\)"),
        (np.array([[0, np.nan]], np.float32), "NaN or infinite values at 1 of 2"),
        (np.array([[0, np.inf, -np.inf]], np.float32), "at 2 of 3"),
        (np.zeros((2, 2), np.uint8), "uint8"),
    ],
)
def test_bad_heatmaps(heatmap: np.ndarray, words: str) -> None:
    for function in (
        otsu,
        quantise,
        heatmap_range,
        lambda bad: fixed(bad, 0.5),
        lambda bad: above(bad, 0.5, reach=0.2),
    ):
        with pytest.raises(ValueError, match=words):
            function(heatmap)


def test_bad_thresholds() -> None:
    heatmap = np.eye(3, dtype=np.float32)
    for share in (-0.1, 1.1, float("nan"), True):
        with pytest.raises(ValueError, match="0 to 1"):
            fixed(heatmap, share)
        with pytest.raises(ValueError, match="0 to 1"):
            above(heatmap, 0.5, reach=share)
    wrong: tuple[NDArray[Any], ...] = (np.zeros((2, 2), np.int32), np.zeros(0, np.uint8))
    for levels in wrong:
        with pytest.raises(ValueError, match="uint8"):
            otsu_level(levels)
