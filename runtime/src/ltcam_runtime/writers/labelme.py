"""labelme/: a JSON file per image with a mask per region, as LabelMe reads it (from 5.2 on, which knows masks).

Format: https://github.com/wkentaro/labelme
"""

from __future__ import annotations

import base64
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.encoding import encoded
from ltcam_runtime.regions import region_pixels
from ltcam_runtime.results import Inspection, Region
from ltcam_runtime.writers.protocol import FolderWriter
from ltcam_runtime.writers.streams import dumps

_VERSION = "5.2.0"


class LabelMeWriter(FolderWriter):
    """Writes NAME.json; images belong beside these files. Images that could not be inspected have none."""

    def add(self, inspection: Inspection, image: NDArray[np.uint8]) -> None:  # noqa: ARG002
        """Write the regions of one inspection."""
        content: dict[str, Any] = {
            "version": _VERSION,
            "flags": {},
            "shapes": [_shape(inspection, region) for region in inspection.regions],
            "imagePath": PurePosixPath(inspection.image).name,
            "imageData": None,
            "imageHeight": inspection.size[0],
            "imageWidth": inspection.size[1],
        }
        path = self.path(inspection, ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dumps(content) + "\n", encoding="utf-8", errors="backslashreplace")


def _shape(inspection: Inspection, region: Region) -> dict[str, Any]:
    x, y, width, height = region.box
    pixels = region_pixels(inspection.mask, region).astype(np.uint8)
    return {
        "label": region.class_name,
        "points": [[x, y], [x + width - 1, y + height - 1]],
        "group_id": None,
        "description": "",
        "shape_type": "mask",
        "flags": {},
        "mask": base64.b64encode(encoded(".png", pixels)).decode(),
    }
