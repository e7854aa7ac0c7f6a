"""cvat.xml: a mask per region, as CVAT for images 1.1 reads it.

Format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.regions import region_pixels
from ltcam_runtime.results import Inspection, Region
from ltcam_runtime.writers.coco import run_lengths
from ltcam_runtime.writers.xml_text import xml_text


class CvatWriter:
    """Writes cvat.xml; images that could not be inspected are left out."""

    def __init__(self, path: Path, defect_classes: Sequence[str]) -> None:
        """Begin the file.

        Args:
            path: the file.
            defect_classes: the labels of the task.
        """
        labels = "".join(
            f"<label><name>{escape(xml_text(name))}</name><type>mask</type></label>"
            for name in defect_classes
        )
        self._stream = path.open("w", encoding="utf-8", newline="\n")
        self._stream.write(
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
            f"<meta><task><name>ltcam</name><mode>annotation</mode><labels>{labels}</labels></task></meta>\n"
        )
        self._count = 0

    def add(self, inspection: Inspection, image: NDArray[np.uint8]) -> None:  # noqa: ARG002
        """Write one image and its regions."""
        height, width = inspection.size
        name = quoteattr(xml_text(inspection.image))
        masks = "".join(_mask(inspection, region) for region in inspection.regions)
        self._stream.write(
            f'<image id="{self._count}" name={name} width="{width}" height="{height}">\n{masks}</image>\n'
        )
        self._count += 1

    def add_failure(self, image: str, reason: str) -> None:
        """Nothing: there is nothing to label."""

    def close(self) -> None:
        """End the file."""
        self._stream.write("</annotations>\n")
        self._stream.close()


def _mask(inspection: Inspection, region: Region) -> str:
    x, y, width, height = region.box
    pixels = region_pixels(inspection.mask, region)
    runs = ", ".join(str(count) for count in run_lengths(pixels.T, (0, 0), (width, height)))
    return (
        f'<mask label={quoteattr(xml_text(region.class_name))} source="auto" occluded="0" rle="{runs}" '
        f'left="{x}" top="{y}" width="{width}" height="{height}" z_order="0"></mask>\n'
    )
