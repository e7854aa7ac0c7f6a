"""Random fields and sub-pixel drawing, of which surfaces and defects are made.

All fields are float32 of shape `(H, W)`. Angles are in radians, from the x axis (right) towards the y axis
(down). Nothing here knows surfaces or defects.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import scipy.fft

Field: TypeAlias = npt.NDArray[np.float32]
Size: TypeAlias = tuple[int, int]
Random: TypeAlias = np.random.Generator

SUPERSAMPLING = 4
"""Strokes and dots are drawn at this many times the size and averaged down."""

_SHIFT = 4  # fractional bits of the coordinates handed to OpenCV


def white(rng: Random, size: Size) -> Field:
    """Independent standard normal pixels."""
    return rng.standard_normal(size, dtype=np.float32)


def blur(field: Field, sigma: float) -> Field:
    """Gaussian blur with a standard deviation in pixels; borders are mirrored."""
    if sigma <= 0.0:
        return field
    blurred: Any = cv2.GaussianBlur(field, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred, dtype=np.float32)


def resized(field: Field, size: Size, interpolation: int) -> Field:
    """The field at another size, with one of OpenCV's interpolations."""
    return np.asarray(cv2.resize(field, (size[1], size[0]), interpolation=interpolation), dtype=np.float32)


def smooth(rng: Random, size: Size, scale: float) -> Field:
    """Isotropic Gaussian noise of unit variance whose bumps are about `scale` pixels wide.

    Args:
        rng: source of randomness.
        size: `(H, W)`.
        scale: standard deviation of the smoothing in pixels, above 0.
    """
    step = max(1.0, scale / 2.0)
    margin = 8
    height, width = (math.ceil(side / step) + 2 * margin for side in size)
    coarse = blur(white(rng, (height, width)), scale / step)
    if step > 1.0:
        # White noise blurred by a Gaussian of sigma s has the deviation 1 / (2 s sqrt(pi)).
        warp = np.array([[step, 0.0, -margin * step], [0.0, step, -margin * step]], dtype=np.float64)
        flags = cv2.INTER_CUBIC
        fine: Any = cv2.warpAffine(coarse, warp, (size[1], size[0]), flags=flags)
        coarse = np.asarray(fine, dtype=np.float32)
    else:
        coarse = coarse[margin : margin + size[0], margin : margin + size[1]]
    sigma = scale / step
    gain = 2.0 * sigma * math.sqrt(math.pi) if sigma > 0.6 else 1.0 / max(float(coarse.std()), 1e-6)
    return np.float32(gain) * coarse


def fractal(rng: Random, size: Size, scale: float, octaves: int, gain: float = 0.55) -> Field:
    """Sum of `smooth` fields, each half as wide and `gain` times as strong as the last; unit variance."""
    total = np.zeros(size, dtype=np.float32)
    power = 0.0
    for octave in range(octaves):
        weight = gain**octave
        total += np.float32(weight) * smooth(rng, size, scale / 2.0**octave)
        power += weight * weight
    return total / np.float32(math.sqrt(power))


def streaks(rng: Random, size: Size, angle: float, layers: Sequence[tuple[float, float, float]]) -> Field:
    """Anisotropic noise of unit variance: long thin strokes along `angle`.

    Args:
        rng: source of randomness.
        size: `(H, W)`.
        angle: direction of the strokes.
        layers: `(length, width, weight)` of each population of strokes; length and width are standard
            deviations in pixels, weights are relative deviations.
    """
    shape = (
        scipy.fft.next_fast_len(size[0] + 16, real=True),
        scipy.fft.next_fast_len(size[1] + 16, real=True),
    )
    rows = scipy.fft.fftfreq(shape[0]).astype(np.float32)[:, None]
    columns = scipy.fft.rfftfreq(shape[1]).astype(np.float32)[None, :]
    along = columns * np.float32(math.cos(angle)) + rows * np.float32(math.sin(angle))
    across = rows * np.float32(math.cos(angle)) - columns * np.float32(math.sin(angle))
    power = np.zeros(along.shape, dtype=np.float32)
    for length, width, weight in layers:
        part = np.exp(np.float32(-4.0 * math.pi**2) * ((length * along) ** 2 + (width * across) ** 2))
        # Each population has the variance weight**2, however much its filter takes away.
        power += np.float32(weight**2 * 4.0 * math.pi * length * width) * part
    spectrum = scipy.fft.rfft2(white(rng, shape)) * np.sqrt(power)
    field: Field = scipy.fft.irfft2(spectrum, s=shape).astype(np.float32)[: size[0], : size[1]]
    deviation = math.sqrt(sum(weight**2 for _, _, weight in layers))
    return np.asarray(field / np.float32(deviation), dtype=np.float32)


def relief(height: Field, light: float) -> Field:
    """How much brighter than a flat one a bumpy surface is, to first order.

    Args:
        height: the surface; up, towards the camera, is positive.
        light: direction towards the light, radians.
    """
    dy, dx = np.gradient(height)
    shade = np.float32(math.cos(light)) * dx + np.float32(math.sin(light)) * dy
    return np.asarray(-shade, dtype=np.float32)


def coordinates(size: Size, supersampling: int = 1) -> tuple[Field, Field]:
    """The pixel centres' `(x, y)` in pixels, as two fields, on a grid `supersampling` times as fine."""
    y, x = np.indices((size[0] * supersampling, size[1] * supersampling), dtype=np.float32)
    half = np.float32(0.5)
    fine = np.float32(supersampling)
    return (x + half) / fine - half, (y + half) / fine - half


def shrink(fine: npt.NDArray[Any], size: Size) -> Field:
    """Average of a supersampled field over each pixel."""
    return resized(fine.astype(np.float32), size, cv2.INTER_AREA)


def canvas(size: Size) -> npt.NDArray[np.uint8]:
    """An empty supersampled canvas for `stroke` and `dots`."""
    return np.zeros((size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING), dtype=np.uint8)


def _fixed(points: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Pixel coordinates as OpenCV's fixed-point ones on the canvas; both count pixel centres."""
    on_canvas = (points.astype(np.float64) + 0.5) * SUPERSAMPLING - 0.5
    return np.asarray(np.rint(on_canvas * 2**_SHIFT), dtype=np.int32)


def stroke(target: npt.NDArray[np.uint8], points: Field, widths: Field, levels: Field) -> None:
    """Draws a polyline with a width and a level of its own for every segment.

    Args:
        target: a canvas, written to.
        points: `(N, 2)` x, y in pixels.
        widths: `(N - 1,)` in pixels.
        levels: `(N - 1,)` 0 to 1; segments of level 0 are gaps.
    """
    scale = SUPERSAMPLING * 2**_SHIFT
    fixed = _fixed(points)
    along = np.diff(points.astype(np.float64), axis=0)
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    # OpenCV fills the border of a polygon too, which widens it by one pixel of the canvas.
    reach = np.maximum(0.5 * widths.astype(np.float64) - 0.5 / SUPERSAMPLING, 0.0) * scale
    sides = np.rint(reach[:, None] * np.stack((-along[:, 1], along[:, 0]), axis=1)).astype(np.int32)
    for index, level in enumerate(levels):
        if level > 0.0:
            start, end, side = fixed[index], fixed[index + 1], sides[index]
            value = (round(255.0 * float(level)),)
            corners = np.stack((start + side, end + side, end - side, start - side))
            cv2.fillConvexPoly(target, corners, value, cv2.LINE_8, _SHIFT)
            for x, y in (start.tolist(), end.tolist()):
                cv2.circle(target, (x, y), round(float(reach[index])), value, -1, cv2.LINE_8, _SHIFT)


def dots(rng: Random, size: Size, count: int, radius: tuple[float, float]) -> Field:
    """Coverage (0 to 1) of small discs at random places, of random radius and random level."""
    target = canvas(size)
    places = _fixed(rng.uniform(0.0, 1.0, (count, 2)) * (size[1], size[0]) - 0.5)
    radii = np.rint(rng.uniform(radius[0], radius[1], count) * SUPERSAMPLING * 2**_SHIFT).astype(int)
    levels = np.rint(255.0 * rng.uniform(0.35, 1.0, count)).astype(int)
    for (x, y), reach, level in zip(places.tolist(), radii.tolist(), levels.tolist(), strict=True):
        cv2.circle(target, (x, y), max(1, reach), (level,), -1, cv2.LINE_8, _SHIFT)
    return shrink(target, size) / np.float32(255.0)


def smoothstep(low: float, high: float, values: Field) -> Field:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), dtype=np.float32)
