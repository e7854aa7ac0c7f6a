from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import typer
from tests.cli.conftest import Call

from ltcam.cli.config import options_of
from ltcam.cli.console import command
from ltcam.cli.trained import plan_rows, train_listener
from ltcam.runs.run import Arithmetic
from ltcam.runs.unfinished import Place
from ltcam.training.plan import Plan

OPTIONS = {
    name.replace("_", "-"): name
    for name in ("epochs", "image_size", "augment", "ok", "layout", "group_by", "seed", "data", "out")
} | {"unsure": "unsure_margin"}


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_of_options_is_written_as_options_are_typed(tmp_path: Path) -> None:
    file = written(
        tmp_path / "o.yaml", "epochs: 8\nimage-size: [64, 96]\naugment: false\nok: fine\nseed:\nunsure: 0.1\n"
    )
    expected = {"epochs": 8, "image_size": "64x96", "augment": False, "ok": ["fine"], "unsure_margin": 0.1}
    assert options_of(file, OPTIONS) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch: 8", "no option 'epoch'; did you mean epochs?"),
        ("- 1\n- 2", "holds no options"),
        ("a: [", "cannot be read"),
        ("!!python/object/apply:os.system ['true']", "cannot be read"),
        ('{"schema_version": 2, "training": 7}', "no settings of a training"),
    ],
)
def test_what_is_no_file_of_options(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"o\.yaml") as refused:
        options_of(written(tmp_path / "o.yaml", text), OPTIONS)
    assert words in str(refused.value)


def test_what_never_ends_is_no_file_of_options(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "o.yaml")
    with pytest.raises(ValueError, match=r"o\.yaml is not a regular file"):
        options_of(tmp_path / "o.yaml", OPTIONS)


def test_a_run_gives_its_options_back_and_those_beside_it_win(
    ltcam: Call, data: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    words = ("train", data, "--out", out, "--config", trained / "run.json", "--dry-run", "--json")
    result = ltcam(*words)
    assert result.code == 0, result.err
    plan = json.loads(result.out)
    run = json.loads((trained / "run.json").read_text())
    assert plan["backbone"] == run["backbone"]
    assert plan["image_size"] == run["image_size"]
    assert plan["epochs"] == run["training"]["epochs"] == 3
    assert plan["batch_size"] == run["training"]["batch_size"]
    assert list(plan["sides"]) == run["classes"]
    assert json.loads(ltcam(*words, "--epochs", "7").out)["epochs"] == 7
    assert list(tmp_path.iterdir()) == []  # nothing was written


def test_a_run_keeps_how_its_data_were_read(
    ltcam: Call, dataset_of: Callable[..., Path], fast: tuple[str, ...], tmp_path: Path
) -> None:
    root = dataset_of(tmp_path / "set", ok=6, hole=4)
    (root / "good").rename(root / "passed by hand")
    words = ("train", root, "--ok", "passed by hand", "--layout", "folders", "--group-by", "(.*)")
    result = ltcam(*words, "--out", tmp_path / "run", *fast, "--epochs", "1")
    assert result.code == 0, result.err
    file = tmp_path / "run" / "run.json"
    assert json.loads(file.read_text())["data"]["reading"] == {
        "layout": "folders",
        "ok": ["passed by hand"],
        "group_by": "(.*)",
    }
    result = ltcam("train", root, "--out", tmp_path / "x", "--config", file, "--dry-run", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["sides"]["ok"] != {}


def test_an_option_that_there_is_not_stops_at_once(ltcam: Call, data: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "o.yaml", "epoch: 8")
    result = ltcam("train", data, "--out", tmp_path / "run", "--config", file)
    assert result.code == 2
    assert "did you mean epochs?" in " ".join(result.err.split())


def test_a_dry_run_says_what_would_be_done(
    ltcam: Call, dataset_of: Callable[..., Path], fast: tuple[str, ...], tmp_path: Path
) -> None:
    few = dataset_of(tmp_path / "few", ok=6, hole=5)
    result = ltcam("train", few, "--out", tmp_path / "run", *fast, "--dry-run")
    assert result.code == 0, result.err
    assert "3 epochs of 16 steps, 4 images a step" in result.err
    assert "with care: only" in result.err
    assert "64 x 96 pixels" in result.err
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_resumed_says_where() -> None:
    plan = Plan(
        sides={"ok": {}, "hole": {}},
        missing={},
        backbone="test_resnet",
        weights="",
        image_size=(64, 96),
        images_size=(64, 96),
        epochs=16,
        steps=20,
        batch_size=4,
        arithmetic=Arithmetic(reason="float32"),
        device="cpu",
        finished=6,
        seconds=12.0,
        concerns=(),
    )
    rows = dict(plan_rows(plan))
    assert rows["resumed"] == "after epoch 6; 10 are left"
    assert rows["time"].startswith("about 0:12 an epoch here, 2:00 in all")


def test_inspecting_takes_a_file_of_options_too(
    ltcam: Call, data: Path, trained: Path, tmp_path: Path
) -> None:
    file = written(tmp_path / "o.yaml", "unsure: 0.2\nmin-area: 0.5mm\npx-per-mm: 12\nbatch-size: 2\n")
    result = ltcam("predict", trained, data / "hole", "--out", tmp_path / "p", "--config", file)
    assert result.code == 0, result.err
    settings = json.loads((tmp_path / "p" / "predictions.json").read_text())["settings"]
    assert settings["verdict"]["unsure_margin"] == 0.2
    assert settings["mask"]["min_area_px"] == 36  # a square of 6 px
    words = ("evaluate", trained, data, "--out", tmp_path / "e", "--config", file, "--min-area", "7px")
    result = ltcam(*words, "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["settings"]["mask"]["min_area_px"] == 7
    result = ltcam("predict", trained, data, "--out", tmp_path / "x", "--config", trained / "run.json")
    assert result.code == 2
    assert "options of a training" in " ".join(result.err.replace("│", " ").split())


def test_no_file_is_no_file_of_options(ltcam: Call, data: Path, tmp_path: Path) -> None:
    result = ltcam("train", data, "--out", tmp_path / "run", "--config", "none.yaml")
    assert result.code == 2
    assert "none.yaml: No such file" in " ".join(result.err.replace("│", " ").split())
    assert "Errno" not in result.err


def test_a_dry_run_speaks_of_a_stopped_training_only_where_it_would_go_on(
    ltcam: Call, data: Path, fast: tuple[str, ...], tmp_path: Path
) -> None:
    kept = Place(tmp_path / "run").work
    kept.mkdir()
    torch.save({"history": [1]}, kept / "last.ckpt")
    words = ("train", data, "--out", tmp_path / "run", *fast, "--dry-run")
    assert "continue it with --resume, or start anew with --overwrite" in ltcam(*words).err
    assert "resumed" not in ltcam(*words, "--overwrite").err
    assert "after epoch" in ltcam(*words, "--resume").err


def test_a_dry_run_refuses_what_the_training_would(
    ltcam: Call, data: Path, trained: Path, fast: tuple[str, ...]
) -> None:
    result = ltcam("train", data, "--out", trained, *fast, "--dry-run", "--resume")
    assert result.code == 2
    assert "already holds results" in result.err
    assert "no unfinished training" not in result.err
    assert ltcam("train", data, "--out", trained, *fast, "--dry-run", "--overwrite").code == 0


def test_what_cannot_resume_does_not_offer_it(ltcam: Call, data: Path, tmp_path: Path) -> None:
    kept = Place(tmp_path / "run").work
    kept.mkdir()
    torch.save({"history": [1]}, kept / "last.ckpt")
    result = ltcam("quick", data, "--out", tmp_path / "run", "--backbone", "test_resnet")
    assert result.code == 2
    assert "kept for it; choose another folder, or start anew with --overwrite" in result.err


def test_what_a_training_warns_of_is_in_the_words_of_options(capsys: pytest.CaptureFixture[str]) -> None:
    def distilled(epochs: int, keep: str) -> int:
        with train_listener("distilling", epochs) as listener:
            listener.warn(f"more `epochs`, or `keep={keep}`, may help; `zoom` is no option here")
        return 0

    with pytest.raises(typer.Exit):
        command(distilled)(epochs=1, keep="student")
    said = "with care: more --epochs, or --keep student, may help; `zoom` is no option here"
    assert said in capsys.readouterr().err
