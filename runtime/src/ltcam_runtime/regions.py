"""Mask to regions: the 8-connected pieces of a defect mask, measured."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.masks import heatmap_range
from ltcam_runtime.results import Region


def find_regions(
    mask: NDArray[np.bool_],
    heatmap: NDArray[np.floating[Any]],
    class_name: str,
    *,
    min_area_px: int = 1,
) -> tuple[Region, ...]:
    """Measure the 8-connected pieces of a mask.

    Args:
        mask: (H, W) bool; of other types what is not 0 counts.
        heatmap: (H, W) float, the map that the mask was cut from, at the same size.
        class_name: defect class that every region is given.
        min_area_px: smaller pieces are left out.

    Returns:
        Regions, largest area first; equal ones from top to bottom, then from left to right.

    Raises:
        ValueError: sizes differ, or a heatmap that `heatmap_range` refuses.
    """
    mask = np.asarray(mask, np.bool_)
    if mask.ndim != 2 or mask.shape != heatmap.shape:
        raise ValueError(f"mask has shape {mask.shape} and heatmap {heatmap.shape}; expected the same (H, W)")
    low, high = heatmap_range(heatmap)
    # The pieces of scipy.ndimage.label, with boxes and areas in the same pass. And the runtime needs no SciPy.
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    pixels = np.flatnonzero(mask)
    if pixels.size == 0:
        return ()
    areas = stats[1:, cv2.CC_STAT_AREA]
    pixels = _by_region(pixels, labels.ravel()[pixels], len(areas))
    starts = np.concatenate([[0], np.cumsum(areas)[:-1]])
    peaks = np.maximum.reduceat(heatmap.ravel()[pixels].astype(np.float64), starts)
    shares = (peaks - low) / (high - low) if high > low else np.zeros(len(peaks))
    lengths = _lengths(pixels, starts, stats[1:], mask.shape[1])

    chosen = np.flatnonzero(areas >= min_area_px)
    order = chosen[np.lexsort((pixels[starts[chosen]], -areas[chosen]))]
    return tuple(
        Region(
            class_name=class_name,
            box=(int(x), int(y), int(width), int(height)),
            area_px=int(area),
            area_percent=100 * int(area) / mask.size,
            length_px=float(lengths[index]),
            peak=float(shares[index]),
        )
        for index, (x, y, width, height, area) in zip(order, stats[order + 1, :5], strict=True)
    )


def drop_small(mask: NDArray[np.bool_], min_area_px: int) -> NDArray[np.bool_]:
    """The mask without its 8-connected pieces of fewer than `min_area_px` pixels.

    Args:
        mask: (H, W) bool.
        min_area_px: pieces of this many pixels stay.

    Returns:
        (H, W) bool, a new array.
    """
    if min_area_px <= 1:
        return mask.copy()
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= min_area_px
    keep[0] = False
    return np.asarray(keep[labels])


def region_pixels(mask: NDArray[np.bool_], region: Region) -> NDArray[np.bool_]:
    """The pixels of one region of a mask, without pieces of others that reach into its box.

    Args:
        mask: (H, W) bool, the mask that the region was found in.
        region: one of its regions.

    Returns:
        (height, width) bool, the size of the region's box.

    Raises:
        ValueError: the mask has no such region.
    """
    x, y, width, height = region.box
    crop = mask[y : y + height, x : x + width]
    if crop.shape != (height, width) or crop.size == 0:
        raise ValueError(f"box {region.box} lies outside the mask of shape {mask.shape}")
    if region.area_px == crop.size and crop.all():  # as most specks are
        return crop.copy()
    _, labels = cv2.connectedComponents(crop.astype(np.uint8), connectivity=8)
    # Only one piece can touch all four sides of a box: two would have to cross, and be one.
    sides = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    touching = set.intersection(*(set(side.tolist()) for side in sides)) - {0}
    pixels = labels == touching.pop() if touching else np.zeros_like(crop)
    if int(pixels.sum()) != region.area_px:
        raise ValueError(f"the mask has no region of {region.area_px} pixels at box {region.box}")
    return np.asarray(pixels)


def _by_region(pixels: NDArray[np.intp], labels: NDArray[Any], count: int) -> NDArray[np.intp]:
    """Flat indices of all mask pixels, region by region, ascending within each.

    One array for all regions: none of them costs a pass over the image.
    """
    # numpy sorts 16-bit keys by radix, many times faster
    keys = labels.astype(np.uint16) if count < 2**16 else labels
    return pixels[np.argsort(keys, kind="stable")]


def _lengths(
    pixels: NDArray[np.intp], starts: NDArray[np.intp], stats: NDArray[Any], image_width: int
) -> NDArray[np.float64]:
    """Largest distance between two corners of each region's pixels (maximum Feret diameter).

    Args:
        pixels: flat indices of all mask pixels as `_by_region` gives them.
        starts: where each region begins in `pixels`.
        stats: per region x, y, width, height, area.
        image_width: pixels per row of the image.
    """
    widths, heights, areas = (stats[:, column].astype(np.int64) for column in (2, 3, 4))
    lengths = np.hypot(widths, heights)  # right for a filled box, as most specks are
    # Only the ends of a region's rows can be corners of its hull.
    rows, columns = np.divmod(pixels, image_width)
    begins = np.union1d(np.flatnonzero(np.diff(rows)) + 1, starts)
    ends = np.append(begins[1:], pixels.size) - 1
    spans = np.stack([columns[begins], columns[ends] + 1, rows[begins]], axis=1).astype(np.int32)
    first = np.append(np.searchsorted(begins, starts), len(begins))
    for index in np.flatnonzero(areas != widths * heights).tolist():
        lengths[index] = _length(spans[first[index] : first[index + 1]])
    return lengths


def _length(spans: NDArray[np.int32]) -> float:
    """Largest distance between two corners, given (left, right, top) of each row of a region."""
    tops = np.concatenate([spans[:, [0, 2]], spans[:, [1, 2]]])
    bottoms = tops + np.array([0, 1], dtype=np.int32)
    hull = cv2.convexHull(np.concatenate([tops, bottoms]))[:, 0].astype(np.int64)
    squares = ((hull[:, None] - hull) ** 2).sum(axis=2)
    return math.sqrt(int(squares.max()))
