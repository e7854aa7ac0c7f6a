"""MVTec AD, one category: `train/good`, `test/good`, `test/<class>`, `ground_truth/<class>/NNN_mask.png`.

The data set was made for methods that see no defect while they learn: its `train` holds OK images
only. A classifier cannot learn from that, so the folders are *not* taken over as a split. Every
sample's split stays None and a new one is made from all images; numbers measured on it do not
compare with those published for the original split. Every image is its own group.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from ltcam.data.dataset import Dataset, Sample, make_dataset
from ltcam.data.labels import means_ok, read_labels
from ltcam.data.layouts.tree import Tree, by_stem, stem_key
from ltcam_runtime.mask_files import name_key

NAME = "mvtec"
WANTED = "train/good, test/good, test/CLASS and ground_truth/CLASS/NNN_mask.png or NNN.png"


def recognises(tree: Tree) -> bool:
    """Whether `train` holds OK images alone and `test` holds a class of defects."""
    classes = {(name_key(path.parts[0]), path.parts[1]) for path in _images(tree)}
    trained = {means_ok(name) for split, name in classes if split == "train"}
    tested = {means_ok(name) for split, name in classes if split == "test"}
    return trained == {True} and False in tested


def read(tree: Tree) -> Dataset:
    """Read the data set; OK images have no mask file."""
    masks = by_stem(path for path in tree.images if name_key(path.parts[0]) == "ground_truth")
    images = _images(tree)
    labels = read_labels(path.parts[1] for path in images)
    samples = []
    for path in images:
        names = (f"{path.stem}_mask.png", path.name)
        keys = [stem_key(PurePosixPath("ground_truth", path.parts[1], name)) for name in names]
        mask = next((masks[key] for key in keys if key in masks), None)
        samples.append(
            Sample(
                id=str(path),
                path=tree.root / path,
                label=labels.class_of[path.parts[1]],
                group=str(path),
                mask=None if mask is None else tree.root / mask,
            )
        )
    return make_dataset(tree.root, NAME, samples, ok_labels=labels.ok)


def _images(tree: Tree) -> list[PurePosixPath]:
    return [
        path for path in tree.images if len(path.parts) == 3 and name_key(path.parts[0]) in ("train", "test")
    ]
