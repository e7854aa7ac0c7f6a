"""Plain folders: one for OK images and one per defect class, optionally below `train/`, `val/`, `test/`.

    good/0001.png                  any name that means OK (`ltcam.data.labels`), or the one that is named
    scratch/lot7/0002.png          sub-folders of a class name the group (lot, part, batch)
    NOK/scratch/0002.png           but below a folder that only says "defective", the kind of defect
    2026-11-01/good/0001.png       folders with numbers above the classes name the group too
    test/good/...                  the split, if there is one: above the classes, or `good/test/...`
    masks/scratch/lot7/0002.png    optional, wherever people keep them (`ltcam_runtime.mask_files`)

Folders that are called `images` say nothing and may stand anywhere. Without sub-folders every image is its own
group.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ltcam.data.dataset import Dataset, Files, Sample, Split, make_dataset
from ltcam.data.labels import label_key, means_any_defect, means_ok, read_labels
from ltcam.data.layouts.tree import SPLIT_NAMES, Tree
from ltcam_runtime.errors import DataError
from ltcam_runtime.mask_files import is_image_folder, name_key, sort_masks
from ltcam_runtime.phrases import counted, first_few
from ltcam_runtime.searching import LeftOut

NAME = "folders"
WANTED = "good/ (or ok/, normal/, pass/, ...) and one folder per defect class, optionally below train/, val/, test/"
OUTSIDE = "images outside the class folders: put them into the folder of their class"

_FEWEST_LETTERS = 3  # of a kind's name beside numbers
_DEEPEST = 3  # folders above those of the classes
_NUMBERED = re.compile(r"\d")
_WORDS = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class _Place:
    """Where an image stands: split, folders above the class, class folder, sub-folders."""

    path: PurePosixPath
    split: Split | None
    above: tuple[str, ...]
    class_folder: str
    below: tuple[str, ...]

    @property
    def lot(self) -> str:
        return "/".join((*self.above, *self.below))


def recognises(tree: Tree, ok: Collection[str] = ()) -> bool:
    """Whether one of the class folders has a name for OK images, or one of the names given; or all say "defective"."""
    names = class_folders(tree)
    return _depth(tree, ok) is not None or (bool(names) and all(map(means_any_defect, names)))


def class_folders(tree: Tree) -> list[str]:
    """Names of the folders that would be taken for classes, sorted."""
    return sorted({place.class_folder for path in tree.images if (place := _place(path)) is not None})


def only_masks(tree: Tree) -> str:
    """How many images in no class folder have masks, in words; "" where there are class folders, or no masks."""
    found = sort_masks(tree.root, tree.images)
    if not found.masks or any(_place(path) for path in found.images):
        return ""
    return f"{len(found.masks)} of {counted(len(found.images), 'images')} have masks"


def words_of_names(tree: Tree) -> tuple[str, str] | None:
    """A word for OK and one for defects that the names of all images in no class folder have, one of the two each."""
    words = [
        {word for word in _WORDS.split(path.stem) if word and not word.isdecimal()}
        for path in tree.images
        if _place(path) is None
    ]
    if len(words) < len(tree.images):
        return None
    good, bad = (
        {word for each in words for word in each if means(word)} for means in (means_ok, means_any_defect)
    )
    if len(good) == len(bad) == 1 and all(len(each & (good | bad)) == 1 for each in words):
        return good.pop(), bad.pop()
    return None


def read(tree: Tree, ok: Collection[str] = ()) -> Dataset:
    """Read the data set.

    Args:
        tree: its files.
        ok: names of the class folders that hold OK images; empty: those whose words say so.

    Raises:
        DataError: a name in `ok` that no class folder has; OK images in the folder of a defect.
    """
    depth, is_ok_folder = _depth(tree, ok) or 0, _is_ok_folder(ok)

    def is_ok(path: PurePosixPath) -> bool:
        place = _place(path, depth)
        return place is not None and is_ok_folder(place.class_folder)

    found = sort_masks(tree.root, tree.images, is_ok)
    written = _without_common([place for path in found.images if (place := _place(path, depth)) is not None])
    places, notes = _by_kind(written, ok)
    _refuse_ok_inside(tree.root, places, is_ok_folder)
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
    outside = {path for path in found.images if _place(path, depth) is None}
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
    if places and places[0].above:
        notes.append(
            f"The folders above those of the classes, such as {'/'.join(places[0].above)}, name groups."
        )
    return replace(dataset, notes=(*notes, *_empty_folders(tree.root)))


def _refuse_ok_inside(root: Path, places: Sequence[_Place], is_ok_folder: Callable[[str], bool]) -> None:
    """A folder `good` in a folder that is no side that we know (`eval/good`): its images would be defects.

    Not so where folders inside those of OK images are called alike: then they are lots.

    Raises:
        DataError: there is one.
    """
    inside = {
        name_key(place.below[0]) for place in places if place.below and is_ok_folder(place.class_folder)
    }
    wrong = [
        place
        for place in places
        if place.below
        and not is_ok_folder(place.class_folder)
        and not means_any_defect(place.class_folder)
        and not _NUMBERED.search(place.below[0])
        and means_ok(place.below[0])
        and name_key(place.below[0]) not in inside
    ]
    if wrong:
        folder, good = wrong[0].class_folder, wrong[0].below[0]
        raise DataError(
            f"{root}: images such as {wrong[0].path} ({len(wrong)} of them) lie in a folder {good}, which means OK, "
            f"inside {folder}, which would be a kind of defect. If {folder} is a side, call it train, val or test; if "
            f"it is a data set of its own, move it away; else rename {good}, or write a CSV list with the columns "
            "path,label"
        )


def _is_ok_folder(ok: Collection[str], others: Collection[str] = ()) -> Callable[[str], bool]:
    named = {label_key(label) for label in ok}
    return lambda name: label_key(name) in named if ok else means_ok(name, others)


def _depth(tree: Tree, ok: Collection[str]) -> int | None:
    """How many folders stand above those of the classes: dates, shifts, cameras. None where none means OK."""
    is_ok_folder = _is_ok_folder(ok)
    for depth in range(_DEEPEST + 1):
        places = [place for path in tree.images if (place := _place(path, depth)) is not None]
        if any(
            is_ok_folder(name) and (depth == 0 or ok or _says_ok(name))
            for name in {place.class_folder for place in places}
        ):
            return None if depth and any(map(_has_classes, places)) else depth
        if not all(_NUMBERED.search(place.class_folder) for place in places):
            return None
    return None


def _without_common(places: list[_Place]) -> list[_Place]:
    """Without the folders above the classes where all images have the same: those tell no groups apart."""
    return [replace(place, above=()) for place in places] if len({p.above for p in places}) == 1 else places


def _says_ok(name: str) -> bool:
    """Whether words of a name mean OK: hour `00` and `part 0` do not below days and lots, which have others beside."""
    return means_ok(re.sub(r"\d+", " ", name))


def _has_classes(place: _Place) -> bool:
    """Whether what is taken for a class is another day or shift, whose classes stand below it."""
    return bool(_NUMBERED.search(place.class_folder) and place.below) and _says_ok(place.below[0])


def _by_kind(places: Sequence[_Place], ok: Collection[str]) -> tuple[list[_Place], list[str]]:
    """Images below a folder that only says "defective" by the kinds that its folders name, and what to say of that.

    Names that stand below OK images too are those of lots, and none may mean OK (`no_burr` beside `burr`).
    """
    is_ok_folder = _is_ok_folder(ok)
    lots = {name_key(name) for place in places if is_ok_folder(place.class_folder) for name in place.below}
    classes = {label_key(place.class_folder) for place in places}
    found, notes = list(places), []
    for folder in sorted({place.class_folder for place in places}):
        if is_ok_folder(folder) or not means_any_defect(folder):
            continue
        inside = [place for place in places if place.class_folder == folder]
        for depth in (0, 1):
            kinds = sorted({place.below[depth] for place in inside if len(place.below) > depth})
            may_be_ok = _is_ok_folder(ok, classes.union(map(label_key, kinds)))
            others = [name for name in kinds if name_key(name) in lots or may_be_ok(name)]
            if kinds and not others and _are_kinds(kinds):
                found = [_of_kind(place, depth) if place.class_folder == folder else place for place in found]
                notes.append(
                    f"Kinds of defect are read from the folders in {folder}: {first_few(kinds, 12)}."
                )
                break
    return found, notes


def _are_kinds(names: Sequence[str]) -> bool:
    """Whether folders are called like kinds of defect: not all alike but for numbers and single letters, as lots are.

    `1_scratch` and `2_dent` are kinds, `lot7` and `lot8` none, nor `lot A` and `lot B`.
    """
    letters = {_letters(name) for name in names}
    if len(letters) < len(names) or "" in letters:
        return False
    return not any(map(_NUMBERED.search, names)) or (
        len(names) > 1 and min(map(len, letters)) >= _FEWEST_LETTERS
    )


def _letters(name: str) -> str:
    words = re.split(r"[\W\d_]+", name_key(name))
    return "".join(word for word in words if len(word) > 1 or not word.isascii())


def _of_kind(place: _Place, depth: int) -> _Place:
    if len(place.below) <= depth:
        return place
    lots = (*place.below[:depth], *place.below[depth + 1 :])
    return replace(place, class_folder=place.below[depth], below=lots)


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


def _place(path: PurePosixPath, depth: int = 0) -> _Place | None:
    """Split, class and lot of an image; None where it stands in no class folder. Above that, `depth` folders stand."""
    folders = [part for part in path.parts[:-1] if not is_image_folder(part)]
    split = None
    for first in range(min(2, len(folders))):
        if name_key(folders[first]) in SPLIT_NAMES:
            split = SPLIT_NAMES[name_key(folders.pop(first))]
            break
    if len(folders) <= depth:
        return None
    return _Place(path, split, tuple(folders[:depth]), folders[depth], tuple(folders[depth + 1 :]))
