"""heatmaps-raw/NAME.png: the heatmap of every image as numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.results import Inspection
from ltcam_runtime.writers.heatmaps import write_heatmap
from ltcam_runtime.writers.protocol import FolderWriter


class RawHeatmapWriter(FolderWriter):
    """Writes 16-bit grey PNG at the image's own size.

    0 is the heatmap's minimum and 65535 its maximum, image by image; a constant heatmap is 0. Values of
    different images cannot be compared.
    """

    def add(self, inspection: Inspection, image: NDArray[np.uint8]) -> None:  # noqa: ARG002
        """Write the heatmap of one inspection."""
        write_heatmap(self.path(inspection, ".png"), inspection.heatmap)
