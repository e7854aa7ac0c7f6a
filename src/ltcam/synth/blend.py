"""Defects laid on a surface at a contrast that is measured, not hoped for; and their exact masks.

The contrast of a defect is measured in the picture as the camera gives it, with and without the defect (same
light, same sensor noise), at the defect's own scale: both are smoothed by a fraction of its half width.

    signal    root mean square of the change inside the mask
    noise     deviation of the sound picture around the defect, without its slow changes, and two grey
              levels added in quadrature, below which an eye sees nothing on a screen
    contrast  signal / noise

A strength is sought that gives a contrast drawn between `FAINT` and `CLEAR` of the class; a defect that stays
below `FAINT` is thrown away and drawn anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ltcam.synth import fields
from ltcam.synth.defects import DEFECTS, Shape
from ltcam.synth.fields import Field, Random
from ltcam.synth.surfaces import Surface, expose, quantised

Mask = npt.NDArray[np.bool_]
Picture = npt.NDArray[np.uint8]

ALPHA = 0.3
"""A pixel belongs to the mask where the defect's rendered alpha is at least this: where the defect covers
three tenths of the pixel or more, or at a soft edge has three tenths of its full effect."""

FAINT: dict[str, float] = {
    "scratch": 2.0,
    "crack": 2.0,
    "pit": 3.0,
    "stain": 2.8,
    "inclusion": 3.2,
    "break": 3.0,
    "fray": 1.2,
    "uneven": 1.8,
    "patch": 2.0,
}
"""Smallest contrast per class: a careful person still sees the defect."""

CLEAR: dict[str, float] = {
    "scratch": 9.0,
    "crack": 10.0,
    "pit": 12.0,
    "stain": 6.5,
    "inclusion": 13.0,
    "break": 12.0,
    "fray": 3.5,
    "uneven": 5.0,
    "patch": 7.0,
}
"""Contrast of the clearest defects per class."""

_STRONGEST = {
    "scratch": 1.3,
    "crack": 2.4,
    "pit": 2.0,
    "stain": 0.6,
    "inclusion": 1.5,
    "break": 2.2,
    "fray": 2.5,
    "uneven": 1.0,
    "patch": 1.2,
}
_LARGEST = {"fray": 0.45, "uneven": 0.4}  # of the image, all defects together; of the other classes:
_LARGEST_OTHERS = 0.25
_SMALLEST = 6  # pixels
_APART = 9  # pixels between two defects
_ARRANGEMENTS = 60
_LUMA = np.array((0.299, 0.587, 0.114), dtype=np.float32)
_SCREEN = 2.0


@dataclass(frozen=True)
class Defect:
    """One defect of a picture.

    Attributes:
        mask: (H, W) bool, its pixels.
        contrast: contrast to noise, as this module's docstring says.
        strength: the factor it was laid with.
    """

    mask: Mask
    contrast: float
    strength: float


def mask_of(shape: Shape) -> Mask:
    """(H, W) bool, the pixels that count as the defect's."""
    return shape.alpha >= np.float32(ALPHA)


def lay(surface: Surface, shape: Shape, strength: float) -> Surface:
    """The surface with a defect in it.

    Texture is lost first (`Shape.fill`), then the light changes by `exp(strength * change * colour)`: so no
    strength makes light negative, and highlights and shadows of the surface stay.

    Args:
        surface: the surface, of the shape's size.
        shape: the defect.
        strength: factor on the shape's change of log brightness.
    """
    cover = (np.float32(shape.fill) * shape.alpha)[:, :, None]
    smeared = fields.blur(surface.radiance, shape.smear)
    radiance = surface.radiance + cover * (smeared - surface.radiance)
    colour = np.array(shape.colour, dtype=np.float32)
    radiance = radiance * np.exp(np.float32(strength) * shape.change[:, :, None] * colour)
    return replace(surface, radiance=radiance.astype(np.float32))


def contrast_to_noise(sound: Field | Picture, hurt: Field | Picture, mask: Mask) -> float:
    """Contrast of a defect at its own scale, as this module's docstring says.

    Args:
        sound: (H, W, 3) the picture without the defect, grey levels 0 to 255.
        hurt: (H, W, 3) the picture with it.
        mask: (H, W) the defect's pixels, at least one.
    """
    rows, columns = _around(mask, 24)
    inside = mask[rows, columns]
    before = (sound[rows, columns].astype(np.float32) @ _LUMA).astype(np.float32)
    after = (hurt[rows, columns].astype(np.float32) @ _LUMA).astype(np.float32)
    half: Any = cv2.distanceTransform(np.pad(inside, 1).astype(np.uint8), cv2.DIST_L2, 3)
    scale = float(np.clip(0.4 * float(half.max()), 0.4, 6.0))
    change = fields.blur(after - before, scale)[inside]
    texture = fields.blur(before, scale) - fields.blur(before, max(4.0 * scale, 5.0))
    noise = float(np.hypot(texture.std(), _SCREEN))
    return float(np.sqrt(np.mean(change**2))) / noise


def hurt_surface(rng: Random, surface: Surface, defect: str) -> tuple[Picture, tuple[Defect, ...]]:
    """Lays one to three defects of a class on a surface and takes the picture.

    Args:
        rng: source of randomness.
        surface: the sound surface.
        defect: one of `DEFECTS`.

    Returns:
        The (H, W, 3) RGB picture and its defects, which do not touch each other. Each has a contrast of
        at least `FAINT` in this very picture.

    Raises:
        RuntimeError: nothing visible could be drawn in hundreds of tries.
    """
    sound = quantised(expose(surface))
    for _ in range(_ARRANGEMENTS):
        laid = _arrange(rng, surface, sound, defect)
        hurt = surface
        for shape, _, strength in laid:
            hurt = lay(hurt, shape, strength)
        picture = quantised(expose(hurt))
        defects = tuple(
            Defect(mask, contrast_to_noise(sound, picture, mask), strength) for _, mask, strength in laid
        )
        # Neighbours smear a little into each other; where that costs one its contrast, all are drawn anew.
        if defects and min(each.contrast for each in defects) >= FAINT[defect]:
            return picture, defects
    raise RuntimeError(f"no visible {defect} on {surface.lot.surface} in {_ARRANGEMENTS} arrangements")


def _arrange(rng: Random, surface: Surface, sound: Picture, defect: str) -> list[tuple[Shape, Mask, float]]:
    """Shapes, masks and strengths of one to three defects apart from each other; now and then none."""
    count = int(rng.choice((1, 2, 3), p=(0.6, 0.25, 0.15)))
    taken = np.zeros(surface.size, dtype=np.bool_)
    laid: list[tuple[Shape, Mask, float]] = []
    for _ in range(4 * count):
        if len(laid) == count:
            break
        shape = DEFECTS[defect](rng, surface, surface.size)
        target = float(np.exp(rng.uniform(np.log(1.15 * FAINT[defect]), np.log(CLEAR[defect]))))
        mask = mask_of(shape)
        if _fits(mask, taken, _LARGEST.get(defect, _LARGEST_OTHERS)):
            strength, contrast = _strength(surface, sound, shape, target, _STRONGEST[defect])
            if contrast >= 1.05 * FAINT[defect]:
                laid.append((shape, mask, strength))
                taken |= cv2.dilate((shape.alpha > 0).astype(np.uint8), _disc(_APART)).astype(np.bool_)
    return laid


def _fits(mask: Mask, taken: Mask, largest: float) -> bool:
    area = int(mask.sum())
    if area < _SMALLEST or area + int(taken.sum()) > largest * mask.size:
        return False
    return not bool((mask & taken).any())


def _strength(
    surface: Surface, sound: Picture, shape: Shape, target: float, strongest: float
) -> tuple[float, float]:
    """The strength that gives a contrast, and the contrast it gives: proportional steps on a window."""
    mask = mask_of(shape)
    rows, columns = _around(mask, 32)
    window = surface.window(rows, columns)
    part = replace(shape, alpha=shape.alpha[rows, columns], change=shape.change[rows, columns])
    before, inside = sound[rows, columns], mask[rows, columns]

    def reached(strength: float) -> float:
        return contrast_to_noise(before, quantised(expose(lay(window, part, strength))), inside)

    strength, contrast = 0.4 * strongest, 0.0
    for _ in range(5):
        contrast = reached(strength)
        wanted = float(np.clip(strength * target / max(contrast, 1e-3), 0.02 * strongest, strongest))
        if abs(wanted - strength) <= 0.05 * strength:
            break
        strength = wanted
    else:
        contrast = reached(strength)
    return strength, contrast


def _around(mask: Mask, margin: int) -> tuple[slice, slice]:
    """The rows and columns of a mask with a margin."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    rows = slice(max(0, int(ys[0]) - margin), int(ys[-1]) + margin + 1)
    return rows, slice(max(0, int(xs[0]) - margin), int(xs[-1]) + margin + 1)


def _disc(radius: int) -> Picture:
    disc: Any = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(disc, dtype=np.uint8)
