from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltcam.training.image_size import LARGEST_AREA, LONGEST_SIDE, SMALLEST_AREA, choose_image_size

sides = st.integers(1, 20_000)
sizes = st.lists(st.tuples(sides, sides), min_size=1, max_size=9)


@pytest.mark.parametrize(
    ("size", "chosen"),
    [
        ((1264, 500), (672, 256)),  # KolektorSDD
        ((224, 224), (224, 224)),
        ((200, 200), (224, 224)),
        ((1000, 1000), (416, 416)),
        ((400, 400), (384, 384)),
        ((1, 1), (224, 224)),
        ((10_000, 10), (LONGEST_SIDE, 64)),
        ((10, 10_000), (64, LONGEST_SIDE)),
        ((1, 1_000_000), (64, LONGEST_SIDE)),
    ],
)
def test_known_sizes(size: tuple[int, int], chosen: tuple[int, int]) -> None:
    assert choose_image_size([size]) == chosen


@given(sizes)
def test_multiples_of_32_of_bounded_area(found: list[tuple[int, int]]) -> None:
    height, width = choose_image_size(found)
    assert height % 32 == width % 32 == 0
    assert min(height, width) >= 64
    assert 0.7 * SMALLEST_AREA <= height * width <= 1.25 * LARGEST_AREA


@given(st.integers(200, 1300), st.integers(200, 1300))
def test_the_shape_is_kept_but_for_rounding(height: int, width: int) -> None:
    chosen = choose_image_size([(height, width)])
    step = max(16 / chosen[0], 16 / chosen[1])
    assert chosen[0] / chosen[1] == pytest.approx(height / width, rel=2.5 * step)


@given(sizes)
def test_rows_and_columns_are_treated_alike(found: list[tuple[int, int]]) -> None:
    height, width = choose_image_size(found)
    assert choose_image_size([(w, h) for h, w in found]) == (width, height)


def test_one_odd_image_does_not_decide() -> None:
    assert choose_image_size([(300, 400)] * 5 + [(1, 1)]) == choose_image_size([(300, 400)])
