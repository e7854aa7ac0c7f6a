"""Image labels of the data sets that give them as masks only: defective means any marked pixel."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ltcam.data.dataset import OK
from ltcam_runtime.errors import DataError, InputError
from ltcam_runtime.images import read_mask
from ltcam_runtime.searching import first_few

DEFECT = "defect"
"""Name of the class where a data set tells only OK from defective."""


def labels_from_masks(masks: Sequence[Path]) -> list[str]:
    """`OK` or `DEFECT` per mask file, in order.

    Raises:
        DataError: mask files that cannot be read (the first of them named); without them the label
            of their images is unknown.
    """
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(_label, masks))
    broken = [answer for answer in answers if isinstance(answer, InputError)]
    if broken:
        raise DataError(
            f"{len(broken)} label file(s) cannot be read, so the labels of their images are unknown: "
            f"{first_few([str(error) for error in broken])}. Restore these files, or remove their images too."
        )
    return [answer for answer in answers if isinstance(answer, str)]


def missing_label_files(root: Path, layout: str, images: Sequence[object]) -> DataError:
    """The error for images whose label file is not there."""
    names = first_few([str(image) for image in images])
    return DataError(
        f"{root}: {len(images)} image(s) without the label file that the {layout} layout needs: {names}. "
        "Restore the label files, or remove these images."
    )


def _label(mask: Path) -> str | InputError:
    try:
        return DEFECT if read_mask(mask, threshold=0).any() else OK
    except InputError as error:
        return error
