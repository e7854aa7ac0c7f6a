"""Where to look closer in an image that is larger than what a network sees, and how the looks are put together.

A defect of a few pixels is gone from a large image once that is resized for a network. So all of the image is searched
at its full resolution for what stands out from its surroundings, which takes no network and some ten milliseconds; the
network then looks at cut-outs of its own size around these places.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Window = tuple[slice, slice]
"""Rows and columns of a cut-out."""

_SPOT, _SURROUNDINGS = 3, 31  # pixels; contrast is the difference between the means of the two
_BLOCK = 16  # pixels; the largest contrast counts in each
_NEIGHBOURS = 9  # blocks; contrast that is everywhere around, such as a rough surface's, is nothing special
_STANDS_OUT = 2.5  # times what the image's blocks have in the middle
_FADED = 1 / 8  # of a cut-out's side
_MUCH_SHRUNK = 4.0  # along a side: from there on small defects are likely to be lost
_SEEN_PX = 2  # at the network's size: a narrower defect can hardly be learned


def too_small_to_see(image: tuple[int, int], network: tuple[int, int], remedy: str) -> list[str]:
    """A note where images are so much larger than what the network sees that small defects are lost in between.

    Args:
        image: (height, width) of an image.
        network: (height, width) that the network sees.
        remedy: the end of the sentence: what helps.
    """
    shrunk = max(image[0] / network[0], image[1] / network[1])
    if shrunk < _MUCH_SHRUNK:
        return []
    return [
        f"images are {image[0]} x {image[1]} pixels, and the network sees {network[0]} x {network[1]} of them: "
        f"a defect narrower than about {round(_SEEN_PX * shrunk)} pixels can vanish; {remedy}"
    ]


def places(image: Pixels, size: tuple[int, int], most: int) -> list[Window]:
    """Cut-outs to look at, what stands out most first.

    Args:
        image: (H, W, 3).
        size: (h, w) of a cut-out.
        most: cut-outs.

    Returns:
        Cut-outs that lie within the image; they may overlap, so that what runs from one into the next is in both.
        None if the image is not larger than a cut-out, or nothing in it stands out.
    """
    larger = all(a >= b for a, b in zip(image.shape, size, strict=False)) and image.shape[:2] != size
    if most < 1 or not larger:
        return []
    outstanding = _outstanding(image)
    least = max(1.0, _STANDS_OUT * float(np.median(outstanding)))
    found: list[Window] = []
    while len(found) < most:
        row, column = np.unravel_index(int(outstanding.argmax()), outstanding.shape)
        if outstanding[row, column] <= least:
            break
        window = _around((int(row), int(column)), image.shape[:2], size)
        found.append(window)
        outstanding[
            tuple(_inner_blocks(side, whole) for side, whole in zip(window, image.shape, strict=False))
        ] = 0
        outstanding[row, column] = 0
    return found


def _outstanding(image: Pixels) -> NDArray[np.float32]:
    """How many times as much contrast each block has somewhere as there is around it on average."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    contrast = cv2.absdiff(cv2.blur(grey, (_SPOT, _SPOT)), cv2.blur(grey, (_SURROUNDINGS, _SURROUNDINGS)))
    rows, columns = (
        np.minimum(np.arange(_BLOCK // 2, side + _BLOCK // 2, _BLOCK), side - 1) for side in grey.shape
    )
    largest = cv2.dilate(contrast, np.ones((_BLOCK, _BLOCK), np.uint8))[np.ix_(rows, columns)]
    mean = cv2.resize(contrast, (len(columns), len(rows)), interpolation=cv2.INTER_AREA)
    around = cv2.blur(mean.astype(np.float32), (_NEIGHBOURS, _NEIGHBOURS))
    return np.asarray(largest.astype(np.float32) / (around + 1), np.float32)


def _around(block: tuple[int, int], shape: tuple[int, ...], size: tuple[int, int]) -> Window:
    """The cut-out with a block in its middle, moved into the image where it reaches over the border."""
    starts = (
        min(max(0, place * _BLOCK + _BLOCK // 2 - side // 2), whole - side)
        for place, whole, side in zip(block, shape, size, strict=True)
    )
    rows, columns = (slice(start, start + side) for start, side in zip(starts, size, strict=True))
    return rows, columns


def _inner_blocks(side: slice, whole: int) -> slice:
    """The blocks in the middle of a cut-out's side, and up to the image's border, that need no second look."""
    quarter = (side.stop - side.start) // 4
    first = side.start + quarter if side.start > 0 else 0
    last = side.stop - quarter if side.stop < whole else whole
    return slice(first // _BLOCK, -(-last // _BLOCK))


def faded(values: NDArray[np.float32], window: Window, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A cut-out's values, less and less towards its borders, but for those of the image: no seam is left.

    Args:
        values: (h, w).
        window: where they lie in the image.
        shape: of the image.
    """
    rows, columns = (
        _ramp(values.shape[axis], begins=window[axis].start > 0, ends=window[axis].stop < shape[axis])
        for axis in range(2)
    )
    return np.asarray(values * rows[:, None] * columns, np.float32)


def _ramp(length: int, *, begins: bool, ends: bool) -> NDArray[np.float32]:
    """1, but rising to it from one end and falling from it to the other one, where these lie inside of the image."""
    width = max(1.0, length * _FADED)
    rise = np.minimum(1, (np.arange(length, dtype=np.float32) + 0.5) / np.float32(width))
    ones = np.ones(length, np.float32)
    return (rise if begins else ones) * (rise[::-1] if ends else ones)
