"""`ltcam distill`: a student in a run folder like any other, learned from image labels only."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import Call, CommandLine

QUICK = ("--epochs", "2", "--keep", "student")  # who has learned for two epochs does not keep up


@pytest.fixture(scope="module")
def student(ltcam: Call, trained: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("students") / "student"
    result = ltcam("distill", trained, data, "--out", out, *QUICK, "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["run"] == str(out)
    return out


def test_the_run_folder_says_what_it_is_and_where_it_comes_from(student: Path, trained: Path) -> None:
    run = json.loads((student / "run.json").read_text())
    assert run["network"] == "student"
    assert run["maps"]["map"]["method"] == "student"
    assert run["sharpening"]["polarity"] == "none"
    assert run["mask"]["threshold"] == 0.5
    assert run["mask"]["of"] == "value"
    assert run["verdict"]["threshold"] == 0.5, "its scores are calibrated as its teacher's are"
    assert "best F1" in run["verdict"]["evidence"]
    assert run["evidence"]["teacher"]["run"] == trained.name
    assert run["evidence"]["rounds"] == 1
    assert (student / "split.csv").read_text() == (trained / "split.csv").read_text()
    report = (student / "report.html").read_text()
    assert "student" in report
    assert "probability" in report
    assert not list(student.parent.glob(".*"))


def test_predict_evaluate_and_compare_take_it(ltcam: Call, student: Path, data: Path, tmp_path: Path) -> None:
    result = ltcam("predict", student, data / "hole", "--out", tmp_path / "results")
    assert result.code == 0, result.err
    masks = [np.asarray(Image.open(path)) for path in (tmp_path / "results" / "masks").rglob("*.png")]
    assert len(masks) == 16
    assert ltcam("evaluate", student, data, "--out", tmp_path / "metrics", "--split", "all").code == 0
    result = ltcam("compare", student, data, "--out", tmp_path / "compared", "--split", "all")
    assert result.code == 0, result.err
    rows = json.loads((tmp_path / "compared" / "compare.json").read_text())["rows"]
    assert any(row["method"].startswith("This run") for row in rows)
    assert any(row["method"] == "LTGrad-CAM" for row in rows)


def test_another_map_of_the_same_network_is_cut_as_maps_are(
    ltcam: Call, student: Path, data: Path, tmp_path: Path
) -> None:
    result = ltcam("predict", student, data / "hole", "--out", tmp_path / "cam", "--method", "layer-cam")
    assert result.code == 0, result.err
    settings = json.loads((tmp_path / "cam" / "predictions.json").read_text())["settings"]
    assert settings["cam"]["method"] == "layer-cam"
    assert settings["mask"]["threshold"] == "otsu"


def test_masks_in_the_data_are_not_looked_at(
    ltcam: Call, student: Path, trained: Path, data: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(data, bare, ignore=shutil.ignore_patterns("masks"))
    result = ltcam("distill", trained, bare, "--out", tmp_path / "again", *QUICK)
    assert result.code == 0, result.err
    same = (tmp_path / "again" / "weights.safetensors").read_bytes()
    assert same == (student / "weights.safetensors").read_bytes(), "same seed, same weights, masks or none"


def test_a_student_of_a_student(ltcam: Call, student: Path, data: Path, tmp_path: Path) -> None:
    result = ltcam("distill", student, data, "--out", tmp_path / "second", "--epochs", "1")
    assert result.code == 0, result.err


def test_the_better_of_teacher_and_student_is_kept(
    ltcam: Call, trained: Path, data: Path, tmp_path: Path
) -> None:
    words = ("--epochs", "1", "--image-size", "96x160")  # another size than the teacher's
    result = ltcam("distill", trained, data, "--out", tmp_path / "kept", *words)
    assert result.code == 0, result.err
    run = json.loads((tmp_path / "kept" / "run.json").read_text())
    judged = run["evidence"]["judged"]
    gain = np.mean([judged["student"][kind] - judged["teacher"][kind] for kind in judged["teacher"]])
    assert judged["kept"] == ("student" if gain >= -0.05 else "teacher")
    assert run["network"] == ("student" if judged["kept"] == "student" else "classifier")
    assert ("the teacher as it was" in result.err) == (judged["kept"] == "teacher")
    if judged["kept"] == "teacher":
        before = json.loads((trained / "run.json").read_text())
        assert run["evidence"]["validation"] == before["evidence"]["validation"]
    assert ltcam("predict", tmp_path / "kept", data / "hole", "--out", tmp_path / "results").code == 0


def test_more_frozen_stages_than_there_are_is_an_error(
    ltcam: Call, trained: Path, data: Path, tmp_path: Path
) -> None:
    result = ltcam("distill", trained, data, "--out", tmp_path / "frozen", "--freeze", "8")
    assert result.code == 2
    assert "--freeze 8" in result.err
    assert "stages" in result.err


def test_other_images_than_the_teachers_are_refused(
    ltcam: Call, trained: Path, dataset_of: Callable[..., Path], tmp_path: Path
) -> None:
    other = dataset_of(tmp_path / "other", 3, 1)
    for number, path in enumerate([*(other / "good").iterdir(), *(other / "hole").iterdir()]):
        Image.fromarray(np.full((64, 96, 3), 10 * number, np.uint8)).save(path)
    result = ltcam("distill", trained, other, "--out", tmp_path / "student")
    assert result.code == 2
    assert "none of the images" in result.err
    assert not (tmp_path / "student").exists()


def test_a_folder_that_is_no_run_is_refused(ltcam: Call, data: Path, tmp_path: Path) -> None:
    result = ltcam("distill", data, data, "--out", tmp_path / "student")
    assert result.code == 2
    assert "is not a run folder" in result.err


def test_an_existing_run_is_not_replaced_unasked(
    ltcam: Call, trained: Path, data: Path, student: Path
) -> None:
    before = (student / "weights.safetensors").stat().st_mtime_ns
    result = ltcam("distill", trained, data, "--out", student, *QUICK)
    assert result.code == 2
    assert "--overwrite" in result.err
    assert (student / "weights.safetensors").stat().st_mtime_ns == before


@pytest.mark.slow
def test_stopped_and_gone_on_with_it_is_the_same_student(
    ltcam: CommandLine, student: Path, trained: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "student"
    running = ltcam.start("distill", trained, data, "--out", out, *QUICK)
    ltcam.until(lambda: any(tmp_path.glob(".student*.training/round-1/last.ckpt")), running)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not out.exists()
    refused = ltcam("distill", trained, data, "--out", out, *QUICK)
    assert refused.code == 2
    assert "--resume" in refused.err
    result = ltcam("distill", trained, data, "--out", out, *QUICK, "--resume")
    assert result.code == 0, result.err
    assert (out / "weights.safetensors").read_bytes() == (student / "weights.safetensors").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
