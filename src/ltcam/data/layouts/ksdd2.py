"""KolektorSDD2: `train/ID.png` and `test/ID.png`, each beside `ID_GT.png`.

An image is defective if its `_GT` file marks any pixel. The folders are the split. Every image is
its own group, since nothing in the data set says which images show the same piece.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from ltcam.data.dataset import Dataset, Sample, Split, make_dataset
from ltcam.data.layouts.mask_labels import label_files, labels_from_masks
from ltcam.data.layouts.tree import Tree, by_stem, stem_key

NAME = "ksdd2"
WANTED = "train/ID.png and test/ID.png, each beside ID_GT.png"

_SPLITS: dict[str, Split] = {"train": "train", "test": "test"}


def recognises(tree: Tree) -> bool:
    """Whether at least one image of this layout has its label file."""
    labels = by_stem(tree.images)
    return any(f"{stem_key(path)}_gt" in labels for path in _images(tree))


def read(tree: Tree) -> Dataset:
    """Read the data set.

    Raises:
        DataError: label files are missing or cannot be read.
    """
    images = _images(tree)
    masks = label_files(tree, NAME, images, "_gt")
    samples = [
        Sample(
            id=str(path),
            path=tree.root / path,
            label=label,
            group=path.stem,
            split=_SPLITS[path.parts[0].lower()],
            mask=mask,
            mask_threshold=0,
        )
        for path, mask, label in zip(images, masks, labels_from_masks(masks), strict=True)
    ]
    return make_dataset(tree.root, NAME, samples)


def _images(tree: Tree) -> list[PurePosixPath]:
    # "_gt" anywhere in a name: hand-made copies of a label file ("7_GT (copy).png") are not images.
    return [
        path
        for path in tree.images
        if len(path.parts) == 2 and path.parts[0].lower() in _SPLITS and "_gt" not in path.stem.lower()
    ]
