"""What the layouts of annotation tools have in common: objects drawn in images become labels of images.

Any object makes an image defective; an image with none is OK. Where an image holds objects of several kinds, it is
labelled with the kind that occurs most often. Objects and tags called good, ok or normal mark no defect. Polygons,
run lengths and brush strokes are masks too, for measuring; a box says where a defect is, not which pixels
it has, so an image with a box has no mask.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Self
from urllib.parse import unquote
from xml.etree.ElementTree import Element  # the type; defusedxml does the parsing

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from ltcam.data.dataset import OK, Dataset, Sample, Split, make_dataset, several_kinds
from ltcam.data.drawn import DrawnMask, Shape
from ltcam.data.labels import label_key, means_any_defect, means_ok
from ltcam.data.layouts.tree import SPLIT_NAMES, Tree
from ltcam_runtime.errors import DataError
from ltcam_runtime.files import why_not_read
from ltcam_runtime.mask_files import name_key, sort_masks
from ltcam_runtime.phrases import first_few, word_set

MOST_BYTES = 1 << 30
"""Annotation files above this size are refused."""

IMAGE_FOLDERS = word_set("images image imgs img jpegimages pictures photos labels label annotations")
"""What folders of images and of labels are called (lower case): they say nothing."""

_WORDS = re.compile(r"[\W\d_]+")
_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")  # Label Studio puts this before the name of what is uploaded


@dataclass(frozen=True)
class Marked:
    """Something marked in an image.

    Attributes:
        kind: what it is called.
        shapes: its pixels; None where they are not known, as of a box or a point.
    """

    kind: str
    shapes: tuple[Shape, ...] | None = None

    @classmethod
    def of(cls, kind: str, shape: Shape | None) -> Self:
        """One of one shape, or of none."""
        return cls(kind, None if shape is None else (shape,))


@dataclass(frozen=True)
class Annotated:
    """One image of an annotation file.

    Attributes:
        name: as the file has it: a path, a URL, a name.
        source: the annotation file.
        objects: what is marked in it.
        tags: what is said of the whole image.
        split: the side that the annotations name, or None: then folders do.
    """

    name: str
    source: Path
    objects: tuple[Marked, ...] = ()
    tags: tuple[str, ...] = ()
    split: Split | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """What objects and tags are called."""
        return (*(each.kind for each in self.objects), *self.tags)

    @property
    def label(self) -> str:
        """The label of the whole image."""
        counts = Counter(defects(self.kinds))
        return max(counts, key=lambda kind: counts[kind]) if counts else OK

    @property
    def shapes(self) -> tuple[Shape, ...] | None:
        """The pixels of its defects; None where those of one are not known, or where tags alone speak of some."""
        found = [each.shapes for each in self.objects if is_defect(each.kind)]
        if None in found or (not found and any(map(is_defect, self.tags))):
            return None
        return tuple(shape for shapes in found for shape in shapes or ())


def is_defect(kind: str) -> bool:
    """Whether a kind means a defect. A number does: annotation tools number kinds that have no name."""
    return kind.strip().isdecimal() or not means_ok(kind)


def defects(kinds: Iterable[str]) -> list[str]:
    """The kinds that mean a defect; one that only says that there is some (`NOK`) counts where no other does."""
    found = [kind for kind in kinds if is_defect(kind)]
    return [kind for kind in found if not means_any_defect(kind)] or found


def read_text(path: Path) -> str:
    """The text of an annotation file.

    Raises:
        DataError: it cannot be read, is not UTF-8, or is too large.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(
                f"{path}: larger than {MOST_BYTES >> 30} GiB; split the export into several files"
            )
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}); export it again") from None
    except OSError as error:
        raise DataError(f"{path}: {why_not_read(error)}") from None


def xml_root(path: Path, tag: str) -> Element:
    """The root of an XML file of annotations.

    Raises:
        DataError: as for `read_text`.
        ValueError: it is damaged, its root is another one, or it declares entities, which no export does.
    """
    try:
        root: Element = fromstring(read_text(path))
    except (ParseError, DefusedXmlException) as error:
        raise ValueError(str(error)) from None
    if root.tag != tag:
        raise ValueError(f"its root is {root.tag}")
    return root


def mentions(path: Path, *words: str) -> bool:
    """Whether a file can be read and holds all these words: a cheap guess before it is parsed."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return False
        content = path.read_bytes()
    except OSError:
        return False
    return all(word.encode() in content for word in words)


def refuse_damaged(files: Iterable[Path]) -> None:
    """Of files beside annotations that were read: what was meant to be one of them is not passed over.

    Raises:
        DataError: one that ends in `.json` or `.xml`, and is none.
    """
    for file in files:
        try:
            (json.loads if file.suffix.lower() == ".json" else fromstring)(read_text(file))
        except (ValueError, RecursionError, ParseError, DefusedXmlException) as error:
            raise DataError(
                f"{file}: damaged ({str(error) or type(error).__name__}); export it again, or remove it"
            ) from None


def files_ending(
    tree: Tree, suffix: str, folders: Sequence[str] = ("annotations", "result", "labels")
) -> list[Path]:
    """Files of this suffix in the root, in folders that tools put annotations into, or in those of a side."""
    wanted = {*folders, *SPLIT_NAMES}
    return [
        tree.root / path
        for path in tree.files
        if path.suffix.lower() == suffix
        and (len(path.parts) == 1 or (len(path.parts) == 2 and path.parts[0].lower() in wanted))
    ]


def pictures(tree: Tree) -> tuple[PurePosixPath, ...]:
    """Images that are not masks of others: those have no annotations of their own, so they would be OK."""
    return sort_masks(tree.root, tree.images).images


class Pictured:
    """The images of tools that write a file for each image in which something is drawn, and none for the others.

    So a file that cannot be read would make its image OK.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.images = pictures(tree)
        self._by_stem: dict[str, list[PurePosixPath]] = defaultdict(list)
        for path in self.images:
            self._by_stem[name_key(path.stem)].append(path)

    def called_like(self, file: Path) -> PurePosixPath | None:
        """The image of a file's name: the only one, or the only one beside it."""
        fitting = self._by_stem.get(name_key(file.stem), [])
        beside = [path for path in fitting if self._tree.root / path.parent == file.parent]
        return next((paths[0] for paths in (fitting, beside) if len(paths) == 1), None)

    def with_files_of(self, known: Iterable[Path], suffix: str) -> list[Path]:
        """These files, and those that stand where they do and are called like an image: damaged ones are among them."""
        files = list(known)
        places = {file.parent for file in files}
        others = {
            self._tree.root / path
            for path in self._tree.files
            if path.suffix.lower() == suffix and name_key(path.stem) in self._by_stem
        }
        return files + sorted(file for file in others.difference(files) if file.parent in places)


def side_of(folder: PurePosixPath) -> Split | None:
    """The side that a folder of the data set, or one around it, is called: `images/val`, `train2017`, `test_images`.

    Args:
        folder: relative to the data set, whose own name says nothing, nor do those of files.
    """
    for part in folder.parts:
        words = [word for word in _WORDS.split(name_key(part)) if word and word not in IMAGE_FOLDERS]
        if len(words) == 1 and words[0] in SPLIT_NAMES:
            return SPLIT_NAMES[words[0]]
    return None


def sides_of_lists(files: Sequence[Path]) -> dict[Path, Split | None]:
    """The sides that names of annotation files tell apart, as `instances_train2017.json` does; of one alone none."""
    found = {
        file: next(
            (SPLIT_NAMES[word] for word in _WORDS.split(name_key(file.stem)) if word in SPLIT_NAMES), None
        )
        for file in files
    }
    return found if len({*found.values()}) > 1 else dict.fromkeys(files)


def annotated_dataset(tree: Tree, layout: str, entries: Iterable[Annotated]) -> Dataset:
    """The data set of annotated images; an image that occurs several times has the objects of all.

    Raises:
        DataError: none of the images is there, or a name fits several files.
    """
    finder = ImageFinder(tree)
    merged: dict[str, Annotated] = {}
    missing: list[str] = []
    for read in entries:
        path = finder.find(read.name, read.source, read.split)
        entry = replace(read, split=read.split or _side(read.name, path))
        if path is None:
            missing.append(entry.name)
        identity = str(path or _harmless(entry.name))
        merged[identity] = _together(merged[identity], entry) if identity in merged else entry
    if missing and len(missing) == len(merged):
        raise DataError(
            f"{tree.root}: none of the {len(missing)} images of the annotations is in this folder; they are called "
            f"{first_few(missing)}. Put the image files into the folder of the annotations."
        )
    names = _spellings(merged.values())
    named = {
        identity: replace(
            entry,
            objects=tuple(replace(each, kind=names[label_key(each.kind)]) for each in entry.objects),
            tags=tuple(names[label_key(tag)] for tag in entry.tags),
        )
        for identity, entry in merged.items()
    }
    samples = [_sample(tree, identity, entry) for identity, entry in named.items()]
    several = sum(len({*defects(entry.kinds)}) > 1 for entry in named.values())
    return replace(make_dataset(tree.root, layout, samples), notes=several_kinds(several))


def _side(name: str, path: PurePosixPath | None) -> Split | None:
    """The side whose folder an image lies in, or lay in when it was annotated; other machines' folders say nothing."""
    own = None if path is None else side_of(path.parent)
    elsewhere = "://" in name or name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name)
    return own if own or elsewhere else side_of(_plain(name).parent)


def _spellings(entries: Iterable[Annotated]) -> dict[str, str]:
    """The name of each kind by its key: the most frequent of its spellings."""
    counts = Counter(kind for entry in entries for kind in entry.kinds)
    names: dict[str, str] = {}
    for kind in sorted(counts, key=lambda kind: (-counts[kind], kind)):
        names.setdefault(label_key(kind), " ".join(kind.split()))
    return names


def _together(first: Annotated, second: Annotated) -> Annotated:
    return replace(
        first,
        objects=first.objects + second.objects,
        tags=first.tags + second.tags,
        split=first.split or second.split,
    )


def _sample(tree: Tree, identity: str, entry: Annotated) -> Sample:
    label = entry.label
    drawn = DrawnMask(entry.source, entry.shapes) if label != OK and entry.shapes else None
    return Sample(
        id=identity, path=tree.root / identity, label=label, group=identity, split=entry.split, mask=drawn
    )


def _harmless(name: str) -> PurePosixPath:
    """A relative path for an image that is not there, to be reported under."""
    parts = [part for part in _plain(name).parts if part not in ("..", ".", "/")]
    return PurePosixPath(*parts) if parts else PurePosixPath("image without a name")


def _plain(name: str) -> PurePosixPath:
    """The path in a name that may be a URL or a path of another machine."""
    text = name.replace("\\", "/")
    text = text.split("?d=", 1)[1] if "?d=" in text else text.split("?", 1)[0]
    return PurePosixPath(re.sub(r"^[a-z0-9]+://", "", unquote(text)).replace("\0", "").lstrip("/"))


class ImageFinder:
    """Finds the file that is meant by a name: the one that agrees with most of its path, from the end."""

    def __init__(self, tree: Tree) -> None:
        self.root = tree.root
        self._by_name: dict[str, list[PurePosixPath]] = defaultdict(list)
        for path in tree.images:
            self._by_name[name_key(path.name)].append(path)

    def find(self, name: str, source: Path, split: Split | None = None) -> PurePosixPath | None:
        """The image file, relative to the root, that an annotation file means by a name; None where there is none.

        Args:
            name: as the file has it.
            source: the annotation file.
            split: the side that it names, if any.

        Raises:
            DataError: several files fit equally well.
        """
        wanted = _plain(name)
        files = self._by_name.get(name_key(wanted.name), [])
        uploaded = _UPLOADED.fullmatch(wanted.name)
        if not files and uploaded:
            files = self._by_name.get(name_key(uploaded[1]), [])
        if len(files) < 2:
            return files[0] if files else None
        near = source.parent
        for exact in (PurePosixPath(near.relative_to(self.root)) / wanted, wanted):
            if exact in files:
                return exact
        side = split or side_of(wanted.parent) or side_of(PurePosixPath(near.relative_to(self.root)))
        rank = {
            path: (
                _shared(path, wanted),
                (self.root / path).is_relative_to(near),
                side is not None and side_of(path.parent) == side,
            )
            for path in files
        }
        best = max(rank.values())
        fitting = [path for path in files if rank[path] == best]
        if len(fitting) > 1:
            names = first_few([str(path) for path in fitting])
            raise DataError(f"{source}: {name} may be any of {names}; give their folders in the names")
        return fitting[0]


def _shared(one: PurePosixPath, other: PurePosixPath) -> int:
    """How many parts two paths have in common, from the end."""
    count = 0
    for left, right in zip(reversed(one.parts), reversed(other.parts), strict=False):
        if left.lower() != right.lower():
            break
        count += 1
    return count
