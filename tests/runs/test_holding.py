"""One process at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ltcam.runs.holding import hold


def test_a_file_that_another_process_holds_until_it_ends(tmp_path: Path) -> None:
    file = tmp_path / "made" / "lock"
    words = (
        "import pathlib, sys; from ltcam.runs.holding import hold; held = hold(pathlib.Path(sys.argv[1])); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", words, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError, match="another process"):
            hold(file)
        other.kill()
        other.wait()
        with hold(file):
            assert file.exists()
    assert not file.exists()


def test_nobody_else_in_the_same_process_either(tmp_path: Path) -> None:
    with hold(tmp_path / "lock"), pytest.raises(BlockingIOError):
        hold(tmp_path / "lock")
    with hold(tmp_path / "lock"):
        pass


def test_a_lock_file_that_cannot_be_removed_spoils_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "another program has it open", str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    with hold(tmp_path / "lock"):
        pass
    with hold(tmp_path / "lock"), pytest.raises(BlockingIOError):
        hold(tmp_path / "lock")
