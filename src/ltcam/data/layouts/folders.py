"""Plain folders: one for OK images and one per defect class, optionally below `train/`, `val/`, `test/`.

    good/0001.png                  any name that means OK (`ltcam.data.labels`), or the one that is named
    scratch/lot7/0002.png          sub-folders of a class name the group (lot, part, batch)
    test/good/...                  the split, if there is one: above the classes, or `good/test/...`
    masks/scratch/lot7/0002.png    optional, wherever people keep them (`ltcam_runtime.mask_files`)

Folders that are called `images` say nothing and may stand anywhere. Without sub-folders every image is its own
group.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ltcam.data.dataset import Dataset, Files, Sample, Split, make_dataset
from ltcam.data.labels import label_key, means_ok, read_labels
from ltcam.data.layouts.tree import SPLIT_NAMES, Tree
from ltcam_runtime.mask_files import is_image_folder, name_key, sort_masks
from ltcam_runtime.phrases import first_few
from ltcam_runtime.searching import LeftOut

NAME = "folders"
WANTED = "good/ (or ok/, normal/, pass/, ...) and one folder per defect class, optionally below train/, val/, test/"
OUTSIDE = "images outside the class folders: put them into the folder of their class"


@dataclass(frozen=True)
class _Place:
    """Where an image stands: split, class folder, sub-folders."""

    path: PurePosixPath
    split: Split | None
    class_folder: str
    lot: str


def recognises(tree: Tree, ok: Collection[str] = ()) -> bool:
    """Whether one of the class folders has a name for OK images, or one of the names given."""
    names = set(class_folders(tree))
    named = {label_key(label) for label in ok}
    return any(label_key(name) in named if ok else means_ok(name) for name in names)


def class_folders(tree: Tree) -> list[str]:
    """Names of the folders that would be taken for classes, sorted."""
    return sorted({place.class_folder for path in tree.images if (place := _place(path)) is not None})


def read(tree: Tree, ok: Collection[str] = ()) -> Dataset:
    """Read the data set.

    Args:
        tree: its files.
        ok: names of the class folders that hold OK images; empty: those whose words say so.

    Raises:
        DataError: a name in `ok` that no class folder has.
    """
    named = {label_key(label) for label in ok}

    def is_ok(path: PurePosixPath) -> bool:
        place = _place(path)
        return place is not None and (
            label_key(place.class_folder) in named if ok else means_ok(place.class_folder)
        )

    found = sort_masks(tree.root, tree.images, is_ok)
    places = [place for path in found.images if (place := _place(path)) is not None]
    labels = read_labels([place.class_folder for place in places], ok)
    samples = [
        Sample(
            id=str(place.path),
            path=tree.root / place.path,
            label=labels.class_of[place.class_folder],
            group=unicodedata.normalize("NFC", place.lot) or str(place.path),
            split=place.split,
            mask=tree.root / found.masks[place.path] if place.path in found.masks else None,
        )
        for place in places
    ]
    outside = {path for path in found.images if _place(path) is None}
    left_out = [
        *found.left_out,
        *(LeftOut(path, OUTSIDE) for path in sorted(outside)),
        *(
            LeftOut(mask, "masks of images that are left out")
            for path, mask in found.masks.items()
            if path in outside
        ),
    ]
    files = Files(left_out=tuple(left_out))
    dataset = make_dataset(tree.root, NAME, samples, files=files, ok_labels=labels.ok)
    return replace(dataset, notes=_empty_folders(tree.root))


def _empty_folders(root: Path) -> tuple[str, ...]:
    """A note of folders that somebody made for images that never came."""
    places = (
        Path(place).relative_to(root)
        for place, folders, files in os.walk(root)
        if not folders and not files and Path(place) != root
    )
    empty = sorted(
        f"{place.as_posix()}/" for place in places if not any(part.startswith(".") for part in place.parts)
    )
    return (f"Folders with nothing in them: {first_few(empty)}.",) if empty else ()


def _place(path: PurePosixPath) -> _Place | None:
    """Split, class and lot of an image; None where it stands in no class folder."""
    folders = [part for part in path.parts[:-1] if not is_image_folder(part)]
    split = None
    for depth in range(min(2, len(folders))):
        if name_key(folders[depth]) in SPLIT_NAMES:
            split = SPLIT_NAMES[name_key(folders.pop(depth))]
            break
    return _Place(path, split, folders[0], "/".join(folders[1:])) if folders else None
