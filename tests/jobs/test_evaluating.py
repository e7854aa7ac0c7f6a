from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ltcam.data.dataset import Dataset, Sample, Split
from ltcam.data.fingerprint import content_hashes
from ltcam.data.layouts import read_dataset
from ltcam.data.opened import OpenData
from ltcam.data.splits import split_csv
from ltcam.evaluation.settings import EvaluationSettings
from ltcam.jobs.evaluating import Measured, evaluate
from ltcam.jobs.execution import Execution
from ltcam.runs.inspector import Inspector
from ltcam.runs.run import SPLIT_FILE
from ltcam.runs.sides import choose_samples
from ltcam.training.listener import Listener
from ltcam_runtime.errors import DataError, OutputError, SettingsError
from ltcam_runtime.folders import FILES_FILE
from ltcam_runtime.settings import Overrides, VerdictSettings


def paint(path: Path, seed: int, *, square: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    pixels = rng.integers(100, 200, (48, 64), dtype=np.uint8)
    if square:
        pixels[10:30, 20:44] = 20
    Image.fromarray(pixels).save(path)


def write_mask(path: Path, size: tuple[int, int] = (48, 64)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(size, np.uint8)
    mask[10:30, 20:44] = 255
    Image.fromarray(mask).save(path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six OK images and four with a dent and a mask."""
    root = tmp_path / "data"
    for number in range(6):
        paint(root / f"good/{number}.png", number)
    for number in range(4):
        paint(root / f"dent/{number}.png", 50 + number, square=True)
        write_mask(root / f"masks/dent/{number}.png")
    return root


@pytest.fixture
def run(make_run: Callable[..., Path]) -> Path:
    return make_run(verdict=VerdictSettings(threshold=0.5))


CPU = Execution(device="cpu")


def rows(dataset: Dataset, side: Callable[[str], Split]) -> str:
    """split.csv of a data set: `side` says from an id on which side it is."""
    sides = tuple(replace(sample, split=side(sample.id)) for sample in dataset.samples)
    return split_csv(dataset.with_samples(sides), content_hashes(dataset))


def last_two(name: str) -> Split:
    return "test" if name[-5] in "23" else "train"


def measure(
    run: Path, data: Path | OpenData, out: Path, execution: Execution = CPU, **options: Any
) -> Measured:
    return evaluate(run, data, out, EvaluationSettings(bootstrap=20, **options), execution)


# ------------------------------------------------------------------------------------------ samples


def ids(samples: Sequence[Sample]) -> list[str]:
    return [sample.id for sample in samples]


TEST_SIDE = ["dent/2.png", "dent/3.png", "good/2.png", "good/3.png"]


def test_of_the_runs_own_data_its_test_side(data: Path, make_run: Callable[..., Path]) -> None:
    dataset = read_dataset(data)
    samples, words = choose_samples(
        OpenData(dataset.root, dataset), make_run(split=rows(dataset, last_two)), "auto"
    )
    assert ids(samples) == TEST_SIDE
    assert words == "test side of the run"


@pytest.mark.parametrize(("split", "count"), [("test", 4), ("train", 6), ("all", 10)])
def test_a_side_by_name(split: str, count: int, data: Path, make_run: Callable[..., Path]) -> None:
    dataset = read_dataset(data)
    samples, words = choose_samples(
        OpenData(dataset.root, dataset), make_run(split=rows(dataset, last_two)), split
    )
    assert len(samples) == count
    assert words.startswith(split)


def test_of_a_part_of_the_runs_data_what_is_left_of_its_test_side(
    data: Path, make_run: Callable[..., Path]
) -> None:
    run = make_run(split=rows(read_dataset(data), last_two))
    (data / "good/2.png").unlink()
    (data / "good/5.png").unlink()
    samples, words = choose_samples(OpenData.open(data, one_class=True), run, "auto")
    assert ids(samples) == [name for name in TEST_SIDE if name != "good/2.png"]
    assert words == "test side of the run"


def test_other_data_is_measured_as_a_whole(data: Path, make_run: Callable[..., Path]) -> None:
    samples, words = choose_samples(OpenData.open(data, one_class=True), make_run(), "auto")
    assert len(samples) == 10
    assert words == "all"


def test_other_data_of_the_same_names_is_other_data(data: Path, make_run: Callable[..., Path]) -> None:
    run = make_run(split=rows(read_dataset(data), last_two))
    for number, file in enumerate(sorted(data.glob("[gd]*/*.png"))):
        paint(file, 1000 + number)
    samples, words = choose_samples(OpenData.open(data, one_class=True), run, "auto")
    assert len(samples) == 10
    assert words == "all"


def test_images_the_run_has_never_seen_count_as_test(data: Path, make_run: Callable[..., Path]) -> None:
    run = make_run(split=rows(read_dataset(data), last_two))
    paint(data / "good/77.png", 77)
    samples, _ = choose_samples(OpenData.open(data, one_class=True), run, "auto")
    assert ids(samples) == [*TEST_SIDE, "good/77.png"]


def test_training_images_under_other_names_are_no_test_images(
    data: Path, make_run: Callable[..., Path]
) -> None:
    run = make_run(split=rows(read_dataset(data), last_two))
    shutil.copy(data / "good/0.png", data / "good/new.png")
    samples, _ = choose_samples(OpenData.open(data, one_class=True), run, "auto")
    assert ids(samples) == TEST_SIDE


def test_other_data_with_a_test_side_of_its_own(
    data: Path, tmp_path: Path, make_run: Callable[..., Path]
) -> None:
    other = tmp_path / "other"
    for side in ("train", "test"):
        for kind in ("good", "dent"):
            paint(other / side / kind / "1.png", 1)
    samples, words = choose_samples(OpenData.open(other, one_class=True), make_run(), "auto")
    assert ids(samples) == ["test/dent/1.png", "test/good/1.png"]
    assert words == "test side of the data set"


def test_a_run_that_trained_on_everything_says_so(data: Path, make_run: Callable[..., Path]) -> None:
    dataset = read_dataset(data)
    samples, words = choose_samples(
        OpenData(dataset.root, dataset), make_run(split=rows(dataset, lambda _: "train")), "auto"
    )
    assert len(samples) == 10
    assert "trained on" in words


def test_a_side_that_is_not_there(data: Path, make_run: Callable[..., Path]) -> None:
    dataset = read_dataset(data)
    with pytest.raises(DataError, match="there is no val side; use `split=all`"):
        choose_samples(OpenData(dataset.root, dataset), make_run(split=rows(dataset, last_two)), "val")
    with pytest.raises(SettingsError, match="`split` 'tests' is unknown; choose from auto, train"):
        choose_samples(OpenData(dataset.root, dataset), make_run(), "tests")


def test_a_run_without_its_split_file(data: Path, make_run: Callable[..., Path]) -> None:
    run = make_run()
    (run / SPLIT_FILE).unlink()
    assert len(choose_samples(OpenData.open(data, one_class=True), run, "auto")[0]) == 10


def test_a_damaged_split_file(data: Path, make_run: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"split\.csv"):
        choose_samples(OpenData.open(data, one_class=True), make_run(split="a,b\n1,2\n"), "auto")


# ------------------------------------------------------------------------------------------ metrics


def test_metrics_have_the_names_that_were_promised(run: Path, data: Path, tmp_path: Path) -> None:
    calls = []
    found = measure(
        run,
        data,
        tmp_path / "out",
        Execution(device="cpu", listener=Listener(progress=lambda *c: calls.append(c))),
    )
    assert calls[-1] == (10, 10)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics == found.metrics
    for name in (
        "iou",
        "precision",
        "recall",
        "f1",
        "two_class_miou",
        "mean_image_iou",
        "ap",
        "auroc",
        "pro",
    ):
        assert 0 <= metrics["pixel"][name] <= 1, name
    for name in ("auroc", "ap", "f1"):
        assert 0 <= metrics["image"][name] <= 1, name
    assert set(metrics["populations"]) == {"defective", "all", "gated"}
    assert metrics["images"] == {"total": 10, "defective": 4, "ok": 6, "with_mask": 4}
    assert metrics["pixel"]["intervals"]["iou"][0] <= metrics["pixel"]["iou"]
    assert set(metrics["pixel"]["boundary"]) == {"1", "2", "3"}
    assert set(metrics["boxes"]) >= {"0.5", "0.1"}
    assert metrics["failed"] == []
    assert sorted(metrics["worst"]) == [f"dent/{number}.png" for number in range(4)]


def test_the_settings_say_what_was_measured(run: Path, data: Path, tmp_path: Path) -> None:
    options = {"overrides": Overrides(method="grad-cam", stages=[2], threshold=0.25)}
    settings = measure(
        run, data, tmp_path / "out", execution=Execution(device="cpu", command="c"), **options
    ).metrics["settings"]
    assert settings["run"] == str(run)
    assert settings["data"] == str(data)
    assert (settings["layout"], settings["split"], settings["command"]) == ("folders", "all", "c")
    assert (settings["backbone"], settings["seed"], settings["bootstrap"]) == ("test_resnet", 0, 20)
    assert settings["cam"]["method"] == "grad-cam"
    assert settings["cam"]["stages"] == ["trunk.layer1"]
    assert settings["mask"]["threshold"] == 0.25
    assert settings["verdict"]["threshold"] == 0.5
    assert settings["image_size"] == [64, 64]


def test_numbers_are_those_of_the_inspections(run: Path, data: Path, tmp_path: Path) -> None:
    """Micro IoU of the defective images, and the verdicts, counted here once more."""
    found = measure(run, data, tmp_path / "out").metrics
    inspector = Inspector.load(run, device="cpu")
    inside = outside = 0
    scores = {}
    for sample in read_dataset(data).samples:
        item = next(inspector.inspect_files([(sample.id, sample.path)], gate=False)).inspection
        assert item is not None
        scores[sample.id] = item.score
        if isinstance(sample.mask, Path):
            truth = np.asarray(Image.open(sample.mask)) > 0
            inside += (item.mask & truth).sum()
            outside += (item.mask | truth).sum()
    assert found["pixel"]["iou"] == pytest.approx(inside / outside, abs=1e-3)
    with (tmp_path / "out" / "images.csv").open() as file:
        table = {row["image"]: row for row in csv.DictReader(file)}
    assert set(table) == set(scores)
    for name, row in table.items():
        assert float(row["score"]) == pytest.approx(scores[name], abs=1e-5)
        assert row["verdict"] == ("defect" if scores[name] >= 0.5 else "ok")


def test_batch_size_changes_nothing(run: Path, data: Path, tmp_path: Path) -> None:
    one = measure(run, data, tmp_path / "1", execution=Execution(device="cpu", batch_size=1)).metrics
    eight = measure(run, data, tmp_path / "8", execution=Execution(device="cpu", batch_size=8)).metrics
    assert one["pixel"]["iou"] == pytest.approx(eight["pixel"]["iou"], abs=1e-3)
    assert one["image"]["ap"] == eight["image"]["ap"]


def test_a_mask_of_another_size_and_an_unreadable_image_are_listed(
    run: Path, data: Path, tmp_path: Path
) -> None:
    write_mask(data / "masks/dent/1.png", (48, 60))
    (data / "good/3.png").write_bytes(b"")
    (data / "masks/dent/2.png").write_bytes(b"no mask")
    found = measure(run, data, tmp_path / "out")
    reasons = {entry["image"]: entry["reason"] for entry in found.metrics["failed"]}
    assert dict(found.failed) == reasons
    assert set(reasons) == {"dent/1.png", "dent/2.png", "good/3.png"}
    assert "the mask is 48 x 60, its image 48 x 64" in reasons["dent/1.png"]
    assert reasons["dent/2.png"].startswith("its mask masks/dent/2.png: ")
    assert found.metrics["images"]["total"] == 9, "what is wrong with a mask is none of its image's"


def test_nothing_that_can_be_measured(run: Path, data: Path, tmp_path: Path) -> None:
    for file in data.rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match="none of the 10 images could be measured"):
        measure(run, data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("kept", "layout"), [("good", None), ("dent", "folders")])
def test_data_of_one_kind(kept: str, layout: str | None, run: Path, data: Path, tmp_path: Path) -> None:
    shutil.rmtree(data / {"good": "dent", "dent": "good"}[kept])
    metrics = measure(run, OpenData.open(data, layout, one_class=True), tmp_path / "out").metrics
    assert metrics["image"]["auroc"] is None
    assert (tmp_path / "out" / "report.html").stat().st_size > 1000


def test_data_without_masks(run: Path, data: Path, tmp_path: Path) -> None:
    for file in (data / "masks").rglob("*.png"):
        file.unlink()
    metrics = measure(run, data, tmp_path / "out").metrics
    assert metrics["pixel"]["iou"] is None
    assert 0 <= metrics["image"]["ap"] <= 1


def test_all_that_was_promised_is_written(run: Path, data: Path, tmp_path: Path) -> None:
    measure(run, data, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "metrics.json",
        "metrics.md",
        "images.csv",
        "report.html",
        FILES_FILE,
    }
    with pytest.raises(OutputError, match="`overwrite=True`"):
        measure(run, data, tmp_path / "out")
    measure(run, data, tmp_path / "out", replace(CPU, overwrite=True))


def test_classes_that_the_run_does_not_know(
    make_run: Callable[..., Path], data: Path, tmp_path: Path
) -> None:
    several = make_run(classes=("ok", "crack", "stain"))
    found = measure(several, data, tmp_path / "several").metrics
    assert found["unknown_kinds"] == ["dent"]  # counted as defective, and never named right
    assert found["images"]["defective"] == 4
    assert math.isfinite(found["pixel"]["iou"])
    two = make_run(classes=("ok", "defect"))  # one kind of defect: whatever it is called
    assert math.isfinite(measure(two, data, tmp_path / "out").metrics["pixel"]["iou"])
