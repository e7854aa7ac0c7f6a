"""Shapes of annotation files against independent rasterisers and decoders."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask
from skimage.measure import points_in_poly

from ltcam.data.drawn import Brush, DrawnMask, Polygon, Runs, expand_runs, polygon
from ltcam_runtime.errors import InputError
from ltcam_runtime.outlines import outline
from ltcam_runtime.writers.label_studio import pack

MASKS = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24))


def test_a_pixel_counts_where_its_centre_is_inside() -> None:
    drawn = polygon([0.4, 0.4, 3.6, 0.4, 3.6, 2.4, 0.4, 2.4], (4, 5)).draw((4, 5))
    expected = np.zeros((4, 5), bool)
    expected[0:2, 0:4] = True
    assert np.array_equal(drawn, expected)


@given(st.lists(st.tuples(st.floats(-3, 23), st.floats(-3, 18)), min_size=3, max_size=9))
@example([(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)])  # through the centre of a pixel
def test_polygons_as_skimage_has_them(corners: list[tuple[float, float]]) -> None:
    size = (15, 20)
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    centres = np.stack([columns.ravel(), rows.ravel()], axis=1)
    points = np.array(corners)
    drawn = polygon(points.ravel().tolist(), size).draw(size).ravel()
    clear = _distances(centres, points) > 1e-6  # a centre on a line may count either way
    assert np.array_equal(drawn[clear], points_in_poly(centres, points)[clear])


def _distances(places: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(P, 2) places and (C, 2) corners: how far each place is from the polygon's nearest edge, (P,)."""
    edges = np.roll(corners, -1, axis=0) - corners
    lengths = np.maximum((edges**2).sum(1), np.finfo(float).tiny)
    offsets = places[:, None] - corners
    along = np.clip((offsets * edges).sum(2) / lengths, 0, 1)
    return np.asarray(np.hypot(*np.moveaxis(offsets - along[..., None] * edges, 2, 0)).min(1))


@given(MASKS)
def test_an_outline_gives_its_mask_back(mask: np.ndarray) -> None:
    corners = outline(mask)
    if not mask.any():
        assert len(corners) == 0
        return
    assert np.array_equal(polygon(corners.ravel().tolist(), mask.shape).draw(mask.shape), mask)


def test_the_outline_of_a_square_has_four_corners() -> None:
    mask = np.zeros((9, 9), bool)
    mask[2:6, 3:8] = True
    assert sorted(map(tuple, outline(mask).tolist())) == [(3, 2), (3, 6), (8, 2), (8, 6)]


@given(MASKS)
def test_coco_runs_as_pycocotools_packs_them(mask: np.ndarray) -> None:
    packed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    runs = expand_runs(packed["counts"].decode())
    height, width = mask.shape
    assert np.array_equal(
        Runs(runs, (0, 0, width, height), (height, width), down=True).draw(mask.shape), mask
    )


@given(MASKS)
def test_brush_masks_give_their_pixels_back(mask: np.ndarray) -> None:
    flat = np.concatenate([[False], mask.ravel(), [True]])
    borders = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], borders, [mask.size]])).tolist()
    assert np.array_equal(Brush(bytes(pack(counts)), mask.shape).draw(mask.shape), mask)


def test_a_brush_mask_with_blocks_of_all_kinds() -> None:
    """Written by hand: 8 values of a 1 x 2 picture; a run of three, single values, a short length size."""
    head = f"{8:032b}" + f"{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    run = "1" + "00" + f"{3 - 1:03b}" + f"{0:08b}"
    singles = "0" + "01" + f"{5 - 1:04b}" + "".join(f"{value:08b}" for value in (0, 9, 9, 9, 255))
    bits = head + run + singles
    bits += "0" * (-len(bits) % 8)
    data = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    assert Brush(data, (1, 2)).draw((1, 2)).tolist() == [[False, True]]


@pytest.mark.parametrize(
    "shape",
    [
        Polygon(((0.1, 0.1), (0.2, 0.2))),
        Polygon(((0.1, 0.1), (0.2, math.nan), (0.3, 0.3))),
        Runs((4, 9), (0, 0, 4, 3), (4, 4), down=True),
        Runs((4, 4), (2, 0, 4, 4), (4, 4), down=True),
        Runs((-1, 4), (0, 0, 4, 4), (4, 4), down=True),
        Runs((1,), (0, 0, 2, 2), (8, 8), down=True),
        Runs((4, 4), (0, 0, 4, 4), (4, 4), down=True),
        Polygon(((0.1, 0.1), (0.2, 0.4), (0.3, 0.3)), size=(8, 4)),
        Polygon(((0.1, 0.1), (0.2, 0.4), (0.3, 0.3)), size=(320, 640)),
        Brush(b"", (4, 4)),
        Brush(bytes(pack([3, 2])), (4, 4)),
        Brush(bytes(pack([10, 6]))[:-2], (4, 4)),
        Brush(bytes(pack([10, 6])), (2, 8)),
    ],
)
def test_what_does_not_fit_is_named(shape: Polygon | Runs | Brush) -> None:
    with pytest.raises(InputError, match=r"export\.json.*4 x 4"):
        DrawnMask(Path("export.json"), (shape,)).draw((4, 4))


@pytest.mark.parametrize("size", [(4, 4), (40, 40), (3, 3), (1003, 1000)])
def test_a_polygon_of_an_image_that_was_made_smaller(size: tuple[int, int]) -> None:
    whole = polygon([0, 0, 0, size[0], size[1], size[0], size[1], 0], size)
    assert DrawnMask(Path("export.json"), (whole,)).draw((4, 4)).all()


@pytest.mark.parametrize("text", ["\u00ff", "o", " "])
def test_damaged_run_lengths(text: str) -> None:
    with pytest.raises(ValueError, match="run lengths"):
        expand_runs(text)
