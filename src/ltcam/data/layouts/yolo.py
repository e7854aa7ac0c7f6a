"""YOLO: a text file per image, one line per object, and the names of the kinds.

    data.yaml                        names: [crack, dent]   (or classes.txt, obj.names: a name per line)
    images/train/a.png               or train/images/a.png, train/a.png, a.png
    labels/train/a.txt               0 0.51 0.32 0.10 0.04          kind, centre, width, height: a box
                                     1 0.1 0.1 0.2 0.1 0.2 0.3      kind, then the corners of a polygon

Places are shares of the image's width and height. An image without a text file, or with an empty one, is OK. A text
file belongs to the image beside it, or to the one whose path is the same but for folders such as `images` and
`labels`. https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import yaml

from ltcam.data.dataset import Dataset, Files
from ltcam.data.drawn import polygon
from ltcam.data.layouts.annotated import (
    IMAGE_FOLDERS,
    Annotated,
    Marked,
    annotated_dataset,
    mentions,
    pictures,
    read_text,
    side_of,
)
from ltcam.data.layouts.tree import SPLIT_NAMES, Tree, stem_key
from ltcam_runtime.errors import DataError
from ltcam_runtime.phrases import counted, first_few
from ltcam_runtime.searching import LeftOut

NAME = "yolo"
WANTED = "data.yaml, classes.txt or obj.names, and NAME.txt for NAME.png: in labels/ for images/, or beside the image"

_NAME_FILES = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "obj.names", "_darknet.labels")
_NO_LABELS = frozenset({"train.txt", "val.txt", "valid.txt", "test.txt", "readme.txt"})
"""Text files that are none of labels where no image is called so."""
_NO_IMAGE = "text files that belong to no image"


def recognises(tree: Tree) -> bool:
    """Whether there is a file of names and a text file that belongs to an image."""
    return bool(_names_files(tree)) and any(_labels_of_images(tree).values())


def labels_without_names(tree: Tree) -> PurePosixPath | None:
    """A text file that belongs to an image and holds an object, though no file says the names of the kinds."""
    if _names_files(tree):
        return None
    try:
        for label in filter(None, _labels_of_images(tree).values()):
            lines = read_text(tree.root / label).splitlines()
            if [_object(line.split(), {}, named=False) for line in lines if line.strip()]:
                return label
    except (DataError, ValueError):
        pass
    return None


def read(tree: Tree) -> Dataset:
    """Read the data set.

    Raises:
        DataError: names or label files that cannot be read, or that fit several images.
    """
    names, labels = _names(tree), _labels_of_images(tree)
    images = frozenset(pictures(tree))
    entries = [_entry(tree, path, label, names) for path, label in labels.items() if label or path in images]
    found = set(labels.values())
    left = (path for path in _label_files(tree) if path not in found and path.name.lower() not in _NO_LABELS)
    orphans = tuple(LeftOut(path, _NO_IMAGE) for path in left)
    dataset = annotated_dataset(tree, NAME, entries)
    empty = sum(not entry.objects and entry.source.suffix.lower() == ".txt" for entry in entries)
    without = [path for path, label in labels.items() if label is None and path in images]
    _check_sides(tree, labels, without)
    notes = (*dataset.notes, *_missing_files(without, empty))
    return replace(dataset, files=Files(left_out=orphans), notes=notes)


def _check_sides(
    tree: Tree, labels: Mapping[PurePosixPath, PurePosixPath | None], without: Sequence[PurePosixPath]
) -> None:
    """Where images of one side have text files, those of a whole other side are hardly missing by intention.

    Raises:
        DataError: none of a side's images has one.
    """
    with_some = {None, *(side_of(path.parent) for path, label in labels.items() if label)}
    if bare := [path for path in without if side_of(path.parent) not in with_some]:
        raise DataError(
            f"{tree.root}: none of the {counted(len(bare), 'images')} of the side {side_of(bare[0].parent)} has "
            f"a text file, such as {bare[0]}, though images of other sides have; put their label files into the "
            "folder, or, if all of them are OK, give each an empty one"
        )


def _missing_files(without: Sequence[PurePosixPath], empty: int) -> tuple[str, ...]:
    """A note of images without a text file, where so many others have an empty one."""
    if not (without and empty):
        return ()
    return (
        f"{counted(len(without), 'images')} without a text file count as OK, such as {min(without)}; {empty} "
        "others have an empty one. Look whether label files are missing.",
    )


def _entry(
    tree: Tree, image: PurePosixPath, label: PurePosixPath | None, names: Mapping[int, str]
) -> Annotated:
    if label is None:
        return Annotated(str(image), tree.root / image)
    file = tree.root / label
    objects: list[Marked] = []
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if line.strip():
            try:
                objects.append(_object(line.split(), names))
            except ValueError as error:
                raise DataError(f"{file}: line {number}: {error}") from None
    return Annotated(str(image), file, tuple(objects))


def _object(words: list[str], names: Mapping[int, str], *, named: bool = True) -> Marked:
    """The object of one line; a box (and a box with its confidence) has no outline."""
    numbers = [float(word) for word in words]
    if not all(map(math.isfinite, numbers)):
        raise ValueError("not all numbers are finite")
    index = int(numbers[0])
    if not named:
        names = {index: words[0]}
    if index not in names:
        raise ValueError(f"kind {words[0]} has no name; there are {len(names)} names, counted from 0")
    if len(numbers) in (5, 6):
        return Marked(names[index])
    if len(numbers) < 7 or len(numbers) % 2 == 0:
        raise ValueError(f"{len(numbers)} numbers; a box has 5, a polygon 1 and two for each corner")
    return Marked.of(names[index], polygon(numbers[1:], (1.0, 1.0), shares=True))


def _labels_of_images(tree: Tree) -> dict[PurePosixPath, PurePosixPath | None]:
    """The label file of every image.

    Raises:
        DataError: several files fit equally well.
    """
    by_key: dict[str, list[PurePosixPath]] = defaultdict(list)
    for path in _label_files(tree):
        by_key[_key(path)].append(path)
    return {image: _label_of(image, by_key.get(_key(image), []), tree) for image in tree.images}


def _label_of(image: PurePosixPath, fitting: list[PurePosixPath], tree: Tree) -> PurePosixPath | None:
    beside = image.with_suffix(".txt")
    folders = [place for place, part in enumerate(beside.parts[:-1]) if part.lower() == "images"]
    mirrored = [
        PurePosixPath(*beside.parts[:place], "labels", *beside.parts[place + 1 :]) for place in folders[-1:]
    ]
    first = next((path for path in (*mirrored, beside) if path in fitting), None)
    if first is None and len(fitting) > 1:
        names = first_few([str(path) for path in fitting])
        raise DataError(f"{tree.root / image}: its labels may be any of {names}; keep one of them")
    return first or next(iter(fitting), None)


def _label_files(tree: Tree) -> list[PurePosixPath]:
    return [
        path for path in tree.files if path.suffix.lower() == ".txt" and path.name.lower() not in _NAME_FILES
    ]


def _key(path: PurePosixPath) -> str:
    """What an image and its labels have in common: paths that differ in folders such as `images`, `labels` alone."""
    return stem_key(
        PurePosixPath(*(part for part in path.parts[:-1] if part.lower() not in IMAGE_FOLDERS), path.name)
    )


def _names_files(tree: Tree) -> list[PurePosixPath]:
    """Files of names: in the root, the first counts, else beside images or labels, else any settings in the root."""
    called = sorted(
        (path for path in tree.files if path.name.lower() in _NAME_FILES),
        key=lambda path: _NAME_FILES.index(path.name.lower()),
    )
    known = [path for path in called if len(path.parts) == 1] or [
        path
        for path in called
        if all(part.lower() in IMAGE_FOLDERS or part.lower() in SPLIT_NAMES for part in path.parts[:-1])
    ]
    return known or [
        path
        for path in tree.files
        if len(path.parts) == 1
        and path.suffix.lower() in (".yaml", ".yml")
        and mentions(tree.root / path, "names:")
    ]


def _names(tree: Tree) -> dict[int, str]:
    files = _names_files(tree)
    if not files:
        raise DataError(
            f"{tree.root}: no file of names; the {NAME} layout needs one of {', '.join(_NAME_FILES[:5])}"
        )
    first, *others = files
    names = _names_in(tree, first)
    for other in others:
        if len(first.parts) > 1 and _names_in(tree, other) != names:
            raise DataError(f"{tree.root}: {first} and {other} name the kinds otherwise; keep one of them")
    return names


def _names_in(tree: Tree, path: PurePosixPath) -> dict[int, str]:
    text = read_text(tree.root / path)
    if path.suffix.lower() not in (".yaml", ".yml"):
        return dict(enumerate(line.strip() for line in text.splitlines() if line.strip()))
    try:
        names = yaml.safe_load(text)["names"]
        return {
            int(key): str(name)
            for key, name in (names.items() if isinstance(names, dict) else enumerate(names))
        }
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{tree.root / path}: no list called names in it ({type(error).__name__}); write one, such as "
            "names: [scratch, dent], in the order of the numbers in the label files"
        ) from None
