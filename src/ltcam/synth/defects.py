"""Defect shapes: scratches, cracks, pits, stains, inclusions; breaks, frayed and uneven areas, patches.

A shape says where a surface is hurt and how its light changes there, for a strength of 1. It knows the light
of the lot, so that the lit and the shaded edge of a groove or a pit lie where they must. Every function here
takes `(rng, surface, size)` and returns a `Shape`; places and sizes are drawn, lines and edges are
rendered at four times the size and averaged down.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ltcam.synth import fields
from ltcam.synth.fields import SUPERSAMPLING, Field, Random, Size
from ltcam.synth.surfaces import Surface

Colour = tuple[float, float, float]
_NEUTRAL: Colour = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Shape:
    """One defect, before it is laid on a surface.

    Attributes:
        alpha: (H, W) float32, 0 to 1: the share of each pixel that the defect covers, times the local
            strength of a defect that comes and goes. The mask is made of it.
        change: (H, W) float32: change of log brightness at strength 1; nothing where alpha is 0.
        colour: factor on `change` for red, green, blue.
        fill: 0 to 1, how far the surface's own texture is gone where alpha is 1.
        smear: blur that stands for the lost texture, standard deviation in pixels.
    """

    alpha: Field
    change: Field
    colour: Colour = _NEUTRAL
    fill: float = 0.0
    smear: float = 3.0


def _lit(relief: Field, light: float) -> Field:
    """Brightness change of a relief (up is positive) lit from `light`; largest absolute value 1."""
    shade = fields.relief(relief, light)
    peak = float(np.abs(shade).max())
    return np.asarray(shade / np.float32(peak), dtype=np.float32) if peak > 0.0 else shade


def _groove(drawn: Field, size: Size, light: float, depth: float) -> tuple[Field, Field]:
    """Alpha and edge shading of a groove drawn on a supersampled canvas (values 0 to 1)."""
    alpha = fields.shrink(drawn, size)
    rows, columns = _window(drawn)
    part = np.asarray(drawn[rows, columns], dtype=np.float32)
    wall = fields.blur(part, SUPERSAMPLING * depth)
    shade = _lit(-wall, light) * np.sqrt(part)
    whole = np.zeros(drawn.shape, dtype=np.float32)
    whole[rows, columns] = shade
    return alpha, fields.shrink(whole, size)


def _window(drawn: Field) -> tuple[slice, slice]:
    """The part of a canvas with something on it, whole pixels of the final size, with a margin."""
    ys, xs = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    if not ys.size:
        return slice(0, 1), slice(0, 1)
    margin = 6 * SUPERSAMPLING
    return (
        slice(max(0, int(ys[0]) - margin), int(ys[-1]) + margin + 1),
        slice(max(0, int(xs[0]) - margin), int(xs[-1]) + margin + 1),
    )


def _place(rng: Random, size: Size, margin: float) -> tuple[float, float]:
    """A point `(x, y)` at least `margin` pixels from the border, where the image is large enough."""
    height, width = size
    mx, my = min(margin, 0.45 * width), min(margin, 0.45 * height)
    return float(rng.uniform(mx, width - mx)), float(rng.uniform(my, height - my))


def _along(rng: Random, count: int, knots: int) -> Field:
    """A smooth random course of unit deviation, `(count,)`, through `knots` random values."""
    values = rng.standard_normal(max(2, knots) + 2)
    at = np.linspace(0.0, values.size - 1.0, count)
    low = np.minimum(np.floor(at).astype(int), values.size - 2)
    t = at - low
    t = t * t * (3.0 - 2.0 * t)
    return np.asarray(values[low] * (1.0 - t) + values[low + 1] * t, dtype=np.float32)


# ------------------------------------------------------------------------------------------ scratch


_BRIGHT_SCRATCHES = {
    "brushed": 0.7,
    "cast": 0.75,
    "fabric": 0.5,
    "ceramic": 0.25,
    "tile": 0.6,
    "concrete": 0.6,
    "steel": 0.95,
    "painted": 0.7,
}
"""Share of scratches that are brighter than the surface."""


def scratch(rng: Random, surface: Surface, size: Size) -> Shape:
    """A curved stroke 1 to 4 px wide, of uneven pressure and here and there broken, with lit edges."""
    side = min(size)
    length = math.exp(float(rng.uniform(math.log(0.12 * side), math.log(0.75 * side))))
    width = float(rng.choice((1.2, 1.5, 2.0, 2.8, 3.7)) * rng.uniform(0.85, 1.15))
    x, y = _place(rng, size, 0.1 * side)
    # Along the grain of brushed metal a scratch could not be told from it.
    aside = float(rng.uniform(0.25, math.pi - 0.25)) if surface.lot.surface == "brushed" else None
    angle = surface.direction + aside if aside is not None else float(rng.uniform(0.0, 2.0 * math.pi))
    count = max(8, round(length / 2.0))
    # A turn over the whole length, a slow wander, and the hand's or the tool's tremble.
    course = float(rng.normal(0.0, 0.3)) * np.linspace(-0.5, 0.5, count)
    course = course + 0.10 * _along(rng, count, max(2, int(length / 45))) + 0.025 * rng.standard_normal(count)
    headings = np.asarray(angle + course, dtype=np.float32)
    points = _walk(x, y, headings, length / count)
    pressure = np.clip(0.78 + 0.28 * _along(rng, count, max(3, int(length / 18))), 0.0, 1.0)
    ends = np.minimum(1.0, 4.0 * np.minimum(np.linspace(0.0, 1.0, count), np.linspace(1.0, 0.0, count)) + 0.3)
    pressure = pressure * ends
    target = fields.canvas(size)
    levels = np.where(pressure > 0.33, 0.45 + 0.55 * pressure, 0.0)
    widths = width * (0.55 + 0.45 * pressure)
    fields.stroke(target, points, widths.astype(np.float32), levels.astype(np.float32))
    if rng.random() < 0.25:  # the tool skipped: a lighter companion beside the stroke
        offset = (2.0 * width + float(rng.uniform(1.0, 4.0))) * np.array((-math.sin(angle), math.cos(angle)))
        part = slice(0, max(4, count // 2))
        fields.stroke(
            target,
            (points[: max(4, count // 2) + 1] + offset).astype(np.float32),
            np.full(max(4, count // 2), max(0.8, 0.5 * width), dtype=np.float32),
            (0.7 * levels[part]).astype(np.float32),
        )
    alpha, shade = _groove(
        target.astype(np.float32) / np.float32(255.0), size, surface.lot.light, 0.25 * width
    )
    bright = rng.random() < _BRIGHT_SCRATCHES[surface.lot.surface]
    tone = 1.0 if bright else -1.0
    change = np.float32(0.75 * tone) * alpha + np.float32(0.6) * shade
    return Shape(alpha, change, fill=0.45, smear=2.0)


def _walk(x: float, y: float, headings: Field, step: float) -> Field:
    """The points of a path that is in `(x, y)` half way along, `(N + 1, 2)`."""
    steps = step * np.stack((np.cos(headings), np.sin(headings)), axis=1)
    points = np.concatenate((np.zeros((1, 2)), np.cumsum(steps, axis=0)))
    return np.asarray(points - points[len(points) // 2] + (x, y), dtype=np.float32)


# -------------------------------------------------------------------------------------------- crack


def crack(rng: Random, surface: Surface, size: Size) -> Shape:
    """A hair-thin dark random walk of varying width that branches."""
    side = min(size)
    length = math.exp(float(rng.uniform(math.log(0.18 * side), math.log(0.8 * side))))
    width = math.exp(float(rng.uniform(math.log(0.95), math.log(2.5))))
    x, y = _place(rng, size, 0.12 * side)
    target = fields.canvas(size)
    branches = [(x, y, float(rng.uniform(0.0, 2.0 * math.pi)), length, width, 0)]
    while branches:
        x, y, heading, length, width, depth = branches.pop()
        points, headings = _crack_path(rng, (x, y), heading, length, centred=depth == 0)
        count = len(headings)
        taper = (
            np.linspace(1.0, 0.45, count)
            if depth
            else np.sin(np.linspace(0.35, math.pi - 0.35, count)) ** 0.5
        )
        widths = np.maximum(0.75, width * taper * (1.0 + 0.25 * _along(rng, count, count // 4)))
        fields.stroke(target, points, widths.astype(np.float32), np.ones(count, dtype=np.float32))
        if depth < 2:
            for at in np.flatnonzero(rng.random(count) < (2.2 - depth) / max(count, 12)):
                turn = float(rng.uniform(0.4, 1.1) * rng.choice((-1.0, 1.0)))
                start = float(points[at, 0]), float(points[at, 1])
                reach = length * float(rng.uniform(0.15, 0.45))
                branches.append((*start, float(headings[at]) + turn, reach, 0.75 * width, depth + 1))
    alpha, shade = _groove(target.astype(np.float32) / np.float32(255.0), size, surface.lot.light, 0.3)
    change = -alpha + np.float32(0.2) * shade
    return Shape(alpha, change, fill=0.5, smear=1.5)


def _crack_path(
    rng: Random, start: tuple[float, float], heading: float, length: float, *, centred: bool
) -> tuple[Field, Field]:
    """A path of short steps that jitters, drifts and now and then kinks: points and headings."""
    step = 2.5
    count = max(4, round(length / step))
    jitter = 0.33 * rng.standard_normal(count) + 0.12 * np.cumsum(rng.standard_normal(count))
    kinks = np.cumsum(np.where(rng.random(count) < 0.06, rng.uniform(-0.8, 0.8, count), 0.0))
    headings = np.asarray(heading + jitter + kinks - 0.5 * (jitter + kinks).mean(), dtype=np.float32)
    points = _walk(*start, headings, step)
    if not centred:
        points = points - points[0] + np.array(start, dtype=np.float32)
    return points, headings


# ---------------------------------------------------------------------------------------------- pit


def pit(rng: Random, surface: Surface, size: Size) -> Shape:
    """A small round hole, 3 to 10 px across: dark at the bottom, one wall lit, the other in shadow."""
    radius = 0.5 * math.exp(float(rng.uniform(math.log(3.0), math.log(10.0))))
    spot = _spot(size, _place(rng, size, radius + 4.0), 2.0 * radius + 3.0)
    rho = _distance(rng, spot, radius, uneven=0.14, stretch=1.35)
    inside = (rho < 1.0).astype(np.float32)
    bowl = np.maximum(0.0, np.float32(1.0) - rho * rho)
    wall = _lit(-bowl, surface.lot.light) * inside
    alpha = spot.shrunk(inside)
    floor = np.float32(0.35) * alpha + np.float32(0.65) * spot.shrunk(np.sqrt(bowl))
    change = np.float32(-0.75) * floor + np.float32(rng.uniform(0.35, 0.8)) * spot.shrunk(wall)
    return Shape(spot.placed(alpha), spot.placed(change), fill=0.6, smear=2.0)


@dataclass(frozen=True)
class _Spot:
    """A window around a small defect: all that is worth rendering of the image.

    Attributes:
        size: `(H, W)` of the image.
        centre: x, y in pixels of the image.
        rows: the window's rows.
        columns: the window's columns.
    """

    size: Size
    centre: tuple[float, float]
    rows: slice
    columns: slice

    @property
    def shape(self) -> Size:
        """Height and width of the window."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def shrunk(self, fine: Field) -> Field:
        """A supersampled field of the window at the window's size."""
        return fields.shrink(fine, self.shape)

    def placed(self, field: Field) -> Field:
        """A field of the window in an image that is 0 elsewhere."""
        whole = np.zeros(self.size, dtype=np.float32)
        whole[self.rows, self.columns] = field
        return whole


def _spot(size: Size, centre: tuple[float, float], reach: float) -> _Spot:
    """The window of `reach` pixels around a centre, cut at the image's border."""
    (x, y), far = centre, math.ceil(reach)
    rows = slice(max(0, int(y) - far), min(size[0], int(y) + far + 1))
    columns = slice(max(0, int(x) - far), min(size[1], int(x) + far + 1))
    return _Spot(size, centre, rows, columns)


def _distance(rng: Random, spot: _Spot, radius: float, uneven: float, stretch: float) -> Field:
    """Supersampled distance from a spot's centre in units of an uneven radius: the blob is below 1."""
    x, y = fields.coordinates(spot.shape, SUPERSAMPLING)
    dx = x + np.float32(spot.columns.start - spot.centre[0])
    dy = y + np.float32(spot.rows.start - spot.centre[1])
    turn, ratio = float(rng.uniform(0.0, math.pi)), math.sqrt(float(rng.uniform(1.0, stretch)))
    cos, sin = np.float32(math.cos(turn)), np.float32(math.sin(turn))
    u, v = (cos * dx + sin * dy) / np.float32(ratio), (cos * dy - sin * dx) * np.float32(ratio)
    theta = np.arctan2(v, u)
    edge = np.full(theta.shape, radius, dtype=np.float32)
    for wave in range(2, 8):
        swing = np.float32(radius * uneven * float(rng.normal()) / wave**0.8)
        edge += swing * np.cos(np.float32(wave) * theta + np.float32(rng.uniform(0.0, 2.0 * math.pi)))
    return np.asarray(np.hypot(u, v) / np.maximum(edge, np.float32(0.35 * radius)), dtype=np.float32)


# -------------------------------------------------------------------------------------------- stain

_STAINS: tuple[Colour, ...] = (_NEUTRAL, (0.8, 1.0, 1.25), (0.6, 1.0, 1.5), (1.15, 1.0, 0.85))
"""Colours of what darkens: grey film, oil, rust, ink."""

_BLEACHES: tuple[Colour, ...] = (_NEUTRAL, (1.08, 1.0, 0.9), (1.0, 1.0, 0.85))
"""Colours of what brightens: lime, chalk, resin."""


def _colour(rng: Random, *, bright: bool) -> Colour:
    choices = _BLEACHES if bright else _STAINS
    return choices[int(rng.integers(len(choices)))]


def stain(rng: Random, surface: Surface, size: Size) -> Shape:  # noqa: ARG001
    """A large soft irregular patch of low contrast, often with a darker rim where it dried."""
    inward, radius = _drawn_area(rng, size, _Area(0.02, 0.22, rough=0.22, room=0.7, stretch=1.8, detail=0.55))
    soft = float(rng.uniform(3.0, 10.0))
    alpha = fields.smoothstep(-0.5 * soft, 0.5 * soft, inward)
    rim = np.exp(np.float32(-0.5) * ((inward - np.float32(0.5 * soft)) / np.float32(1.2 + 0.3 * soft)) ** 2)
    inner = fields.fractal(rng, size, max(3.0, 0.3 * radius), 3)
    body = np.clip(np.float32(0.8) + np.float32(0.16) * inner, 0.45, 1.2)
    body = body + np.float32(rng.choice((0.0, 0.35, 0.8))) * rim
    bright = rng.random() < 0.2
    # What dries bright is thin: dust of lime, not paint.
    sign = np.float32(0.4 if bright else -1.0)
    return Shape(alpha, sign * alpha * body, colour=_colour(rng, bright=bright), fill=0.12, smear=1.5)


def _signed_distance(inside: npt.NDArray[np.bool_]) -> Field:
    """Distance to the edge in pixels, positive inside."""
    inner: Any = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outer: Any = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(inner - outer, dtype=np.float32)


# ---------------------------------------------------------------------------------------- inclusion


def inclusion(rng: Random, surface: Surface, size: Size) -> Shape:
    """An irregular grain of another material, sunk into the surface: own tone, own texture, a shaded rim."""
    radius = 0.5 * math.exp(float(rng.uniform(math.log(7.0), math.log(min(44.0, 0.25 * min(size))))))
    spot = _spot(size, _place(rng, size, radius + 2.0), 2.6 * radius + 3.0)
    rho = _distance(rng, spot, radius, uneven=0.2, stretch=2.2)
    inside = (rho < 1.0).astype(np.float32)
    alpha = np.float32(rng.uniform(0.85, 1.0)) * spot.shrunk(inside)
    wall = _lit(-np.minimum(rho, np.float32(1.3)), surface.lot.light)
    rim = spot.shrunk(wall * inside * fields.smoothstep(0.6, 1.0, rho))
    grain = fields.fractal(rng, spot.shape, float(rng.uniform(1.2, 0.35 * radius + 1.3)), 2)
    bright = rng.random() < 0.35
    change = alpha * (np.float32(0.45 if bright else -0.7) + np.float32(0.22) * grain)
    change = change + np.float32(rng.uniform(0.15, 0.5) * rng.choice((-1.0, 1.0))) * rim
    colour = _colour(rng, bright=bright)
    fill = 0.55 if surface.lot.surface == "fabric" else 0.85
    return Shape(spot.placed(alpha), spot.placed(change), colour=colour, fill=fill, smear=5.0)


# ----------------------------------------------------------------------- breaks, frayed and uneven areas


def break_(rng: Random, surface: Surface, size: Size) -> Shape:
    """A piece broken out: an angular dark area with a rough ground and a lit edge, mostly at the image's border."""
    side = min(size)
    radius = math.exp(float(rng.uniform(math.log(0.05 * side), math.log(0.16 * side))))
    x, y = _place(rng, size, 0.0)
    if rng.random() < 0.7:  # parts break at their edges
        far = [(0.0, y), (size[1] - 1.0, y), (x, 0.0), (x, size[0] - 1.0)]
        x, y = far[int(rng.integers(4))]
    spot = _spot(size, (x, y), 2.8 * radius + 3.0)
    rho = _distance(rng, spot, radius, uneven=0.25, stretch=2.5)
    rough = np.abs(fields.fractal(rng, (rho.shape[0], rho.shape[1]), 1.2 * radius, 4, 0.6))
    rho = np.asarray(rho + np.float32(0.12) * rough, dtype=np.float32)
    inside = (rho < 1.0).astype(np.float32)
    alpha = spot.shrunk(inside)
    ground = fields.fractal(rng, spot.shape, max(1.5, 0.25 * radius), 3, 0.7)
    wall = spot.shrunk(_lit(-np.minimum(rho, np.float32(1.3)), surface.lot.light) * inside)
    change = alpha * (np.float32(-0.6) + np.float32(0.3) * ground) + np.float32(rng.uniform(0.2, 0.6)) * wall
    return Shape(spot.placed(alpha), spot.placed(change), fill=0.8, smear=3.0)


@dataclass(frozen=True)
class _Area:
    """A large area with an irregular edge.

    Attributes:
        smallest: share of the image.
        largest: likewise.
        rough: how irregular its edge is, 0 to 1.
        room: of it that lies within the image, in radii.
        stretch: how many times longer than wide it may be.
        detail: how much finer details of the edge count than coarser ones.
    """

    smallest: float
    largest: float
    rough: float
    room: float = 0.6
    stretch: float = 2.5
    detail: float = 0.6


def _drawn_area(rng: Random, size: Size, area: _Area) -> tuple[Field, float]:
    """Signed distance to the edge (positive inside) and radius of an area in an image of this size."""
    wanted = math.exp(float(rng.uniform(math.log(area.smallest), math.log(area.largest))))
    radius = math.sqrt(wanted * size[0] * size[1] / math.pi)
    cx, cy = _place(rng, size, area.room * radius)
    x, y = fields.coordinates(size)
    turn, ratio = float(rng.uniform(0.0, math.pi)), math.sqrt(float(rng.uniform(1.0, area.stretch)))
    dx, dy = x - np.float32(cx), y - np.float32(cy)
    cos, sin = np.float32(math.cos(turn)), np.float32(math.sin(turn))
    away = np.hypot((cos * dx + sin * dy) / np.float32(ratio), (cos * dy - sin * dx) * np.float32(ratio))
    edge = fields.fractal(rng, size, max(4.0, 0.45 * radius), 4, area.detail)
    inside = away < np.float32(radius) * (np.float32(1.0) + np.float32(area.rough) * edge)
    # Distances to the edge rather than the field itself: so a soft edge is as wide as said everywhere.
    return fields.blur(_signed_distance(inside), 1.0), radius


def fray(rng: Random, surface: Surface, size: Size) -> Shape:
    """A frayed area, up to a third of the image: the skin is torn into flakes along the texture, lit and dark."""
    inward, radius = _drawn_area(rng, size, _Area(0.08, 0.33, rough=0.3))
    soft = float(rng.uniform(2.0, 6.0))
    alpha = fields.smoothstep(-0.5 * soft, 0.5 * soft, inward)
    length = max(4.0, 0.15 * radius)
    torn = fields.streaks(
        rng, size, surface.direction + 0.3 * float(rng.normal()), ((length, 1.6, 1.0), (4.0, 1.0, 0.7))
    )
    flakes = fields.relief(np.asarray(torn, dtype=np.float32), surface.lot.light)
    flakes = flakes / np.float32(max(float(flakes.std()), 1e-6))
    lean = np.float32(rng.choice((-0.25, 0.2)))
    return Shape(alpha, alpha * (lean + np.float32(0.22) * flakes), fill=0.5, smear=2.0)


def uneven(rng: Random, surface: Surface, size: Size) -> Shape:  # noqa: ARG001
    """An area ground too little or too much: another tone with a soft edge, its texture dulled."""
    inward, radius = _drawn_area(rng, size, _Area(0.04, 0.3, rough=0.25))
    soft = float(rng.uniform(4.0, 0.25 * radius + 6.0))
    alpha = fields.smoothstep(-0.5 * soft, 0.5 * soft, inward)
    cloud = np.clip(
        np.float32(0.85) + np.float32(0.15) * fields.fractal(rng, size, 0.4 * radius, 3), 0.4, 1.3
    )
    sign = np.float32(0.7 if rng.random() < 0.4 else -0.9)
    return Shape(alpha, sign * alpha * cloud, fill=0.4, smear=2.0)


def patch(rng: Random, surface: Surface, size: Size) -> Shape:  # noqa: ARG001
    """A blotch of scale that was rolled in: dark, sharp-edged, ragged, with a cloudy inside."""
    inward, radius = _drawn_area(rng, size, _Area(0.02, 0.2, rough=0.4))
    alpha = fields.smoothstep(-1.0, 1.0, inward)
    cloud = np.clip(
        np.float32(0.8) + np.float32(0.25) * fields.fractal(rng, size, max(3.0, 0.3 * radius), 4), 0.2, 1.5
    )
    return Shape(alpha, -alpha * cloud, fill=0.5, smear=2.0)


DEFECTS: dict[str, Callable[[Random, Surface, Size], Shape]] = {
    "scratch": scratch,
    "crack": crack,
    "pit": pit,
    "stain": stain,
    "inclusion": inclusion,
    "break": break_,
    "fray": fray,
    "uneven": uneven,
    "patch": patch,
}
"""What draws the shapes of a defect class, by its name."""
