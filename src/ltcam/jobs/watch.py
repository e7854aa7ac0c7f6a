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
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from ltcam.jobs.appending import append_whole, whole_lines
from ltcam.runs.holding import hold
from ltcam_runtime.errors import DataError, InputError, OutputError
from ltcam_runtime.files import why_not_read
from ltcam_runtime.folders import explained, why_not_written
from ltcam_runtime.images import IMAGE_SUFFIXES
from ltcam_runtime.searching import LINK, leads_out

JOURNAL = "inspections.jsonl"
_LOCK = ".lock"

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


class Journal:
    """What was inspected, kept in a file; open for this process alone.

    Attributes:
        out: folder that it lies in, with the results.
        outputs: files that were inspected before, in their order, and the names of their results.
    """

    def __init__(self, out: Path, stream: IO[bytes], lines: list[dict[str, Any]]) -> None:
        """Take over an open file.

        Args:
            out: folder that it lies in.
            stream: of the file, for `append_whole`.
            lines: that stand in it.
        """
        self.out, self._stream = out, stream
        self.outputs = [(_key_of(line), str(line["output"])) for line in lines if "output" in line]
        self._known = {_key_of(line) for line in lines}

    def __contains__(self, arrived: Arrived) -> bool:
        return arrived.key in self._known

    def add(self, arrived: Arrived, line: dict[str, Any]) -> None:
        """Keep what was found of a file; it is on the disk when this returns.

        Raises:
            OutputError: the disk is full or the like; the journal is as it was.
        """
        entry = {**line, "file": {"name": arrived.name, "size": arrived.size, "modified": arrived.modified}}
        with explained(self.out / JOURNAL):
            append_whole(self._stream, f"{json.dumps(entry, allow_nan=False)}\n".encode())
        self._known.add(arrived.key)


@contextmanager
def opened_journal(folder: Path, out: Path) -> Iterator[Journal]:
    """The journal of a watch, before anything else is written into its folder.

    Args:
        folder: that is watched.
        out: where the journal is kept; made where it is missing.

    Raises:
        DataError: the folder is not there.
        OutputError: the journal cannot be read or written, is another process's, or lies in the folder itself or
            among files of others.
    """
    _check_places(folder, out)
    file = out / JOURNAL
    try:
        out.mkdir(parents=True, exist_ok=True)
        stream = file.open("a+b", buffering=0)
    except OSError as error:
        raise OutputError(f"{file} cannot be opened: {why_not_written(error)}") from error
    with stream, _held(out):
        yield _read(out, stream)


def watch(
    folder: Path,
    journal: Journal,
    inspect: InspectsFile,
    tell: Callable[[dict[str, Any]], None],
    pace: Pace,
) -> Watched:
    """Inspect files as they arrive, until the end is asked for; the file under way is finished.

    Args:
        folder: that is watched, with its sub-folders; hidden files and folders are passed over.
        journal: gets a line for each file that was inspected, and says which were.
        inspect: called with each complete file, oldest first.
        tell: called with what the journal gets, after it got it; and with what cannot be looked at.
        pace: when to look, and when to end.

    Raises:
        OutputError: the journal cannot be written.
    """
    inspected, failed, closed = 0, [], _Closed(tell)
    for arrived, looks in _arrivals(folder, journal, closed, pace):
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
    if out.is_dir() and not (out / JOURNAL).is_file() and any(each.name != _LOCK for each in out.iterdir()):
        raise OutputError(
            f"{out} holds files of others, and no {JOURNAL}: results would be mixed with them; give another `out`"
        )


def _arrivals(folder: Path, journal: Journal, closed: _Closed, pace: Pace) -> Iterator[tuple[Arrived, int]]:
    """Files and at how many looks they were the same: as soon as they seem complete, and again if they stay unknown."""
    looks: dict[tuple[str, int, int], int] = {}
    while not pace.stop.is_set():
        found, reasons = files_of(folder, journal.out)
        new = [file for file in found if file not in journal]
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
            if path.is_symlink() and leads_out(path, inside):
                closed[path.relative_to(folder).as_posix()] = LINK
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
    return _NO_PERMISSION if isinstance(error, PermissionError) else why_not_read(error)


def _held(out: Path) -> AbstractContextManager[object]:
    """The folder of the results, for this watch only."""
    try:
        return hold(out / _LOCK)
    except BlockingIOError:
        raise OutputError(f"{out}: another watch writes into this folder; give another `out`") from None
    except OSError as error:
        raise OutputError(f"{out} cannot be used: {why_not_written(error)}") from error


def _read(out: Path, stream: IO[bytes]) -> Journal:
    """The journal, without the half line that a crash may have left at its end."""
    try:
        return Journal(out, stream, [json.loads(line) for line in whole_lines(stream)])
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{out / JOURNAL} is damaged: {error}; move it away to begin anew") from error
    except OSError as error:
        raise OutputError(f"{out / JOURNAL} {why_not_read(error)}") from error


def _key_of(line: dict[str, Any]) -> tuple[str, int, int]:
    file = line["file"]
    return (file["name"], file["size"], file["modified"])
