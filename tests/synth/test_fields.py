from __future__ import annotations

import math

import numpy as np
import pytest

from ltcam.synth import fields

SIZE = (240, 320)


@pytest.mark.parametrize("scale", [0.7, 1.5, 3.0, 8.0])
def test_smooth_noise_has_unit_variance_and_the_width_asked_for(scale: float) -> None:
    field = fields.smooth(np.random.default_rng(0), SIZE, scale)
    assert field.shape == SIZE
    assert field.dtype == np.float32
    assert float(field.std()) == pytest.approx(1.0, abs=0.15)
    # White noise smoothed by sigma s has the autocorrelation exp(-d^2 / 4 s^2).
    step = max(1, round(2.0 * scale))
    found = float(np.mean(field[:, step:] * field[:, :-step])) / float(np.mean(field**2))
    assert found == pytest.approx(math.exp(-(step**2) / (4.0 * scale**2)), abs=0.12)


def test_fractal_noise_has_unit_variance() -> None:
    assert float(fields.fractal(np.random.default_rng(1), SIZE, 12.0, 4).std()) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("angle", [0.0, math.pi / 2])
def test_streaks_run_along_their_angle(angle: float) -> None:
    field = fields.streaks(np.random.default_rng(2), SIZE, angle, ((30.0, 0.6, 1.0),))
    assert float(field.std()) == pytest.approx(1.0, abs=0.2)
    rough = [float(np.diff(field, axis=axis).std()) for axis in (1, 0)]
    along, across = rough if angle == 0.0 else rough[::-1]
    assert across > 8.0 * along


def test_relief_is_bright_on_the_side_towards_the_light() -> None:
    _, x = np.indices((21, 21), dtype=np.float32)
    hill = -np.abs(x - 10.0)
    lit_from_right = fields.relief(hill.astype(np.float32), 0.0)
    assert np.all(lit_from_right[:, 12:] > 0.0)
    assert np.all(lit_from_right[:, :9] < 0.0)


@pytest.mark.parametrize("width", [0.75, 1.0, 2.0, 3.5])
def test_strokes_cover_their_width_times_their_length(width: float) -> None:
    target = fields.canvas((60, 80))
    points = np.array([[20.3, 20.1], [60.3, 20.1]], dtype=np.float32)
    one = np.ones(1, dtype=np.float32)
    fields.stroke(target, points, np.float32(width) * one, one)
    covered = float(fields.shrink(target, (60, 80)).sum()) / 255.0
    # Round ends add a disc of the stroke's width; widths are rounded to the canvas' pixels.
    assert covered == pytest.approx(40.0 * width + math.pi * width**2 / 4.0, abs=0.12 * 40.0)
    rows = fields.shrink(target, (60, 80)).sum(axis=1)
    centre = float((rows * np.arange(60)).sum() / rows.sum())
    assert centre == pytest.approx(20.1, abs=0.13)


def test_gaps_of_a_stroke_stay_empty() -> None:
    target = fields.canvas((20, 80))
    points = np.array([[5, 10], [25, 10], [50, 10], [70, 10]], dtype=np.float32)
    widths, levels = np.ones(3, dtype=np.float32), np.array([1.0, 0.0, 1.0], dtype=np.float32)
    fields.stroke(target, points, widths, levels)
    drawn = fields.shrink(target, (20, 80))
    assert not drawn[:, 28:47].any()
    assert drawn[:, 10:20].any()
    assert drawn[:, 55:65].any()


def test_coordinates_of_the_fine_grid_average_to_the_pixel_centres() -> None:
    x, y = fields.coordinates((3, 5), 4)
    assert np.allclose(fields.shrink(x, (3, 5)), np.indices((3, 5))[1], atol=1e-5)
    assert np.allclose(fields.shrink(y, (3, 5)), np.indices((3, 5))[0], atol=1e-5)
