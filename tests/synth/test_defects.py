from __future__ import annotations

import cv2
import numpy as np
import pytest

from ltcam.synth.blend import ALPHA
from ltcam.synth.defects import DEFECTS, Shape
from ltcam.synth.surfaces import SURFACES, Surface, draw_lot, draw_surface

SIZE = (128, 176)


@pytest.fixture(scope="module")
def surfaces() -> dict[str, Surface]:
    rng = np.random.default_rng(4)
    return {name: draw_surface(rng, draw_lot(rng, name), SIZE) for name in SURFACES}


def shapes_of(defect: str, surfaces: dict[str, Surface], count: int = 6) -> list[Shape]:
    rng = np.random.default_rng(9)
    return [DEFECTS[defect](rng, surface, SIZE) for surface in surfaces.values() for _ in range(count)]


def inner_width(mask: np.ndarray) -> float:
    """Twice the largest distance from a pixel's centre to the outside, less the half pixels at both ends."""
    return 2.0 * float(cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5).max()) - 1.0


@pytest.mark.parametrize("defect", list(DEFECTS))
def test_nothing_changes_where_alpha_is_nothing(defect: str, surfaces: dict[str, Surface]) -> None:
    for shape in shapes_of(defect, surfaces):
        assert shape.alpha.shape == shape.change.shape == SIZE
        assert shape.alpha.min() >= 0.0
        assert shape.alpha.max() <= 1.0
        assert np.isfinite(shape.change).all()
        assert np.abs(shape.change[shape.alpha == 0.0]).max(initial=0.0) < 1e-4


@pytest.mark.parametrize(("defect", "widest"), [("scratch", 5.5), ("crack", 6.0)])
def test_strokes_are_thin_and_long(defect: str, widest: float, surfaces: dict[str, Surface]) -> None:
    for shape in shapes_of(defect, surfaces):
        mask = shape.alpha >= ALPHA
        ys, xs = np.nonzero(mask)
        assert max(np.ptp(ys), np.ptp(xs)) >= 6
        assert inner_width(mask) <= widest  # where branches meet they are wider than one


def test_pits_are_3_to_10_px_across(surfaces: dict[str, Surface]) -> None:
    for shape in shapes_of("pit", surfaces):
        across = 2.0 * np.sqrt(float(shape.alpha.sum()) / np.pi)
        assert 2.2 <= across <= 12.5
        ys, xs = np.nonzero(shape.alpha > 0)
        assert ys.min() > 0
        assert xs.min() > 0
        assert ys.max() < SIZE[0] - 1
        assert xs.max() < SIZE[1] - 1


def test_pits_are_dark_towards_the_light(surfaces: dict[str, Surface]) -> None:
    """The wall on the light's side of a hole lies in shadow; a bump would be bright there."""
    y, x = np.indices(SIZE, dtype=np.float64)
    for surface in surfaces.values():
        shape = DEFECTS["pit"](np.random.default_rng(3), surface, SIZE)
        cy, cx = (float((axis * shape.alpha).sum() / shape.alpha.sum()) for axis in (y, x))
        towards = (x - cx) * np.cos(surface.lot.light) + (y - cy) * np.sin(surface.lot.light)
        near, far = (
            shape.change[(shape.alpha > 0.5) & side].mean() for side in (towards > 0.5, towards < -0.5)
        )
        assert near < far


def test_stains_are_large_and_soft(surfaces: dict[str, Surface]) -> None:
    shares = np.array([float((shape.alpha >= ALPHA).mean()) for shape in shapes_of("stain", surfaces)])
    assert shares.max() > 0.08
    assert shares.max() < 0.35
    for shape in shapes_of("stain", surfaces, 1):
        assert ((shape.alpha > 0.05) & (shape.alpha < 0.95)).sum() > 20


def test_strokes_on_brushed_metal_cross_the_grain(surfaces: dict[str, Surface]) -> None:
    surface = surfaces["brushed"]
    rng = np.random.default_rng(1)
    for _ in range(12):
        ys, xs = np.nonzero(DEFECTS["scratch"](rng, surface, SIZE).alpha >= ALPHA)
        course = np.linalg.svd(np.stack((xs - xs.mean(), ys - ys.mean())), full_matrices=False)[0][:, 0]
        grain = np.array((np.cos(surface.direction), np.sin(surface.direction)))
        assert abs(float(course @ grain)) < np.cos(0.05)
