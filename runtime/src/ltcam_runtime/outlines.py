"""Masks to polygons along the borders of their pixels, which give the same pixels back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def outline(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """One polygon around all marked pixels; holes and further pieces are joined to it by lines there and back.

    The lines enclose nothing. Filled by the even-odd rule, pixels counting where their centre is inside, the polygon
    gives the mask back exactly.

    Args:
        mask: (H, W) bool.

    Returns:
        (N, 2) corners (x, y), 0 to W and 0 to H; none for an empty mask.
    """
    loops = _loops(mask)
    if not loops:
        return np.zeros((0, 2), np.int64)
    start = loops[0][:1]
    parts = [loops[0]]
    for loop in loops[1:]:
        parts += [start, loop, loop[:1]]
    return np.concatenate([*parts, start] if len(loops) > 1 else parts)


def _loops(mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """The closed lines of the border, each as its corners.

    Along a row of the grid the border begins and ends at corners in turn, along a column too. So the first corner
    of a row belongs to the second, the third to the fourth, and walking from row partner to column partner goes
    around.
    """
    padded = np.pad(mask, 1)
    above, below = padded[:-1], padded[1:]
    turns = above[:, :-1] ^ above[:, 1:] ^ below[:, :-1] ^ below[:, 1:]
    touches = (above[:, :-1] == below[:, 1:]) & (above[:, 1:] == below[:, :-1])
    touches &= above[:, :-1] != above[:, 1:]  # two pixels meet at a corner: it belongs to two lines
    y, x = np.nonzero(turns | touches)
    times = np.where(touches[y, x], 2, 1)
    corners = np.stack([np.repeat(x, times), np.repeat(y, times)], axis=1).astype(np.int64)
    along_rows = np.arange(len(corners)) ^ 1
    order = np.lexsort((corners[:, 1], corners[:, 0]))
    along_columns = np.empty_like(order)
    along_columns[order] = order[np.arange(len(order)) ^ 1]

    loops = []
    left = np.ones(len(corners), np.bool_)
    for first in range(len(corners)):
        if not left[first]:
            continue
        walked, at = [], first
        while left[at]:
            across = along_rows[at]
            left[at] = left[across] = False
            walked += [at, across]
            at = along_columns[across]
        loops.append(corners[walked])
    return loops
