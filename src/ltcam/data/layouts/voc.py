"""Pascal VOC, as LabelImg writes it: an XML file per image, beside it or in Annotations/.

    JPEGImages/a.jpg
    Annotations/a.xml      <annotation><object><name>crack</name><bndbox>...</bndbox></object></annotation>

Boxes label only, and pictures of segments are left out. An image whose file has no object is OK; so is one without a
file, unless there are such files: then nobody has looked at it yet. http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ltcam.data.dataset import Dataset
from ltcam.data.layouts import folders
from ltcam.data.layouts.annotated import (
    Annotated,
    Marked,
    Pictured,
    annotated_dataset,
    mentions,
    xml_root,
)
from ltcam.data.layouts.tree import Tree
from ltcam_runtime.errors import DataError

NAME = "voc"
_ROOTS = ("<annotation>", "<annotation ")
WANTED = "an XML file of Pascal VOC for each image with a defect"


def recognises(tree: Tree) -> bool:
    """Whether there is a file of one image's objects, and no folder that says what is OK."""
    return next(_files(tree), None) is not None and not folders.recognises(tree)


def read(tree: Tree) -> Dataset:
    """Read the data set.

    Raises:
        DataError: a file that is no such annotation or is damaged; images that are not there.
    """
    pictured = Pictured(tree)
    files = pictured.with_files_of(_files(tree), ".xml")
    entries = [read_voc(file, pictured.called_like(file)) for file in files]
    if all(entry.kinds for entry in entries):
        entries += [Annotated(str(path), tree.root / path) for path in pictured.images]
    return annotated_dataset(tree, NAME, entries)


def read_voc(file: Path, image: PurePosixPath | None) -> Annotated:
    """The image of one file.

    Args:
        file: the annotation.
        image: the one that is called like it: the name inside is often that of another day.

    Raises:
        DataError: it is no such file, is damaged, or declares entities, which no tool does.
    """
    try:
        root = xml_root(file, "annotation")
        name = str(image or (root.findtext("filename") or file.stem).strip())
        boxes = (Marked((each.findtext("name") or "defect").strip()) for each in root.iter("object"))
        return Annotated(name, file, tuple(boxes))
    except ValueError as error:
        raise DataError(f"{file}: not a file of Pascal VOC that can be read ({error})") from None


def _files(tree: Tree) -> Iterator[Path]:
    return (
        tree.root / path
        for path in tree.files
        if path.suffix.lower() == ".xml" and any(mentions(tree.root / path, root) for root in _ROOTS)
    )
