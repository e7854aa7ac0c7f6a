"""MVTec AD and MVTec LOCO, one category: `train/good`, `test/good`, `test/<class>`, masks in `ground_truth/<class>`.

A mask is called `NNN_mask.png`. LOCO has a folder `NNN` of masks instead, which are united (each marks with a value of
its own; all above 0 counts), and more OK images in `validation/good`.

The data sets were made for methods that see no defect while they learn: `train` and `validation` hold OK images
only. A classifier cannot learn from that, so the folders are *not* taken over as a split. Every
sample's split stays None and a new one is made from all images; numbers measured on it do not
compare with those published for the original split. Every image is its own group.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path, PurePosixPath

from ltcam.data.dataset import Dataset, Sample, make_dataset
from ltcam.data.drawn import DrawnMask, MaskFile
from ltcam.data.labels import means_ok, read_labels
from ltcam.data.layouts.tree import Tree, by_stem, stem_key
from ltcam_runtime.mask_files import name_key

NAME = "mvtec"
WANTED = "train/good, test/good, test/CLASS and ground_truth/CLASS/NNN_mask.png, NNN.png or NNN/*.png"

_MASKS = "ground_truth"
_SIDES = ("train", "validation", "test")


def recognises(tree: Tree) -> bool:
    """Whether `train` holds OK images alone and `test` holds a class of defects."""
    classes = {(name_key(path.parts[0]), path.parts[1]) for path in _images(tree)}
    trained = {means_ok(name) for split, name in classes if split == "train"}
    tested = {means_ok(name) for split, name in classes if split == "test"}
    return trained == {True} and False in tested


def read(tree: Tree) -> Dataset:
    """Read the data set; OK images have no mask file."""
    masks = _Masks(tree)
    images = _images(tree)
    labels = read_labels(path.parts[1] for path in images)
    samples = [
        Sample(
            id=str(path),
            path=tree.root / path,
            label=labels.class_of[path.parts[1]],
            group=str(path),
            mask=masks.of(path),
        )
        for path in images
    ]
    return make_dataset(tree.root, NAME, samples, ok_labels=labels.ok)


class _Masks:
    """The masks of a data set, found by the paths of their images."""

    def __init__(self, tree: Tree) -> None:
        self.root = tree.root
        paths = [path for path in tree.images if name_key(path.parts[0]) == _MASKS]
        self.single = by_stem(paths)
        self.several: dict[str, list[PurePosixPath]] = defaultdict(list)
        for path in paths:
            if len(path.parts) == 4:
                self.several[name_key(path.parent.as_posix())].append(path)

    def of(self, image: PurePosixPath) -> Path | DrawnMask | None:
        kind = PurePosixPath(_MASKS, image.parts[1])
        for name in (f"{image.stem}_mask.png", image.name):
            if (mask := self.single.get(stem_key(kind / name))) is not None:
                return self.root / mask
        files = self.several.get(name_key((kind / image.stem).as_posix()), [])
        if not files:
            return None
        return DrawnMask(
            self.root / files[0].parent, tuple(MaskFile(self.root / file, threshold=0) for file in files)
        )


def _images(tree: Tree) -> list[PurePosixPath]:
    return [path for path in tree.images if len(path.parts) == 3 and name_key(path.parts[0]) in _SIDES]
