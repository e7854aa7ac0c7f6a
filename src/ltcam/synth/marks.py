"""What a sound part carries all the same: uneven light, dust, weak marks, seams, rims of dried water.

Every function returns a change of log brightness, `(H, W)` float32. OK images and images with a defect get
them alike, so that a mark as such says nothing about the label.
"""

from __future__ import annotations

import math

import numpy as np

from ltcam.synth import fields
from ltcam.synth.fields import Field, Random, Size
from ltcam.synth.lots import Lot


def illumination(rng: Random, lot: Lot, size: Size) -> Field:
    """A slope, slow unevenness, darker corners, now and then a soft band of light."""
    x, y = fields.coordinates(size)
    x = (x / np.float32(size[1]) - np.float32(0.5)).astype(np.float32)
    y = (y / np.float32(size[0]) - np.float32(0.5)).astype(np.float32)
    angle = lot.light + float(rng.normal(0.0, 0.1))
    light: Field = np.float32(lot.slope) * (np.float32(math.cos(angle)) * x + np.float32(math.sin(angle)) * y)
    light -= np.float32(rng.uniform(0.0, 0.25)) * (x * x + y * y)
    light += np.float32(0.025) * fields.smooth(rng, size, 0.25 * max(size))
    if rng.random() < 0.3:  # a tube or a window frame, thrown back by the part
        turn = float(rng.uniform(0.0, math.pi))
        along = np.float32(math.cos(turn)) * x + np.float32(math.sin(turn)) * y
        width = float(rng.uniform(0.03, 0.12))
        band = np.exp(np.float32(-0.5 / width**2) * (along - np.float32(rng.uniform(-0.5, 0.5))) ** 2)
        light += np.float32(rng.uniform(-0.05, 0.09)) * band
    return light.astype(np.float32)


def benign(rng: Random, strength: float, size: Size, direction: float) -> Field:
    """Dust on every part; handling marks, a seam, rims of dried water on some; all `strength` times as strong."""
    change = _dust(rng, size)
    if rng.random() < 0.45:
        change += _handling(rng, size)
    if rng.random() < 0.18:
        change += _seam(rng, size, direction)
    if rng.random() < 0.3:
        change += _water(rng, size)
    return np.float32(strength) * change


def _dust(rng: Random, size: Size) -> Field:
    area = size[0] * size[1]
    bright = fields.dots(rng, size, int(rng.poisson(area / 9000)), (0.3, 0.8))
    dark = fields.dots(rng, size, int(rng.poisson(area / 9000)), (0.3, 0.8))
    return np.float32(0.16) * (bright - dark)


def _handling(rng: Random, size: Size) -> Field:
    """Short, broad, soft rub marks, much wider and fainter than a scratch."""
    target = fields.canvas(size)
    for _ in range(int(rng.integers(1, 5))):
        start = rng.uniform(0.0, 1.0, 2) * (size[1], size[0])
        angle, length = rng.uniform(0.0, 2.0 * math.pi), rng.uniform(12.0, 50.0)
        end = start + length * np.array((math.cos(angle), math.sin(angle)))
        points = np.stack((start, end)).astype(np.float32)
        width = np.array([rng.uniform(2.5, 6.0)], dtype=np.float32)
        fields.stroke(target, points, width, np.array([rng.uniform(0.4, 1.0)], dtype=np.float32))
    soft = fields.blur(fields.shrink(target, size) / np.float32(255.0), float(rng.uniform(1.5, 3.0)))
    return np.float32(rng.uniform(0.02, 0.05) * rng.choice((-1.0, 1.0))) * soft


def _seam(rng: Random, size: Size, direction: float) -> Field:
    """A straight joint from edge to edge, along or across the texture."""
    x, y = fields.coordinates(size)
    angle = direction + float(rng.choice((0.0, math.pi / 2)))
    across = np.float32(math.cos(angle)) * (y - np.float32(rng.uniform(0.1, 0.9) * size[0]))
    across = across - np.float32(math.sin(angle)) * (x - np.float32(rng.uniform(0.1, 0.9) * size[1]))
    width = float(rng.uniform(0.8, 2.5))
    groove = np.exp(np.float32(-0.5 / width**2) * across**2)
    step = np.tanh(across / np.float32(2.0 * width))
    amount, side = rng.uniform(-0.10, 0.03), rng.uniform(-0.02, 0.02)
    return np.asarray(np.float32(amount) * groove + np.float32(side) * step, dtype=np.float32)


def _water(rng: Random, size: Size) -> Field:
    """Thin faint rims of dried drops; a drop changes nothing inside."""
    x, y = fields.coordinates(size)
    rims = np.zeros(size, dtype=np.float32)
    for _ in range(int(rng.integers(1, 5))):
        radius = float(rng.uniform(5.0, 22.0))
        cx, cy = rng.uniform(0.0, size[1]), rng.uniform(0.0, size[0])
        dx, dy = x - np.float32(cx), y - np.float32(cy)
        theta = np.arctan2(dy, dx)
        uneven = sum(
            np.float32(rng.normal(0.0, 0.09 / k))
            * np.cos(np.float32(k) * theta + np.float32(rng.uniform(0.0, 6.28)))
            for k in (1, 2, 3)
        )
        away = np.hypot(dx, dy) - np.float32(radius) * (np.float32(1.0) + uneven)
        rims += np.float32(rng.uniform(0.5, 1.0)) * np.exp(np.float32(-0.5) * (away / np.float32(1.1)) ** 2)
    return np.float32(rng.uniform(-0.05, 0.05)) * rims
