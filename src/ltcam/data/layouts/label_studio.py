"""Label Studio: its JSON export (a list of tasks), and the images that the tasks name.

Polygons, ellipses and brush strokes are masks; rectangles, key points and choices label only. A task that nobody has
finished (no annotation, or a skipped one) is left out; one that was finished without an object is OK. Where
several people annotated a task, the last one counts. https://labelstud.io/guide/task_format
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ltcam.data.dataset import Dataset
from ltcam.data.drawn import Brush, Shape, ellipse, polygon
from ltcam.data.labels import means_any_defect, means_ok
from ltcam.data.layouts.annotated import (
    Annotated,
    Marked,
    annotated_dataset,
    files_ending,
    mentions,
    read_text,
    refuse_damaged,
)
from ltcam.data.layouts.mask_labels import DEFECT
from ltcam.data.layouts.tree import Tree
from ltcam_runtime.errors import DataError
from ltcam_runtime.images import IMAGE_SUFFIXES

NAME = "label-studio"
WANTED = "a JSON export of Label Studio in the root, and its images"

_OF_IMAGES = ("choices", "taxonomy")
"""Results that say nothing of places."""

_BARE = ("rectangle", "polygon", "ellipse", "brush", "keypoint")
"""What is drawn without a name."""


def recognises(tree: Tree) -> bool:
    """Whether there is a list of tasks."""
    return bool(_files(tree))


def read(tree: Tree) -> Dataset:
    """Read the data set.

    Raises:
        DataError: a file that is no such export or is damaged; images that are not there.
    """
    files = _files(tree)
    refuse_damaged(file for file in files_ending(tree, ".json") if file not in files)
    entries = [entry for file in files for entry in read_tasks(file)]
    return annotated_dataset(tree, NAME, entries)


def read_tasks(file: Path, of: Literal["annotations", "predictions"] = "annotations") -> Iterator[Annotated]:
    """The finished tasks of an export.

    Args:
        file: the JSON file.
        of: what people drew, or what a model proposed.

    Raises:
        DataError: it is no such export, or is damaged.
    """
    try:
        for task in json.loads(read_text(file)):
            finished = [each for each in task.get(of, ()) if not each.get("was_cancelled")]
            if finished:
                results = finished[-1]["result"]
                yield _entry(file, _image(task["data"], results), results)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{file}: not an export of Label Studio that can be read ({error})") from None


def _entry(file: Path, name: str, results: Sequence[Mapping[str, Any]]) -> Annotated:
    named = {result.get("id") for result in results if _is_named(result)}
    objects: list[Marked] = []
    tags: list[str] = []
    for result in results:
        own = result.get("value", {}).get(str(result.get("type")))
        if result.get("type") in _BARE and result.get("id") not in named:
            own = []
        if not isinstance(own, list):  # a relation, a text, a rating
            continue
        kinds = [_kind(each) for each in own]
        if result.get("type") in _OF_IMAGES:
            tags += kinds
        else:  # something drawn may have no name
            objects += [Marked.of(kind, _shape(result)) for kind in kinds or [DEFECT]]
    return Annotated(name, file, tuple(objects), tuple(tags))


def _kind(value: Any) -> str:
    """A taxonomy names a kind by its way from the root; in a branch of defects nothing is OK."""
    way = [str(each) for each in value] if isinstance(value, list) and value else [str(value)]
    defects = [each for each in way if means_any_defect(each)]
    return defects[-1] if defects and means_ok(way[-1]) else way[-1]


def _is_named(result: Mapping[str, Any]) -> bool:
    """Whether a result says of what kind something drawn is: in tools for drawing without names, one beside it does."""
    kind = str(result.get("type"))
    return kind.endswith("labels") and bool(result.get("value", {}).get(kind))


def _shape(result: Mapping[str, Any]) -> Shape | None:
    value = result["value"]
    match result["type"]:
        case "polygonlabels":
            return polygon([number for point in value["points"] for number in point], (100, 100), shares=True)
        case "ellipselabels":
            height, width = int(result["original_height"]), int(result["original_width"])
            return ellipse(
                (value["x"] * width / 100, value["y"] * height / 100),
                (value["radiusX"] * width / 100, value["radiusY"] * height / 100),
                (height, width),
                degrees=value.get("rotation", 0),
            )
        case "brushlabels" if value.get("format") == "rle":
            return Brush(bytes(value["rle"]), (int(result["original_height"]), int(result["original_width"])))
        case _:
            return None


def _image(data: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> str:
    """The value of a task that names an image; its key is up to the project.

    Of several pictures it is the one that what was drawn is in: every result says so by the name of its tag, `to_name`,
    which is mostly that of the key; else the one that is called `image`.
    """
    named = {
        key: text
        for key, text in data.items()
        if isinstance(text, str) and Path(text.split("&")[0]).suffix.lower() in IMAGE_SUFFIXES
    }
    if not named:
        raise ValueError(f"a task whose data name no image: {', '.join(data)}")
    meant = [str(result.get("to_name")) for result in results]
    return next((named[key] for key in (*meant, "image") if key in named), next(iter(named.values())))


def _files(tree: Tree) -> list[Path]:
    words = ('"annotations"', '"result"', '"data"')
    return [path for path in files_ending(tree, ".json") if _is_list(path) and mentions(path, *words)]


def _is_list(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
    except OSError:
        return False
