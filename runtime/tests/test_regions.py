import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from ltcam_runtime import regions
from ltcam_runtime.regions import drop_small, find_regions, region_pixels

MASKS = hnp.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def flooded(mask: np.ndarray) -> list[set[tuple[int, int]]]:
    """The 8-connected pieces, by hand, as sets of (row, column)."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}
    pieces = []
    while left:
        piece, front = set(), [left.pop()]
        while front:
            y, x = front.pop()
            piece.add((y, x))
            near = {(y + dy, x + dx) for dy, dx in itertools.product((-1, 0, 1), repeat=2)} & left
            left -= near
            front += near
        pieces.append(piece)
    return pieces


def feret(piece: set[tuple[int, int]]) -> float:
    corners = {(y + dy, x + dx) for y, x in piece for dy, dx in itertools.product((0, 1), repeat=2)}
    return max(math.dist(one, other) for one in corners for other in corners)


@settings(max_examples=150)
@given(MASKS, st.integers(0, 1000), st.integers(1, 4))
def test_regions_against_flooding(mask: np.ndarray, seed: int, min_area: int) -> None:
    heatmap = np.random.default_rng(seed).normal(size=mask.shape).astype(np.float32)
    low, high = float(heatmap.min()), float(heatmap.max())
    expected = []
    for piece in flooded(mask):
        if len(piece) < min_area:
            continue
        ys, xs = [y for y, _ in piece], [x for _, x in piece]
        box = (min(xs), min(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1)
        peak = max(float(heatmap[point]) for point in piece)
        share = (peak - low) / (high - low) if high > low else 0.0
        expected.append(((-len(piece), min(piece)), (box, len(piece), feret(piece), share)))
    regions = find_regions(mask, heatmap, "crack", min_area_px=min_area)
    assert len(regions) == len(expected)
    for region, (_, (box, area, length, share)) in zip(regions, sorted(expected), strict=True):
        assert region.class_name == "crack"
        assert region.box == box
        assert region.area_px == area
        assert region.area_percent == pytest.approx(100 * area / mask.size)
        assert region.length_px == pytest.approx(length, abs=1e-9)
        assert region.peak == pytest.approx(share, abs=1e-6)
    kept = drop_small(mask, min_area)
    assert kept.dtype == np.bool_
    assert kept.sum() == sum(region.area_px for region in regions)
    assert not (kept & ~mask).any()


@settings(max_examples=150)
@given(MASKS)
def test_region_pixels_put_the_mask_together_again(mask: np.ndarray) -> None:
    again = np.zeros(mask.shape, int)
    for region in find_regions(mask, mask.astype(np.float32), "a"):
        x, y, width, height = region.box
        again[y : y + height, x : x + width] += region_pixels(mask, region)
    assert (again == mask).all()


def test_region_pixels_refuses_another_mask() -> None:
    mask = np.zeros((6, 6), bool)
    mask[1:4, 1:3] = True
    (region,) = find_regions(mask, mask.astype(np.float32), "a")
    other = mask.copy()
    other[2, 2] = False
    for wrong in (other, np.zeros_like(mask), mask[:3, :2]):
        with pytest.raises(ValueError, match=r"no region|outside"):
            region_pixels(wrong, region)


def test_values_are_plain_and_the_empty_mask_has_none() -> None:
    mask = np.zeros((4, 5), bool)
    assert find_regions(mask, np.zeros((4, 5), np.float32), "a") == ()
    mask[1, 2] = True
    (region,) = find_regions(mask, np.zeros((4, 5), np.float32), "a")
    assert region.to_json() == {
        "class": "a",
        "box": [2, 1, 1, 1],
        "area_px": 1,
        "area_percent": 5.0,
        "length_px": 1.414,
        "peak": 0.0,
    }
    assert all(type(value) is int for value in (*region.box, region.area_px))


def test_diagonal_scratch() -> None:
    (region,) = find_regions(np.eye(50, dtype=bool), np.eye(50, dtype=np.float32), "scratch")
    assert region.length_px == pytest.approx(50 * math.sqrt(2))
    assert region.peak == 1


def test_non_contiguous_views_are_fine() -> None:
    rng = np.random.default_rng(0)
    mask, heatmap = rng.random((30, 20)) > 0.7, rng.random((30, 20)).astype(np.float32)
    assert find_regions(mask.T, heatmap.T, "a") == find_regions(mask.T.copy(), heatmap.T.copy(), "a")


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        find_regions(np.zeros((2, 3), bool), np.zeros((3, 2), np.float32), "a")


def test_a_speck_costs_no_pass_over_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at per region is its own rows, and nothing where it fills its box."""
    looked_at: list[int] = []
    measured = regions._length

    def counting(spans: NDArray[np.int32]) -> float:
        looked_at.append(len(spans))
        return measured(spans)

    monkeypatch.setattr(regions, "_length", counting)
    rng = np.random.default_rng(1)
    mask, heatmap = rng.random((1250, 500)) > 0.95, rng.random((1250, 500)).astype(np.float32)
    found = find_regions(mask, heatmap, "a")
    assert len(found) > 10_000
    unfilled = [region for region in found if region.area_px != region.box[2] * region.box[3]]
    assert len(looked_at) == len(unfilled) < len(found)
    assert sum(looked_at) <= sum(region.area_px for region in unfilled)
