"""The textures: brushed metal, cast metal, woven fabric, glazed ceramic; ground tile, concrete, rolled steel, paint.

A painter takes `(rng, lot, size, direction)` and returns the light that a sound piece sends back, `(H, W, 3)`
float32 with a mean near 1: texture and gloss, before lighting, tone and tint.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ltcam.synth import fields
from ltcam.synth.fields import Field, Random, Size
from ltcam.synth.lots import Lot

Painter = Callable[[Random, Lot, Size, float], Field]


@dataclass(frozen=True)
class Material:
    """What paints a surface, and the ranges its lots are drawn from.

    Attributes:
        paint: the painter.
        tints: RGB colours of the raw material; a lot takes one of them.
        tone: range of the mean brightness, 1.0 being white.
        contrast: range of the relative strength of the texture.
        noise: range of the sensor's noise.
        turns: directions of the texture; a lot takes one of them, and turns it a little.
        marks: strength of dust, rub marks and the like, relative to the ordinary one.
        defects: defect classes that occur on it.
    """

    paint: Painter
    tints: tuple[tuple[float, float, float], ...]
    tone: tuple[float, float]
    contrast: tuple[float, float]
    noise: tuple[float, float]
    turns: tuple[float, ...]
    marks: float
    defects: tuple[str, ...] = ("scratch", "crack", "pit", "stain", "inclusion")


def _grey(field: Field) -> Field:
    return np.repeat(field[:, :, None], 3, axis=2)


def _brushed(rng: Random, lot: Lot, size: Size, direction: float) -> Field:
    """Streaks along the grain under an anisotropic highlight, with faint chatter across it."""
    wide = lot.scale
    layers = (
        (120.0, 0.3 * wide, 1.0),
        (40.0, 0.35 * wide, 0.9),
        (14.0, 0.35 * wide, 0.7),
        (200.0, 2.0 * wide, 0.4),
    )
    fine = fields.streaks(rng, size, direction, layers)
    slow = fields.streaks(rng, size, direction, ((160.0, 1.2 * wide, 1.0),))
    x, y = fields.coordinates(size)
    cos, sin = np.float32(math.cos(direction)), np.float32(math.sin(direction))
    along = (x - np.float32(size[1] / 2)) * cos + (y - np.float32(size[0] / 2)) * sin
    along = along / np.float32(max(size))
    # A highlight on brushed metal runs across the grain; every groove throws it a little elsewhere.
    centre = 0.35 * math.cos(lot.light) + float(rng.normal(0.0, 0.06))
    width = 0.22 + 0.1 * lot.variant
    offset = along - np.float32(centre) + np.float32(0.035) * slow
    shine = np.exp(np.float32(-0.5 / width**2) * offset * offset)
    period = float(rng.uniform(7.0, 16.0)) * wide / max(size)
    wobble = np.float32(0.6) * fields.smooth(rng, size, 30.0)
    chatter = np.sin(np.float32(2.0 * math.pi / period) * along + wobble)
    # Grooves are skewed: few deep ones among many shallow.
    texture = np.float32(0.075 * lot.contrast) * (fine - np.float32(0.18) * (fine * fine - np.float32(1.0)))
    texture += np.float32(0.012) * fields.smooth(rng, size, 0.7)
    texture += np.float32(rng.uniform(0.0, 0.006)) * chatter
    return _grey((np.float32(0.72) + np.float32(0.5) * shine) * np.exp(texture))


def _cast(rng: Random, lot: Lot, size: Size, direction: float) -> Field:  # noqa: ARG001
    """Grains and bumps of several sizes under slanting light, tiny pores, glints, oxide tints.

    Cast metal has no direction.
    """
    wide = lot.scale
    height = np.zeros(size, dtype=np.float32)
    for scale, weight in ((0.75, 0.5), (1.5, 0.8), (3.0, 0.8), (7.0, 0.7)):
        height += np.float32(weight) * fields.smooth(rng, size, scale * wide)
    # Sand leaves rounded grains with sharp valleys between them.
    shade = fields.relief(height - np.abs(np.float32(0.35) * height), lot.light)
    tone = np.float32(0.11 * lot.contrast) * np.tanh(np.float32(1.2) * shade)
    tone += np.float32(0.05 * lot.contrast) * np.minimum(height, np.float32(0.6)) * np.float32(0.7)
    tone += np.float32(0.035) * fields.fractal(rng, size, 24.0 * wide, 4, 0.6)
    tone += np.float32(0.04) * fields.white(rng, size)
    area = size[0] * size[1]
    pores = fields.dots(rng, size, int(rng.poisson(area / 420)), (0.4, 0.95))
    glints = fields.dots(rng, size, int(rng.poisson(area / 700)), (0.25, 0.55))
    tone += np.float32(0.45) * glints - np.float32(0.55) * pores
    oxide = np.float32(0.008) * fields.fractal(rng, size, 40.0, 4, 0.7)
    warm = np.array((1.0, 0.1, -1.0), dtype=np.float32)
    return np.asarray(np.exp(tone[:, :, None] + oxide[:, :, None] * warm), dtype=np.float32)


_WEAVES: tuple[tuple[float, ...], ...] = ((1.0, -1.0), (1.0, 1.0, -1.0, -1.0), (1.0, 1.0, -1.0))
"""Plain weave, 2/2 twill, 2/1 twill: +1 where a thread of the warp lies over one of the weft, by the sum of
their numbers."""


def _uneven(rng: Random, position: Field, weight: float) -> Field:
    """Noise that goes with the position across the threads: neighbours differ, a thread stays itself."""
    index = np.floor(position)
    at = (index - index.min()).astype(np.int32)
    knots = np.float32(weight) * rng.standard_normal(int(at.max()) + 2, dtype=np.float32)
    rise = np.diff(knots)
    return np.asarray(knots[at] + (position - index) * rise[at], dtype=np.float32)


def _fabric(rng: Random, lot: Lot, size: Size, direction: float) -> Field:
    """Warp and weft of threads of uneven place, thickness and tone; twice supersampled."""
    fine = 2
    x, y = fields.coordinates(size, fine)
    cos, sin = np.float32(math.cos(direction)), np.float32(math.sin(direction))
    pitch = 5.6 * lot.scale
    grid = (size[0] * fine, size[1] * fine)
    sway = [
        np.float32(1.5) * fields.resized(fields.fractal(rng, size, 45.0, 3), grid, cv2.INTER_LINEAR)
        for _ in range(2)
    ]
    u = (cos * x + sin * y + sway[0]) / np.float32(pitch)
    v = (cos * y - sin * x + sway[1]) / np.float32(pitch * (1.0 + 0.2 * math.sin(7.0 * lot.light)))
    u = u + _uneven(rng, u, 0.12)
    v = v + _uneven(rng, v, 0.12)
    tone, chroma = _weave(rng, lot, u, v)
    coarse = fields.shrink(tone, size)
    coarse += np.float32(0.03) * fields.fractal(rng, size, 28.0, 5, 0.7)
    coarse += np.float32(0.025) * fields.white(rng, size)
    colour = fields.shrink(chroma, size)[:, :, None] * np.array((-1.0, 0.0, 1.0), dtype=np.float32)
    return np.asarray(np.exp(coarse[:, :, None] + colour), dtype=np.float32)


def _weave(rng: Random, lot: Lot, u: Field, v: Field) -> tuple[Field, Field]:
    """Log brightness and blue-red shift of a weave, by the position across warp (u) and weft (v)."""
    i, j = np.floor(u), np.floor(v)
    fu, fv = u - i - np.float32(0.5), v - j - np.float32(0.5)
    i, j = i - i.min(), j - j.min()
    warp_number, weft_number = i.astype(np.int32), j.astype(np.int32)
    crossing = warp_number + weft_number + 1
    over = np.resize(np.array(_WEAVES[lot.variant], dtype=np.float32), int(crossing.max()) + 2)
    sign = over[crossing]
    # A thread rises and dips smoothly from crossing to crossing.
    near_v = over[crossing + np.where(fv < 0, np.int32(-1), np.int32(1))]
    near_u = over[crossing + np.where(fu < 0, np.int32(-1), np.int32(1))]
    tv = fields.smoothstep(0.0, 1.0, np.abs(fv))
    tu = fields.smoothstep(0.0, 1.0, np.abs(fu))
    four, rise = np.float32(4.0), np.float32(0.6)
    warp = np.sqrt(np.maximum(np.float32(0.0), 1 - four * fu * fu)) + rise * (sign + (near_v - sign) * tv)
    weft = np.sqrt(np.maximum(np.float32(0.0), 1 - four * fv * fv)) - rise * (sign + (near_u - sign) * tu)
    on_top = warp > weft
    strength = np.float32(lot.contrast)
    tone = np.float32(0.30) * strength * (np.maximum(warp, weft) - np.float32(1.25))
    # Threads are round, so that one of their sides faces the light.
    lit = np.where(on_top, np.float32(math.cos(lot.light)) * fu, np.float32(math.sin(lot.light)) * fv)
    tone += np.float32(0.22) * strength * lit
    tone += np.float32(0.03) * np.sin(
        np.where(on_top, 9 * fv + 5 * fu, 9 * fu + 5 * fv) + np.float32(2.4) * (i + j)
    )
    warp_tones = rng.standard_normal(int(warp_number.max()) + 1, dtype=np.float32)
    weft_tones = rng.standard_normal(int(weft_number.max()) + 1, dtype=np.float32)
    tone += np.float32(0.045) * np.where(on_top, warp_tones[warp_number], weft_tones[weft_number])
    shift = np.float32(0.015 * (lot.variant + 1))
    return tone.astype(np.float32), np.where(on_top, shift, -shift)


def _ceramic(rng: Random, lot: Lot, size: Size, direction: float) -> Field:
    """Glaze: soft mottling, faint specks, and a lamp mirrored in its slightly wavy skin."""
    mottle = fields.fractal(rng, size, 22.0 * lot.scale, 3, 0.6)
    cloud = fields.fractal(rng, size, 70.0 * lot.scale, 2)
    tone = np.float32(0.018 * lot.contrast) * mottle + np.float32(0.012) * cloud
    tone += np.float32(0.006) * fields.smooth(rng, size, 1.2)
    area = size[0] * size[1]
    density = (4000, 2200, 1100)[lot.variant]
    specks = fields.dots(rng, size, int(rng.poisson(area / density)), (0.3, 0.8))
    tone -= np.float32(0.35) * fields.blur(specks, 0.35)
    skin = fields.smooth(rng, size, 5.0 * lot.scale)
    tone += np.float32(0.025 * lot.contrast) * fields.relief(skin, lot.light)
    skin = np.float32(0.15) * skin + np.float32(3.0) * fields.smooth(rng, size, 20.0 * lot.scale)
    base = np.exp(tone)[:, :, None] + cloud[:, :, None] * np.array((0.005, 0.0, -0.007), dtype=np.float32)
    shine = _lamp(rng, lot, size, skin, direction)
    return np.asarray(base + shine[:, :, None], dtype=np.float32)


def _lamp(rng: Random, lot: Lot, size: Size, skin: Field, direction: float) -> Field:
    """A soft box mirrored in the glaze; the skin's waves bend its edge."""
    x, y = fields.coordinates(size)
    side = float(min(size))
    reach = 0.55 * side
    x = x - np.float32(size[1] / 2 + reach * math.cos(lot.light) + rng.normal(0.0, 0.06 * side))
    y = y - np.float32(size[0] / 2 + reach * math.sin(lot.light) + rng.normal(0.0, 0.06 * side))
    dy, dx = np.gradient(skin)
    bend = np.float32(18.0)
    turn = direction + 0.5
    cos, sin = np.float32(math.cos(turn)), np.float32(math.sin(turn))
    across = np.abs(cos * (x + bend * dx) + sin * (y + bend * dy)) / np.float32(0.16 * side)
    along = np.abs(cos * (y + bend * dy) - sin * (x + bend * dx)) / np.float32(0.34 * side)
    # A superellipse: a box with round corners.
    away = np.sqrt(np.sqrt(across**4 + along**4))
    box = np.float32(1.0) / (np.float32(1.0) + np.exp(np.clip((away - 1.0) * 9.0, -30.0, 30.0)))
    halo = np.exp(np.float32(-0.8) * away)
    strength = np.float32(0.12 + 0.05 * lot.variant)
    return np.asarray(strength * (box + np.float32(0.35) * halo), dtype=np.float32)


def _tile(rng: Random, lot: Lot, size: Size, direction: float) -> Field:
    """Sintered and ground: fine dark grain, grinding lines that come and go, slow clouds of tone."""
    wide = lot.scale
    ground = fields.streaks(rng, size, direction, ((30.0, 0.6 * wide, 1.0), (90.0, 1.5 * wide, 0.7)))
    present = fields.smoothstep(-0.6, 1.2, fields.smooth(rng, size, 40.0))
    tone = np.float32(0.07 * lot.contrast) * ground * present
    tone += np.float32(0.05 * lot.contrast) * fields.fractal(rng, size, 5.0 * wide, 3)
    tone += np.float32(0.07) * fields.fractal(rng, size, 60.0, 2)
    area = size[0] * size[1]
    pores = fields.dots(rng, size, int(rng.poisson(area / 1500)), (0.3, 0.8))
    return _grey(np.exp(tone + np.float32(0.05) * fields.white(rng, size) - np.float32(0.35) * pores))


def _concrete(rng: Random, lot: Lot, size: Size, direction: float) -> Field:  # noqa: ARG001
    """Cement skin over sand: clouds of many sizes, grains, bubbles, faint trowel marks. It has no direction."""
    wide = lot.scale
    tone = np.float32(0.09 * lot.contrast) * fields.fractal(rng, size, 60.0 * wide, 6, 0.7)
    tone += np.float32(0.05 * lot.contrast) * fields.relief(fields.smooth(rng, size, 1.6 * wide), lot.light)
    area = size[0] * size[1]
    bubbles = fields.dots(rng, size, int(rng.poisson(area / 2500)), (0.6, 2.2))
    grains = fields.dots(rng, size, int(rng.poisson(area / 300)), (0.4, 1.0))
    tone += np.float32(0.14) * grains - np.float32(0.4) * fields.blur(bubbles, 0.5)
    return _grey(np.exp(tone + np.float32(0.03) * fields.white(rng, size)))


def _steel(rng: Random, lot: Lot, size: Size, direction: float) -> Field:
    """Hot-rolled: clouds of scale, drawn out along the rolling, under grain as coarse as the film of a line camera."""
    wide = lot.scale
    drawn = fields.streaks(rng, size, direction, ((50.0, 4.0 * wide, 1.0), (25.0, 1.2 * wide, 0.6)))
    tone = np.float32(0.06 * lot.contrast) * drawn
    tone += np.float32(0.08 * lot.contrast) * fields.fractal(rng, size, 9.0 * wide, 4, 0.7)
    tone += np.float32(0.12) * fields.fractal(rng, size, 90.0, 2)
    return _grey(np.exp(tone + np.float32(0.05) * fields.white(rng, size)))


def _painted(rng: Random, lot: Lot, size: Size, direction: float) -> Field:
    """Orange peel: a smooth coat whose waves bend a broad soft light; single specks of dust below it."""
    skin = fields.smooth(rng, size, 3.0 * lot.scale) + np.float32(1.5) * fields.smooth(
        rng, size, 9.0 * lot.scale
    )
    tone = np.float32(0.05 * lot.contrast) * fields.relief(skin, lot.light)
    tone += np.float32(0.008) * fields.smooth(rng, size, 0.8)
    area = size[0] * size[1]
    specks = fields.dots(rng, size, int(rng.poisson(area / 6000)), (0.3, 0.7))
    base = np.exp(tone - np.float32(0.2) * specks)[:, :, None]
    shine = np.float32(0.5) * _lamp(rng, lot, size, skin, direction)
    return np.asarray(base + shine[:, :, None], dtype=np.float32)


MATERIALS: dict[str, Material] = {
    "brushed": Material(
        paint=_brushed,
        tints=((1.0, 1.0, 1.02), (0.97, 1.0, 1.04), (1.05, 1.0, 0.93), (1.0, 1.0, 1.0)),
        tone=(0.36, 0.56),
        contrast=(0.7, 1.35),
        noise=(0.006, 0.014),
        turns=(0.0, 0.0, math.pi / 2),
        marks=0.8,
    ),
    "cast": Material(
        paint=_cast,
        tints=((1.0, 1.0, 1.0), (1.04, 1.0, 0.95), (0.97, 1.0, 1.03)),
        tone=(0.28, 0.5),
        contrast=(0.7, 1.3),
        noise=(0.006, 0.015),
        turns=(0.0,),
        marks=1.2,
    ),
    "fabric": Material(
        paint=_fabric,
        tints=(
            (0.78, 0.95, 1.28),
            (1.08, 1.02, 0.88),
            (1.0, 1.0, 1.0),
            (0.93, 1.05, 0.96),
            (1.2, 0.92, 0.86),
        ),
        tone=(0.34, 0.62),
        contrast=(0.7, 1.2),
        noise=(0.006, 0.014),
        turns=(0.0, 0.04, math.pi / 4),
        marks=1.2,
    ),
    "ceramic": Material(
        paint=_ceramic,
        tints=((1.02, 1.0, 0.96), (0.95, 1.03, 0.98), (0.95, 1.0, 1.06), (1.0, 1.0, 1.0), (1.08, 1.0, 0.88)),
        tone=(0.5, 0.72),
        contrast=(0.7, 1.3),
        noise=(0.004, 0.010),
        turns=(0.0, math.pi / 2, 0.7),
        marks=0.4,
    ),
    "tile": Material(
        paint=_tile,
        tints=((1.0, 1.0, 1.0),),
        tone=(0.22, 0.42),
        contrast=(0.6, 1.3),
        noise=(0.006, 0.014),
        turns=(0.0, math.pi / 2),
        marks=1.0,
        defects=("pit", "crack", "break", "fray", "uneven"),
    ),
    "concrete": Material(
        paint=_concrete,
        tints=((1.02, 1.0, 0.96), (1.0, 1.0, 1.0)),
        tone=(0.4, 0.65),
        contrast=(0.7, 1.3),
        noise=(0.006, 0.012),
        turns=(0.0,),
        marks=1.0,
        defects=("crack",),
    ),
    "steel": Material(
        paint=_steel,
        tints=((1.0, 1.0, 1.0),),
        tone=(0.3, 0.6),
        contrast=(0.7, 1.3),
        noise=(0.008, 0.016),
        turns=(0.0, math.pi / 2),
        marks=1.0,
        defects=("patch", "scratch", "inclusion"),
    ),
    "painted": Material(
        paint=_painted,
        tints=((1.0, 1.0, 1.0), (0.8, 0.95, 1.25), (1.25, 0.92, 0.83), (0.9, 1.08, 1.02)),
        tone=(0.3, 0.65),
        contrast=(0.6, 1.3),
        noise=(0.004, 0.010),
        turns=(0.0, 0.7),
        marks=0.5,
        defects=("scratch", "pit", "stain"),
    ),
}
"""The materials by name."""
