"""`ltcam quick`: a run without training, inspected like any other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Call = Callable[..., Any]


def test_it_writes_a_run_without_an_epoch(quick: Path) -> None:
    run = json.loads((quick / "run.json").read_text())
    assert (quick / "history.csv").read_text() == ""
    assert run["verdict"]["threshold"] == 0.5
    assert set(run["kinds"]) == set(run["classes"][1:])
    assert all(settings["map"].startswith("seed ") for settings in run["kinds"].values())
    assert set(run["evidence"]["seed_maps"]) == set(run["classes"][1:])
    assert "What is drawn of each kind" in (quick / "report.html").read_text()


def test_its_masks_find_the_holes(ltcam: Call, quick: Path, data: Path, tmp_path: Path) -> None:
    result = ltcam("evaluate", quick, data, "--out", tmp_path / "metrics", "--split", "all")
    assert result.code == 0, result.err
    metrics = json.loads((tmp_path / "metrics" / "metrics.json").read_text())
    assert metrics["image"]["ap"] > 0.9  # features of random weights
    assert metrics["pixel"]["iou"] > 0.2


def test_another_map_is_drawn_of_it_like_of_any_run(
    ltcam: Call, quick: Path, data: Path, tmp_path: Path
) -> None:
    images = next(data.glob("**/good"))
    result = ltcam(
        "predict", quick, images, "--out", tmp_path / "out", "--method", "grad-cam", "--sharpen", "none"
    )
    assert result.code == 0, result.err


def test_the_same_seed_gives_the_same_run(ltcam: Call, quick: Path, data: Path, tmp_path: Path) -> None:
    words = ("--backbone", "test_resnet", "--weights", "random", "--image-size", "64x96")
    assert ltcam("quick", data, "--out", tmp_path / "again", *words).code == 0
    assert (tmp_path / "again/weights.safetensors").read_bytes() == (
        quick / "weights.safetensors"
    ).read_bytes()
    one, other = (json.loads((folder / "run.json").read_text()) for folder in (quick, tmp_path / "again"))
    assert one["kinds"] == other["kinds"]


def test_a_flat_image_has_no_mask_whatever_the_verdict(ltcam: Call, quick: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.full((64, 96, 3), 150, np.uint8)).save(tmp_path / "in/flat.png")
    result = ltcam("predict", quick, tmp_path / "in", "--out", tmp_path / "out", "--verdict-threshold", "0")
    assert result.code == 0, result.err
    mask = next((tmp_path / "out" / "masks").glob("*.png"))
    assert not np.asarray(Image.open(mask)).any()


def test_a_run_that_is_there_is_not_replaced_unasked(ltcam: Call, quick: Path, data: Path) -> None:
    assert ltcam("quick", data, "--out", quick).code == 2
