"""What a training says in the end: the run folder, and the commands that go on from it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ltcam.cli.trained import told
from ltcam.jobs.trained import TrainedRun

EPOCH = {"epoch": 0.0, "train_loss": 1.0, "val_loss": 1.0, "val_ap": 1.0, "learning_rate": 1e-4}


@pytest.mark.parametrize(
    ("network", "history", "last"),
    [
        ("classifier", (), "ltcam train 'my photos' --out runs/a-trained"),
        ("classifier", (EPOCH,), "ltcam distill runs/a 'my photos' --out runs/a-student"),
        ("student", (EPOCH,), "ltcam evaluate runs/a 'my photos'"),
    ],
    ids=["quick", "train", "distill"],
)
def test_what_can_be_done_next(
    capsys: pytest.CaptureFixture[str], network: str, history: tuple[dict[str, float], ...], last: str
) -> None:
    run: Any = SimpleNamespace(network=network, evidence={})
    assert told(TrainedRun(Path("runs/a"), run, history, ()), Path("my photos"), as_json=False) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[1].startswith("next: ltcam predict runs/a IMAGES")
    assert lines[-1].strip().startswith(last)


@pytest.mark.parametrize("folder", [".", ".."])
def test_a_run_in_the_current_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    (tmp_path / "run" / "in").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "run" if folder == "." else tmp_path / "run" / "in")
    run: Any = SimpleNamespace(network="classifier", evidence={})
    assert told(TrainedRun(Path(folder), run, (EPOCH,), ()), Path("photos"), as_json=False) == 0
    assert f"--out {tmp_path / 'run-student'}" in capsys.readouterr().err
