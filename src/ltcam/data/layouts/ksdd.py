"""KolektorSDD: `kosNN/PartM.jpg` beside `kosNN/PartM_label.bmp`.

Fifty commutators with about eight surface images each. An image is defective if its label file
marks any pixel. The commutator is the group. The data set names no split; `splits.paper_split` has
the one that the literature uses.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePosixPath

from ltcam.data.dataset import Dataset, make_dataset
from ltcam.data.layouts.mask_labels import has_label_files, labelled_by_masks
from ltcam.data.layouts.tree import Tree

NAME = "ksdd"
WANTED = "kosNN/PartM.jpg beside kosNN/PartM_label.bmp"

_IMAGE = re.compile(r"kos\d+/part\d+\.\w+", re.IGNORECASE)


def recognises(tree: Tree) -> bool:
    """Whether at least one image of this layout has its label file."""
    return has_label_files(tree, _images(tree), "_label")


def read(tree: Tree) -> Dataset:
    """Read the data set.

    Raises:
        DataError: label files are missing or cannot be read.
    """
    found = labelled_by_masks(tree, NAME, _images(tree), "_label")
    return make_dataset(tree.root, NAME, [replace(sample, group=path.parts[0]) for path, sample in found])


def _images(tree: Tree) -> list[PurePosixPath]:
    return [path for path in tree.images if _IMAGE.fullmatch(str(path))]
