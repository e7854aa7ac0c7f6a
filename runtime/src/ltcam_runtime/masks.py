"""Heatmap to mask: Otsu's threshold, a fixed share of the range, or a value; each may reach down to fainter places.

The first two look at a heatmap relative to its own minimum and maximum, so that an affine change of the
heatmap changes no mask, and give an empty mask for a constant heatmap. They split every heatmap, that
of a flawless image too: dropping the mask of an image judged OK is left to the verdict.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Heatmap = NDArray[np.floating[Any]]

# Bilinear resizing of a constant map leaves rounding noise, which must not be stretched to full range.
_CONSTANT_EPS = 16

_GAP = 0.1  # of the shorter side: how wide a gap in a rim may be


def heatmap_range(heatmap: Heatmap) -> tuple[float, float]:
    """(minimum, maximum) of a heatmap; twice the minimum where it is constant but for rounding.

    Constant means max - min <= 16 eps(dtype) max|S|.

    Args:
        heatmap: (H, W), float.

    Raises:
        ValueError: not two-dimensional, empty, not float, or NaN or infinite somewhere.
    """
    if heatmap.ndim != 2 or heatmap.size == 0:
        raise ValueError(f"heatmap has shape {heatmap.shape}; expected (H, W) with at least one pixel")
    if not np.issubdtype(heatmap.dtype, np.floating):
        raise ValueError(f"heatmap is {heatmap.dtype}; expected floating point")
    low, high = float(heatmap.min()), float(heatmap.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = int(heatmap.size - np.isfinite(heatmap).sum())
        raise ValueError(f"heatmap has NaN or infinite values at {bad} of {heatmap.size} pixels")
    eps = float(np.finfo(heatmap.dtype).eps)
    if high - low <= _CONSTANT_EPS * eps * max(abs(low), abs(high)):
        return low, low
    return low, high


def to_shares(heatmap: Heatmap, scale: float = 1.0) -> NDArray[np.float64]:
    """Values as scale * (S - min) / (max - min), each one's place in the heatmap's range; 0 if constant.

    Args:
        heatmap: (H, W), float.
        scale: value of the maximum.

    Raises:
        ValueError: as for `heatmap_range`.
    """
    low, high = heatmap_range(heatmap)
    if low == high:
        return np.zeros(heatmap.shape)
    shares = heatmap.astype(np.float64)
    shares -= low
    shares *= scale
    shares /= high - low
    return shares


def quantise(heatmap: Heatmap) -> NDArray[np.uint8]:
    """256 levels: u = rint(255 (S - min) / (max - min)), half to even; 0 where S is constant.

    Args:
        heatmap: (H, W), float, at the image's own size.

    Returns:
        (H, W) uint8.

    Raises:
        ValueError: as for `heatmap_range`.
    """
    levels = to_shares(heatmap, 255)
    return np.rint(levels, out=levels).astype(np.uint8)


def otsu_level(levels: NDArray[np.uint8]) -> int:
    """Otsu's threshold t: classes u <= t and u > t with the largest w0 w1 (mu0 - mu1)^2.

    The lowest t where several are equal. Constant levels give their value, so that nothing is above.
    The criterion is compared in whole numbers, since rounding would decide between equal ones.

    Source: N. Otsu, A threshold selection method from gray-level histograms, 1979.

    Args:
        levels: uint8 of any shape, not empty.

    Raises:
        ValueError: empty, or not uint8.
    """
    if levels.dtype != np.uint8 or levels.size == 0:
        raise ValueError(f"levels are {levels.dtype} of shape {levels.shape}; expected uint8, not empty")
    counts: list[int] = np.bincount(levels.ravel(), minlength=256).tolist()
    total = levels.size
    moment = sum(level * count for level, count in enumerate(counts))
    best, numerator, denominator = int(levels.min()), 0, 1
    below = below_moment = 0
    for level, count in enumerate(counts):
        below += count
        below_moment += level * count
        if count == 0 or below == total:  # an empty bin splits as the level before it
            continue
        # w0 w1 (mu0 - mu1)^2 = (m0 N - m w0)^2 / (N^2 w0 w1) with m0, m the moments below t and of all
        between = (below_moment * total - moment * below) ** 2
        product = below * (total - below)
        if between * denominator > numerator * product:
            best, numerator, denominator = level, between, product
    return best


def otsu(heatmap: Heatmap, reach: float = 1.0) -> NDArray[np.bool_]:
    """The pixels above Otsu's threshold of the 256-level heatmap, and what they reach down to.

    Args:
        heatmap: (H, W), float, at the image's own size.
        reach: share of the threshold, 0 to 1, down to which pixels count that are 8-connected, through such
            pixels, with one above the threshold. 1 is Otsu's threshold alone.

    Returns:
        (H, W) bool; empty for a constant heatmap.

    Raises:
        ValueError: reach outside 0..1, or as for `heatmap_range`.
    """
    _check_share("reach", reach)
    levels = quantise(heatmap)
    threshold = otsu_level(levels)
    above = np.asarray(levels > threshold)
    return above if reach == 1 else _connected(levels > reach * threshold, above)


def fixed(heatmap: Heatmap, share: float) -> NDArray[np.bool_]:
    """The pixels above a share of the heatmap's own range.

    Args:
        heatmap: (H, W), float.
        share: 0 (all but the minimum) to 1 (nothing).

    Returns:
        (H, W) bool; empty for a constant heatmap.

    Raises:
        ValueError: share outside 0..1, or as for `heatmap_range`.
    """
    _check_share("share", share)
    return np.asarray(to_shares(heatmap) > share)


def fill_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask with what it encloses: a broad defect may stand out at its rim only, and there with gaps.

    Gaps of up to about a tenth of the image's shorter side count as closed, if what they open into is wider than they
    are. Where a rim has no gap, its inside is the background that is not 4-connected with the image's border.

    Args:
        mask: (H, W).

    Returns:
        (H, W) bool, never less than the mask.
    """
    found = mask.copy()
    if not mask.any():
        return found
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]  # outside nothing is enclosed
    largest = _GAP / 2 * min(mask.shape)
    found[part] = _without_holes(mask[part])
    for radius in (largest, largest / 2, largest / 4):
        if radius >= 1:
            found[part] |= _behind_gaps(mask[part], radius)
    return found


def _behind_gaps(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """What a rim with gaps of up to twice the radius encloses.

    These are the holes that are left when the rim is grown by the radius, and what is no farther than that from them;
    of narrow holes, as between four dots, nothing.
    """
    wide = int(np.ceil(radius)) + 1
    grown = _distance_to(np.pad(mask, wide)) <= radius
    holes = _without_holes(grown) & ~grown
    inside = _distance_to(~holes) > radius / 2
    return np.asarray(_distance_to(inside) <= 1.5 * radius)[wide:-wide, wide:-wide]


def _distance_to(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How far each pixel is from the mask, in pixels; very far where the mask is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(away, np.float32)


def _without_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    padded = np.pad(mask.astype(np.uint8), 1)
    count, labels = cv2.connectedComponents(1 - padded, connectivity=4)
    outside = labels[0, 0]
    return np.asarray(labels[1:-1, 1:-1] != outside) if count > 2 else mask


def above(heatmap: Heatmap, value: float, reach: float = 1.0) -> NDArray[np.bool_]:
    """The pixels above a value, and what they reach down to: for heatmaps whose values mean the same in all images.

    Args:
        heatmap: (H, W), float.
        value: in the heatmap's own unit.
        reach: share of the value, 0 to 1, down to which pixels count that are 8-connected, through such pixels,
            with one above the value. 1 is the value alone.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: reach outside 0..1, or as for `heatmap_range`.
    """
    _check_share("reach", reach)
    heatmap_range(heatmap)
    strong = np.asarray(heatmap > value)
    return strong if reach == 1 else _connected(np.asarray(heatmap > reach * value), strong)


def _connected(weak: NDArray[np.bool_], strong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The 8-connected pieces of `weak` that hold a pixel of `strong`."""
    count, labels = cv2.connectedComponents(weak.astype(np.uint8), connectivity=8)
    keep = np.zeros(count, dtype=np.bool_)
    keep[labels[strong]] = True
    keep[0] = False
    return np.asarray(keep[labels])


def _check_share(name: str, value: float) -> None:
    if isinstance(value, bool) or not 0 <= value <= 1:  # also refuses NaN
        raise ValueError(f"{name} is {value}; expected a number from 0 to 1 (a share of the heatmap's range)")
