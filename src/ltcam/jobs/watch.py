"""Inspect what a camera writes into a folder: complete files only, each once, also over restarts.

A file counts as complete when its size and time have not changed between two looks. One that cannot be read then may be
in the writing still: it gets a second try when nothing has changed over many looks. What was inspected stands in a
journal, one line of JSON per image, written and confirmed by the disk after the image's results; a restart reads it
and goes on. A crash between results and line costs one inspection made twice, never a lost or doubled line.

What cannot be looked at at all (a link that leads nowhere, a file or folder without permission) is told once and stands
in no journal: it is a file like any other as soon as it can be read.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ltcam_runtime.errors import DataError, InputError, OutputError
from ltcam_runtime.folders import explained
from ltcam_runtime.images import IMAGE_SUFFIXES

JOURNAL = "inspections.jsonl"

_COMPLETE = 2  # looks at which a file was the same
_DAMAGED = 20
_NO_PERMISSION = "no permission to read it"


@dataclass(frozen=True)
class Arrived:
    """A complete file.

    Attributes:
        name: relative to the folder that is watched, with forward slashes.
        path: of the file.
        size: in bytes.
        modified: time of the last change in nanoseconds.
    """

    name: str
    path: Path
    size: int
    modified: int

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells this file from a later one of the same name."""
        return (self.name, self.size, self.modified)


class InspectsFile(Protocol):
    """Inspects one file, keeps its results, and says what it found as JSON values."""

    def __call__(self, arrived: Arrived, /) -> dict[str, Any]:
        """Raises InputError for a file that cannot be used."""


@dataclass(frozen=True)
class Watched:
    """What was done until the end was asked for.

    Attributes:
        inspected: number of images.
        failed: (name, reason) of files that could not be used, and of what could not be looked at to the end.
    """

    inspected: int
    failed: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Pace:
    """When to look, and when to end.

    Attributes:
        stop: set by a signal.
        seconds: between two looks.
    """

    stop: threading.Event
    seconds: float = 0.5


def watch(
    folder: Path,
    out: Path,
    inspect: InspectsFile,
    tell: Callable[[dict[str, Any]], None],
    pace: Pace,
) -> Watched:
    """Inspect files as they arrive, until the end is asked for; the file under way is finished.

    Args:
        folder: that is watched, with its sub-folders; hidden files and folders are passed over.
        out: where the journal is kept; made where it is missing.
        inspect: called with each complete file, oldest first.
        tell: called with what the journal gets, after it got it; and with what cannot be looked at.
        pace: when to look, and when to end.

    Raises:
        DataError: the folder is not there.
        OutputError: the journal cannot be read or written, or lies in the folder itself or among files of others.
    """
    _check_places(folder, out)
    inspected, failed, closed = 0, [], _Closed(tell)
    with _opened_journal(out / JOURNAL) as journal:
        for arrived, looks in _arrivals(folder, out, journal.known, closed, pace):
            try:
                line = inspect(arrived)
                inspected += 1
            except InputError as error:
                if looks < _DAMAGED:
                    continue
                line = {"image": arrived.name, "error": error.reason}
                failed.append((arrived.name, error.reason))
            journal.add(arrived, line)
            tell(line)
    return Watched(inspected, (*failed, *closed.still.items()))


def _check_places(folder: Path, out: Path) -> None:
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder to watch")
    if out.resolve() == folder.resolve():
        raise OutputError(
            f"{out} is the folder that is watched: masks would be taken for images; choose another one"
        )
    if out.is_dir() and not (out / JOURNAL).is_file() and any(out.iterdir()):
        raise OutputError(
            f"{out} holds files of others, and no {JOURNAL}: results would be mixed with them; give another `out`"
        )


def _arrivals(
    folder: Path, out: Path, known: set[tuple[str, int, int]], closed: _Closed, pace: Pace
) -> Iterator[tuple[Arrived, int]]:
    """Files and at how many looks they were the same: as soon as they seem complete, and again if they stay unknown."""
    looks: dict[tuple[str, int, int], int] = {}
    while not pace.stop.is_set():
        found, reasons = files_of(folder, out)
        new = [file for file in found if file.key not in known]
        barred = {file.name for file in new if not os.access(file.path, os.R_OK)}
        closed.seen(reasons | dict.fromkeys(barred, _NO_PERMISSION))
        seen = [file for file in new if file.name not in barred]
        looks = {file.key: looks.get(file.key, 0) + 1 for file in seen}
        due = [file for file in seen if looks[file.key] in (_COMPLETE, _DAMAGED)]
        for file in sorted(due, key=lambda f: (f.modified, f.name)):
            if pace.stop.is_set():
                return
            yield file, looks[file.key]
        pace.stop.wait(pace.seconds)


class _Closed:
    """What cannot be looked at: each is told once for as long as it stays so."""

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        self._tell, self._looks = tell, dict[str, int]()
        self.still: dict[str, str] = {}

    def seen(self, reasons: dict[str, str]) -> None:
        """Another look. Like a file, it counts when two of them agree."""
        self._looks = {name: self._looks.get(name, 0) + 1 for name in reasons}
        self.still = {name: why for name, why in reasons.items() if self._looks[name] >= _COMPLETE}
        for name, why in self.still.items():
            if self._looks[name] == _COMPLETE:
                self._tell({"image": name, "error": why})


def files_of(folder: Path, out: Path) -> tuple[list[Arrived], dict[str, str]]:
    """The image files below a folder now, without hidden ones and without results of our own.

    A sub-folder or file that goes while we look is passed over; it is looked at again next time.

    Returns:
        The files, and the names of what cannot be looked at with the reasons; a folder's ends with a slash.
    """
    found, closed = [], dict[str, str]()

    def note(path: Path, error: OSError, end: str = "") -> None:
        if why := _why_closed(path, error):
            closed[path.relative_to(folder).as_posix() + end] = why

    inside, results = folder.resolve(), out.resolve()
    ours = folder / results.relative_to(inside) if results.is_relative_to(inside) else results
    for root, folders, names in os.walk(folder, onerror=lambda error: note(Path(error.filename), error, "/")):
        here = Path(root)
        folders[:] = [name for name in folders if not name.startswith(".") and (here / name) != ours]
        for name in names:
            path = here / name
            if name.startswith(".") or path.suffix.lower() not in IMAGE_SUFFIXES:
                continue
            try:
                status = path.stat()
            except OSError as error:
                note(path, error)
                continue
            relative = path.relative_to(folder).as_posix()
            found.append(Arrived(relative, path, status.st_size, status.st_mtime_ns))
    return found, closed


def _why_closed(path: Path, error: OSError) -> str:
    """Why nothing can be seen there; "" where nothing is there any more."""
    if isinstance(error, FileNotFoundError):
        return "it is a link that leads nowhere" if path.is_symlink() else ""
    return _NO_PERMISSION if isinstance(error, PermissionError) else f"cannot be opened: {error.strerror}"


class _Journal:
    def __init__(self, stream: Any, known: set[tuple[str, int, int]]) -> None:
        self._stream, self.known = stream, known

    def __enter__(self) -> _Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def add(self, arrived: Arrived, line: dict[str, Any]) -> None:
        entry = {**line, "file": {"name": arrived.name, "size": arrived.size, "modified": arrived.modified}}
        with explained(self._stream.name):
            self._stream.write(f"{json.dumps(entry, allow_nan=False)}\n".encode())
            self._stream.flush()
            os.fsync(self._stream.fileno())
        self.known.add(arrived.key)


def _opened_journal(file: Path) -> _Journal:
    """The journal, opened behind its last whole line."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        content = file.read_bytes() if file.exists() else b""
        lines = _whole_lines(content)
        whole = sum(len(line) + 1 for line in lines)
        known = {_key_of(line) for line in lines}
        stream = file.open("r+b" if file.exists() else "w+b", buffering=0)
        stream.truncate(whole)
        stream.seek(whole)
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{file} is damaged: {error}; move it away to begin anew") from error
    except OSError as error:
        raise OutputError(f"{file} cannot be opened: {error.strerror}") from error
    return _Journal(stream, known)


def lines_of(out: Path) -> list[dict[str, Any]]:
    """The journal's lines of images that were inspected. What is no line of ours is said when it is opened."""
    try:
        lines = [json.loads(line) for line in _whole_lines((out / JOURNAL).read_bytes())]
        return [line for line in lines if {"image", "output", "file"} <= line.keys()]
    except (OSError, ValueError, AttributeError):
        return []


def _whole_lines(content: bytes) -> list[bytes]:
    """Without the half line that a crash may have left at the end."""
    return content.split(b"\n")[:-1]


def _key_of(line: bytes) -> tuple[str, int, int]:
    file = json.loads(line)["file"]
    return (file["name"], file["size"], file["modified"])
