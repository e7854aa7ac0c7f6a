"""Masks that an annotation file draws: polygons, run lengths, brush strokes; and those that several files make up.

They are drawn when they are asked for, and serve for measuring only, as every mask does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.errors import InputError
from ltcam_runtime.mask_reading import read_mask


class Shape(Protocol):
    """Something that can be drawn."""

    def draw(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """(height, width) bool: the pixels it covers.

        Raises:
            ValueError: the shape does not belong to an image of this size, or is damaged.
        """


@dataclass(frozen=True)
class Polygon:
    """Corners as shares of the image's width and height; a pixel counts where its centre is inside.

    Where the line runs around a place several times, an odd number of turns is inside (even-odd rule). That makes
    a polygon along pixel borders exact, one with holes or several pieces too, however its pieces are joined.

    Attributes:
        corners: (x, y) from 0 to 1, at least three.
        size: (height, width) of the image that it was drawn in; None where its file does not say.
    """

    corners: tuple[tuple[float, float], ...]
    size: tuple[float, float] | None = None

    def draw(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """(height, width) bool: the pixels inside. The image may be larger or smaller than it was, but not another."""
        if self.size is not None and not _same_shape(self.size, size):
            raise ValueError(f"a polygon for an image of {self.size[0]:g} x {self.size[1]:g}")
        points = np.asarray(self.corners, np.float64).reshape(-1, 2) * (size[1], size[0])
        if len(points) < 3 or not np.isfinite(points).all():
            raise ValueError("a polygon needs three corners or more, with finite coordinates")
        height, width = size
        crossed = np.zeros((height, width + 1), np.bool_)
        for begin, end in zip(points, np.roll(points, -1, axis=0), strict=True):
            (x0, y0), (x1, y1) = (begin, end) if begin[1] <= end[1] else (end, begin)
            first, last = np.clip(np.ceil(np.array([y0, y1]) - 0.5), 0, height).astype(int)
            rows = np.arange(first, last)
            if rows.size:
                at = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
                crossed[rows, np.clip(np.ceil(at - 0.5), 0, width).astype(int)] ^= True
        return np.logical_xor.accumulate(crossed, axis=1)[:, :width]


def _same_shape(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two sizes have one aspect, but for what rounding to whole pixels does."""
    return abs(one[0] * other[1] - one[1] * other[0]) <= max(*one, *other)


@dataclass(frozen=True)
class Runs:
    """Lengths of the runs of 0, 1, 0, ... inside a box.

    Attributes:
        counts: the lengths; the first is of zeros.
        box: (x, y, width, height) in pixels, of an image of `size`.
        size: (height, width) of the image.
        down: whether runs go down the columns (COCO) or along the rows (CVAT).
        name: of what they mark, for messages.
    """

    counts: tuple[int, ...]
    box: tuple[int, int, int, int]
    size: tuple[int, int]
    down: bool
    name: str = "run lengths"

    def draw(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """(height, width) bool."""
        if size != self.size:
            raise ValueError(f"{self.name} for an image of {self.size[0]} x {self.size[1]}")
        x, y, width, height = self.box
        if min(self.box) < 0 or x + width > size[1] or y + height > size[0]:
            raise ValueError(f"box {self.box} of {self.name} leaves the image")
        if min(self.counts, default=0) < 0:
            raise ValueError(f"{self.name} hold a length below zero")
        if sum(self.counts) != width * height:
            raise ValueError(
                f"{self.name} cover {sum(self.counts)} pixels of {width * height}; export the annotations again"
            )
        ends = np.cumsum(self.counts)
        flat = np.zeros(width * height, np.bool_)
        for begin, end in zip(ends[0::2], ends[1::2], strict=False):
            flat[begin:end] = True
        mask = np.zeros(size, np.bool_)
        order: Literal["F", "C"] = "F" if self.down else "C"
        mask[y : y + height, x : x + width] = flat.reshape((height, width), order=order)
        return mask


@dataclass(frozen=True)
class Brush:
    """Label Studio's brush: an RGBA picture packed by thi.ng/rle-pack; where its alpha is above zero is marked.

    Attributes:
        data: the packed bytes: 32 bits number of values, 5 bits word size - 1, four times 4 bits length size - 1,
            then blocks: 1 bit "repeated", 2 bits which length size, length - 1, one value or as many as the length.
        size: (height, width) of the picture.
    """

    data: bytes
    size: tuple[int, int]

    def draw(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """(height, width) bool."""
        if size != self.size:
            raise ValueError(f"a brush mask for an image of {self.size[0]} x {self.size[1]}")
        bits = _Bits(self.data)
        count = bits.take(32)
        if count != size[0] * size[1] * 4:
            raise ValueError(
                f"a brush mask of {count} values; an image of this size has {size[0] * size[1] * 4}"
            )
        word = bits.take(5) + 1
        lengths = [bits.take(4) + 1 for _ in range(4)]
        values = np.zeros(count, np.bool_)
        done = 0
        while done < count:
            repeated = bits.take(1)
            end = done + bits.take(lengths[bits.take(2)]) + 1
            if end > count:
                raise ValueError("a brush mask that is longer than it says")
            if repeated:
                values[done:end] = bits.take(word) > 0
            else:
                values[done:end] = [bits.take(word) > 0 for _ in range(end - done)]
            done = end
        return values.reshape(*size, 4)[..., 3]


class _Bits:
    """Reads numbers of some bits, highest bit first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def take(self, count: int) -> int:
        end = self._place + count
        if end > 8 * len(self._data):
            raise ValueError("a brush mask that ends too early")
        window = int.from_bytes(self._data[self._place // 8 : (end + 7) // 8], "big")
        self._place = end
        return (window >> (-end % 8)) & ((1 << count) - 1)


@dataclass(frozen=True)
class MaskFile:
    """One of several mask files of an image.

    Attributes:
        path: the file.
        threshold: as for `ltcam_runtime.mask_reading.load_mask`.
    """

    path: Path
    threshold: int | None = None

    def draw(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """(height, width) bool.

        Raises:
            InputError: a mask that cannot be read.
        """
        marks = read_mask(self.path, threshold=self.threshold)
        if marks.shape != size:
            raise ValueError(f"the mask {self.path.name} is {marks.shape[0]} x {marks.shape[1]}")
        return marks


@dataclass(frozen=True)
class DrawnMask:
    """The union of the shapes of one image.

    Attributes:
        source: the annotation file, or the folder of mask files, for messages.
        shapes: what was drawn.
    """

    source: Path
    shapes: tuple[Shape, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """The mask files among the shapes."""
        return tuple(shape.path for shape in self.shapes if isinstance(shape, MaskFile))

    def with_threshold(self, threshold: int) -> DrawnMask:
        """The same, with the mask files among the shapes read with a threshold."""
        shapes = (replace(s, threshold=threshold) if isinstance(s, MaskFile) else s for s in self.shapes)
        return replace(self, shapes=tuple(shapes))

    def draw(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """(height, width) bool: the pixels of all shapes.

        Raises:
            InputError: a shape that does not fit an image of this size, or is damaged.
        """
        mask = np.zeros(size, np.bool_)
        try:
            for shape in self.shapes:
                mask |= shape.draw(size)
        except ValueError as error:
            raise InputError(self.source, f"{error}; the image is {size[0]} x {size[1]}") from None
        return mask


def expand_runs(text: str) -> tuple[int, ...]:
    """COCO's text form of run lengths back to numbers (maskApi.c, rleFrString).

    Raises:
        ValueError: letters that do not occur in it, or an end within a number.
    """
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"run lengths hold the letter {letter!r}")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("run lengths end within a number")
    return tuple(counts)


def polygon(numbers: Sequence[float], size: tuple[float, float], *, shares: bool = False) -> Polygon:
    """A polygon of x0, y0, x1, y1, ... in units of which an image has `size` (height, width).

    Args:
        numbers: the coordinates.
        size: of the image; in pixels, unless these are `shares`.
        shares: whether the units are shares of the sides, or percent.

    Raises:
        ValueError: an odd number of coordinates, fewer than three corners, no finite numbers.
    """
    points = np.asarray(numbers, np.float64)
    if points.ndim != 1 or points.size % 2 or points.size < 6 or not np.isfinite(points).all():
        raise ValueError("a polygon needs three corners or more, two finite numbers each")
    scaled = points.reshape(-1, 2) / (size[1], size[0])
    return Polygon(tuple((float(x), float(y)) for x, y in scaled), None if shares else size)


_CORNERS = 90  # of an ellipse: the largest distance to it is 0.06 % of its radius


def ellipse(
    centre: tuple[float, float], radii: tuple[float, float], size: tuple[int, int], *, degrees: float = 0.0
) -> Polygon:
    """A polygon that is an ellipse for people.

    Args:
        centre: (x, y) in pixels.
        radii: along x and y, before it is turned.
        size: (height, width) of the image.
        degrees: that it is turned by, clockwise.

    Raises:
        ValueError: no finite numbers.
    """
    turns = np.arange(_CORNERS) * (2 * np.pi / _CORNERS)
    along, across = radii[0] * np.cos(turns), radii[1] * np.sin(turns)
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    corners = np.stack([along * cosine - across * sine, along * sine + across * cosine], axis=1) + centre
    return polygon(corners.ravel().tolist(), size)
