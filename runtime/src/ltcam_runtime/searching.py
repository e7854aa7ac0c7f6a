"""Which files stand below a folder: what is taken up, what is left out, and why.

Nothing is passed over in silence: every file below the root is either among the files found or among
those left out, each with a reason. So the two always add up to what is there.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from ltcam_runtime.errors import DataError
from ltcam_runtime.files import why_not_read
from ltcam_runtime.folders import FILES_FILE
from ltcam_runtime.images import IMAGE_SUFFIXES
from ltcam_runtime.phrases import counted

RESULT_FILES = frozenset(
    {"predictions.json", "run.json", "metrics.json", "compare.json", "tune.json", "questions.json"}
    | {"reproduction.json", "figures.json"}
)
"""A folder below the root that holds one of these holds results of ltcam, and no data."""

HIDDEN = "hidden"
SYSTEM = "left by an operating system or a network drive"
RESULTS = "results of ltcam"
RECORDS = "records that ltcam keeps for itself"
LINKED_FOLDER = "links to folders, which are not followed: copy the folder, or give it by itself"
LINK_OUTSIDE = "links that lead out of the folder or to nothing: copy the files"
LINK = f"it is a {counted(1, LINK_OUTSIDE).removeprefix('1 ')}"
"""`LINK_OUTSIDE`, said of one file."""
NOT_REGULAR = "pipes, devices or sockets"
CLOSED = "folders that may not be listed: check their permissions"
VIDEO = "videos: make frames of them, such as with  ffmpeg -i VIDEO -vf fps=2 FOLDER/%05d.png"
ARCHIVE = "archives: unpack them"
OTHER_IMAGE = "images of a format that is not read: save them as PNG"
WRONG_SUFFIX = "images by their content, but their names end otherwise: rename them"
NO_IMAGE = "files that are no images"

_RECORDS = frozenset({FILES_FILE, "synth.json"})
_SYSTEM_NAMES = frozenset(
    {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "__macosx", "lost+found"}
    | {"@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp", "@sharebin", "~snapshot"}
    | {"$recycle.bin", "recycler", "system volume information", "network trash folder", "temporary items"}
)
_VIDEOS = frozenset(
    {".mp4", ".avi", ".mov", ".mkv", ".m4v", ".mpg", ".mpeg", ".wmv", ".webm", ".mts", ".h264"}
)
_ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst"})
_OTHER_IMAGES = frozenset(
    {
        ".heic",
        ".heif",
        ".avif",
        ".psd",
        ".svg",
        ".dng",
        ".nef",
        ".cr2",
        ".cr3",
        ".arw",
        ".raf",
        ".orf",
        ".rw2",
    }
    | {".raw", ".exr", ".hdr", ".dcm", ".tga", ".ico", ".pcx", ".jxl", ".jxr", ".ai", ".eps", ".npy"}
)
_STRONG_MAGICS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"GIF8")


@dataclass(frozen=True)
class LeftOut:
    """A file (or a folder that could not be looked into) that is not taken up.

    Attributes:
        path: relative to the root.
        reason: why, in words that fit behind a number ("3 results of ltcam").
    """

    path: PurePosixPath
    reason: str


@dataclass(frozen=True)
class Found:
    """All files below a root.

    Attributes:
        root: the folder that was searched.
        files: regular files, relative to `root`, sorted.
        left_out: everything else that is no folder, and folders that may not be listed; sorted.
    """

    root: Path
    files: tuple[PurePosixPath, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def images(self) -> tuple[PurePosixPath, ...]:
        """The files with the suffix of an image, upper or lower case."""
        return tuple(path for path in self.files if is_image(path))


def search(root: Path, *, leave_out: Path | None = None) -> Found:
    """Find all files below a folder.

    Hidden files, what operating systems leave behind, and folders with results of ltcam are left out. A link
    to a file inside `root` is taken as a file. Links to folders, links that leave `root` and dangling links are
    not followed; so no loop of links keeps a search from ending.

    Args:
        root: the folder. Where it is a folder of results itself, that counts for nothing.
        leave_out: a folder whose files are results of ltcam, whatever it holds.

    Raises:
        DataError: the folder is missing, is no folder, or cannot be listed itself.
    """
    if not root.exists():
        raise DataError(f"{root}: there is no such folder; check the path")
    if not root.is_dir():
        raise DataError(f"{root}: not a folder")
    walk = _Walk(root, None if leave_out is None else leave_out.absolute())
    walk.folder(root, "")
    return Found(
        root,
        tuple(sorted(walk.files)),
        tuple(sorted(walk.left_out, key=lambda entry: (entry.path, entry.reason))),
    )


def leads_out(path: Path, inside: Path) -> bool:
    """Whether a path leaves a folder, by a link in it or otherwise.

    Args:
        path: below the folder, as it is written.
        inside: the folder, resolved.
    """
    try:
        return not path.resolve().is_relative_to(inside)
    except (OSError, RuntimeError):  # a link to itself: it leads nowhere, which is said when it is read
        return False


def is_image(path: PurePosixPath) -> bool:
    """Whether the name ends like that of an image file."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def is_table(path: PurePath) -> bool:
    """Whether the name ends like that of a list of images."""
    return path.suffix.lower() in (".csv", ".tsv", ".txt")


def why_no_image(root: Path, path: PurePosixPath) -> str:
    """Why a file without the suffix of an image is left out, in words for `LeftOut.reason`."""
    suffix = path.suffix.lower()
    for suffixes, reason in ((_VIDEOS, VIDEO), (_ARCHIVES, ARCHIVE), (_OTHER_IMAGES, OTHER_IMAGE)):
        if suffix in suffixes:
            return reason
    return WRONG_SUFFIX if _begins_like_an_image(root / path) else NO_IMAGE


def left_out_words(left_out: Iterable[LeftOut]) -> list[str]:
    """One phrase per reason, the most frequent first: how many, why, and the first of them."""
    entries = sorted(left_out, key=lambda entry: entry.path)
    counts = Counter(entry.reason for entry in entries)
    first = {entry.reason: entry.path for entry in reversed(entries)}
    return [
        f"{counted(count, reason)} ({first[reason]}{', ...' if count > 1 else ''})"
        for reason, count in counts.most_common()
    ]


class _Walk:
    """One walk below a root."""

    def __init__(self, root: Path, leave_out: Path | None) -> None:
        self.root, self.inside, self.leave_out = root, root.resolve(), leave_out
        self.files: list[PurePosixPath] = []
        self.left_out: list[LeftOut] = []

    def folder(self, top: Path, reason: str) -> None:
        """Take up a folder and all below it; with a reason, leave it all out."""
        waiting = [(top, reason)]
        while waiting:
            folder, why = waiting.pop()
            try:
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError as error:
                if folder == self.root:
                    words = f"{folder} {why_not_read(error)}; check its permissions"
                    raise DataError(words) from None
                self._leave_out(folder, CLOSED)
                continue
            why = why or self._reason_of_folder(folder, entries)
            for entry in entries:
                path = Path(entry.path)
                inner = why or _reason_of_name(entry.name)
                if _is_folder(entry):
                    waiting.append((path, inner))
                elif inner:
                    self._leave_out(path, inner)
                else:
                    self._file(path, entry)

    def _reason_of_folder(self, folder: Path, entries: Sequence[os.DirEntry[str]]) -> str:
        if folder == self.root:
            return ""
        if folder.absolute() == self.leave_out or any(entry.name in RESULT_FILES for entry in entries):
            return RESULTS
        return ""

    def _file(self, path: Path, entry: os.DirEntry[str]) -> None:
        reason = ""
        try:
            if entry.is_symlink():
                reason = self._reason_of_link(path)
            elif not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                reason = NOT_REGULAR
        except OSError:
            reason = LINK_OUTSIDE
        if reason:
            self._leave_out(path, reason)
        else:
            self.files.append(self._relative(path))

    def _reason_of_link(self, path: Path) -> str:
        if path.is_dir():
            return LINKED_FOLDER
        return "" if path.is_file() and not leads_out(path, self.inside) else LINK_OUTSIDE

    def _leave_out(self, path: Path, reason: str) -> None:
        self.left_out.append(LeftOut(self._relative(path), reason))

    def _relative(self, path: Path) -> PurePosixPath:
        return PurePosixPath(path.relative_to(self.root).as_posix())


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _reason_of_name(name: str) -> str:
    if name in _RECORDS:
        return RECORDS
    if name.lower() in _SYSTEM_NAMES or name.startswith(("._", "~$")) or name == ".DS_Store":
        return SYSTEM
    return HIDDEN if name.startswith(".") else ""


def _begins_like_an_image(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            head = stream.read(16)
    except OSError:
        return False
    return head.startswith(_STRONG_MAGICS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
