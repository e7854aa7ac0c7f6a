from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ltcam.jobs.execution import Execution
from ltcam_runtime.errors import DataError

Call = Callable[..., Any]
TINY = (
    *("--backbone", "test_resnet", "--weights", "random", "--image-size", "64x64", "--epochs", "1"),
    *(
        "--images",
        "24",
        "--surfaces",
        "cast",
        "--synthetic-size",
        "96x96",
        "--bootstrap",
        "20",
        "--rows",
        "1",
    ),
    *("--no-probing", "--no-tuning", "--no-questions"),
)


@pytest.mark.slow
def test_page_and_numbers_at_one_command(ltcam: Call, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = ltcam("reproduce", "synthetic", "--out", out, *TINY, "--seed", "3")
    assert result.code == 0, result.err
    assert "LTGrad-CAM" in result.out
    assert f"page: {out / 'report.html'}" in result.err
    found = json.loads((out / "reproduction.json").read_text(encoding="utf-8"))
    assert (found["kind"], found["seed"]) == ("synthetic", 3)
    assert found["tune"] is found["questions"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    again = ltcam("reproduce", "synthetic", "--out", out, *TINY)
    assert again.code == 2
    assert "--overwrite" in again.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mvtec"], "mvtec"),
        (["ksdd"], "ksdd needs data"),
        (["synthetic", "somewhere"], "makes its own data; give none"),
        (["synthetic", "--folds", "1"], "--folds 1"),
        (["synthetic", "--image-size", "7"], "--image-size"),
        (["synthetic", "--synthetic-size", "64x64"], "96"),
        (["synthetic", "--surfaces", "jelly"], "jelly"),
        (["ksdd", "nowhere"], "nowhere"),
        (["synthetic", "--run", "nowhere"], "not a run folder"),
    ],
)
def test_refused_settings_leave_nothing(ltcam: Call, tmp_path: Path, words: list[str], said: str) -> None:
    result = ltcam("reproduce", *words, "--out", tmp_path / "out")
    assert result.code == 2
    assert said in result.err
    assert "unexpected" not in result.err
    assert list(tmp_path.iterdir()) == []


def test_what_a_training_warns_of_is_shown(
    ltcam: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warned(data: object, out: object, settings: object, execution: Execution) -> None:
        execution.listener.warn("`epochs=1` is not enough")
        plan: Any = SimpleNamespace(concerns=("only two lots of each kind",))
        execution.listener.planned(plan)
        raise DataError("that is enough")

    monkeypatch.setattr("ltcam.experiments.reproduce.steps.train", warned)
    result = ltcam("reproduce", "synthetic", "--out", tmp_path / "out", *TINY)
    assert "with care: --epochs 1 is not enough" in result.err
    assert "with care: only two lots of each kind" in result.err
    assert "that is enough" in result.err
