"""Lookout for Vision (SageMaker Ground Truth): a .manifest file, one JSON object per line, and its images.

    {"source-ref": "s3://bucket/a.png", "anomaly-label": 1, "anomaly-label-metadata": {"class-name": "anomaly",
     "type": "groundtruth/image-classification"}, "anomaly-mask-ref": "s3://bucket/masks/a.png", ...}

The label is the class name; `normal` is OK. Where there is no class name, 0 is OK and 1 is `anomaly`. Masks are
pictures whose background has the colour that the manifest gives it. Images and masks are found by the ends
of their addresses. https://docs.aws.amazon.com/lookout-for-vision/latest/developer-guide/manifest-files.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltcam.data.dataset import Dataset
from ltcam.data.layouts.annotated import (
    Annotated,
    ImageFinder,
    Marked,
    annotated_dataset,
    mentions,
    read_text,
    sides_of_lists,
)
from ltcam.data.layouts.tree import Tree
from ltcam_runtime.errors import DataError
from ltcam_runtime.images import read_image

NAME = "lookout"
WANTED = "a .manifest file with source-ref and a label per line, and its images"

_ANOMALY, _NORMAL = "anomaly", "normal"
_CLASSIFICATION = "groundtruth/image-classification"
_WHITE = "#ffffff"


@dataclass(frozen=True)
class Painted:
    """A picture in which all but the background is marked.

    Attributes:
        path: the picture.
        background: its colour, RGB.
    """

    path: Path
    background: tuple[int, int, int]

    def draw(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """(height, width) bool."""
        picture = read_image(self.path)
        if picture.shape[:2] != size:
            raise ValueError(f"{self.path} is {picture.shape[0]} x {picture.shape[1]}")
        return np.asarray((picture != np.array(self.background, np.uint8)).any(axis=2))


def recognises(tree: Tree) -> bool:
    """Whether there is a manifest of this kind."""
    return bool(_files(tree))


def read(tree: Tree) -> Dataset:
    """Read the data set.

    Raises:
        DataError: a line that is no such object; images that are not there.
    """
    finder = ImageFinder(tree)
    entries = []
    sides = sides_of_lists(_files(tree))
    for file in sides:
        for number, line in enumerate(read_text(file).splitlines(), start=1):
            if line.strip():
                try:
                    entries.append(replace(_entry(file, json.loads(line), finder), split=sides[file]))
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise DataError(f"{file}: line {number}: cannot be read ({error})") from None
    return annotated_dataset(tree, NAME, entries)


def _entry(file: Path, row: Mapping[str, Any], finder: ImageFinder) -> Annotated:
    name = str(row["source-ref"])
    kind = _kind(row)
    mask = _mask(file, row, finder)
    return Annotated(name, file, (Marked.of(kind, mask),))


def _kind(row: Mapping[str, Any]) -> str:
    for key, value in row.items():
        about = row.get(f"{key}-metadata")
        if (
            isinstance(about, dict)
            and about.get("type", _CLASSIFICATION) == _CLASSIFICATION
            and isinstance(value, int)
        ):
            return str(about.get("class-name") or (_ANOMALY if value else _NORMAL))
    raise ValueError("no label: an attribute with its metadata of type groundtruth/image-classification")


def _mask(file: Path, row: Mapping[str, Any], finder: ImageFinder) -> Painted | None:
    for key, about in row.items():
        if key.endswith("-ref-metadata") and isinstance(about, dict):
            path = finder.find(str(row[key.removesuffix("-metadata")]), file)
            colours = about.get("internal-color-map", {}).values()
            hexes = [
                c.get("hex-color", _WHITE) for c in colours if c.get("class-name", "").lower() == "background"
            ]
            red, green, blue = bytes.fromhex((hexes or [_WHITE])[0].lstrip("#"))
            return None if path is None else Painted(finder.root / path, (red, green, blue))
    return None


def _files(tree: Tree) -> list[Path]:
    files = [tree.root / path for path in tree.files if path.suffix.lower() in (".manifest", ".jsonl")]
    return [path for path in files if mentions(path, '"source-ref"')]
