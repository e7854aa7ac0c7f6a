"""Measurements that survive a kill: one JSON line per finished piece of work, in a hidden folder beside the results.

A piece (an image, a fold) is written and flushed to the disk before the next one is begun, so at most one is
lost. What was begun with other settings is never mixed in: the settings lie beside the lines and are compared
when a measurement goes on. Once the results are whole, the folder is gone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from pydantic import JsonValue

from ltcam.jobs.appending import append_whole, whole_lines
from ltcam.jobs.execution import Execution
from ltcam.runs.unfinished import kept_unless_done, work_folder
from ltcam_runtime.errors import OutputError, RunError
from ltcam_runtime.folders import output_folder, write_file

SETTINGS_FILE = "settings.json"
LINES_FILE = "done.jsonl"


class Journal(Mapping[str, JsonValue]):
    """What is measured already, by key, in the order in which it was; grows by `add` alone.

    Attributes:
        folder: the hidden folder; other files of the same work may be kept there, and go with it.
    """

    def __init__(self, folder: Path, found: dict[str, JsonValue], stream: IO[bytes]) -> None:
        self.folder = folder
        self._found = found
        self._stream = stream

    def add(self, key: str, value: JsonValue) -> None:
        """Keep one piece of work; it is on the disk when this returns.

        Args:
            key: of the piece, such as `test/kos41/Part3`.
            value: anything JSON can hold, without NaN.

        Raises:
            ValueError: a key that is there already, or a value that JSON cannot hold.
            OSError: the disk is full or the like.
        """
        if key in self._found:
            raise ValueError(f"{key!r} is in the journal already")
        line = json.dumps({"key": key, "value": value}, allow_nan=False)
        append_whole(self._stream, line.encode() + b"\n")
        self._found[key] = json.loads(line)["value"]  # as a later run will read it

    def __getitem__(self, key: str) -> JsonValue:
        return self._found[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


@contextmanager
def kept_work(
    out: Path, kind: str, settings: Mapping[str, Any], *, resume: bool = False, overwrite: bool = False
) -> Iterator[Path]:
    """The hidden folder of the work for `out`. Gone when the block ends well; kept, if it holds anything, when not.

    Put the block that writes the results inside, so that nothing is forgotten before they are whole.

    Args:
        out: folder that the results are to be in.
        kind: of work.
        settings: all that the work depends on, as JSON values: options, fingerprints of run and data.
        resume: continue with what is there; where nothing is, begin.
        overwrite: throw away what is there.

    Raises:
        OutputError: unfinished work is there, and neither `resume` nor `overwrite` is said; or the folder
            cannot be written.
        RunError: with `resume`: work begun with other settings, or damaged.
        KeyboardInterrupt: saying that finished work is kept, where it is.
    """
    folder = work_folder(out, kind)
    begun = _holds_work(folder)
    if begun and not resume and not overwrite:
        raise OutputError(
            f"{out}: unfinished work is kept for it; continue with `resume=True`, or start anew with `overwrite=True`"
        )
    if begun and resume:
        _check_same(folder / SETTINGS_FILE, settings)
    else:
        shutil.rmtree(folder, ignore_errors=True)
        write_file(folder / SETTINGS_FILE, json.dumps(settings, indent=2, allow_nan=False) + "\n")
    with kept_unless_done(folder, _holds_work):
        yield folder


@contextmanager
def open_journal(
    out: Path, kind: str, settings: Mapping[str, Any], *, resume: bool = False, overwrite: bool = False
) -> Iterator[Journal]:
    """The journal of the work for `out`; arguments and errors as for `kept_work`."""
    with kept_work(out, kind, settings, resume=resume, overwrite=overwrite) as folder:
        file = folder / LINES_FILE
        with ExitStack() as stack:
            try:
                stream = stack.enter_context(file.open("a+b", buffering=0))
                found = _read(file, whole_lines(stream))
            except OSError as error:
                raise OutputError(f"{folder} cannot be used: {error.strerror or error}") from error
            yield Journal(folder, found, stream)


@contextmanager
def journalled(
    out: Path, marker: str, kind: str, settings: Mapping[str, Any], execution: Execution
) -> Iterator[tuple[Journal, Path]]:
    """The journal of the work for `out`, and the folder of the results, which appears there as a whole at the end.

    Args:
        out: folder that the results are to be in.
        marker: file that such results hold.
        kind: of work.
        settings: all that the work depends on, as for `kept_work`.
        execution: what becomes of results and of unfinished work that are there already.

    Raises:
        LtcamError: as for `kept_work`; or something else is in the way.
    """
    resume, overwrite = execution.resume, execution.overwrite
    with (
        open_journal(out, kind, settings, resume=resume, overwrite=overwrite) as journal,
        output_folder(out, marker=marker, overwrite=overwrite) as folder,
    ):
        yield journal, folder


def _holds_work(folder: Path) -> bool:
    """Whether there is more in the folder than settings and empty files."""
    if not folder.is_dir():
        return False
    others = [path for path in folder.iterdir() if path.name != SETTINGS_FILE]
    return any(path.is_dir() or path.stat().st_size for path in others)


def _check_same(file: Path, settings: Mapping[str, Any]) -> None:
    """Work that continues must be the work that was begun."""
    try:
        begun = _leaves(json.loads(file.read_text(encoding="utf-8")))
        wanted = _leaves(json.loads(json.dumps(settings)))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"`resume=True`: {file} is damaged; start anew with `overwrite=True`") from error
    other = sorted({path[-1] for path in {*begun, *wanted} if begun.get(path) != wanted.get(path)})
    if other:
        raise RunError(
            f"`resume=True`: the work in {file.parent} was begun with other settings ({', '.join(other)}); give the "
            "same ones, or start anew with `overwrite=True`"
        )


def _leaves(settings: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Settings by their path from the outermost name to the innermost."""
    found: dict[tuple[str, ...], Any] = {}
    for name, value in settings.items():
        inner = (*path, name)
        found |= _leaves(value, inner) if isinstance(value, dict) else {inner: value}
    return found


def _read(file: Path, lines: Iterable[bytes]) -> dict[str, JsonValue]:
    """What the lines of a journal say; its file is named where one of them is damaged."""
    found: dict[str, JsonValue] = {}
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            found[entry["key"]] = entry["value"]
        except (ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"`resume=True`: line {number} of {file} is damaged; start anew with `overwrite=True`"
            ) from error
    return found
