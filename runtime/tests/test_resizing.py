from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ltcam_runtime.resizing import fitted_size, resize, resize_heatmap

RNG = np.random.default_rng(7)


@settings(max_examples=50)
@given(st.tuples(*[st.integers(1, 40)] * 4), st.integers(0, 255))
def test_resize_has_the_size_and_keeps_a_constant(sizes: tuple[int, int, int, int], value: int) -> None:
    height, width, new_height, new_width = sizes
    resized = resize(np.full((height, width, 3), value, np.uint8), (new_height, new_width))
    assert resized.shape == (new_height, new_width, 3)
    assert (resized == value).all()


def test_shrinking_averages_areas() -> None:
    image = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)
    means = image.reshape(3, 4, 5, 4, 3).mean(axis=(1, 3))
    assert np.abs(resize(image, (3, 5)) - means).max() <= 0.5 + 1e-6
    tall = resize(image, (3, 40))  # one axis shrinks, the other grows
    rows = image.reshape(3, 4, 20, 3).mean(axis=1)
    assert np.abs(tall[:, 0] - rows[:, 0]).max() <= 1


def bilinear(heatmap: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    def weights(old: int, new: int) -> np.ndarray:
        matrix = np.zeros((new, old))
        for i in range(new):
            position = max(0.0, (i + 0.5) * old / new - 0.5)
            low = int(position)
            matrix[i, low] += 1 - (position - low)
            matrix[i, min(low + 1, old - 1)] += position - low
        return matrix

    resized: NDArray[Any] = (
        weights(heatmap.shape[0], size[0]) @ heatmap @ weights(heatmap.shape[1], size[1]).T
    )
    return resized


@settings(max_examples=60)
@given(st.tuples(*[st.integers(1, 30)] * 4), st.integers(0, 99))
def test_resize_heatmap_is_plain_bilinear(sizes: tuple[int, int, int, int], seed: int) -> None:
    heatmap = np.random.default_rng(seed).random(sizes[:2], dtype=np.float32)
    resized = resize_heatmap(heatmap, sizes[2:])
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, bilinear(heatmap.astype(np.float64), sizes[2:]), atol=2e-6)


def test_resize_heatmap_golden_weights() -> None:
    resized = resize_heatmap(np.array([[0, 4]], np.float32), (1, 4))
    assert resized[0].tolist() == [0, 1, 3, 4]


def test_resize_never_returns_its_input_and_refuses_no_size() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    assert not np.shares_memory(resize(image, (2, 2)), image)
    for size in ((0, 2), (2, -1)):
        with pytest.raises(ValueError, match="at least 1"):
            resize(image, size)


@pytest.mark.parametrize(
    ("size", "enlarge", "fitted"),
    [
        ((100, 50), False, (40, 20)),
        ((50, 100), True, (20, 40)),
        ((10, 20), False, (10, 20)),
        ((10, 20), True, (20, 40)),
        ((1, 1000), False, (1, 40)),
    ],
)
def test_a_size_fits_a_longest_side(size: tuple[int, int], enlarge: bool, fitted: tuple[int, int]) -> None:
    assert fitted_size(size, 40, enlarge=enlarge) == fitted
