"""`ltcam export` and `ltcam-run` as commands."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ltcam.cli.main import run as ltcam
from ltcam_runtime.cli import main as ltcam_run


def call(command: Any, *arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
        command([str(argument) for argument in arguments])
    return int(left.value.code or 0), out.getvalue(), err.getvalue()


@pytest.fixture
def images(paint: Callable[..., NDArray[np.uint8]], tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for index, pixels in enumerate(paint(2, (80, 120))):
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def test_a_run_is_exported_and_verified_on_images(run_folder: Path, images: Path, tmp_path: Path) -> None:
    (images / "broken.png").write_bytes(b"no picture")
    part = tmp_path / "part.ltcam.onnx"
    code, out, err = call(ltcam, "export", run_folder, "--out", part, "--verify", images, "--json")
    assert code == 1, err
    found = json.loads(out)["verification"]
    assert found == json.loads((tmp_path / "part.ltcam-verified.json").read_text())
    assert [engine["engine"] for engine in found["engines"]] == ["torch", "onnxruntime", "openvino"]
    assert found["images"] == 2
    assert [failure["image"] for failure in found["failed"]] == ["broken.png"]
    for engine in found["engines"]:
        assert engine["verdict_changes"] == []
        assert engine["mask_iou"] >= 0.999
        assert engine["near"] >= found["engines"][0]["near"] - 0.001 >= 0.99
        assert engine["milliseconds"] > 0
    page = (tmp_path / "part.ltcam-verified.html").read_text()
    assert "ONNX Runtime" in page
    assert "broken.png" in page


def test_what_cannot_be_exported_is_one_line_and_writes_nothing(run_folder: Path, tmp_path: Path) -> None:
    part = tmp_path / "part.ltcam.onnx"
    code, _, err = call(ltcam, "export", run_folder, "--out", part, "--method", "score-cam")
    assert code == 2
    assert "Score-CAM is no gradient method" in err
    assert call(ltcam, "export", run_folder, "--out", part, "--precision", "int3")[0] == 2
    assert call(ltcam, "export", tmp_path / "nowhere", "--out", part)[0] == 2
    assert not list(tmp_path.iterdir())


def test_ltcam_run_says_what_it_did_and_what_it_left(part_file: Path, images: Path, tmp_path: Path) -> None:
    (images / "broken.png").write_bytes(b"no picture")
    code, out, err = call(ltcam_run, part_file, images, "--out", tmp_path / "out", "--json", "--no-check")
    assert code == 1
    assert json.loads(out)["inspected"] == 2
    assert "failed: broken.png" in err
    assert "not checked" in err
    code, _, err = call(ltcam_run, part_file, images, "--out", tmp_path / "out", "--no-check")
    assert code == 2
    assert "--overwrite" in err


def test_ltcam_run_refuses_what_it_cannot_use(part_file: Path, images: Path, tmp_path: Path) -> None:
    for arguments, message in (
        ((tmp_path / "nowhere.onnx", images), "is not there"),
        ((part_file, tmp_path / "nothing"), "nothing"),
        ((part_file, images, "--threshold", "2"), "otsu"),
        ((part_file, images, "--device", "tpu", "--no-check"), "tpu"),
        ((part_file, images, "--save", "maks"), "did you mean masks"),
    ):
        code, _, err = call(ltcam_run, *arguments, "--out", tmp_path / "out")
        assert code == 2, err
        assert message in err
        assert not (tmp_path / "out").exists()


def test_ltcam_run_writes_nothing_where_all_inputs_fail(part_file: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    code, said, err = call(
        ltcam_run, part_file, tmp_path / "broken.png", "--out", out, "--no-check", "--json"
    )
    assert code == 2
    assert not out.exists()
    assert [failure["image"] for failure in json.loads(said)["failed"]] == ["broken.png"]
    assert "broken.png: not an image file" in err
    assert "nothing was written" in err
