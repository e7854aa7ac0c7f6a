from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.cli.conftest import Call, CommandLine, Zoo, left_in

RUN_FILES = ["history.csv", "report.html", "run.json", "split.csv", "weights.safetensors"]


def weights_of(run: Path) -> str:
    return sha256((run / "weights.safetensors").read_bytes()).hexdigest()


# ------------------------------------------------------------------------------------- what is written


def test_run_folder(trained: Path) -> None:
    assert left_in(trained) == RUN_FILES
    run = json.loads((trained / "run.json").read_text())
    assert run["schema_version"] == 3
    assert (run["classes"], run["image_size"]) == (["ok", "hole"], [64, 96])
    with (trained / "history.csv").open() as stream:
        history = list(csv.DictReader(stream))
    assert [int(row["epoch"]) for row in history] == [0, 1, 2]
    with (trained / "split.csv").open() as stream:
        assert {row["split"] for row in csv.DictReader(stream)} == {"train", "val", "test"}
    assert left_in(trained.parent) == ["run"]  # no checkpoints, no temporaries


@pytest.fixture(scope="module")
def bounded(
    ltcam: Call, data: Path, fast: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Any]:
    """The same training without masks, and with a bound on missed defects: run folder and what was said."""
    folder = tmp_path_factory.mktemp("bounded")
    copy = shutil.copytree(data, folder / "elsewhere")
    shutil.rmtree(copy / "masks")
    result = ltcam(
        "train", copy, "--out", folder / "run", *fast, "--max-miss", "0.02", "--confidence", "0.95"
    )
    assert result.code == 0, result.err
    return folder / "run", result


def test_same_seed_trains_the_same_weights_and_neither_masks_nor_bounds_play_a_part(
    trained: Path, bounded: tuple[Path, Any]
) -> None:
    run, _ = bounded
    assert weights_of(run) == weights_of(trained)
    for name in ("history.csv", "split.csv"):
        assert (run / name).read_bytes() == (trained / name).read_bytes()


def test_classic_is_the_papers_pipeline_and_another_seed_trains_other_weights(
    ltcam: Call, data: Path, trained: Path, fast: tuple[str, ...], tmp_path: Path
) -> None:
    result = ltcam("train", data, "--out", tmp_path / "run", *fast, "--classic", "--seed", "1")
    assert result.code == 0, result.err
    assert weights_of(tmp_path / "run") != weights_of(trained)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["maps"]["map"]["method"] == "grad-cam"
    assert run["maps"]["map"]["percentile"] == 50
    assert run["maps"]["map"]["stages"] == run["stages"]
    assert run["maps"]["map"]["fusion"] == "sum"
    assert run["sharpening"]["polarity"] == "none"
    assert run["mask"] == {
        "threshold": "otsu",
        "of": "range",
        "reach": 1.0,
        "fill_holes": False,
        "min_area_px": 1,
    }
    assert "kinds" not in run["evidence"]
    assert run["kinds"] == {}


def test_every_kind_has_its_settings_and_their_evidence(trained: Path) -> None:
    run = json.loads((trained / "run.json").read_text())
    assert set(run["kinds"]) == set(run["classes"][1:])
    for kind, settings in run["kinds"].items():
        why = run["evidence"]["kinds"][kind]
        assert why["sentence"]
        assert settings["map"] in run["maps"]
        if "candidates" in why:
            chosen = why["candidates"][0]
            assert chosen["polarity"] == settings["sharpening"]["polarity"]
            assert chosen["fill_holes"] == settings["mask"]["fill_holes"]
            assert why["trust"] in {"good", "fair", "poor"}


def test_a_bound_that_needs_more_defects_is_said(trained: Path, bounded: tuple[Path, Any]) -> None:
    """Too few here for 2 %: with exit code 0 and the threshold that is chosen without a bound."""
    folder, result = bounded
    run, plain = (json.loads((each / "run.json").read_text()) for each in (folder, trained))
    sentence = run["verdict"]["evidence"]
    assert "WARNING: at most 2 % missed defects with 95 % confidence cannot be guaranteed" in result.err
    assert sentence in result.err
    assert "that takes 149 defective validation images" in sentence
    assert run["verdict"]["threshold"] == plain["verdict"]["threshold"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "that takes 149 defective validation images" in page


def test_few_defects_train_without_validation_and_json_has_no_nan(
    ltcam: Call, dataset_of: Callable[..., Path], fast: tuple[str, ...], tmp_path: Path
) -> None:
    few = dataset_of(tmp_path / "few", ok=6, hole=3)
    (few / "hole" / "99.png").write_bytes(b"")
    (few / "good" / "99<b>.jpg").write_text("no picture")
    result = ltcam("train", few, "--out", tmp_path / "run", *fast, "--epochs", "2", "--json")
    summary = json.loads(result.out)
    history = summary["history"]
    assert [entry["val_ap"] for entry in history] == [None, None]
    assert all(entry["train_loss"] > 0 for entry in history)
    assert summary["best_epoch"] == 1  # nothing was held back to choose another
    # Files on the test side are not opened by a training; what was, is listed.
    with (tmp_path / "run" / "split.csv").open() as stream:
        side = {row["path"]: row["split"] for row in csv.DictReader(stream)}
    expected = [name for name in ("good/99<b>.jpg", "hole/99.png") if side[name] != "test"]
    assert [failure["image"] for failure in summary["failed"]] == expected
    assert result.code == (1 if expected else 0)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "99<b>" not in page


def test_unreadable_images_are_listed_with_exit_code_1(
    ltcam: Call, dataset_of: Callable[..., Path], zoo: Zoo, fast: tuple[str, ...], tmp_path: Path
) -> None:
    """A split of the data's own, so that the broken files are on the train side."""
    root = tmp_path / "set"
    dataset_of(root / "train", ok=4, hole=3)
    dataset_of(root / "test", ok=1, hole=1)
    for name in (*zoo.sizes, *zoo.broken):
        shutil.copy(zoo.root / name, root / "train" / "good" / name)
    result = ltcam("train", root, "--out", tmp_path / "run", *fast, "--epochs", "1", "--json")
    assert result.code == 1
    failed = {Path(f["image"]).name: f["reason"] for f in json.loads(result.out)["failed"]}
    assert failed.keys() == zoo.broken.keys()
    assert all(words in failed[name] for name, words in zoo.broken.items())
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "truncated.jpg" in page
    assert "not used" in result.err


# --------------------------------------------------------------------------------------- what is refused


@pytest.fixture
def weights_of_all_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in the folder where one stands, none of which is the weights of a network."""
    monkeypatch.chdir(tmp_path)
    Path("pickled.pth").write_bytes(b"\x80\x04")
    Path("damaged.safetensors").write_bytes(b"\xff" * 64)
    save_file({"conv1.0.weight": torch.full((2, 2), torch.nan)}, "nan.safetensors")
    save_file({"lamp": torch.ones(2)}, "foreign.safetensors")


@pytest.mark.usefixtures("weights_of_all_kinds")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--backbone", "resnet8000"], "--backbone 'resnet8000'"),
        (["--weights", "nowhere.safetensors"], "nowhere.safetensors: there is no such file"),
        (["--weights", "pickled.pth"], "not read"),
        (["--weights", "damaged.safetensors"], "not a readable safetensors file"),
        (["--weights", "nan.safetensors"], "tensor 'conv1.0.weight' holds NaN"),
        (["--weights", "foreign.safetensors"], "none of its 1 tensors"),
        (["--freeze", "8"], "--freeze 8"),
        (["--device", "abacus"], "--device 'abacus'"),
        (["--layout", "ksdd"], "ksdd"),
        (["--max-miss", "2"], "--max-miss 2.0: Input should be less than 1"),
        (["--confidence", "95"], "--confidence 95.0: Input should be less than 1"),
    ],
)
def test_refused_settings_leave_nothing(
    refuses: Call, data: Path, fast: tuple[str, ...], words: list[str], said: str
) -> None:
    refuses(said, "train", data, *fast, *words)


@pytest.mark.parametrize("what", ["empty", "only ok", "only defective", "all unreadable"])
def test_refused_data_leave_nothing(
    ltcam: Call,
    dataset_of: Callable[..., Path],
    fast: tuple[str, ...],
    tmp_path: Path,
    what: str,
) -> None:
    root = tmp_path / "set"
    root.mkdir()
    said = {
        "empty": "the folder is empty",
        "only ok": "needs defective images too",
        "only defective": "needs OK images too",
        "all unreadable": "none of the 6 training images could be read",
    }[what]
    if what == "only ok":
        dataset_of(root, ok=4, hole=0)
    if what == "only defective":
        dataset_of(root, ok=0, hole=4)
        (root / "good").mkdir()
        (root / "good" / "notes.txt").write_text("no image")
    if what == "all unreadable":
        for path in dataset_of(root, ok=4, hole=4).rglob("*.png"):
            path.write_bytes(b"x")
    result = ltcam("train", root, "--out", tmp_path / "run", "--layout", "folders", *fast)
    assert result.code == 2
    assert said in result.err
    assert left_in(tmp_path) == ["set"]


def test_existing_results_stay(ltcam: Call, data: Path, run_copy: Path, fast: tuple[str, ...]) -> None:
    before = weights_of(run_copy)
    for options in ([], ["--resume"]):
        result = ltcam("train", data, "--out", run_copy, *fast, *options)
        assert result.code == 2
        assert "--overwrite" in result.err
    foreign = run_copy.parent / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    result = ltcam("train", data, "--out", foreign, *fast, "--overwrite")
    assert result.code == 2
    assert "not replaced" in result.err
    # A training that fails leaves the old run in its place.
    assert ltcam("train", data / "nowhere", "--out", run_copy, *fast, "--overwrite").code == 2
    assert weights_of(run_copy) == before
    assert left_in(foreign) == ["thesis.txt"]
    assert left_in(run_copy.parent) == ["foreign", "run-copy"]


def test_file_in_the_way(ltcam: Call, data: Path, fast: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    for out in (tmp_path / "run", tmp_path / "run" / "below"):
        result = ltcam("train", data, "--out", out, *fast, "--overwrite")
        assert result.code == 2
        assert "is a file" in result.err
    assert left_in(tmp_path) == ["run"]


def test_full_disk(ltcam: Call, data: Path, fast: tuple[str, ...], small_disk: Callable[[str], Path]) -> None:
    place = small_disk("size=1m")
    result = ltcam("train", data, "--out", place / "run", *fast)
    assert result.code == 2
    assert "disk is full" in result.err
    assert "Traceback" not in result.err
    assert left_in(place) == []


def test_unwritable_disk(
    ltcam: Call, data: Path, fast: tuple[str, ...], small_disk: Callable[[str], Path]
) -> None:
    place = small_disk("size=1m,ro")
    result = ltcam("train", data, "--out", place / "run", *fast)
    assert result.code == 2
    assert "read-only" in result.err


# ------------------------------------------------------------------------------------ several processes


@pytest.mark.slow
def test_two_processes_train_together_and_one_writes(
    ltcam: CommandLine, data: Path, fast: tuple[str, ...], tmp_path: Path
) -> None:
    """What several GPUs do, done by two processes on the CPU."""
    running = ltcam.start(
        *("train", data, "--out", tmp_path / "run", *fast, "--epochs", "2", "--json"),
        *("--device", "cpu", "--devices", "2"),
    )
    printed, said = running.communicate(timeout=300)
    assert running.returncode == 0, said
    assert len(json.loads(printed)["history"]) == 2
    assert said.count("epoch 2/2") == 1
    assert left_in(tmp_path) == ["run"]
    assert left_in(tmp_path / "run") == RUN_FILES


# ------------------------------------------------------------------------------- stopped and gone on with


@pytest.mark.parametrize("stop", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_stopped_training_is_gone_on_with(
    ltcam: Call, training: tuple[Any, ...], trained: Path, tmp_path: Path, stop: signal.Signals
) -> None:
    """By Ctrl-C, or by SIGTERM of a batch queue, which is no success either; ends with the same weights."""

    def epoch_line(*_: object) -> str:
        os.kill(os.getpid(), stop)
        return "an epoch"

    before = signal.getsignal(stop)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ltcam.cli.trained.epoch_line", epoch_line)
        result = ltcam(*training)
    assert result.code == (130 if stop == signal.SIGINT else 143)
    assert signal.getsignal(stop) == before
    assert "continue with --resume" in result.err
    assert result.err.count("an epoch") <= 1
    assert result.out == ""
    assert len(left_in(tmp_path)) == 1  # the checkpoints
    go_on_with(training, ltcam, trained)


@pytest.mark.slow
def test_killed_training_is_gone_on_with(
    ltcam: CommandLine, training: tuple[Any, ...], trained: Path, tmp_path: Path
) -> None:
    running = ltcam.start(*training)
    ltcam.until(lambda: any(tmp_path.glob(".run.*.training/last.ckpt")), running)
    running.kill()
    printed, said = running.communicate(timeout=120)
    assert running.returncode == -signal.SIGKILL, said
    assert printed == ""
    go_on_with(training, ltcam, trained)


def go_on_with(words: tuple[Any, ...], ltcam: Call, trained: Path) -> None:
    """After a stop behind the first epoch: with the same settings only, to the same weights."""
    out: Path = words[3]
    assert not out.exists()
    again = ltcam(*words)
    assert again.code == 2
    assert "--resume" in again.err
    other = ltcam(*words, "--resume", "--batch-size", "5")
    assert other.code == 2
    assert "--batch-size 8" in other.err or "--batch-size 4" in other.err
    done = ltcam(*words, "--resume")
    assert done.code == 0, done.err
    assert "epoch 1/3" not in done.err
    assert "epoch 3/3" in done.err
    assert weights_of(out) == weights_of(trained)
    assert (out / "history.csv").read_bytes() == (trained / "history.csv").read_bytes()
    assert left_in(out.parent) == ["run"]


def test_interrupt_while_reading_leaves_nothing(
    ltcam: Call, data: Path, fast: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()

    monkeypatch.setattr("ltcam.training.train.prepare_images", interrupted)
    result = ltcam("train", data, "--out", tmp_path / "run", *fast)
    assert result.code == 130
    assert "nothing was written" in result.err
    assert left_in(tmp_path) == []


def test_trained_but_not_written_is_not_trained_again(
    ltcam: Call, training: tuple[Any, ...], trained: Path, tmp_path: Path
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ltcam.jobs.trained.write_run", full)
        result = ltcam(*training)
    assert result.code == 2
    assert "disk is full" in result.err
    damaged = shutil.copytree(tmp_path, tmp_path.with_name("damaged"))
    done = ltcam(*training, "--resume")
    assert done.code == 0
    assert "epoch 3/3" not in done.err
    assert weights_of(tmp_path / "run") == weights_of(trained)
    # A checkpoint that was damaged meanwhile is refused, and thrown away only when told to.
    checkpoint = next(damaged.glob(".run.*.training/last.ckpt"))
    new = checkpoint.parent.rename(tmp_path / checkpoint.parent.name)
    (new / "last.ckpt").write_bytes(checkpoint.name.encode() * 99)
    shutil.rmtree(tmp_path / "run")
    refused = ltcam(*training, "--resume")
    assert refused.code == 2
    assert "last.ckpt" in refused.err
    assert "--overwrite" in refused.err
    (new / "settings.json").write_text("{")
    assert "settings.json" in ltcam(*training, "--resume").err
    assert ltcam("train", training[1] / "nowhere", *training[2:], "--overwrite").code == 2
    assert new.is_dir()  # not for a mistyped folder


def test_weights_of_a_run_start_another_and_a_bound_is_kept(
    ltcam: Call, data: Path, trained: Path, fast: tuple[str, ...], tmp_path: Path
) -> None:
    file = trained / "weights.safetensors"
    words = [*fast, "--epochs", "1", "--weights", file, "--learning-rate", "1e-9", "--max-miss", "0.9"]
    result = ltcam("train", data, "--out", tmp_path / "run", *words, "--resume")
    assert result.code == 0
    assert "starting at the first epoch" in result.err  # nothing is there to be resumed
    before, after = load_file(file), load_file(tmp_path / "run" / "weights.safetensors")
    name = "trunk.conv1.0.weight"
    assert torch.allclose(before[name], after[name], atol=1e-5)
    with (trained / "split.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "val" and row["label"] != "ok"]
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert f"of {len(rows)} defective validation images' scores" in run["verdict"]["evidence"]
    assert "caveat" in result.err
