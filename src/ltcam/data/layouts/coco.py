"""COCO: a JSON file with `images`, `annotations` and `categories`, and the images it names.

The file lies in the root, in `annotations/`, or beside the images of its side (`train/_annotations.coco.json`, as
Roboflow writes it). There may be several. https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ltcam.data.dataset import Dataset, Split
from ltcam.data.drawn import Runs, Shape, expand_runs, polygon
from ltcam.data.layouts.annotated import (
    Annotated,
    Marked,
    annotated_dataset,
    files_ending,
    mentions,
    read_text,
    refuse_damaged,
    sides_of_lists,
)
from ltcam.data.layouts.tree import Tree
from ltcam_runtime.errors import DataError

NAME = "coco"
WANTED = "a COCO file (images, annotations, categories) in the root or in annotations/, and its images"


def recognises(tree: Tree) -> bool:
    """Whether there is a file with the three members that make a COCO file."""
    return bool(_files(tree))


def read(tree: Tree) -> Dataset:
    """Read the data set.

    Raises:
        DataError: a file that is no COCO file or is damaged; images that are not there.
    """
    files = _files(tree)
    refuse_damaged(file for file in files_ending(tree, ".json") if file not in files)
    sides = sides_of_lists(files)
    entries = [entry for file in files for entry in read_coco(file, sides[file])]
    return annotated_dataset(tree, NAME, entries)


def read_coco(file: Path, split: Split | None = None) -> Iterator[Annotated]:
    """The images of one COCO file.

    Args:
        file: to read.
        split: the side of its images, where its name tells it.

    Raises:
        DataError: it is no COCO file, or is damaged.
    """
    try:
        content = json.loads(read_text(file))
        kinds, images = _by_id(content, "categories"), _by_id(content, "images")
        objects: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for each in content["annotations"]:
            objects[_meant(each, "image_id", images)].append(each)
        for key, image in images.items():
            name, size = str(image["file_name"]), (int(image["height"]), int(image["width"]))
            marked = (
                Marked(str(kinds[_meant(each, "category_id", kinds)]["name"]), _shapes(each, size))
                for each in objects[key]
            )
            yield Annotated(name, file, tuple(marked), split=split)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{file}: not a COCO file that can be read ({_words(error)})") from None


def _by_id(content: Mapping[str, Any], member: str) -> dict[str, Mapping[str, Any]]:
    """The entries of a member by their ids, of which none may occur twice."""
    found: dict[str, Mapping[str, Any]] = {}
    for entry in content[member]:
        key = _id(entry["id"])
        if key in found:
            raise ValueError(f"{member} has the id {key} twice; give each entry its own")
        found[key] = entry
    return found


def _meant(annotation: Mapping[str, Any], member: str, entries: Mapping[str, object]) -> str:
    """The id that an annotation refers to: one that is not there would make a defective image OK."""
    key = _id(annotation[member])
    if key not in entries:
        where = "images" if member == "image_id" else "categories"
        raise ValueError(f"an annotation has {member} {key}, which is none of {where}; correct or remove it")
    return key


def _id(value: object) -> str:
    """An id as it is compared: 3, 3.0 and "3" are one."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _shapes(annotation: Mapping[str, Any], size: tuple[int, int]) -> tuple[Shape, ...] | None:
    """The shapes of one annotation; None where it has a box only."""
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        numbers = expand_runs(counts) if isinstance(counts, str) else tuple(int(count) for count in counts)
        height, width = (int(side) for side in segmentation["size"])
        named = f"run lengths of annotation {_id(annotation['id'])}" if "id" in annotation else "run lengths"
        return (Runs(numbers, (0, 0, width, height), (height, width), down=True, name=named),)
    if isinstance(segmentation, list):  # points and lines among polygons enclose nothing
        return tuple(polygon(each, size) for each in segmentation if len(each) not in (2, 4)) or None
    return None


def _words(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__


def _files(tree: Tree) -> list[Path]:
    words = ('"images"', '"annotations"', '"categories"', '"file_name"')
    return [path for path in files_ending(tree, ".json") if mentions(path, *words)]
