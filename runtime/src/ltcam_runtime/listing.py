"""What a user names (files, folders, patterns, tables) to a list of image files, and what was left out of it.

Nothing is passed over in silence: every file below a folder is either listed, or counted with the reason why not.
"""

from __future__ import annotations

import fnmatch
import glob
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ltcam_runtime.errors import DataError
from ltcam_runtime.images import IMAGE_SUFFIXES
from ltcam_runtime.writers import MARKER

MASK_FOLDERS = frozenset(
    {"masks", "mask", "ground_truth", "groundtruth", "gt", "label", "labels", "annotation", "annotations"}
    | {"seg", "segmentation", "segmentations"}
)
"""Names (lower case) of folders that hold masks, if their files are named after images."""

MASK_ENDINGS = (
    "_mask",
    "_masks",
    "_gt",
    "_label",
    "_labels",
    "_seg",
    "-mask",
    "-gt",
    "-label",
    "-seg",
    ".mask",
)
"""What follows the name of an image (lower case, without suffix) in the name of its mask."""

_OF_SYSTEMS = frozenset(
    {"thumbs.db", "desktop.ini", "__macosx", "@eadir", "@tmp", "#recycle", "#snapshot", "$recycle.bin"}
    | {"system volume information", "lost+found", "@recycle", "@recently-snapshot"}
)

HIDDEN = "hidden, or kept by the system"
NO_IMAGE = "not named like an image"
MASKS = "masks of other images"
RESULTS = "results of an earlier prediction"
LINKED = "links to folders, which are not followed"
_CLOSED = "no permission to list this folder"


@dataclass(frozen=True)
class LeftOut:
    """What was found and is not inspected, for one reason.

    Attributes:
        reason: why.
        count: number of files, or of folders that nobody looked into.
        example: the first of them.
    """

    reason: str
    count: int
    example: str

    def sentence(self) -> str:
        """For the screen."""
        return f"{self.count} left out: {self.reason} ({self.example}{', ...' if self.count > 1 else ''})"

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"reason": self.reason, "count": self.count, "example": self.example}


@dataclass(frozen=True)
class Listing:
    """The images that inputs stand for.

    Attributes:
        files: (name, path), each file once, each name once.
        failed: (name, reason) of folders that could not be listed: there may be images in them.
        left_out: everything else below the folders.
    """

    files: tuple[tuple[str, Path], ...]
    failed: tuple[tuple[str, str], ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def list_images(
    inputs: Sequence[str],
    *,
    out: Path | None = None,
    table: Callable[[Path], Iterable[tuple[str, Path]]] | None = None,
    refuse: Callable[[Path], None] = lambda _folder: None,
) -> Listing:
    """Names and paths of the images that inputs stand for, each file once.

    A folder gives all images below it, named by their path inside; a file is named by its own name; a CSV table
    gives the images it lists; anything else is a pattern, in which `**` stands for any folders. Named files are
    taken whatever their suffix, so that a wrong one is reported and not passed over. Links to files are followed,
    links to folders are not: they may lead in circles. Masks are left out of a folder where the images that they
    belong to are in it.

    Args:
        inputs: as given by the user.
        out: folder that holds no inputs: earlier results that lie among the images.
        table: reads a CSV file; None: there are no such inputs.
        refuse: called with every folder given; raises where that cannot be meant.

    Raises:
        DataError: an input without any image.
    """
    paths: dict[Path, str] = {}
    notes = _Notes()
    for text in inputs:
        before = len(notes.failed)
        found = _files_of(text, notes, out, table, refuse)
        if not found and len(notes.failed) == before:
            raise DataError(_nothing_in(text))
        for name, path in found:
            paths.setdefault(path.absolute(), name)
    if not paths:
        name, reason = notes.failed[0]
        raise DataError(f"{name}: {reason}, and there is nothing else to inspect")
    files = unique_names([(name, path) for path, name in paths.items()])
    return Listing(tuple(files), tuple(notes.failed), notes.left_out())


def unique_names(files: Sequence[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """Files of the same name from different places get their folder's name in front.

    Args:
        files: (name, path), each path once.
    """
    counts = Counter(name for name, _ in files)
    taken: set[str] = set()
    unique = []
    for name, path in files:
        candidate = name if counts[name] == 1 else f"{path.parent.name or 'root'}/{name}"
        number = 2
        while candidate in taken:
            candidate = f"{path.parent.name}-{number}/{name}"
            number += 1
        taken.add(candidate)
        unique.append((candidate, path))
    return unique


# ----------------------------------------------------------------------------------------- one input


@dataclass
class _Notes:
    """What was seen on the way."""

    failed: list[tuple[str, str]] = field(default_factory=list)
    others: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def left_out(self) -> tuple[LeftOut, ...]:
        return tuple(
            LeftOut(reason, len(set(names)), min(names)) for reason, names in sorted(self.others.items())
        )


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
    if table is not None and path.suffix.lower() == ".csv" and path.is_file():
        return list(table(path))
    if os.path.lexists(path):
        return [(path.name, path)]
    return [(match.name, match) for match in _matches(text, notes) if _named_like_image(match.name)]


def _nothing_in(text: str) -> str:
    what = (
        "holds no images"
        if _is_folder(Path(text))
        else "is neither a file, a folder, a manifest nor a pattern that fits any image"
    )
    return f"{text} {what}; images end in {', '.join(sorted(IMAGE_SUFFIXES))}"


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, or below a folder that may not be entered
        return False


def _named_like_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


# ------------------------------------------------------------------------------------------- folders


def _images_below(root: Path, notes: _Notes, out: Path | None) -> list[PurePosixPath]:
    """Paths of the images below a folder, relative to it, sorted; what is no input is noted."""
    images: list[PurePosixPath] = []
    for inside, is_folder in _walk(root, notes, out):
        if is_folder or not _named_like_image(inside.name):
            notes.others[LINKED if is_folder else NO_IMAGE].append(str(root / inside))
        else:
            images.append(inside)
    masks = masks_among(images)
    notes.others[MASKS] += [str(root / mask) for mask in sorted(masks)]
    if not masks:
        del notes.others[MASKS]
    return sorted(image for image in images if image not in masks)


def masks_among(images: Sequence[PurePosixPath]) -> set[PurePosixPath]:
    """Those of some image files that are masks of others, told by their names.

    A file in a folder of `MASK_FOLDERS` is a mask where an image outside of such folders has its name, with or
    without one of `MASK_ENDINGS`; where most files of that folder are, all are. Elsewhere a file is a mask where it
    is called as an image beside it, with such an ending.

    Args:
        images: paths relative to one root.
    """
    outside = [image for image in images if not _in_mask_folder(image)]
    names = {_key(image.name) for image in outside}
    places = {(image.parent, _key(image.name)) for image in outside}
    masks = {
        image
        for image in outside
        if any((image.parent, key) in places for key in _keys_of_image(image.name, endings_only=True))
    }
    inside: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for image in images:
        folder = _in_mask_folder(image)
        if folder is not None:
            inside[folder].append(image)
    for files in inside.values():
        fitting = sum(not names.isdisjoint(_keys_of_image(file.name)) for file in files)
        if 2 * fitting > len(files):
            masks.update(files)
    return masks


def _in_mask_folder(path: PurePosixPath) -> PurePosixPath | None:
    """The outermost folder for masks that a file lies in."""
    found = [parent for parent in path.parents if parent.name.lower() in MASK_FOLDERS]
    return found[-1] if found else None


def _key(name: str) -> str:
    return PurePosixPath(name).stem.lower()


def _keys_of_image(mask: str, *, endings_only: bool = False) -> Iterator[str]:
    """What the image of a mask may be called."""
    key = _key(mask)
    if not endings_only:
        yield key
    for ending in MASK_ENDINGS:
        if key.endswith(ending) and key != ending:
            yield key.removesuffix(ending)


def _walk(root: Path, notes: _Notes, out: Path | None) -> Iterator[tuple[PurePosixPath, bool]]:
    """Paths below a folder: (file, False), and (link to a folder, True), which is not followed."""
    without = None if out is None else Path(os.path.realpath(out))
    waiting = [PurePosixPath()]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(root / folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            reason = _CLOSED if isinstance(error, PermissionError) else f"cannot be listed: {error.strerror}"
            notes.failed.append((str(root / folder), reason))
            continue
        if folder.parts and any(entry.name == MARKER for entry in entries):
            notes.others[RESULTS] += [str(root / folder)]
            continue
        for entry in entries:
            inside = folder / entry.name
            if entry.name.startswith(".") or entry.name.lower() in _OF_SYSTEMS:
                notes.others[HIDDEN].append(str(root / inside))
            elif entry.is_dir(follow_symlinks=False):
                if without is not None and Path(os.path.realpath(root / inside)) == without:
                    notes.others[RESULTS].append(str(root / inside))
                else:
                    waiting.append(inside)
            else:
                yield inside, entry.is_symlink() and _is_folder(root / inside)


# ------------------------------------------------------------------------------------------ patterns


def _matches(pattern: str, notes: _Notes) -> list[Path]:
    """The files that a pattern fits, sorted."""
    if "**" not in Path(pattern).parts:
        return [Path(match) for match in sorted(glob.glob(pattern))]  # noqa: PTH207  # may be absolute
    parts = Path(pattern).parts
    fixed = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    base = Path(*parts[:fixed])
    seen = _Notes()  # of files that the pattern does not fit nothing need be said
    if not _is_folder(base):
        return []
    found = [
        base / inside
        for inside, is_folder in _walk(base, seen, None)
        if not is_folder and _fits(inside.parts, parts[fixed:])
    ]
    notes.failed += seen.failed
    return sorted(found)


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path fits: `**` stands for any number of folders, all else is as in a shell."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        rest = pattern[1:] or ["*"]
        return any(_fits(parts[start:], rest) for start in range(len(parts)))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])
