from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.cli.conftest import left_in

Call = Callable[..., Any]
QUICK = ("--bootstrap", "20")


def strict(text: str) -> Any:
    """Parsed JSON; NaN and Infinity, which are none, are refused."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_metrics_table_images_and_report(ltcam: Call, trained: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = ltcam("evaluate", trained, data, "--out", out, *QUICK, "--json")
    assert result.code == 0, result.err
    assert left_in(out) == ["images.csv", "metrics.json", "metrics.md", "report.html"]
    metrics = strict((out / "metrics.json").read_text(encoding="utf-8"))
    assert strict(result.out) == metrics
    for room, name in (
        ("pixel", "iou"),
        ("pixel", "f1"),
        ("image", "ap"),
        ("image", "auroc"),
        ("image", "f1"),
    ):
        assert 0 <= metrics[room][name] <= 1
    assert metrics["settings"]["split"] == "test side of the run"
    assert metrics["failed"] == []
    with (trained / "split.csv").open() as stream:
        test_side = sorted(row["path"] for row in csv.DictReader(stream) if row["split"] == "test")
    with (out / "images.csv").open() as stream:
        assert [row["image"] for row in csv.DictReader(stream)] == test_side
    assert "data:image/" in (out / "report.html").read_text(encoding="utf-8")
    which = f"test side of the run, {len(test_side)} of"
    assert which in (out / "report.html").read_text(encoding="utf-8"), "nobody shall take a part for all"
    part = ltcam("evaluate", trained, data, "--out", tmp_path / "part", *QUICK)
    assert which in part.err
    table = ltcam("evaluate", trained, data, "--out", out, *QUICK, "--overwrite", "--split", "all")
    assert table.code == 0
    assert "measured: all" in table.err
    assert "metric" in table.out
    assert f"{strict((out / 'metrics.json').read_text())['pixel']['iou']:.3f}" in table.out


def test_wrong_files_are_listed_with_exit_code_1(
    ltcam: Call, trained: Path, data: Path, zoo: Any, tmp_path: Path
) -> None:
    """Masks of another size, masks and images that cannot be read; hostile names in what is written."""
    root = Path(shutil.copytree(data, tmp_path / "set"))
    for name in (*zoo.sizes, *zoo.broken):
        shutil.copy(zoo.root / name, root / "hole" / name)
    Image.new("L", (95, 64), 255).save(root / "masks" / "hole" / "00.png")
    (root / "masks" / "hole" / "01.png").write_bytes(b"")
    nasty = "<script>alert(1)<script>.png"
    shutil.copy(root / "masks" / "hole" / "02.png", root / "masks" / "hole" / nasty)
    out = tmp_path / "out"
    result = ltcam("evaluate", trained, root, "--out", out, *QUICK, "--json", "--split", "all")
    assert result.code == 1
    metrics = strict(result.out)
    failed = {Path(entry["image"]).name: entry["reason"] for entry in metrics["failed"]}
    assert failed.keys() == {*zoo.broken, "00.png", "01.png"}
    assert failed["00.png"] == (
        "its mask masks/hole/00.png: the mask is 64 x 95, its image 64 x 96 (height x width)"
    )
    assert failed["01.png"].startswith("its mask masks/hole/01.png: the file is empty")
    images, verdicts = metrics["images"], metrics["image"]["counts"]
    assert images["total"] == sum(verdicts.values()), "a faulty mask says nothing against image and verdict"
    assert all(words in failed[name] for name, words in zoo.broken.items())
    assert "not measured: hole/00.png: its mask masks/hole/00.png: the mask is" in result.err
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "truncated.jpg" in page
    with (out / "images.csv").open(newline="") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    assert f"hole/{nasty}" in cells


def test_masks_are_not_needed(ltcam: Call, trained: Path, data: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(data, tmp_path / "set"))
    shutil.rmtree(root / "masks")
    result = ltcam("evaluate", trained, root, "--out", tmp_path / "out", *QUICK, "--json")
    assert result.code == 0, result.err
    metrics = strict(result.out)
    assert 0 <= metrics["image"]["ap"] <= 1
    assert metrics["pixel"]["iou"] is None
    printed = ltcam("evaluate", trained, root, "--out", tmp_path / "out", *QUICK, "--overwrite").out
    assert "Verdicts against the truth" in " ".join(printed.split())


@pytest.mark.parametrize("images", [{"ok": 3, "hole": 0}, {"ok": 0, "hole": 3}])
def test_one_class_only(
    ltcam: Call, trained: Path, dataset_of: Callable[..., Path], tmp_path: Path, images: dict[str, int]
) -> None:
    root = dataset_of(tmp_path / "set", **images)
    words = ("evaluate", trained, root, *QUICK, "--layout", "folders", "--split", "all")
    result = ltcam(*words, "--out", tmp_path / "out", "--json")
    assert result.code == 0, result.err
    metrics = strict(result.out)
    assert metrics["image"]["auroc"] is None
    assert (metrics["pixel"]["iou"] is None) == (images["hole"] == 0)
    table = ltcam(*words, "--out", tmp_path / "b")
    assert table.code == 0, table.err
    assert re.search(r"0\.\d+ +– +\d" if images["hole"] == 0 else r"0\.\d+ +\d +– +\d", table.err + table.out)
    assert " of 0<" not in (tmp_path / "b" / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--stages", "nosuch"], "--stages nosuch"),
        (["--split", "half"], "--split 'half'"),
        (["--layout", "ksdd"], "ksdd"),
        (["--device", "abacus"], "--device"),
        (["--threshold", "7"], "--threshold 7: must be"),
    ],
)
def test_refused_settings_leave_nothing(
    refuses: Call, trained: Path, data: Path, words: list[str], said: str
) -> None:
    refuses(said, "evaluate", trained, data, *words)


def test_refused_data_leave_nothing(
    ltcam: Call, trained: Path, data: Path, dataset_of: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    broken = dataset_of(tmp_path / "broken", ok=2, hole=2)
    for path in broken.rglob("*.png"):
        path.write_bytes(b"x")
    for root, said in (
        (tmp_path / "empty", "empty"),
        (tmp_path / "nowhere", "no such folder"),
        (broken, "none of the 4 images"),
    ):
        result = ltcam("evaluate", trained, root, "--out", tmp_path / "out", "--split", "all")
        assert result.code == 2
        assert said in result.err
    result = ltcam("evaluate", data, data, "--out", tmp_path / "out")
    assert result.code == 2
    assert "is not a run folder" in result.err
    assert left_in(tmp_path) == ["broken", "empty"]


def test_existing_results_and_the_run_stay(ltcam: Call, trained: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("evaluate", trained, data, *QUICK)
    assert ltcam(*words, "--out", out).code == 0
    assert "--overwrite" in ltcam(*words, "--out", out).err
    before = left_in(trained)
    for folder in (trained, data):
        result = ltcam(*words, "--out", folder, "--overwrite")
        assert result.code == 2
        assert "not replaced" in result.err
    assert left_in(trained) == before


def test_full_disk(ltcam: Call, trained: Path, data: Path, small_disk: Callable[[str], Path]) -> None:
    place = small_disk("size=32k")
    result = ltcam("evaluate", trained, data, "--out", place / "out", *QUICK)
    assert result.code == 2
    assert "disk is full" in result.err
    assert left_in(place) == []


def test_the_command_is_kept(
    ltcam: Call, trained: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["evaluate", str(trained), str(data), "--out", str(tmp_path / "two words"), *QUICK]
    monkeypatch.setattr(sys, "argv", ["ltcam", *words])
    assert ltcam(*words).code == 0
    kept = strict((tmp_path / "two words" / "metrics.json").read_text())["settings"]["command"]
    assert kept.startswith("ltcam evaluate")
    assert "two words'" in kept
