"""`ltcam tune` as it is called: files, tables, exit codes, what a stopped one leaves, refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import left_in

from ltcam.experiments.tune import measure
from ltcam.experiments.tune.percentile_maps import heatmaps_by_percentile

Call = Callable[..., Any]
QUICK = ("--bootstrap", "20", "--percentiles", "0,90", "--no-fullgrad", "--rule-images", "2")
FILES = ["curves.png", "curves.svg", "report.html", "tune.csv", "tune.json", "tune.md"]


def test_table_files_and_json(ltcam: Call, trained: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = ltcam(
        "tune", trained, data, "--out", out, *QUICK, "--json", "--reading", "mask", "--scope", "stage"
    )
    assert result.code == 0, result.err
    assert left_in(out) == FILES
    tuning = json.loads((out / "tune.json").read_text(encoding="utf-8"))
    assert json.loads(result.out) == tuning
    assert tuning["sides"]["train"]["side"] == "train side of the run"
    assert (tuning["settings"]["reading"], tuning["settings"]["scope"]) == ("mask", "stage")
    assert [each["method"] for each in tuning["methods"]] == ["LTGrad-CAM", "LTLayerCAM"]
    again = ltcam("tune", trained, data, "--out", out, *QUICK)
    assert again.code == 2
    assert "--overwrite" in again.err
    table = ltcam("tune", trained, data, "--out", out, *QUICK, "--overwrite")
    assert table.code == 0, table.err
    assert "train masks" in table.out
    assert "LTLayerCAM" in table.out


def test_an_interrupted_tuning_goes_on(
    ltcam: Call, trained: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("tune", trained, data, "--out", tmp_path / "out", *QUICK)
    heatmaps, looked = heatmaps_by_percentile, []

    def stopped(*given: Any) -> Any:
        looked.append(given)
        if len(looked) == 3:  # two images are measured
            raise KeyboardInterrupt
        return heatmaps(*given)

    with monkeypatch.context() as patch:
        patch.setattr(measure, "heatmaps_by_percentile", stopped)
        interrupted = ltcam(*words)
    assert interrupted.code == 130, interrupted.err
    assert "--resume" in interrupted.err
    refused = ltcam(*words)
    assert refused.code == 2
    assert "--resume" in refused.err
    resumed = ltcam(*words, "--resume")
    assert resumed.code == 0, resumed.err
    assert left_in(tmp_path) == ["out"]


def test_wrong_files_are_listed_with_exit_code_1(
    ltcam: Call, trained: Path, data: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(data, tmp_path / "set"))
    for file in (root / "masks/hole").iterdir():
        if file.name != "00.png":
            continue
        file.write_bytes(b"no image")
    result = ltcam("tune", trained, root, "--out", tmp_path / "out", *QUICK)
    assert result.code == 1
    assert "not measured: hole/00.png" in result.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--percentiles", "90,0"], "--percentiles 90,0"),
        (["--percentiles", "many"], "--percentiles 'many'"),
        (["--reading", "aloud"], "--reading"),
        (["--device", "abacus"], "--device"),
        (["--layout", "ksdd"], "ksdd"),
    ],
)
def test_refused_settings_leave_nothing(
    refuses: Call, trained: Path, data: Path, words: list[str], said: str
) -> None:
    refuses(said, "tune", trained, data, *words)
