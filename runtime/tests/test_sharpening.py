"""A coarse heatmap and the image to the defect's own boundary."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ltcam_runtime.masks import otsu
from ltcam_runtime.sharpening import Contrast, Polarity, local_contrast, sharpen

SIZE = (120, 160)


def surface(seed: int = 0, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """A lit, grainy grey surface."""
    rng = np.random.default_rng(seed)
    light = np.linspace(110, 150, size[1])[None, :] + np.zeros(size)
    grey = (light + rng.normal(0, 3, size)).clip(0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def crack(depth: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float32]]:
    """An image with a two-pixel line (darker by `depth`, brighter if negative), its mask, a coarse heatmap."""
    truth = np.zeros(SIZE, np.uint8)
    cv2.line(truth, (40, 30), (110, 80), 1, 2)
    image = surface().astype(np.int16) - depth * truth.astype(np.int16)[:, :, None]
    coarse = cv2.GaussianBlur(truth.astype(np.float32), (0, 0), 8).astype(np.float32)
    return image.clip(0, 255).astype(np.uint8), truth.astype(bool), coarse


def iou(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float((mask & truth).sum() / (mask | truth).sum())


@pytest.mark.parametrize(
    ("depth", "polarity"),
    [
        (50, "dark"),
        (-50, "bright"),
        (50, "both"),
        (-50, "both"),
        (50, "either"),
        (-50, "either"),
    ],
)
def test_a_coarse_heatmap_gets_the_lines_own_width(depth: int, polarity: Polarity) -> None:
    image, truth, heatmap = crack(depth)
    sharp = sharpen(heatmap, image, Contrast(polarity, 0.12, 5))
    assert iou(otsu(heatmap), truth) < 0.3
    assert iou(otsu(sharp, 0.15), truth) > 0.5
    assert sharp.dtype == np.float32
    assert sharp.min() >= 0


def test_the_wrong_polarity_misses_the_line() -> None:
    image, truth, heatmap = crack(50)
    sharp = sharpen(heatmap, image, Contrast("bright", 0.12, 5))
    assert iou(otsu(sharp, 0.15), truth) < 0.1


def test_either_takes_the_stronger_sign_of_the_hot_part_and_leaves_the_other_out() -> None:
    image, _, heatmap = crack(60)
    image[70:72, 60:75] = 200  # a faint glint beside the dark line, in the hot part too
    heatmap = cv2.GaussianBlur(np.maximum(heatmap, 0.4 * (image[:, :, 0] == 200)), (0, 0), 4)
    either, dark, both = (
        sharpen(heatmap, image, Contrast(polarity, 0.12, 5)) for polarity in ("either", "dark", "both")
    )
    assert np.array_equal(either, dark)
    assert not either[70:72, 62:73].any()
    assert both[70:72, 62:73].any()
    negative = 255 - image
    assert np.allclose(sharpen(heatmap, negative, Contrast("either", 0.12, 5)), either, atol=1e-3)


def test_colour_sees_what_grey_cannot() -> None:
    image = np.full((*SIZE, 3), (120, 120, 120), np.uint8)
    image[50:60, 70:80] = (175, 96, 100)  # as light as the surroundings
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    assert abs(int(grey[55, 75]) - 120) <= 2
    assert local_contrast(image, Contrast("both", 0.25))[55, 75] < 3
    assert local_contrast(image, Contrast("colour", 0.25))[55, 75] > 15


def test_the_place_is_the_heatmaps_and_the_boundary_the_images() -> None:
    image, truth, heatmap = crack(50)
    image[5:9, 5:60] -= 50  # another dark line, where the heatmap is cold
    sharp = sharpen(heatmap, image, Contrast("dark", 0.12, 5))
    assert not otsu(sharp, 0.15)[:20, :30].any()
    assert iou(otsu(sharp, 0.15), truth) > 0.5


def test_the_floor_takes_the_surfaces_own_grain_away() -> None:
    image = surface()
    without, with_floor = (local_contrast(image, Contrast("both", 0.12, floor)) for floor in (0, 6))
    assert without.mean() > 0.5
    assert with_floor.mean() < 0.01
    np.testing.assert_allclose(with_floor, np.maximum(without - 6, 0), atol=1e-4)


def test_a_window_computed_small_is_close_to_the_whole_median() -> None:
    size = (300, 400)
    image = surface(size=size)
    cv2.circle(image, (200, 150), 12, (60, 60, 60), -1)
    found = local_contrast(image, Contrast("dark", 0.25))
    grey = image[:, :, 0]
    exact = cv2.GaussianBlur(np.maximum(cv2.medianBlur(grey, 75).astype(np.float32) - grey, 0), (0, 0), 1.0)
    assert np.abs(found - exact)[20:-20, 20:-20].max() < 6
    assert found[150, 200] > 50


def test_no_contrast_in_the_hot_part_leaves_the_heatmap() -> None:
    flat = np.full((*SIZE, 3), 99, np.uint8)
    _, _, heatmap = crack(50)
    assert sharpen(heatmap, flat, Contrast("dark", 0.12)) is heatmap
    constant = np.full(SIZE, 0.5, np.float32)
    assert sharpen(constant, surface(), Contrast("dark", 0.12)) is constant


@settings(max_examples=30)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    polarity=st.sampled_from(["dark", "bright", "both", "colour"]),
    window=st.floats(0.01, 1),
    seed=st.integers(0, 99),
)
def test_any_size_gives_finite_values_that_are_not_negative(
    height: int, width: int, polarity: Polarity, window: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    heatmap = rng.random((height, width), dtype=np.float32)
    contrast = Contrast(polarity, window)
    found = local_contrast(image, contrast)
    sharp = sharpen(heatmap, image, contrast)
    assert found.shape == sharp.shape == (height, width)
    assert np.isfinite(sharp).all()
    assert found.min() >= 0
    assert sharp.min() >= 0


@settings(max_examples=20)
@given(scale=st.floats(0.01, 100), offset=st.floats(-5, 5))
def test_the_mask_does_not_depend_on_the_heatmaps_scale(scale: float, offset: float) -> None:
    image, _, heatmap = crack(50)
    contrast = Contrast("dark", 0.12, 5)
    one = otsu(sharpen(heatmap, image, contrast), 0.15)
    other = otsu(sharpen((heatmap * scale + offset).astype(np.float32), image, contrast), 0.15)
    assert iou(one, other) > 0.98


@pytest.mark.parametrize(
    ("polarity", "window", "floor", "words"),
    [
        ("grey", 0.1, 0, "polarity='grey'"),
        ("dark", 0, 0, "window=0"),
        ("dark", 1.5, 0, "window=1.5"),
        ("dark", float("nan"), 0, "window=nan"),
        ("dark", 0.1, -1, "floor=-1"),
        ("dark", 0.1, 256, "floor=256"),
    ],
)
def test_values_that_mean_nothing_are_refused(polarity: Any, window: float, floor: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Contrast(polarity, window, floor)


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="expected the same"):
        sharpen(np.zeros((3, 4), np.float32), np.zeros((4, 3, 3), np.uint8), Contrast("dark", 0.1))
