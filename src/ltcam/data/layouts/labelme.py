"""LabelMe: a JSON file per image, beside it or in another folder.

    a.png
    a.json      {"shapes": [{"label": "crack", "shape_type": "polygon", "points": [[30, 10], ...]}],
                 "imagePath": "a.png", "imageHeight": 480, "imageWidth": 640}

Polygons, circles and masks are masks; rectangles, lines and points label only, and so do flags that are set. LabelMe
writes no file for an image in which nothing is drawn, so an image without one is OK. https://github.com/wkentaro/labelme
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from ltcam.data.dataset import Dataset
from ltcam.data.drawn import Runs, Shape, ellipse, polygon
from ltcam.data.layouts.annotated import (
    Annotated,
    Marked,
    Pictured,
    annotated_dataset,
    mentions,
    read_text,
)
from ltcam.data.layouts.tree import Tree
from ltcam_runtime.errors import DataError
from ltcam_runtime.writers.coco import run_lengths

NAME = "labelme"
WANTED = "a JSON file of LabelMe for each image with a defect"

_PNG_SIZE = struct.Struct(">16xII")  # width and height in its first chunk, after the signature


def recognises(tree: Tree) -> bool:
    """Whether there is a file of drawn shapes."""
    return next(_files(tree), None) is not None


def read(tree: Tree) -> Dataset:
    """Read the data set.

    Raises:
        DataError: a file that is none of LabelMe's or is damaged; images that are not there.
    """
    pictured = Pictured(tree)
    files = pictured.with_files_of(_files(tree), ".json")
    drawn = [read_labelme(file, pictured.called_like(file)) for file in files]
    there = [Annotated(str(path), tree.root / path) for path in pictured.images]
    return annotated_dataset(tree, NAME, [*drawn, *there])


def read_labelme(file: Path, image: PurePosixPath | None = None) -> Annotated:
    """The image of one file.

    Args:
        file: the annotation.
        image: the one that is called like it: the name inside is often that of another day.

    Raises:
        DataError: it is none of LabelMe's, or is damaged.
    """
    try:
        content = json.loads(read_text(file))
        size = (int(content["imageHeight"]), int(content["imageWidth"]))
        name = str(content["imagePath"] if image is None else image)
        return Annotated(
            name=name,
            source=file,
            objects=tuple(Marked.of(str(each["label"]), _shape(each, size)) for each in content["shapes"]),
            tags=tuple(flag for flag, is_set in (content.get("flags") or {}).items() if is_set),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{file}: not a file of LabelMe that can be read ({error})") from None


def _shape(shape: Mapping[str, Any], size: tuple[int, int]) -> Shape | None:
    points = shape["points"]
    match shape.get("shape_type", "polygon"):
        case "polygon" if len(points) > 2:
            return polygon([number for point in points for number in point], size)
        case "circle":
            centre, edge = points
            radius = math.dist(centre, edge)
            return ellipse((centre[0], centre[1]), (radius, radius), size)
        case "mask":
            return _mask(shape, size)
        case _:
            return None


def _mask(shape: Mapping[str, Any], size: tuple[int, int]) -> Runs:
    """A picture in a box whose corners both belong to it."""
    (left, top), (right, bottom) = ([round(number) for number in point] for point in shape["points"])
    box = (left, top, right - left + 1, bottom - top + 1)
    content = base64.b64decode(shape["mask"], validate=True)
    known = content.startswith(b"\x89PNG") and len(content) >= _PNG_SIZE.size
    if not known or _PNG_SIZE.unpack_from(content) != box[2:]:
        raise ValueError(f"the picture of a mask is no PNG of {box[2]} x {box[3]}")
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise ValueError("the picture of a mask is damaged")
    return Runs(tuple(run_lengths((picture > 0).T, (0, 0), box[2:])), box, size, down=False)


def _files(tree: Tree) -> Iterator[Path]:
    words = ('"shapes"', '"imagePath"')
    return (
        tree.root / path
        for path in tree.files
        if path.suffix.lower() == ".json" and mentions(tree.root / path, *words)
    )
