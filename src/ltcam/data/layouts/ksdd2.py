"""KolektorSDD2: `train/ID.png` and `test/ID.png`, each beside `ID_GT.png`.

An image is defective if its `_GT` file marks any pixel. The folders are the split. Every image is
its own group, since nothing in the data set says which images show the same piece.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from ltcam.data.dataset import Dataset, Split, make_dataset
from ltcam.data.layouts.mask_labels import has_label_files, labelled_by_masks
from ltcam.data.layouts.tree import Tree

NAME = "ksdd2"
WANTED = "train/ID.png and test/ID.png, each beside ID_GT.png"

_SPLITS: dict[str, Split] = {"train": "train", "test": "test"}


def recognises(tree: Tree) -> bool:
    """Whether at least one image of this layout has its label file."""
    return has_label_files(tree, _images(tree), "_gt")


def read(tree: Tree) -> Dataset:
    """Read the data set.

    Raises:
        DataError: label files are missing or cannot be read.
    """
    found = labelled_by_masks(tree, NAME, _images(tree), "_gt")
    return make_dataset(
        tree.root, NAME, [replace(sample, split=_SPLITS[path.parts[0].lower()]) for path, sample in found]
    )


def _images(tree: Tree) -> list[PurePosixPath]:
    # "_gt" anywhere in a name: hand-made copies of a label file ("7_GT (copy).png") are not images.
    return [
        path
        for path in tree.images
        if len(path.parts) == 2 and path.parts[0].lower() in _SPLITS and "_gt" not in path.stem.lower()
    ]
