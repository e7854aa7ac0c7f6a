"""Every layout: how it is told from others, and what reads it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType

from ltcam.data.dataset import Dataset
from ltcam.data.layouts import (
    coco,
    cvat,
    folders,
    ksdd,
    ksdd2,
    label_studio,
    labelme,
    lookout,
    magnetic_tile,
    manifest,
    mvtec,
    voc,
    yolo,
)
from ltcam.data.layouts.tree import Tree
from ltcam_runtime.errors import DataError


@dataclass(frozen=True)
class Layout:
    """How one kind of folder is told from others, and read.

    Attributes:
        name: what `Reading.layout` is given.
        wanted: the files that make this layout, for people.
        recognises: whether a folder looks like it, given the labels that mean OK.
        read: the data set in it, given the labels that mean OK.
        specific: asked before the plain folders, which also fit some other data sets.
        annotated: whether files that are no images hold the labels.
    """

    name: str
    wanted: str
    recognises: Callable[[Tree, Collection[str]], bool]
    read: Callable[[Tree, Collection[str]], Dataset]
    specific: bool = True
    annotated: bool = False


def has_manifest(tree: Tree, _ok: Collection[str] = ()) -> bool:
    """Whether a folder holds a list of its images."""
    return PurePosixPath(manifest.FILE_NAME) in tree.lookup


def _read_manifest(tree: Tree, ok: Collection[str]) -> Dataset:
    return manifest.read_manifest(tree.root / manifest.FILE_NAME, ok)


def _fixed(
    name: str,
    wanted: str,
    recognises: Callable[[Tree], bool],
    read: Callable[[Tree], Dataset],
    *,
    annotated: bool = False,
) -> Layout:
    """A layout that says itself which images are OK."""

    def read_unless_named(tree: Tree, ok: Collection[str]) -> Dataset:
        if ok:
            raise DataError(
                f"{tree.root}: read as {name}, which says itself what is OK; leave `ok` out, or name another "
                "layout with `layout`"
            )
        return read(tree)

    return Layout(name, wanted, lambda tree, _ok: recognises(tree), read_unless_named, annotated=annotated)


_ALL: tuple[Layout, ...] = (
    Layout(manifest.NAME, manifest.WANTED, has_manifest, _read_manifest),
    *(
        _fixed(part.NAME, part.WANTED, part.recognises, part.read)
        for part in (ksdd, ksdd2, mvtec, magnetic_tile)
    ),
    *(
        _fixed(part.NAME, part.WANTED, part.recognises, part.read, annotated=True)
        for part in (coco, label_studio, labelme, cvat, lookout, yolo, voc)
    ),
    Layout(folders.NAME, folders.WANTED, folders.recognises, folders.read, specific=False),
)

TAKES_OK = frozenset({manifest.NAME, folders.NAME})
"""Layouts that can be told which labels mean OK; the others say it themselves."""

LAYOUTS: Mapping[str, Layout] = MappingProxyType({layout.name: layout for layout in _ALL})
"""All layouts by name. A manifest wins over what lies beside it; plain folders come last."""
