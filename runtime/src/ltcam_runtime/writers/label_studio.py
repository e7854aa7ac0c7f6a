"""label-studio/: tasks with a brush mask per region as predictions, and the labelling interface they fit.

Formats: https://labelstud.io/guide/predictions, and thi.ng/rle-pack for the pixels of the brush.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.regions import region_pixels
from ltcam_runtime.results import Inspection, Region
from ltcam_runtime.writers.coco import run_lengths
from ltcam_runtime.writers.streams import dumps
from ltcam_runtime.writers.xml_text import xml_text

_FROM, _TO = "defect", "image"
_LENGTH_BITS = (3, 4, 8, 16)  # the packing allows four sizes of numbers; all blocks here use the last
_LONGEST = 1 << _LENGTH_BITS[-1]


class LabelStudioWriter:
    """Writes tasks.json, to be imported into a project whose interface is label_config.xml.

    Images are named as Label Studio's local storage does: it must serve the folder that the names start from. A task
    without regions has a prediction without objects. Images that could not be inspected are left out.
    """

    def __init__(
        self,
        folder: Path,
        defect_classes: Sequence[str],
        confirmed: Callable[[str], bool] = lambda _image: False,
    ) -> None:
        """Begin the files.

        Args:
            folder: made where it is missing.
            defect_classes: the labels of the interface.
            confirmed: whether a person said what is in an image; its regions are annotations then.
        """
        folder.mkdir(parents=True, exist_ok=True)
        labels = "".join(f"    <Label value={quoteattr(xml_text(name))}/>\n" for name in defect_classes)
        (folder / "label_config.xml").write_text(
            f'<View>\n  <Image name="{_TO}" value="$image" zoom="true"/>\n'
            f'  <BrushLabels name="{_FROM}" toName="{_TO}">\n{labels}  </BrushLabels>\n</View>\n',
            encoding="utf-8",
        )
        self._stream = (folder / "tasks.json").open(
            "w", encoding="utf-8", errors="backslashreplace", newline="\n"
        )
        self._stream.write("[")
        self._count, self._confirmed = 0, confirmed

    def add(self, inspection: Inspection, image: NDArray[np.uint8]) -> None:  # noqa: ARG002
        """Write one task."""
        address = quote(inspection.image.encode(errors="surrogateescape"))
        result = [_result(inspection, region, number) for number, region in enumerate(inspection.regions)]
        said: dict[str, Any] = (
            {"annotations": [{"result": result}]}
            if self._confirmed(inspection.image)
            else {
                "predictions": [
                    {"model_version": "ltcam", "score": round(inspection.score, 6), "result": result}
                ]
            }
        )
        task = {"data": {"image": f"/data/local-files/?d={address}"}, **said}
        self._stream.write(f"{',' if self._count else ''}\n{dumps(task)}")
        self._count += 1

    def add_failure(self, image: str, reason: str) -> None:
        """Nothing: there is nothing to label."""

    def close(self) -> None:
        """End the file."""
        self._stream.write("\n]\n")
        self._stream.close()


def _result(inspection: Inspection, region: Region, number: int) -> dict[str, Any]:
    height, width = inspection.size
    pixels = region_pixels(inspection.mask, region)
    # Runs go along the rows here, down the columns in COCO.
    counts = run_lengths(pixels.T, (region.box[1], region.box[0]), (width, height))
    return {
        "id": f"region-{number}",
        "type": "brushlabels",
        "from_name": _FROM,
        "to_name": _TO,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": round(inspection.score, 6),
        "value": {"format": "rle", "rle": pack(counts), "brushlabels": [region.class_name]},
    }


def pack(counts: Sequence[int]) -> list[int]:
    """Run lengths to the packed form of a picture of four equal channels, 0 and 255.

    Args:
        counts: lengths of the runs of 0, 1, 0, ... in pixels.

    Returns:
        Bytes: 32 bits number of values, 5 bits word size - 1, four times 4 bits length size - 1, then per run:
        1 bit "repeated", 2 bits which length size, length - 1, value.
    """
    lengths, values = [], []
    for index, count in enumerate(counts):
        whole, rest = divmod(4 * count, _LONGEST)
        pieces = [_LONGEST] * whole + ([rest] if rest else [])
        lengths += pieces
        values += [index % 2] * len(pieces)
    head = f"{4 * sum(counts):032b}{8 - 1:05b}" + "".join(f"{size - 1:04b}" for size in _LENGTH_BITS)
    size = _LENGTH_BITS[-1]
    blocks = np.zeros((len(lengths), 3 + size + 8), np.uint8)
    blocks[:, :3] = 1
    blocks[:, 3 : 3 + size] = (np.array(lengths)[:, None] - 1) >> np.arange(size - 1, -1, -1) & 1
    blocks[:, 3 + size :] = np.array(values)[:, None]
    bits = np.concatenate([np.array([int(bit) for bit in head], np.uint8), blocks.ravel()])
    packed: list[int] = np.packbits(bits).tolist()
    return packed
