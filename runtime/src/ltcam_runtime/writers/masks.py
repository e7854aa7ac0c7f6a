"""masks/NAME.png: the defect mask of every image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.encoding import png_options, write_picture
from ltcam_runtime.results import Inspection
from ltcam_runtime.writers.protocol import FolderWriter

# Masks are long runs that repeat from row to row.
_OPTIONS = png_options(cv2.IMWRITE_PNG_STRATEGY_RLE, "UP")


class MaskWriter(FolderWriter):
    """Writes 8-bit grey PNG at the image's own size: 255 is defect, 0 is not."""

    def add(self, inspection: Inspection, image: NDArray[np.uint8]) -> None:  # noqa: ARG002
        """Write the mask of one inspection."""
        write_mask(self.path(inspection, ".png"), inspection.mask)


def write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    """Write a (H, W) bool mask as 8-bit PNG with 0 and 255."""
    write_picture(path, mask.astype(np.uint8) * 255, _OPTIONS)
