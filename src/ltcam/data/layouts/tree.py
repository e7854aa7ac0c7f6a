"""The files below a folder, found once and handed to every layout as relative paths."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from ltcam_runtime.errors import DataError
from ltcam_runtime.images import IMAGE_SUFFIXES

OK_NAMES = frozenset({"good", "ok", "normal"})
"""Names (lower case) that folders and manifests give the class without defect."""

_NOT_DATA = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


@dataclass(frozen=True)
class Tree:
    """All visible regular files below a root.

    Attributes:
        root: the folder that was searched.
        files: paths relative to `root`, sorted.
        skipped_links: symbolic links that were not followed, relative to `root`, sorted.
    """

    root: Path
    files: tuple[PurePosixPath, ...]
    skipped_links: tuple[PurePosixPath, ...] = ()

    @cached_property
    def lookup(self) -> frozenset[PurePosixPath]:
        """The files, to ask whether one is there."""
        return frozenset(self.files)

    @property
    def images(self) -> tuple[PurePosixPath, ...]:
        """The files with the suffix of an image, upper or lower case."""
        return tuple(path for path in self.files if is_image(path))


def scan(root: Path) -> Tree:
    """Find all files below a folder.

    Hidden files and what file managers leave behind are passed over. A link to a file inside `root`
    is taken as a file. Links to folders, links that leave `root` and dangling links are not followed.

    Raises:
        DataError: the folder is missing, is no folder, or cannot be listed.
    """
    if not root.exists():
        raise DataError(f"{root}: there is no such folder; check the path")
    if not root.is_dir():
        raise DataError(f"{root}: not a folder; give the data set's folder or a manifest that ends in .csv")
    inside = root.resolve()
    files: list[PurePosixPath] = []
    skipped: list[PurePosixPath] = []
    for path in _walk(root):
        relative = PurePosixPath(path.relative_to(root).as_posix())
        if path.is_symlink() and not (path.is_file() and path.resolve().is_relative_to(inside)):
            skipped.append(relative)
        elif path.is_file():
            files.append(relative)
    return Tree(root, tuple(sorted(files)), tuple(sorted(skipped)))


def is_image(path: PurePosixPath) -> bool:
    """Whether the name ends like that of an image file."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def by_stem(paths: Iterable[PurePosixPath]) -> dict[str, PurePosixPath]:
    """Image files by their lower-case path without suffix; of several the first in order."""
    found: dict[str, PurePosixPath] = {}
    for path in paths:
        found.setdefault(stem_key(path), path)
    return found


def stem_key(path: PurePosixPath) -> str:
    """The path without its suffix, in lower case."""
    return path.with_suffix("").as_posix().lower()


def _walk(root: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be listed ({error.strerror}); check its permissions")

    for folder, folders, names in os.walk(root, onerror=refuse, followlinks=False):
        visible = [name for name in folders if not _ignored(name)]
        links = [name for name in visible if (Path(folder) / name).is_symlink()]
        folders[:] = sorted(set(visible) - set(links))
        yield from (Path(folder) / name for name in (*names, *links) if not _ignored(name))


def _ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in _NOT_DATA
