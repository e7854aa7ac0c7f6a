"""Runs as the commands make them when nobody says how: exported, and asked for the same images."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ltcam_runtime.cli import main as runtime
from ltcam_runtime.part_files import read_part

Call = Callable[..., Any]


def ltcam_run(*arguments: object) -> int:
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out), pytest.raises(SystemExit) as left:
        runtime([str(argument) for argument in arguments])
    return int(left.value.code or 0)


def results(folder: Path) -> dict[str, tuple[str, float, np.ndarray]]:
    """By image: verdict, score, mask."""
    values = json.loads((folder / "predictions.json").read_text())
    return {
        each["image"]: (
            each["verdict"],
            each["score"],
            np.asarray(Image.open(folder / "masks" / f"{each['output']}.png")) > 0,
        )
        for each in values["images"]
    }


@pytest.mark.parametrize("made", ["trained", "quick"])
def test_a_run_of_nothing_but_defaults_says_the_same_exported(
    made: str, ltcam: Call, data: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run: Path = request.getfixturevalue(made)
    part = tmp_path / "part.ltcam.onnx"
    assert ltcam("export", run, "--out", part).code == 0
    everything = ("--verdict-threshold", "0")  # a mask of every image
    for words in ((), everything):
        assert ltcam("predict", run, data, "--out", tmp_path / "run", "--overwrite", *words).code == 0
        assert ltcam("predict", part, data, "--out", tmp_path / "file", "--overwrite", *words).code == 0
        assert ltcam_run(part, data, "--out", tmp_path / "alone", "--overwrite", *words) == 0
        own = results(tmp_path / "run")
        assert len(own) == 36
        for folder in ("file", "alone"):
            for image, (verdict, score, mask) in results(tmp_path / folder).items():
                assert verdict == own[image][0]
                assert score == pytest.approx(own[image][1], abs=1e-5)
                assert (mask & own[image][2]).sum() >= 0.999 * (mask | own[image][2]).sum()
        assert sum(mask.any() for *_, mask in own.values()) >= 8
    own, exported = (
        json.loads((tmp_path / folder / "predictions.json").read_text())["settings"]
        for folder in ("run", "file")
    )
    assert exported["kinds"] == own["kinds"]
    assert exported["kinds"]["hole"]["cam"]["method"] in {"seed", "layer-cam", "grad-cam"}


def test_a_file_has_the_maps_that_kinds_are_drawn_from_and_no_other(
    ltcam: Call, quick: Path, tmp_path: Path
) -> None:
    assert ltcam("export", quick, "--out", tmp_path / "part.ltcam.onnx").code == 0
    assert set(json.loads((quick / "run.json").read_text())["maps"]) == {"map", "seed hole"}
    part = read_part(tmp_path / "part.ltcam.onnx").part
    assert set(part.maps) == {"seed hole"}
    kind = part.inspection.kinds["hole"]
    assert kind.scale is not None
    assert kind.least_peak > 0


def test_a_map_of_gradients_is_exported_of_a_run_that_has_seed_maps(
    ltcam: Call, quick: Path, tmp_path: Path
) -> None:
    part = tmp_path / "part.ltcam.onnx"
    words = ("--method", "grad-cam", "--stages", "2,3,4", "--percentile", "50")
    result = ltcam("export", quick, "--out", part, *words)
    assert result.code == 0, result.err
    assert {cam.method for cam in read_part(part).part.maps.values()} == {"grad-cam"}


def test_a_changed_run_is_exported_if_it_is_trusted(ltcam: Call, run_copy: Path, tmp_path: Path) -> None:
    file = run_copy / "run.json"
    values = json.loads(file.read_text())
    values["verdict"]["threshold"] = 0.25
    file.write_text(json.dumps(values))
    part = tmp_path / "part.ltcam.onnx"
    refused = ltcam("export", run_copy, "--out", part)
    assert refused.code == 2
    assert "--trust-changed-run" in refused.err
    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(np.full((64, 96, 3), 150, np.uint8)).save(images / "flat.png")
    result = ltcam("export", run_copy, "--out", part, "--trust-changed-run", "--verify", images)
    assert result.code == 0, result.err
    assert read_part(part).part.inspection.verdict.threshold == 0.25
