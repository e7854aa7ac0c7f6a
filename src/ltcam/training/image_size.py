"""The size a network sees, chosen from the sizes of the images."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

MULTIPLE = 32  # the deepest stage of common CNNs has one position for 32 x 32 pixels
LARGEST_AREA = 180_000  # px; KolektorSDD's 1264 x 500 becomes 672 x 256
SMALLEST_AREA = 224 * 224  # px; smaller images are enlarged, or the deep stages have no positions left
SHORTEST_SIDE = 2 * MULTIPLE
# Thin strips would otherwise need any amount of memory.
LONGEST_SIDE = LARGEST_AREA // SHORTEST_SIDE // MULTIPLE * MULTIPLE


def choose_image_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Height and width that keep the images' shape, within what a small machine can train on.

    Args:
        sizes: (height, width) of the images in pixels.

    Returns:
        (height, width), multiples of 32: the median size, shrunk or enlarged to an area between
        224 x 224 and 180 000 pixels (up to rounding). A side is 64 to 2784 pixels; beyond 43 : 1 the
        shape is not kept.
    """
    height = float(median(size[0] for size in sizes))
    width = float(median(size[1] for size in sizes))
    area = height * width
    scale = (min(max(area, SMALLEST_AREA), LARGEST_AREA) / area) ** 0.5
    return _round(height * scale), _round(width * scale)


def _round(side: float) -> int:
    return min(max(round(side / MULTIPLE) * MULTIPLE, SHORTEST_SIDE), LONGEST_SIDE)
