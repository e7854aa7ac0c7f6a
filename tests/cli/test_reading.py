"""How a data set is read, named once and the same for all commands; and names that are no text."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Call

from ltcam.data.dataset import OK
from ltcam.data.opened import OpenData
from ltcam.runs.folder import ok_labels

QUICK = (
    *("--backbone", "test_resnet", "--weights", "random", "--epochs", "1", "--image-size", "32x32"),
    *("--batch-size", "8", "--precision", "float32", "--memory-format", "contiguous"),
)


@pytest.fixture
def odd(picture: Callable[..., Path], tmp_path: Path) -> Path:
    """A folder without a word that means OK, whose names hold bytes that are no text, formulas and new lines."""
    root = tmp_path / os.fsdecode(b"ph\xfctos")
    names = [
        os.fsdecode(b"pr\xfcf.png"),
        "=cmd|x.png",
        "new\nline.png",
        "+1.png",
        "e.png",
        "f.png",
        "@g.png",
        "h.png",
    ]
    for kind in ("negative", "p\udcfcs"):
        for number, name in enumerate(names):
            picture(root / kind / name, number + (50 if kind == "negative" else 0))
    picture(root / "loose.png", 99)
    return root


def test_all_commands_finish_and_their_tables_name_every_file(odd: Path, ltcam: Call, tmp_path: Path) -> None:
    run, metrics = tmp_path / "run", tmp_path / "metrics"
    refused = ltcam("train", odd, "--out", run, *QUICK)
    assert refused.code == 2
    assert "--ok negative" in refused.err
    trained = ltcam("train", odd, "--out", run, *QUICK, "--ok", "negative")
    assert trained.code == 0, trained.err
    assert "left out: 1 image outside the class folders" in trained.err
    measured = ltcam("evaluate", run, odd, "--out", metrics, "--split", "all")  # --ok is remembered
    assert measured.code == 0, measured.err
    assert "left out: 1 image outside the class folders" in measured.err
    predicted = ltcam("predict", run, odd, "--out", tmp_path / "results")
    assert predicted.code == 0, predicted.err
    tables = {
        run / "split.csv": 16,
        metrics / "images.csv": 16,
        tmp_path / "results" / "predictions.csv": 17,
    }
    for table, images in tables.items():
        rows = list(csv.reader(io.StringIO(table.read_bytes().decode("utf-8"), newline="")))
        assert len(rows) == images + 1
        assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@", "\n"))], table
        assert any("new\nline" in row[0] for row in rows)


def test_what_means_ok_is_remembered_with_the_run(
    picture: Callable[..., Path], ltcam: Call, tmp_path: Path
) -> None:
    for kind, seed in (("a", 0), ("b", 50)):
        for number in range(8):
            mask = tmp_path / "set" / "masks" / kind / f"{number}.png" if kind == "b" else None
            picture(tmp_path / "set" / kind / f"{number}.png", seed + number, hole=kind == "b", mask=mask)
    run = tmp_path / "run"
    trained = ltcam("train", tmp_path / "set", "--out", run, *QUICK, "--ok", "a")
    assert trained.code == 0, trained.err
    assert json.loads((run / "run.json").read_text())["data"]["reading"]["ok"] == ["a"]
    for command, *words in (
        ("evaluate", "--split", "all", "--bootstrap", "10"),
        ("compare", "--split", "all", "--bootstrap", "10", "--methods", "grad-cam"),
    ):
        done = ltcam(command, run, tmp_path / "set", "--out", tmp_path / command, *words)
        assert done.code == 0, done.err
    assert OpenData.open(
        tmp_path / "set", remembered=ok_labels(run), one_class=True
    ).dataset.label_counts() == {
        OK: 8,
        "b": 8,
    }
    turned = ltcam(
        "evaluate", run, tmp_path / "set", "--out", tmp_path / "turned", "--split", "all", "--ok", "b"
    )
    assert turned.code == 0, turned.err
    rows = (tmp_path / "turned" / "images.csv").read_text().splitlines()
    assert any(row.startswith("a/0.png,a,") for row in rows), (
        "what is named counts more than what is remembered"
    )
    (tmp_path / "set" / "a").rename(tmp_path / "set" / "good")
    other = ltcam("evaluate", run, tmp_path / "set", "--out", tmp_path / "other", "--split", "all")
    assert other.code == 0, other.err


def test_a_run_that_cannot_be_read_remembers_nothing(tmp_path: Path) -> None:
    assert ok_labels(tmp_path) == ()
    (tmp_path / "run.json").write_text("{}")
    assert ok_labels(tmp_path) == ()
