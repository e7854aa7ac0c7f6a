"""yolo/: a text file of polygons per image and the names of the kinds, as YOLO's segmentation reads them.

Format: https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.names import OutputNames
from ltcam_runtime.outlines import outline
from ltcam_runtime.regions import region_pixels
from ltcam_runtime.results import Inspection
from ltcam_runtime.writers.protocol import FolderWriter


class YoloWriter(FolderWriter):
    """Writes labels/NAME.txt, one line per region: kind, then the corners as shares of width and height.

    The corners lie on the borders of pixels: filled by the even-odd rule they give the mask back exactly. An image
    without regions has an empty file. Images that could not be inspected have none.
    """

    def __init__(self, folder: Path, names: OutputNames, defect_classes: Sequence[str]) -> None:
        """Begin the folder.

        Args:
            folder: made where it is missing.
            names: gives the images' output names.
            defect_classes: the kinds; their numbers are 0, 1, ... in this order.
        """
        super().__init__(folder / "labels", names)
        self._numbers = {name: number for number, name in enumerate(defect_classes)}
        kinds = "".join(
            f"  {number}: {json.dumps(name, ensure_ascii=False)}\n" for name, number in self._numbers.items()
        )
        text = f"# Images belong into images/, under the names of labels/.\ntrain: images\nval: images\nnames:\n{kinds}"
        (folder / "data.yaml").write_text(text, encoding="utf-8")

    def add(self, inspection: Inspection, image: NDArray[np.uint8]) -> None:  # noqa: ARG002
        """Write the regions of one inspection."""
        height, width = inspection.size
        lines = []
        for region in inspection.regions:
            corners = outline(region_pixels(inspection.mask, region)) + region.box[:2]
            shares = " ".join(f"{share:.7f}" for share in (corners / (width, height)).ravel())
            lines.append(f"{self._numbers[region.class_name]} {shares}\n")
        path = self.path(inspection, ".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), encoding="utf-8")
