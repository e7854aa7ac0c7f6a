"""CVAT for images 1.1: annotations.xml, and the images it names.

Masks, polygons and ellipses are masks; boxes, lines, points and tags label only. An image without any of them is OK.
https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from ltcam.data.dataset import Dataset
from ltcam.data.drawn import Runs, Shape, ellipse, polygon
from ltcam.data.layouts.annotated import (
    Annotated,
    Marked,
    annotated_dataset,
    files_ending,
    mentions,
    refuse_damaged,
    xml_root,
)
from ltcam.data.layouts.tree import SPLIT_NAMES, Tree
from ltcam_runtime.errors import DataError
from ltcam_runtime.mask_files import name_key

NAME = "cvat"
WANTED = "annotations.xml of CVAT for images, and its images"

_LABELLED = ("mask", "polygon", "ellipse", "box", "polyline", "points", "cuboid", "skeleton")


def recognises(tree: Tree) -> bool:
    """Whether there is an XML file of annotated images."""
    return bool(_files(tree))


def read(tree: Tree) -> Dataset:
    """Read the data set.

    Raises:
        DataError: a file that is no such export or is damaged; images that are not there.
    """
    files = _files(tree)
    refuse_damaged(file for file in files_ending(tree, ".xml") if file not in files)
    entries = [entry for file in files for entry in read_cvat(file)]
    return annotated_dataset(tree, NAME, entries)


def read_cvat(file: Path) -> Iterator[Annotated]:
    """The images of one file.

    Raises:
        DataError: it is no such file, is damaged, or declares entities, which no export does.
    """
    try:
        root = xml_root(file, "annotations")
        if root.find("track") is not None:
            raise ValueError("tracks of a video; export as CVAT for images")
        for image in root.iter("image"):
            yield _entry(file, image)
    except (ValueError, KeyError) as error:
        raise DataError(f"{file}: not a file of CVAT for images that can be read ({error})") from None


def _entry(file: Path, image: Element) -> Annotated:
    size = (int(image.attrib["height"]), int(image.attrib["width"]))
    objects = (each for each in image if each.tag in _LABELLED)
    return Annotated(
        name=image.attrib["name"],
        source=file,
        objects=tuple(Marked.of(each.attrib["label"], _shape(each, size)) for each in objects),
        tags=tuple(each.attrib["label"] for each in image if each.tag == "tag"),
        split=SPLIT_NAMES.get(name_key(image.attrib.get("subset", ""))),
    )


def _shape(element: Element, size: tuple[int, int]) -> Shape | None:
    read = element.attrib
    match element.tag:
        case "mask":
            box = (int(read["left"]), int(read["top"]), int(read["width"]), int(read["height"]))
            counts = tuple(int(count) for count in read["rle"].replace(",", " ").split())
            return Runs(counts, box, size, down=False)
        case "polygon":
            corners = [corner.split(",") for corner in read["points"].split(";")]
            return polygon([float(number) for corner in corners for number in corner], size)
        case "ellipse":
            x, y, radius_x, radius_y = (float(read[name]) for name in ("cx", "cy", "rx", "ry"))
            return ellipse((x, y), (radius_x, radius_y), size, degrees=float(read.get("rotation", 0)))
        case _:
            return None


def _files(tree: Tree) -> list[Path]:
    return [path for path in files_ending(tree, ".xml") if mentions(path, "<annotations", "<image ")]
