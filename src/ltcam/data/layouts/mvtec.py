"""MVTec AD, one category: `train/good`, `test/good`, `test/<class>`, `ground_truth/<class>/NNN_mask.png`.

The data set was made for methods that see no defect while they learn: its `train` holds OK images
only. A classifier cannot learn from that, so the folders are *not* taken over as a split. Every
sample's split stays None and a new one is made from all images; numbers measured on it do not
compare with those published for the original split. Every image is its own group.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from ltcam.data.dataset import OK, Dataset, Sample, make_dataset
from ltcam.data.layouts.tree import Tree, by_stem, stem_key

NAME = "mvtec"
WANTED = "train/good, test/good, test/CLASS and ground_truth/CLASS/NNN_mask.png"


def recognises(tree: Tree) -> bool:
    """Whether `train` holds `good` alone and `test` holds a class of defects."""
    classes = {(path.parts[0], path.parts[1]) for path in _images(tree)}
    trained = {name for split, name in classes if split == "train"}
    tested = {name for split, name in classes if split == "test"}
    return trained == {"good"} and bool(tested - {"good"})


def read(tree: Tree) -> Dataset:
    """Read the data set; images of `good` have no mask file."""
    masks = by_stem(path for path in tree.images if path.parts[0] == "ground_truth")
    samples = []
    for path in _images(tree):
        name = path.parts[1]
        mask = masks.get(stem_key(PurePosixPath("ground_truth", name, f"{path.stem}_mask.png")))
        samples.append(
            Sample(
                id=str(path),
                path=tree.root / path,
                label=OK if name == "good" else name,
                group=str(path),
                mask=None if mask is None else tree.root / mask,
            )
        )
    return make_dataset(tree.root, NAME, samples)


def _images(tree: Tree) -> list[PurePosixPath]:
    return [path for path in tree.images if len(path.parts) == 3 and path.parts[0] in ("train", "test")]
