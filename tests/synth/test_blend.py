from __future__ import annotations

import numpy as np
import pytest

from ltcam.synth import blend
from ltcam.synth.blend import contrast_to_noise, hurt_surface, lay
from ltcam.synth.defects import DEFECTS, Shape
from ltcam.synth.materials import MATERIALS
from ltcam.synth.surfaces import draw_lot, draw_surface, expose, quantised

SIZE = (128, 176)


def square(side: int) -> np.ndarray:
    mask = np.zeros((100, 100), dtype=bool)
    mask[40 : 40 + side, 40 : 40 + side] = True
    return mask


def test_contrast_of_a_flat_surface_is_signal_over_two_grey_levels() -> None:
    sound = np.full((100, 100, 3), 120.0, dtype=np.float32)
    mask = np.zeros((100, 100), dtype=bool)
    mask[:, 30:90] = True  # wide, so that smoothing at its scale (6 px) loses little in the middle
    hurt = sound + np.float32(10.0) * mask[:, :, None].astype(np.float32)
    assert contrast_to_noise(sound, hurt, mask) == pytest.approx(5.0, rel=0.1)


def test_contrast_is_linear_in_the_change_and_blind_to_its_sign() -> None:
    rng = np.random.default_rng(0)
    sound = (120.0 + 6.0 * rng.standard_normal((100, 100, 1)) * np.ones(3)).astype(np.float32)
    mask = square(12)
    change = mask[:, :, None].astype(np.float32)
    one = contrast_to_noise(sound, sound + 8.0 * change, mask)
    assert contrast_to_noise(sound, sound + 16.0 * change, mask) == pytest.approx(2.0 * one, rel=1e-3)
    assert contrast_to_noise(sound, sound - 8.0 * change, mask) == pytest.approx(one, rel=1e-3)


def test_texture_lowers_the_contrast_and_size_raises_it_on_noise() -> None:
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((100, 100, 1)).astype(np.float32) * np.ones(3, dtype=np.float32)

    def contrast(deviation: float, side: int) -> float:
        sound = np.float32(120.0) + np.float32(deviation) * noise
        mask = square(side)
        return contrast_to_noise(sound, sound + np.float32(8.0) * mask[:, :, None].astype(np.float32), mask)

    assert contrast(4.0, 8) > 1.2 * contrast(12.0, 8)
    assert contrast(8.0, 24) > 1.5 * contrast(8.0, 3)


def test_slow_light_does_not_count_as_noise() -> None:
    ramp = np.linspace(60.0, 180.0, 100, dtype=np.float32)[None, :, None] * np.ones(
        (100, 1, 3), dtype=np.float32
    )
    mask = square(4)
    assert contrast_to_noise(ramp, ramp + 10.0 * mask[:, :, None].astype(np.float32), mask) > 3.0


def test_laying_changes_nothing_outside_alpha_and_never_makes_light_negative() -> None:
    rng = np.random.default_rng(2)
    surface = draw_surface(rng, draw_lot(rng, "cast"), SIZE)
    shape = DEFECTS["crack"](rng, surface, SIZE)
    hurt = lay(surface, shape, 50.0)
    clear = shape.alpha == 0.0
    assert np.allclose(hurt.radiance[clear], surface.radiance[clear], rtol=1e-2)
    assert hurt.radiance.min() >= 0.0
    assert np.isfinite(hurt.radiance[shape.change <= 0]).all()


def test_strength_zero_takes_only_the_texture() -> None:
    rng = np.random.default_rng(2)
    surface = draw_surface(rng, draw_lot(rng, "cast"), SIZE)
    full = np.ones(SIZE, dtype=np.float32)
    same = lay(surface, Shape(alpha=full, change=full, fill=0.0), 0.0)
    assert np.array_equal(same.radiance, surface.radiance)
    flat = lay(surface, Shape(alpha=full, change=full, fill=1.0), 0.0)
    assert flat.radiance.std() < surface.radiance.std()
    assert flat.radiance.mean() == pytest.approx(surface.radiance.mean(), rel=0.02)


@pytest.mark.parametrize("defect", list(DEFECTS))
def test_contrasts_span_their_range(defect: str) -> None:
    rng = np.random.default_rng(6)
    lot = draw_lot(rng, next(name for name in MATERIALS if defect in MATERIALS[name].defects))
    surface = draw_surface(rng, lot, SIZE)
    found = [each.contrast for _ in range(10) for each in hurt_surface(rng, surface, defect)[1]]
    assert min(found) >= blend.FAINT[defect]
    assert max(found) <= 1.4 * blend.CLEAR[defect]
    assert max(found) > 1.6 * min(found)


def test_defects_of_a_picture_do_not_touch() -> None:
    rng = np.random.default_rng(7)
    surface = draw_surface(rng, draw_lot(rng, "ceramic"), SIZE)
    several = 0
    for _ in range(8):
        picture, defects = hurt_surface(rng, surface, "pit")
        assert picture.shape == (*SIZE, 3)
        several += len(defects) > 1
        assert np.sum([each.mask for each in defects], axis=0).max() == 1
    assert several


def test_pictures_are_neither_clipped_black_nor_white() -> None:
    rng = np.random.default_rng(8)
    for name in ("brushed", "cast", "fabric", "ceramic"):
        for _ in range(3):
            picture = quantised(expose(draw_surface(rng, draw_lot(rng, name), SIZE)))
            assert np.mean(picture <= 2) < 0.005
            assert np.mean(picture >= 253) < 0.03
            assert 30 < picture.mean() < 225
