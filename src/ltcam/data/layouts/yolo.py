"""YOLO: a text file per image, one line per object, and the names of the kinds.

    data.yaml                        names: [crack, dent]   (or classes.txt, obj.names: a name per line)
    images/train/a.png               or train/images/a.png, or all files in one folder
    labels/train/a.txt               0 0.51 0.32 0.10 0.04          kind, centre, width, height: a box
                                     1 0.1 0.1 0.2 0.1 0.2 0.3      kind, then the corners of a polygon

Places are shares of the image's width and height. An image without a text file, or with an empty one, is OK.
https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

import yaml

from ltcam.data.dataset import Dataset, make_dataset
from ltcam.data.drawn import Polygon, polygon
from ltcam.data.layouts.annotated import Annotated, read_text, samples_of, split_of
from ltcam.data.layouts.tree import Tree
from ltcam_runtime.errors import DataError
from ltcam_runtime.searching import is_image

NAME = "yolo"
WANTED = "data.yaml, classes.txt or obj.names, and labels/NAME.txt for images/NAME.png"

_NAME_FILES = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "obj.names")


def recognises(tree: Tree) -> bool:
    """Whether there is a file of names and a text file that belongs to an image."""
    return _names_file(tree) is not None and any(_label_file(path, tree) for path in tree.images)


def read(tree: Tree) -> Dataset:
    """Read the data set.

    Raises:
        DataError: names or label files that cannot be read.
    """
    names = _names(tree)
    entries = [_entry(tree, path, names) for path in tree.images]
    return make_dataset(tree.root, NAME, samples_of(tree, entries))


def _entry(tree: Tree, image: PurePosixPath, names: Mapping[int, str]) -> Annotated:
    label = _label_file(image, tree)
    split = split_of(str(image.parent))
    if label is None:
        return Annotated(str(image), tree.root / image, (), (), split)
    file = tree.root / label
    kinds: list[str] = []
    polygons: list[Polygon | None] = []
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if line.strip():
            try:
                kind, shape = _object(line.split(), names)
            except ValueError as error:
                raise DataError(f"{file}: line {number}: {error}") from None
            kinds.append(kind)
            polygons.append(shape)
    shapes = tuple(shape for shape in polygons if shape is not None)
    return Annotated(str(image), file, tuple(kinds), shapes if len(shapes) == len(polygons) else None, split)


def _object(words: list[str], names: Mapping[int, str]) -> tuple[str, Polygon | None]:
    """Kind and outline of one line; a box (and a box with its confidence) has no outline."""
    numbers = [float(word) for word in words]
    index = int(numbers[0])
    if index not in names:
        raise ValueError(f"kind {words[0]} has no name; there are {len(names)} names, counted from 0")
    if len(numbers) in (5, 6):
        return names[index], None
    if len(numbers) < 7 or len(numbers) % 2 == 0:
        raise ValueError(f"{len(numbers)} numbers; a box has 5, a polygon 1 and two for each corner")
    return names[index], polygon(numbers[1:], (1.0, 1.0))


def _label_file(image: PurePosixPath, tree: Tree) -> PurePosixPath | None:
    """`labels/...` for `images/...`, else the file beside the image."""
    beside = image.with_suffix(".txt")
    parts = list(beside.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place].lower() == "images":
            mirrored = PurePosixPath(*parts[:place], "labels", *parts[place + 1 :])
            if mirrored in tree.lookup:
                return mirrored
            break
    return beside if beside in tree.lookup and beside.name not in _NAME_FILES and is_image(image) else None


def _names_file(tree: Tree) -> PurePosixPath | None:
    return next((PurePosixPath(name) for name in _NAME_FILES if PurePosixPath(name) in tree.lookup), None)


def _names(tree: Tree) -> dict[int, str]:
    path = _names_file(tree)
    if path is None:
        raise DataError(
            f"{tree.root}: no file of names; the {NAME} layout needs one of {', '.join(_NAME_FILES)}"
        )
    text = read_text(tree.root / path)
    if path.suffix not in (".yaml", ".yml"):
        return dict(enumerate(line.strip() for line in text.splitlines() if line.strip()))
    try:
        names = yaml.safe_load(text)["names"]
        return {
            int(key): str(name)
            for key, name in (names.items() if isinstance(names, dict) else enumerate(names))
        }
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{tree.root / path}: no list called names in it ({type(error).__name__})") from None
