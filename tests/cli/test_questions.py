"""`ltcam questions` as it is called: files, tables, exit codes, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import left_in

Call = Callable[..., Any]
QUICK = ("--bootstrap", "20")
FILES = [
    "effects.png",
    "effects.svg",
    "gains.csv",
    "questions.csv",
    "questions.json",
    "questions.md",
    "report.html",
]


def test_tables_files_and_json(ltcam: Call, trained: Path, data: Path, tmp_path: Path) -> None:
    out, maps = tmp_path / "out", tmp_path / "maps"
    result = ltcam("questions", trained, data, "--out", out, *QUICK, "--json", "--maps", maps)
    assert result.code == 0, result.err
    assert left_in(out) == FILES
    questions = json.loads((out / "questions.json").read_text(encoding="utf-8"))
    assert json.loads(result.out) == questions
    assert questions["runs"][0]["side"] == "test side of the run"
    assert len(left_in(maps)) == questions["runs"][0]["images"]["measured"]
    again = ltcam("questions", trained, data, "--out", out, *QUICK, "--maps", maps)
    assert again.code == 2
    assert "--overwrite" in again.err
    assert left_in(tmp_path) == ["maps", "out"]


def test_printed_table_and_wrong_files_with_exit_code_1(
    ltcam: Call, trained: Path, dataset_of: Callable[..., Path], tmp_path: Path
) -> None:
    root = dataset_of(tmp_path / "set", ok=1, hole=3)
    (root / "hole/00.png").write_bytes(b"no image")
    words = ("questions", trained, root, "--out", tmp_path / "out", *QUICK, "--split", "all")
    assert ltcam(*words, "--maps", tmp_path / "maps").code == 1
    result = ltcam(*words, "--maps", tmp_path / "maps", "--overwrite")
    assert result.code == 1
    assert "not measured: hole/00.png" in result.err
    assert "stages fused by product" in result.out
    assert "only stage S2" in result.out
    assert "LTGrad-CAM over Grad-CAM" in result.out
    assert left_in(tmp_path) == ["maps", "out", "set"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--split", "half"], "--split 'half'"),
        (["--device", "abacus"], "--device"),
        (["--layout", "ksdd"], "ksdd"),
    ],
)
def test_refused_settings_leave_nothing(
    refuses: Call, trained: Path, data: Path, words: list[str], said: str
) -> None:
    refuses(said, "questions", trained, data, *words)


def test_a_run_and_data_are_needed(ltcam: Call, trained: Path, data: Path, tmp_path: Path) -> None:
    result = ltcam("questions", data, "--out", tmp_path / "out")
    assert result.code == 2
    assert "RUN... DATA" in result.err
    twice = ltcam("questions", trained, trained, data, "--out", tmp_path / "out")
    assert twice.code == 2
    assert "each once" in twice.err
