"""What a user names (files, folders, patterns, tables) to a list of image files, and what was left out of it.

Nothing is passed over in silence: every file below a folder is either listed, or left out with a reason.
"""

from __future__ import annotations

import fnmatch
import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ltcam_runtime.errors import DataError, InputError
from ltcam_runtime.image_headers import has_pages
from ltcam_runtime.images import IMAGE_SUFFIXES
from ltcam_runtime.mask_files import sort_masks
from ltcam_runtime.searching import (
    CLOSED,
    LINK,
    LINK_OUTSIDE,
    NOT_REGULAR,
    RECORDS,
    LeftOut,
    is_image,
    is_table,
    leads_out,
    search,
    why_no_image,
)

MASKS = "masks of other images"
FURTHER = "files with several pages or frames, of which the first is inspected: save the others as files"

_FAILURES = frozenset({CLOSED, LINK_OUTSIDE, NOT_REGULAR})  # where there may be images, or should be one


@dataclass(frozen=True)
class Listing:
    """The images that inputs stand for.

    Attributes:
        files: (name, path), each file once, each name once.
        failed: (name, reason) of folders that could not be listed, and of what is called an image and is no file.
        left_out: everything else below the folders.
    """

    files: tuple[tuple[str, Path], ...]
    failed: tuple[tuple[str, str], ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def left_out_json(self) -> list[dict[str, Any]]:
        """Why how many files, or parts of them, were left out, the most frequent reason first, as plain JSON values."""
        entries = [*self.left_out, *(LeftOut(PurePosixPath(name), FURTHER) for name in self._with_more())]
        counts = Counter(entry.reason for entry in entries)
        first = {entry.reason: str(entry.path) for entry in reversed(entries)}
        return [
            {"reason": reason, "count": count, "example": first[reason]}
            for reason, count in counts.most_common()
        ]

    def _with_more(self) -> list[str]:
        """Files that hold more pictures than one, of formats that are used so."""
        found = []
        for name, path in self.files:
            with suppress(InputError):  # said when it is read
                if has_pages(path):
                    found.append(name)
        return found


def list_images(
    inputs: Sequence[str],
    *,
    out: Path | None = None,
    table: Callable[[Path], Iterable[tuple[str, Path]]] | None = None,
    refuse: Callable[[Path], None] = lambda _folder: None,
    by_name: bool = False,
) -> Listing:
    """Names and paths of the images that inputs stand for, each file once.

    A folder gives all images below it, named by their path inside; a file is named by its own name; a table
    (.csv, .tsv, .txt) gives the images it lists; anything else is a pattern, in which `**` stands for any folders.
    Named files are taken whatever their suffix, so that a wrong one is reported and not passed over, and wherever a
    link leads. In a folder, and where a pattern is looked up, links to files inside it are followed; those that leave
    it failed, and links to folders are not followed: they may lead in circles. Masks (`sort_masks`) and results of
    ltcam are left out.

    Args:
        inputs: as given by the user.
        out: folder that holds no inputs: earlier results that lie among the images.
        table: reads a table; None: there are no such inputs.
        refuse: called with every folder given; raises where that cannot be meant.
        by_name: whether a link may be given itself instead, which is then said of those that failed.

    Raises:
        DataError: no input with any image; an empty one, as of a variable of the shell that is not set.
    """
    paths: dict[Path, str] = {}
    notes = _Notes(f"{LINK}, or give the link by its name" if by_name else LINK)
    for text in inputs:
        if not text:
            raise DataError('an input is empty (""); give a file, a folder, a manifest or a pattern')
        before = len(notes.failed)
        found = _files_of(text, notes, out, table, refuse)
        if not found and len(notes.failed) == before:
            notes.failed.append((text, _nothing_in(text)))
        for name, path in found:
            paths.setdefault(path.absolute(), name)
    if not paths:
        name, reason = notes.failed[0]
        more = ", and there is nothing else to inspect" if len(notes.failed) > 1 or name not in inputs else ""
        raise DataError(f"{name}: {reason}{more}")
    files = unique_names([(name, path) for path, name in paths.items()])
    return Listing(tuple(files), tuple(notes.failed), tuple(sorted(set(notes.left_out), key=_by_path)))


def unique_names(files: Sequence[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """Files of the same name from different places get the names of the folders in front that tell them apart.

    Args:
        files: (name, path), each path once.
    """
    counts = Counter(name for name, _ in files)
    repeated = [(name, path) for name, path in files if counts[name] > 1]
    ends = Counter((name, end) for name, path in repeated for end in _ends(name, path))
    taken: set[str] = set()
    unique = []
    for name, path in files:
        telling = (end for end in _ends(name, path) if ends[name, end] == 1)
        folders = next(telling, ()) if counts[name] > 1 else ()
        candidate, number = "/".join((*folders, name)), 2
        while candidate in taken:
            candidate = f"{path.parent.name or 'root'}-{number}/{name}"
            number += 1
        taken.add(candidate)
        unique.append((candidate, path))
    return unique


def _ends(name: str, path: Path) -> list[tuple[str, ...]]:
    """The last name of the folder that the name of a file counts from, the last two, and so on."""
    parts = PurePosixPath(name).parts
    folder = path.parents[len(parts) - 1] if path.parts[-len(parts) :] == parts else path.parent
    names = [part for part in folder.parts if part not in ("..", folder.anchor)] or ["root"]
    return [tuple(names[-count:]) for count in range(1, len(names) + 1)]


# ----------------------------------------------------------------------------------------- one input


@dataclass
class _Notes:
    """What was seen on the way.

    Attributes:
        link: what is said of a link that failed.
    """

    link: str
    failed: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def add(self, root: Path, path: PurePosixPath, reason: str) -> None:
        self.left_out.append(LeftOut(PurePosixPath((root / path).as_posix()), reason))

    def of_one(self, reason: str) -> str:
        return self.link if reason == LINK_OUTSIDE else reason


def _by_path(entry: LeftOut) -> tuple[PurePosixPath, str]:
    return entry.path, entry.reason


def _files_of(
    text: str,
    notes: _Notes,
    out: Path | None,
    table: Callable[[Path], Iterable[tuple[str, Path]]] | None,
    refuse: Callable[[Path], None],
) -> list[tuple[str, Path]]:
    path = Path(text)
    if _is_folder(path):
        refuse(path)
        return [(inside.as_posix(), path / inside) for inside in _images_below(path, notes, out)]
    if table is not None and is_table(path) and path.is_file():
        return _listed(path, table, notes)
    if os.path.lexists(path):
        return [(path.name, path)]
    return [(match.name, match) for match in _matches(text, notes) if is_image(PurePosixPath(match.name))]


def _listed(
    path: Path, table: Callable[[Path], Iterable[tuple[str, Path]]], notes: _Notes
) -> list[tuple[str, Path]]:
    """What a table lists; one that is none, as may have come by a pattern of the shell, stops nothing."""
    try:
        return list(table(path))
    except DataError as error:
        notes.failed.append((str(path), str(error).removeprefix(f"{path}: ")))
        return []


def _nothing_in(text: str) -> str:
    what = (
        "it holds no images"
        if _is_folder(Path(text))
        else "it is neither a file, a folder, a manifest nor a pattern that fits any image"
    )
    return f"{what}; images end in {', '.join(sorted(IMAGE_SUFFIXES))}"


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, or below a folder that may not be entered
        return False


def _images_below(root: Path, notes: _Notes, out: Path | None) -> Sequence[PurePosixPath]:
    """Paths of the images below a folder, relative to it; what is none is noted."""
    found = search(root, leave_out=out)
    for entry in found.left_out:
        if entry.reason == RECORDS:
            continue
        if entry.reason in _FAILURES and (entry.reason == CLOSED or is_image(entry.path)):
            notes.failed.append((str(root / entry.path), notes.of_one(entry.reason)))
        else:
            notes.add(root, entry.path, entry.reason)
    for path in found.files:
        if not is_image(path):
            notes.add(root, path, why_no_image(root, path))
    images = sort_masks(root, found.images).images
    for path in sorted(set(found.images) - set(images)):
        notes.add(root, path, MASKS)
    return images


def _matches(pattern: str, notes: _Notes) -> list[Path]:
    """The files that a pattern fits, sorted; what leaves the folder in which it is looked up is noted."""
    parts = Path(pattern).parts
    fixed = next((index for index, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    base = Path(*parts[:fixed])
    if "**" not in parts:
        found = [Path(match) for match in sorted(glob.glob(pattern))]  # noqa: PTH207  # may be absolute
        outside = {path for path in found if _led_out(base, path.parts[fixed:], parts[fixed:])}
        notes.failed += [
            (str(path), notes.link)
            for path in found
            if path in outside and is_image(PurePosixPath(path.name))
        ]
        return [path for path in found if path not in outside]
    if not _is_folder(base):
        return []
    there = search(base)  # of files that the pattern does not fit nothing need be said
    notes.failed += [
        (str(base / entry.path), notes.of_one(entry.reason))
        for entry in there.left_out
        if entry.reason == CLOSED
        or (entry.reason == LINK_OUTSIDE and is_image(entry.path) and _fits(entry.path.parts, parts[fixed:]))
    ]
    return [base / path for path in there.files if _fits(path.parts, parts[fixed:])]


def _led_out(base: Path, parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a link leads out of the folder in which a pattern is looked up.

    Where `..` leaves that folder, the pattern says so itself: it is looked up in another one from there on.

    Args:
        base: the folder in front of the first wildcard.
        parts: of what was found, from there on.
        pattern: likewise; it has no `**`.
    """
    here, inside, depth, is_open = base, base.resolve(), 0, False
    for part, wanted in zip(parts, pattern, strict=True):
        here /= part
        depth += -1 if part == ".." else 1
        is_open = is_open or glob.has_magic(wanted)
        if depth < 0 or not is_open:  # named by the pattern
            inside, depth, is_open = here.resolve(), 0, False
        elif leads_out(here, inside):
            return True
    return False


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path fits: `**` stands for any number of folders, all else is as in a shell."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        rest = pattern[1:] or ["*"]
        return any(_fits(parts[start:], rest) for start in range(len(parts)))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])
