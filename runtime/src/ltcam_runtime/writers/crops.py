"""crops/NAME-1.jpg, NAME-2.jpg, ...: each region cut out of its image, with some of what surrounds it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.encoding import write_picture
from ltcam_runtime.results import Inspection
from ltcam_runtime.writers.protocol import FolderWriter

_MARGIN = 0.25  # of the region's longer side, on each side
_SMALLEST = 48  # pixels that a crop is at least wide and high
_MOST = 20  # largest regions of an image
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 92]


class CropWriter(FolderWriter):
    """Writes a JPEG for each of an image's 20 largest regions, in the order of `Inspection.regions`."""

    def add(self, inspection: Inspection, image: NDArray[np.uint8]) -> None:
        """Write the regions of one inspection, without anything drawn on them."""
        for number, region in enumerate(inspection.regions[:_MOST], start=1):
            path = self.path(inspection, f"-{number}.jpg")
            write_picture(path, crop(image, region.box), _JPEG)


def crop(image: NDArray[np.uint8], box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """A box with a margin, as far as the image reaches.

    Args:
        image: (H, W, 3) uint8.
        box: (x, y, width, height) in pixels.
    """
    x, y, width, height = box
    margin = _MARGIN * max(width, height)
    spans = []
    for begin, length, end in ((y, height, image.shape[0]), (x, width, image.shape[1])):
        wide = max(length + 2 * margin, _SMALLEST)
        first = round(begin + length / 2 - wide / 2)
        spans.append(slice(max(0, first), min(end, max(first + round(wide), begin + length))))
    return np.ascontiguousarray(image[spans[0], spans[1]])
