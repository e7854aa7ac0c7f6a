"""Image labels of the data sets that give them as masks only: defective means any marked pixel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ltcam.data.dataset import OK, Sample
from ltcam.data.layouts.tree import Tree, by_stem, stem_key
from ltcam_runtime.errors import DataError
from ltcam_runtime.mask_reading import read_mask
from ltcam_runtime.phrases import first_few
from ltcam_runtime.reading import read_all

DEFECT = "defect"
"""Name of the class where a data set tells only OK from defective."""


def has_label_files(tree: Tree, images: Sequence[PurePosixPath], ending: str) -> bool:
    """Whether at least one image has its label file: beside it, named as it with an ending behind."""
    labels = by_stem(tree.images)
    return any(f"{stem_key(image)}{ending}" in labels for image in images)


def labelled_by_masks(
    tree: Tree, layout: str, images: Sequence[PurePosixPath], ending: str
) -> list[tuple[PurePosixPath, Sample]]:
    """Each image with its sample, which is a group of its own; the label file is the mask.

    Raises:
        DataError: label files are missing or cannot be read.
    """
    masks = _label_files(tree, layout, images, ending)
    return [
        (path, Sample(str(path), tree.root / path, label, str(path), mask=mask, mask_threshold=0))
        for path, mask, label in zip(images, masks, _labels_from_masks(masks), strict=True)
    ]


def _labels_from_masks(masks: Sequence[Path]) -> list[str]:
    """`OK` or `DEFECT` per mask file, in order.

    Raises:
        DataError: mask files that cannot be read (the first of them named); without them the label
            of their images is unknown.
    """
    outcomes = list(read_all(((str(mask), mask) for mask in masks), lambda _, path: _label(path)))
    broken = [f"{outcome.path}: {outcome.reason}" for outcome in outcomes if outcome.reason]
    if broken:
        raise DataError(
            f"{len(broken)} label file(s) cannot be read, so the labels of their images are unknown: "
            f"{first_few(broken)}. Restore these files, or remove their images too."
        )
    return [outcome.value for outcome in outcomes if outcome.value is not None]


def _label_files(tree: Tree, layout: str, images: Sequence[PurePosixPath], ending: str) -> list[Path]:
    """The label file of each image: beside it, named as it with an ending behind.

    Raises:
        DataError: images without one.
    """
    labels = by_stem(tree.images)
    missing = [str(image) for image in images if f"{stem_key(image)}{ending}" not in labels]
    if missing:
        raise DataError(
            f"{tree.root}: {len(missing)} image(s) without the label file that the {layout} layout needs: "
            f"{first_few(missing)}. Restore the label files, or remove these images."
        )
    return [tree.root / labels[f"{stem_key(image)}{ending}"] for image in images]


def _label(mask: Path) -> str:
    return DEFECT if read_mask(mask, threshold=0).any() else OK
