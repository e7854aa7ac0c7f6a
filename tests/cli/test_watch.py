"""`ltcam watch` as it is started on a line: a process, told to end by a signal."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from tests.cli.conftest import CommandLine


def camera_of(data: Path, folder: Path, *numbers: int) -> Path:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        shutil.copy(data / "hole" / f"{number:02}.png", folder)
    return folder


def lines_in(out: Path) -> list[str]:
    """Names of the images whose inspection the journal keeps."""
    journal = out / "inspections.jsonl"
    text = journal.read_text() if journal.is_file() else ""
    return [json.loads(line)["image"] for line in text.splitlines(keepends=True) if line.endswith("\n")]


def ended(running: subprocess.Popen[str], kind: signal.Signals = signal.SIGTERM) -> tuple[int, list[str]]:
    running.send_signal(kind)
    out, err = running.communicate(timeout=120)
    assert "Traceback" not in err
    return running.returncode, [json.loads(line)["image"] for line in out.splitlines()]


@pytest.mark.parametrize("empty", [False, True])
def test_a_folder_for_results_that_is_new(
    ltcam: CommandLine, trained: Path, data: Path, tmp_path: Path, empty: bool
) -> None:
    camera, out = camera_of(data, tmp_path / "camera", 0, 1), tmp_path / "out"
    if empty:
        out.mkdir()
    words = ("watch", trained, camera, "--out", out, "--every", "0.05")
    running = ltcam.start(*words)
    ltcam.until(lambda: len(lines_in(out)) == 2, running)
    second = ltcam(*words)
    assert second.code == 2
    assert f"{out}: another watch writes into this folder; give another --out" in second.err
    assert ended(running) == (0, ["00.png", "01.png"])
    camera_of(data, camera, 2)
    again = ltcam.start(*words)
    ltcam.until(lambda: len(lines_in(out)) == 3, again)
    assert ended(again, signal.SIGINT) == (0, ["02.png"])
    assert sorted(path.name for path in out.iterdir()) == ["inspections.jsonl", "masks", "overlays"]
    assert sorted(path.name for path in (out / "masks").iterdir()) == ["00.png", "01.png", "02.png"]


def test_a_folder_of_others_stays_as_it_is(
    ltcam: CommandLine, trained: Path, data: Path, tmp_path: Path
) -> None:
    camera, out = camera_of(data, tmp_path / "camera", 0), tmp_path / "out"
    (out / "masks").mkdir(parents=True)
    result = ltcam("watch", trained, camera, "--out", out)
    assert result.code == 2
    assert "holds files of others, and no inspections.jsonl" in result.err
    assert [path.name for path in out.rglob("*")] == ["masks"]
