"""Textured surfaces without defect: brushed metal, cast metal, woven fabric, glazed ceramic.

A `Lot` is what the images of one delivery share: the light, the tone, the coarseness of the texture, the
camera. A `Surface` is one piece of it under the camera: the light that reaches the lens, `(H, W, 3)` RGB
with 1.0 at the camera's white, before optics and sensor. Marks that belong to a sound part (dust, weak
handling marks, bands of light, seams, rims of dried water) are already on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ltcam.data.synth import fields
from ltcam.data.synth.fields import Field, Random, Size


@dataclass(frozen=True)
class Lot:
    """What all images of one lot share.

    Attributes:
        surface: one of `SURFACES`.
        tint: RGB, mean 1.
        tone: mean brightness, 0 to 1.
        light: direction towards the light in the image plane, radians.
        slope: how much brighter the lit side is than the far one, in log units over the image.
        scale: size of the texture relative to the ordinary one.
        contrast: strength of the texture relative to the ordinary one.
        grain: direction of the texture, radians.
        variant: 0 to 2; kind of weave, of streak, of glaze.
        sharpness: the lens' blur, standard deviation in pixels.
        noise: the sensor's noise at white, standard deviation, 1.0 being white.
    """

    surface: str
    tint: tuple[float, float, float]
    tone: float
    light: float
    slope: float
    scale: float
    contrast: float
    grain: float
    variant: int
    sharpness: float
    noise: float


@dataclass(frozen=True)
class Surface:
    """One piece of a surface under the camera.

    Attributes:
        radiance: (H, W, 3) float32 RGB, what reaches the lens.
        grain: (H, W, 3) float32, the sensor's noise in units of its standard deviation.
        direction: direction of the texture in this image, radians.
        lot: where it comes from.
    """

    radiance: Field
    grain: Field
    direction: float
    lot: Lot

    @property
    def size(self) -> Size:
        """Height and width in pixels."""
        return self.radiance.shape[0], self.radiance.shape[1]


@dataclass(frozen=True)
class _Material:
    """Ranges from which the lots of a surface are drawn, and what paints it."""

    paint: Callable[[Random, Lot, Size, float], Field]
    tints: tuple[tuple[float, float, float], ...]
    tone: tuple[float, float]
    contrast: tuple[float, float]
    noise: tuple[float, float]
    turn: tuple[float, ...]


def draw_lot(rng: Random, surface: str) -> Lot:
    """A lot of a surface.

    Args:
        rng: source of randomness.
        surface: one of `SURFACES`.
    """
    material = _MATERIALS[surface]
    tint = np.array(material.tints[int(rng.integers(len(material.tints)))]) * rng.uniform(0.97, 1.03, 3)
    red, green, blue = (float(value) for value in tint / tint.mean())
    return Lot(
        surface=surface,
        tint=(red, green, blue),
        tone=float(rng.uniform(*material.tone)),
        light=float(rng.uniform(0.0, 2.0 * math.pi)),
        slope=float(rng.uniform(0.05, 0.35)),
        scale=float(math.exp(rng.uniform(math.log(0.8), math.log(1.3)))),
        contrast=float(rng.uniform(*material.contrast)),
        grain=float(rng.choice(material.turn) + rng.normal(0.0, 0.03)),
        variant=int(rng.integers(3)),
        sharpness=float(rng.uniform(0.4, 0.75)),
        noise=float(rng.uniform(*material.noise)),
    )


def draw_surface(rng: Random, lot: Lot, size: Size) -> Surface:
    """One sound piece of a lot.

    Args:
        rng: source of randomness.
        lot: what it shares with the others of its lot.
        size: `(H, W)` in pixels.
    """
    direction = lot.grain + float(rng.normal(0.0, 0.012))
    texture = _MATERIALS[lot.surface].paint(rng, lot, size, direction)
    light = _illumination(rng, lot, size) + _benign(rng, lot, size, direction)
    exposure = lot.tone * math.exp(float(rng.normal(0.0, 0.04)))
    radiance = np.float32(exposure) * texture * np.exp(light)[:, :, None]
    radiance *= np.array(lot.tint, dtype=np.float32)
    luminance = fields.white(rng, size)[:, :, None]
    chroma = rng.standard_normal((*size, 3), dtype=np.float32)
    grain = np.float32(0.85) * luminance + np.float32(0.5) * chroma
    return Surface(radiance=radiance.astype(np.float32), grain=grain, direction=direction, lot=lot)


def _illumination(rng: Random, lot: Lot, size: Size) -> Field:
    """Log brightness of the light: a slope, slow unevenness, sometimes soft bands; darker corners."""
    x, y = fields.coordinates(size)
    x = x / np.float32(size[1]) - np.float32(0.5)
    y = y / np.float32(size[0]) - np.float32(0.5)
    angle = lot.light + float(rng.normal(0.0, 0.1))
    light = np.float32(lot.slope) * (np.float32(math.cos(angle)) * x + np.float32(math.sin(angle)) * y)
    light -= np.float32(rng.uniform(0.0, 0.25)) * (x * x + y * y)
    light += np.float32(0.025) * fields.smooth(rng, size, 0.25 * max(size))
    if rng.random() < 0.3:  # a tube or a window frame mirrored in the part
        turn = float(rng.uniform(0.0, math.pi))
        along = np.float32(math.cos(turn)) * x + np.float32(math.sin(turn)) * y
        width = float(rng.uniform(0.03, 0.12))
        band = np.exp(np.float32(-0.5 / width**2) * (along - np.float32(rng.uniform(-0.5, 0.5))) ** 2)
        light += np.float32(rng.uniform(-0.05, 0.09)) * band
    return light.astype(np.float32)


# ---------------------------------------------------------------------------------------------- materials


def _grey(field: Field) -> Field:
    return np.repeat(field[:, :, None], 3, axis=2)


def _brushed(rng: Random, lot: Lot, size: Size, direction: float) -> Field:
    """Streaks along the grain under an anisotropic highlight, with faint chatter across it."""
    wide = lot.scale
    layers = ((140.0, 0.45 * wide, 1.0), (55.0, 0.6 * wide, 0.8), (18.0, 0.5 * wide, 0.45), (220.0, 2.2 * wide, 0.5))
    fine = fields.streaks(rng, size, direction, layers)
    slow = fields.streaks(rng, size, direction, ((160.0, 1.2 * wide, 1.0),))
    x, y = fields.coordinates(size)
    along = (x - size[1] / 2) * np.float32(math.cos(direction)) + (y - size[0] / 2) * np.float32(math.sin(direction))
    along /= np.float32(max(size))
    # A highlight on brushed metal runs across the grain; every groove throws it a little elsewhere.
    centre = 0.35 * math.cos(lot.light) + float(rng.normal(0.0, 0.06))
    width = 0.22 + 0.1 * lot.variant
    offset = along - np.float32(centre) + np.float32(0.035) * slow
    shine = np.exp(np.float32(-0.5 / width**2) * offset * offset)
    period = float(rng.uniform(7.0, 16.0)) * wide / max(size)
    wobble = fields.smooth(rng, size, 30.0)
    chatter = np.sin(np.float32(2.0 * math.pi / period) * along + np.float32(0.6) * wobble)
    # Grooves are skewed: few deep ones among many shallow.
    texture = np.float32(0.06 * lot.contrast) * (fine - np.float32(0.18) * (fine * fine - 1.0))
    texture += np.float32(0.012) * fields.smooth(rng, size, 0.7)
    texture += np.float32(rng.uniform(0.0, 0.012)) * chatter
    return _grey((np.float32(0.72) + np.float32(0.5) * shine) * np.exp(texture))


def _relief(height: Field, light: float) -> Field:
    """How much brighter than a flat one a bumpy surface is, to first order, lit from `light`."""
    dy, dx = np.gradient(height)
    return -(np.float32(math.cos(light)) * dx + np.float32(math.sin(light)) * dy).astype(np.float32)


def _cast(rng: Random, lot: Lot, size: Size, direction: float) -> Field:  # noqa: ARG001 - cast has no direction
    """Grains and bumps of several sizes under slanting light, tiny pores, oxide tints."""
    wide = lot.scale
    height = np.zeros(size, dtype=np.float32)
    for scale, weight in ((0.8, 0.35), (1.6, 0.7), (3.4, 1.15), (8.0, 1.2)):
        height += np.float32(weight) * fields.smooth(rng, size, scale * wide)
    # Sand leaves rounded grains with sharp valleys between them.
    shade = _relief(height - np.float32(0.25) * np.abs(height), lot.light)
    tone = np.float32(0.10 * lot.contrast) * np.tanh(np.float32(1.3) * shade)
    tone += np.float32(0.035) * fields.fractal(rng, size, 24.0 * wide, 4, 0.6)
    tone += np.float32(0.03) * fields.white(rng, size)
    area = size[0] * size[1]
    pores = fields.dots(rng, size, int(rng.poisson(area / 900)), (0.35, 0.85))
    glints = fields.dots(rng, size, int(rng.poisson(area / 1500)), (0.25, 0.55))
    tone += np.float32(-0.38) * pores + np.float32(0.3) * glints
    oxide = np.float32(0.02) * fields.fractal(rng, size, 40.0, 3)
    return np.exp(tone[:, :, None] + oxide[:, :, None] * np.array((1.0, 0.1, -1.0), dtype=np.float32))


def _weave_sign(i: Field, j: Field, variant: int) -> Field:
    """+1 where thread i of the warp lies over thread j of the weft, else -1."""
    if variant == 0:
        over = np.mod(i + j, 2.0) < 0.5  # plain weave
    elif variant == 1:
        over = np.mod(i + j, 4.0) < 1.5  # 2/2 twill
    else:
        over = np.mod(i + 2.0 * np.floor(j / 2.0) * 0.5 + j, 3.0) < 1.5  # 2/1 twill
    return np.where(over, np.float32(1.0), np.float32(-1.0))


def _lift(i: Field, j: Field, f: Field, sign: Field, variant: int, of_warp: bool) -> Field:
    """Height of a thread along itself: it rises and dips smoothly between neighbouring crossings."""
    step = np.where(f > 0, np.float32(1.0), np.float32(-1.0))
    near = _weave_sign(i, j + step, variant) if of_warp else _weave_sign(i + step, j, variant)
    t = fields.smoothstep(0.05, 0.95, np.abs(f))
    return sign * (1.0 - t) + near * t


def _fabric(rng: Random, lot: Lot, size: Size, direction: float) -> Field:
    """Warp and weft with threads of uneven place, thickness and tone; two times supersampled."""
    fine = 2
    grid = (size[0] * fine, size[1] * fine)
    x, y = fields.coordinates(size, fine)
    cos, sin = np.float32(math.cos(direction)), np.float32(math.sin(direction))
    warp_pitch = np.float32(5.6 * lot.scale)
    weft_pitch = np.float32(5.6 * lot.scale * (0.9 + 0.15 * math.sin(7.0 * lot.light)))
    sway = [fields.resized(fields.fractal(rng, size, 45.0, 3, 0.5), grid, cv2_linear) for _ in range(2)]
    u = (cos * x + sin * y + np.float32(1.6) * sway[0]) / warp_pitch + np.float32(500.0)
    v = (cos * y - sin * x + np.float32(1.6) * sway[1]) / weft_pitch + np.float32(500.0)
    u += _thread_noise(rng, u, 0.10)
    v += _thread_noise(rng, v, 0.10)
    i, j = np.floor(u), np.floor(v)
    fu, fv = u - i - np.float32(0.5), v - j - np.float32(0.5)
    sign = _weave_sign(i, j, lot.variant)
    warp = _round(fu) + np.float32(0.55) * _lift(i, j, fv, sign, lot.variant, True)
    weft = _round(fv) - np.float32(0.55) * _lift(i, j, fu, sign, lot.variant, False)
    on_top = warp > weft
    height = np.maximum(warp, weft)
    tone = np.float32(0.16 * lot.contrast) * (height - np.float32(0.9))
    # The yarn's twist, and the tone and fluff of single threads.
    twist = np.where(on_top, np.sin(9.0 * fv + 5.0 * fu + 2.4 * i), np.sin(9.0 * fu + 5.0 * fv + 2.4 * j))
    tone += np.float32(0.03) * twist
    shade = np.where(on_top, np.float32(math.cos(lot.light)) * fu, np.float32(math.sin(lot.light)) * fv)
    tone += np.float32(0.14 * lot.contrast) * shade
    tone += np.where(on_top, _thread_tone(rng, i), _thread_tone(rng, j) + np.float32(0.05 * (lot.variant - 1)))
    coarse = fields.shrink(tone, size)
    coarse += np.float32(0.03) * fields.fractal(rng, size, 28.0, 5, 0.7) + np.float32(0.02) * fields.white(rng, size)
    return _grey(np.exp(coarse))
