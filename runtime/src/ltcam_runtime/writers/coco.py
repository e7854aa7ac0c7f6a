"""coco.json: regions as COCO annotations with run-length encoded pixels, as pycocotools reads them.

Format: https://cocodataset.org/#format-data; the compressed run lengths as in the COCO API's maskApi.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.regions import region_pixels
from ltcam_runtime.results import Inspection, Region
from ltcam_runtime.writers.streams import JsonArrays


class CocoWriter:
    """Writes coco.json: every image, an annotation per region, the defect classes as categories.

    An annotation's `score` is the image's probability of being defective; `peak` and `length` are the
    region's. All have `iscrowd` 0. Images that could not be inspected are left out.
    """

    def __init__(self, path: Path, defect_classes: Sequence[str]) -> None:
        """Begin the file.

        Args:
            path: the file.
            defect_classes: names of the categories; their ids are 1, 2, ... in this order.
        """
        self._categories = {name: number for number, name in enumerate(defect_classes, start=1)}
        categories = [
            {"id": number, "name": name, "supercategory": "defect"}
            for name, number in self._categories.items()
        ]
        head = {"info": {"description": "defect regions found by ltcam"}, "licenses": []}
        self._arrays = JsonArrays(path, {**head, "categories": categories}, ("images", "annotations"))
        self._images = self._annotations = 0

    def add(self, inspection: Inspection, image: NDArray[np.uint8]) -> None:  # noqa: ARG002
        """Write one image and its regions.

        Raises:
            ValueError: a region of a class that is not among the defect classes, or none of the mask's.
        """
        height, width = inspection.size
        self._images += 1
        entry = {"id": self._images, "file_name": inspection.image, "height": height, "width": width}
        self._arrays.append("images", entry)
        for region in inspection.regions:
            self._add_region(inspection, region)

    def add_failure(self, image: str, reason: str) -> None:
        """Nothing: COCO has no place for images that could not be inspected."""

    def close(self) -> None:
        """End the file."""
        self._arrays.close()

    def _add_region(self, inspection: Inspection, region: Region) -> None:
        if region.class_name not in self._categories:
            known = ", ".join(self._categories)
            raise ValueError(f"region of class {region.class_name!r}; the defect classes are {known}")
        height, width = inspection.size
        counts = run_lengths(region_pixels(inspection.mask, region), region.box[:2], inspection.size)
        self._annotations += 1
        annotation = {
            "id": self._annotations,
            "image_id": self._images,
            "category_id": self._categories[region.class_name],
            "bbox": list(region.box),
            "area": region.area_px,
            "iscrowd": 0,
            "segmentation": {"size": [height, width], "counts": compress(counts)},
            "score": round(inspection.score, 6),
            "peak": round(region.peak, 6),
            "length": round(region.length_px, 3),
        }
        self._arrays.append("annotations", annotation)


def run_lengths(pixels: NDArray[np.bool_], corner: tuple[int, int], size: tuple[int, int]) -> list[int]:
    """Lengths of the runs of 0, 1, 0, ... down the columns of an image that is 0 outside a box.

    Args:
        pixels: (height, width) bool, the box.
        corner: (x, y) of the box in the image.
        size: (height, width) of the image.

    Returns:
        Run lengths; the first is of zeros and may be 0. Their sum is the number of pixels.
    """
    columns, rows = np.nonzero(pixels.T)
    if columns.size == 0:
        return [size[0] * size[1]]
    places = (columns.astype(np.int64) + corner[0]) * size[0] + rows + corner[1]
    breaks = np.flatnonzero(np.diff(places) != 1) + 1
    begins = places[np.concatenate([[0], breaks])]
    ends = places[np.concatenate([breaks - 1, [-1]])] + 1
    borders = np.stack([begins, ends], axis=1).ravel()
    counts: list[int] = np.diff(borders, prepend=0).tolist()
    rest = size[0] * size[1] - int(borders[-1])
    return [*counts, rest] if rest else counts


def compress(counts: list[int]) -> str:
    """COCO's text form of run lengths.

    From the fourth on, the difference to the one before the last is kept; five bits per character, low
    bits first, the sixth bit saying that more follow, 48 added to make it a letter.
    """
    letters: list[str] = []
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            letters.append(chr(bits + (32 if more else 0) + 48))
    return "".join(letters)
