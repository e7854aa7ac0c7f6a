"""KolektorSDD: `kosNN/PartM.jpg` beside `kosNN/PartM_label.bmp`.

Fifty commutators with about eight surface images each. An image is defective if its label file
marks any pixel. The commutator is the group. The data set names no split; `splits.paper_split` has
the one that the literature uses.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from ltcam.data.dataset import Dataset, Sample, make_dataset
from ltcam.data.layouts.mask_labels import label_files, labels_from_masks
from ltcam.data.layouts.tree import Tree, by_stem, stem_key

NAME = "ksdd"
WANTED = "kosNN/PartM.jpg beside kosNN/PartM_label.bmp"

_IMAGE = re.compile(r"kos\d+/part\d+\.\w+", re.IGNORECASE)


def recognises(tree: Tree) -> bool:
    """Whether at least one image of this layout has its label file."""
    labels = by_stem(tree.images)
    return any(f"{stem_key(path)}_label" in labels for path in _images(tree))


def read(tree: Tree) -> Dataset:
    """Read the data set.

    Raises:
        DataError: label files are missing or cannot be read.
    """
    images = _images(tree)
    masks = label_files(tree, NAME, images, "_label")
    samples = [
        Sample(
            id=str(path), path=tree.root / path, label=label, group=path.parts[0], mask=mask, mask_threshold=0
        )
        for path, mask, label in zip(images, masks, labels_from_masks(masks), strict=True)
    ]
    return make_dataset(tree.root, NAME, samples)


def _images(tree: Tree) -> list[PurePosixPath]:
    return [path for path in tree.images if _IMAGE.fullmatch(str(path))]
