from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import pytest

from ltcam.experiments.journal import LINES_FILE, open_journal
from ltcam.runs.unfinished import work_folder
from ltcam_runtime.errors import OutputError, RunError

FullAt = Callable[[int], AbstractContextManager[None]]

SETTINGS = {"run": "abc", "percentiles": (0, 50)}


class KilledError(Exception):
    pass


def begin(out: Path, keys: Any, settings: Any = SETTINGS, **options: Any) -> None:
    """Work that stops with an error once the keys are measured."""
    with suppress(KilledError), open_journal(out, "work", settings, **options) as journal:
        for key in keys:
            journal.add(key, {"counts": [1, 2, 3]})
        raise KilledError


def test_finished_work_leaves_nothing(tmp_path: Path) -> None:
    with open_journal(tmp_path / "out", "work", SETTINGS) as journal:
        assert len(journal) == 0
        journal.add("a", [1, None, "x"])
        assert journal["a"] == [1, None, "x"]
        assert "b" not in journal
        assert [path.name for path in tmp_path.iterdir()] == [journal.folder.name]
    assert list(tmp_path.iterdir()) == []


def test_stopped_work_goes_on(tmp_path: Path) -> None:
    begin(tmp_path / "out", ["a", "b"])
    begin(tmp_path / "out", ["c"], resume=True)
    with open_journal(tmp_path / "out", "work", SETTINGS, resume=True) as journal:
        assert list(journal) == ["a", "b", "c"]
        assert journal["c"] == {"counts": [1, 2, 3]}
        with pytest.raises(ValueError, match="already"):
            journal.add("a", 1)
    assert list(tmp_path.iterdir()) == []


def test_stopped_work_without_a_piece_leaves_nothing(tmp_path: Path) -> None:
    begin(tmp_path / "out", [])
    assert list(tmp_path.iterdir()) == []


def test_work_killed_before_its_first_piece_is_in_nobodys_way(tmp_path: Path) -> None:
    folder = work_folder(tmp_path / "out", "work")
    folder.mkdir()
    (folder / LINES_FILE).touch()
    with open_journal(tmp_path / "out", "work", SETTINGS) as journal:
        assert len(journal) == 0


def test_resume_where_nothing_is_begins(tmp_path: Path) -> None:
    with open_journal(tmp_path / "out", "work", SETTINGS, resume=True) as journal:
        assert len(journal) == 0


def test_unfinished_work_is_neither_dropped_nor_taken_unasked(tmp_path: Path) -> None:
    begin(tmp_path / "out", ["a"])
    with pytest.raises(OutputError, match="`resume=True`"), open_journal(tmp_path / "out", "work", SETTINGS):
        pass
    with open_journal(
        tmp_path / "out", "other", SETTINGS
    ) as journal:  # another kind of work is not concerned
        assert len(journal) == 0
    with open_journal(tmp_path / "out", "work", SETTINGS, overwrite=True) as journal:
        assert len(journal) == 0


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    begin(tmp_path / "out", ["a"])
    changed = {**SETTINGS, "run": "xyz", "more": 1}
    with (
        pytest.raises(RunError, match=r"\(more, run\)"),
        open_journal(tmp_path / "out", "work", changed, resume=True),
    ):
        pass
    begin(tmp_path / "out", ["b"], resume=True)  # and nothing is lost by that


@pytest.mark.parametrize("torn", [b'{"key": "b", "va', b"{", b'{"key": "b", "value": 1}'])
def test_a_torn_last_line_is_measured_again(tmp_path: Path, torn: bytes) -> None:
    begin(tmp_path / "out", ["a"])
    file = work_folder(tmp_path / "out", "work") / LINES_FILE
    with file.open("ab") as stream:
        stream.write(torn)
    begin(tmp_path / "out", ["b"], resume=True)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["key"] for line in lines] == ["a", "b"]


@pytest.mark.parametrize("line", ["no json", "[1]", '{"value": 1}'])
def test_damage_elsewhere_is_told(tmp_path: Path, line: str) -> None:
    begin(tmp_path / "out", ["a"])
    file = work_folder(tmp_path / "out", "work") / LINES_FILE
    file.write_text(f"{line}\n{file.read_text()}")
    with (
        pytest.raises(RunError, match="line 1"),
        open_journal(tmp_path / "out", "work", SETTINGS, resume=True),
    ):
        pass


def test_values_that_json_cannot_hold_are_refused_whole(tmp_path: Path) -> None:
    with open_journal(tmp_path / "out", "work", SETTINGS) as journal:
        with pytest.raises(ValueError, match="JSON"):
            journal.add("a", float("nan"))
        journal.add("a", 1.5)
        assert dict(journal) == {"a": 1.5}


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, full_at: FullAt) -> None:
    with open_journal(tmp_path / "out", "work", SETTINGS) as journal:
        journal.add("a", 1)
        file = journal.folder / LINES_FILE
        before = file.read_bytes()
        with full_at(len(before) + 8), pytest.raises(OSError, match="File too large"):
            journal.add("b", 2)
        assert file.read_bytes() == before
        journal.add("b", 3)
        assert [json.loads(line)["value"] for line in file.read_bytes().splitlines()] == [1, 3]


def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from ltcam.experiments.journal import open_journal\n"
        "with open_journal(pathlib.Path(sys.argv[1]), 'work', {}) as journal:\n"
        "    journal.add('a', 1)\n"
        f"    os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], check=False, env=os.environ)
    assert done.returncode == -signal.SIGKILL
    with open_journal(tmp_path / "out", "work", {}, resume=True) as journal:
        assert dict(journal) == {"a": 1}
