"""Lots, sound pieces of them, and the camera that looks at them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ltcam.synth import fields, marks
from ltcam.synth.fields import Field, Random, Size
from ltcam.synth.lots import Lot
from ltcam.synth.materials import MATERIALS

SURFACES: tuple[str, ...] = tuple(MATERIALS)
"""Names of the surfaces."""

MIXED: tuple[str, ...] = ("brushed", "cast", "fabric", "ceramic")
"""The surfaces of a set where none are named."""


@dataclass(frozen=True)
class Surface:
    """One piece of a surface under the camera.

    Attributes:
        radiance: (H, W, 3) float32 RGB, the light before lens and sensor; 1.0 is the camera's white.
        grain: (H, W, 3) float32, this exposure's sensor noise in standard deviations.
        direction: direction of the texture, radians.
        lot: where the piece comes from.
    """

    radiance: Field
    grain: Field
    direction: float
    lot: Lot

    @property
    def size(self) -> Size:
        """Height and width in pixels."""
        return self.radiance.shape[0], self.radiance.shape[1]

    def window(self, rows: slice, columns: slice) -> Surface:
        """A rectangular part of the piece."""
        return Surface(self.radiance[rows, columns], self.grain[rows, columns], self.direction, self.lot)


def draw_lot(rng: Random, surface: str) -> Lot:
    """A lot of a surface.

    Args:
        rng: source of randomness.
        surface: one of `SURFACES`.
    """
    material = MATERIALS[surface]
    tint = np.array(material.tints[int(rng.integers(len(material.tints)))]) * rng.uniform(0.98, 1.02, 3)
    red, green, blue = (float(value) for value in tint / tint.mean())
    return Lot(
        surface=surface,
        tint=(red, green, blue),
        tone=float(rng.uniform(*material.tone)),
        light=float(rng.uniform(0.0, 2.0 * math.pi)),
        slope=float(rng.uniform(0.05, 0.35)),
        scale=math.exp(float(rng.uniform(math.log(0.8), math.log(1.3)))),
        contrast=float(rng.uniform(*material.contrast)),
        grain=float(rng.choice(material.turns) + rng.normal(0.0, 0.03)),
        variant=int(rng.integers(3)),
        sharpness=float(rng.uniform(0.4, 0.75)),
        noise=float(rng.uniform(*material.noise)),
    )


def draw_surface(rng: Random, lot: Lot, size: Size) -> Surface:
    """One sound piece of a lot.

    Args:
        rng: source of randomness.
        lot: what it shares with the other pieces of its lot.
        size: `(H, W)` in pixels.
    """
    direction = lot.grain + float(rng.normal(0.0, 0.012))
    material = MATERIALS[lot.surface]
    texture = material.paint(rng, lot, size, direction)
    light = marks.illumination(rng, lot, size) + marks.benign(rng, material.marks, size, direction)
    exposure = lot.tone * math.exp(float(rng.normal(0.0, 0.05)))
    gains = (np.float32(exposure) * np.array(lot.tint, dtype=np.float32)).astype(np.float32)
    radiance = texture * np.exp(light)[:, :, None] * gains
    # Red and blue have fewer sensels than green, and more noise.
    luma, red, blue = (np.float32(weight) * fields.white(rng, size) for weight in (0.85, 0.45, 0.45))
    grain = np.stack((luma + red, luma, luma + blue), axis=2)
    return Surface(radiance.astype(np.float32), grain.astype(np.float32), direction, lot)


def expose(surface: Surface) -> Field:
    """What the camera records, before rounding: the lens' blur, the film's shoulder, the sensor's noise.

    Returns:
        (H, W, 3) float32 RGB in 0 to 1.
    """
    seen = fields.blur(surface.radiance, surface.lot.sharpness)
    # Above 0.75 the response bends towards white, as cameras do rather than clip.
    over = np.maximum(seen - np.float32(0.75), 0.0)
    seen = np.minimum(seen, np.float32(0.75)) + np.float32(0.25) * np.tanh(over / np.float32(0.25))
    deviation = np.float32(surface.lot.noise) * np.sqrt(np.float32(0.1) + np.float32(0.9) * seen)
    return np.asarray(np.clip(seen + deviation * surface.grain, 0.0, 1.0), dtype=np.float32)


def quantised(exposed: Field) -> npt.NDArray[np.uint8]:
    """The exposed image as 8-bit RGB."""
    return np.asarray(np.rint(exposed * np.float32(255.0)), dtype=np.uint8)
