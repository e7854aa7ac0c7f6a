"""Plain folders: `good/` and one folder per defect class, optionally below `train/`, `val/`, `test/`.

    good/0001.png                  also ok/, normal/, upper or lower case
    scratch/lot7/0002.png          sub-folders of a class name the group (lot, part, batch)
    masks/scratch/lot7/0002.png    optional; also masks/scratch/0002.png or masks/0002.png
    test/good/...                  the split, if there is one; masks/ stands at the root or in the split

Masks may carry the suffix of any image format and `_mask` behind the image's name, and their folder may be
called `ground_truth`. Pixels above 0 are defect. Without sub-folders every image is its own group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from ltcam.data.dataset import OK, Dataset, Sample, Split, make_dataset
from ltcam.data.layouts.mask_labels import listed
from ltcam.data.layouts.tree import OK_NAMES, Tree, by_stem
from ltcam_runtime.errors import DataError

NAME = "folders"
WANTED = "good/ (or ok/, normal/) and one folder per defect class, optionally below train/, val/, test/"

_SPLITS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_MASKS = frozenset({"masks", "mask", "ground_truth"})


@dataclass(frozen=True)
class _Place:
    """Where an image stands: split folder ("" for none), class folder, sub-folders, name."""

    path: PurePosixPath
    split: str
    class_folder: str
    lot: str

    @property
    def label(self) -> str:
        return OK if self.class_folder.lower() in OK_NAMES else self.class_folder


def recognises(tree: Tree) -> bool:
    """Whether one of the class folders has a name for OK images."""
    return any(place.label == OK for place in _places(tree))


def class_folders(tree: Tree) -> list[str]:
    """Names of the folders that would be taken for classes (for error messages)."""
    return sorted({place.class_folder for place in _places(tree)})


def read(tree: Tree) -> Dataset:
    """Read the data set.

    Raises:
        DataError: a mask file could belong to several defective images.
    """
    places = list(_places(tree))
    masks = by_stem(path for path in tree.images if _is_mask(path))
    chosen = _masks_of(places, masks)
    samples = [
        Sample(
            id=str(place.path),
            path=tree.root / place.path,
            label=place.label,
            group=place.lot or str(place.path),
            split=_SPLITS.get(place.split.lower()),
            mask=tree.root / chosen[place.path] if place.path in chosen else None,
        )
        for place in places
    ]
    return make_dataset(tree.root, NAME, samples)


def _places(tree: Tree) -> Iterator[_Place]:
    for path in tree.images:
        if _is_mask(path):
            continue
        *folders, _ = path.parts
        split = folders.pop(0) if folders and folders[0].lower() in _SPLITS else ""
        if folders:
            yield _Place(path, split, folders[0], "/".join(folders[1:]))


def _is_mask(path: PurePosixPath) -> bool:
    return any(part.lower() in _MASKS for part in path.parts[:2] if part != path.name)


def _masks_of(places: list[_Place], masks: dict[str, PurePosixPath]) -> dict[PurePosixPath, PurePosixPath]:
    """The mask of every image that has one.

    A mask outside a class folder (`masks/0001.png`) may fit images of several classes; then it is the
    defective one's.
    """
    users: dict[PurePosixPath, list[_Place]] = defaultdict(list)
    for place in places:
        mask = next((masks[key] for key in _mask_keys(place) if key in masks), None)
        if mask is not None:
            users[mask].append(place)
    chosen: dict[PurePosixPath, PurePosixPath] = {}
    for mask, claims in users.items():
        owners = [place for place in claims if place.label != OK] if len(claims) > 1 else claims
        if len(owners) > 1:
            names = listed([str(place.path) for place in owners])
            raise DataError(
                f"{mask}: fits several images ({names}); sort the masks into masks/CLASS/ folders"
            )
        chosen.update((place.path, mask) for place in owners)
    return chosen


def _mask_keys(place: _Place) -> Iterator[str]:
    """Where the mask may be (lower case, without suffix), the most specific place first."""
    inner = [f"{place.class_folder}/{place.lot}", place.class_folder, place.lot, ""]
    outer = [f"{place.split}/{{}}", f"{{}}/{place.split}", "{}"] if place.split else ["{}"]
    for below in inner:
        for place_of_masks in outer:
            for folder in sorted(_MASKS):
                stem = "/".join([place_of_masks.format(folder), below, place.path.stem])
                key = "/".join(part for part in stem.lower().split("/") if part)
                yield key
                yield f"{key}_mask"
