"""The files below a folder, found once and handed to every layout as relative paths."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from ltcam.data.dataset import Split
from ltcam_runtime.errors import DataError
from ltcam_runtime.mask_files import name_key
from ltcam_runtime.searching import LeftOut, is_image, search

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
    "训练": "train",
    "训练集": "train",
    "验证": "val",
    "验证集": "val",
    "测试": "test",
    "测试集": "test",
}
"""Names (lower case) of folders and cells that say on which side an image is."""


@dataclass(frozen=True)
class Tree:
    """All files below a root.

    Attributes:
        root: the folder that was searched.
        files: regular files that may be data, relative to `root`, sorted.
        left_out: everything else that stands there, with the reason.
    """

    root: Path
    files: tuple[PurePosixPath, ...]
    left_out: tuple[LeftOut, ...] = ()

    @cached_property
    def lookup(self) -> frozenset[PurePosixPath]:
        """The files, to ask whether one is there."""
        return frozenset(self.files)

    @cached_property
    def images(self) -> tuple[PurePosixPath, ...]:
        """The files with the suffix of an image, upper or lower case."""
        return tuple(path for path in self.files if is_image(path))


def scan(root: Path) -> Tree:
    """Find all files below a folder (see `ltcam_runtime.searching.search`).

    Raises:
        DataError: the folder is missing, is no folder, or cannot be listed.
    """
    if root.exists() and not root.is_dir():
        raise DataError(
            f"{root}: not a folder; give the data set's folder, or a list with the columns path,label as .csv or .tsv"
        )
    found = search(root)
    return Tree(found.root, found.files, found.left_out)


def by_stem(paths: Iterable[PurePosixPath]) -> dict[str, PurePosixPath]:
    """Image files by their path without suffix (`stem_key`); of several the first in order."""
    found: dict[str, PurePosixPath] = {}
    for path in paths:
        found.setdefault(stem_key(path), path)
    return found


def stem_key(path: PurePosixPath) -> str:
    """The path without its suffix, without regard to case and Unicode form."""
    return name_key(path.with_suffix("").as_posix())
