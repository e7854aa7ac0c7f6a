from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.conftest import noted
from tests.experiments.conftest import executed, marks_of

from ltcam.cam import FullGrad, Truncation, log_odds, truncated
from ltcam.data.layouts import read_dataset
from ltcam.evaluation.counts import PixelCounts, count_pixels
from ltcam.experiments.opened import Source
from ltcam.experiments.results import Found
from ltcam.experiments.tune import measure as tune
from ltcam.experiments.tune.judging import judge_image
from ltcam.experiments.tune.measure import ORACLE, TuneSettings, tune_run
from ltcam.experiments.tune.percentile_maps import PercentileMaps, heatmaps_by_percentile
from ltcam.experiments.tune.rules import RULES
from ltcam.experiments.tune.tuning import Tuning
from ltcam.runs.inspector import Inspector
from ltcam_runtime.errors import DataError, OutputError, RunError, SettingsError
from ltcam_runtime.folders import FILES_FILE
from ltcam_runtime.images import read_image
from ltcam_runtime.masks import otsu
from ltcam_runtime.resizing import resize, resize_heatmap

MAPS = PercentileMaps((0, 50, 90), full_grad=False)
METRICS = ("iou", "precision", "recall", "f1")


def measure(
    sided: tuple[Path, Path],
    out: Path,
    *,
    maps: PercentileMaps = MAPS,
    train_images: int | None = None,
    rule_images: int = 16,
    **work: Any,
) -> Found[Tuning]:
    settings = TuneSettings(maps, train_images, rule_images, bootstrap=20)
    return tune_run(Source.open(*sided, device="cpu"), out, settings, executed(**work))


def by_hand(
    sided: tuple[Path, Path], numbers: Collection[int], cam: Callable[[Inspector], Any]
) -> PixelCounts:
    run, data = sided
    inspector = Inspector.load(run, device="cpu")
    total = PixelCounts()
    for sample in read_dataset(data).samples:
        if sample.mask is not None and int(sample.path.stem) in numbers:
            image = read_image(sample.path)
            batch = inspector.network.batch([resize(image, inspector.run.image_size)])
            heatmap = cam(inspector)(inspector.network.classifier, batch, log_odds([1]))[0].numpy()
            total += count_pixels(otsu(resize_heatmap(heatmap, image.shape[:2])), marks_of(sample))
    return total


@pytest.mark.parametrize(
    ("method", "cam"),
    [
        ("LTGrad-CAM", lambda inspector: truncated("grad-cam", 50, layers=inspector.run.stages)),
        ("LTLayerCAM", lambda inspector: truncated("layer-cam", 50, layers=inspector.run.stages)),
        ("LTFullGrad", lambda _: FullGrad(Truncation(50))),
    ],
)
def test_counts_are_those_of_the_single_cam(
    method: str, cam: Callable[..., Any], sided: tuple[Path, Path], tmp_path: Path
) -> None:
    tuning = measure(sided, tmp_path / "out", maps=PercentileMaps((50,))).values.to_json()
    (found,) = [each for each in tuning["methods"] if each["method"] == method]
    (point,) = [each for each in found["curve"] if each["percentile"] == 50]
    tolerance = 4  # pixels whose level rounding moves across the threshold
    for side, numbers in (("train", {0, 1, 2}), ("test", {3, 4})):
        expected = by_hand(sided, numbers, cam)
        counts = point[side]["counts"]
        for name in ("tp", "fp", "fn"):
            assert abs(counts[name] - getattr(expected, name)) <= tolerance, (side, name)
        tp, fp, fn = counts["tp"], counts["fp"], counts["fn"]
        assert tp + fn == len(numbers) * 20 * 24
        assert point[side]["iou"] == tp / (tp + fp + fn)
        assert point[side]["f1"] == 2 * tp / (2 * tp + fp + fn)
        low, high = point[side]["intervals"]["iou"]
        assert 0 <= low <= high <= 1


def test_choices_and_how_far_they_fall_behind(sided: tuple[Path, Path], tmp_path: Path) -> None:
    tuning = measure(sided, tmp_path / "out").values.to_json()
    assert tuning["sides"]["train"]["measured"] == 3
    assert tuning["sides"]["test"]["measured"] == 2
    assert tuning["judged"]["images"] == 3
    for method in tuning["methods"]:
        iou = {
            side: {point["percentile"]: point[side]["iou"] for point in method["curve"]}
            for side in ("train", "test")
        }
        oracle, *rules = method["choices"]
        assert (oracle["rule"], oracle["uses_pixel_labels"]) == (ORACLE, True)
        assert iou["train"][oracle["percentile"]] == max(iou["train"].values())
        assert [choice["rule"] for choice in rules] == [rule.name for rule in RULES]
        assert not any(choice["uses_pixel_labels"] for choice in rules)
        assert method["best_on_test"]["iou"] == max(iou["test"].values())
        for choice in rules:
            values = dict(zip(MAPS.percentiles, method["rule_values"][choice["rule"]], strict=True))
            assert values[choice["percentile"]] == max(values.values())
            assert choice["test_iou"] == iou["test"][choice["percentile"]]
            assert choice["behind_train_masks"] == pytest.approx(oracle["test_iou"] - choice["test_iou"])


def test_the_rules_see_no_mask(sided: tuple[Path, Path], tmp_path: Path) -> None:
    before = measure(sided, tmp_path / "before").values.to_json()
    for file in (sided[1] / "masks/dent").iterdir():
        mask = np.asarray(Image.open(file))
        Image.fromarray(np.roll(mask, 17, axis=1)).save(file)
    after = measure(sided, tmp_path / "after").values.to_json()
    for one, other in zip(before["methods"], after["methods"], strict=True):
        assert one["rule_values"] == other["rule_values"]
        assert one["curve"] != other["curve"]


def test_what_is_written(sided: tuple[Path, Path], tmp_path: Path) -> None:
    calls = []
    out = tmp_path / "results" / "out"
    found = measure(sided, out, command="ltcam tune a b", progress=lambda *call: calls.append(call))
    names = {"tune.json", "tune.csv", "tune.md", "report.html", "curves.svg", "curves.png"}
    assert {path.name for path in out.iterdir()} == names | {FILES_FILE}
    assert [path.name for path in out.parent.iterdir()] == ["out"]  # the journal is gone
    assert calls[-1] == (8, 8)
    tuning = json.loads((out / "tune.json").read_text())
    assert tuning == found.values.to_json()
    assert tuning["schema_version"] == 1
    assert (tuning["backbone"], tuning["seed"], tuning["command"]) == ("test_resnet", 0, "ltcam tune a b")
    assert tuning["settings"]["percentiles"] == [0, 50, 90]
    assert tuning["failed"] == []
    kinds = [note.partition(":")[0] for note in tuning["notes"]]
    assert len(set(kinds)) == len(kinds)
    with (out / "tune.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 2 * 4 * 2
    first = tuning["methods"][0]["untruncated"]["train"]
    assert (table[0]["method"], table[0]["percentile"], table[0]["side"]) == ("LTGrad-CAM", "none", "train")
    assert float(table[0]["iou"]) == pytest.approx(first["iou"], abs=1e-6)
    assert int(table[0]["fn"]) == first["counts"]["fn"]
    with pytest.raises(OutputError, match="`overwrite=True`"):
        measure(sided, out)
    again = measure(sided, out, overwrite=True, command="ltcam tune a b")
    assert again.values.to_json() == found.values.to_json()


def stopped(after: int) -> Callable[[int, int], None]:
    """A progress that stops the work like Ctrl-C once so many images are done."""

    def progress(done: int, _total: int) -> None:
        if done == after:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("after", [2, 7])
def test_a_stopped_tuning_goes_on_at_the_next_image(
    after: int, sided: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = measure(sided, tmp_path / "whole").values.to_json()
    with pytest.raises(KeyboardInterrupt):
        measure(sided, tmp_path / "out", progress=stopped(after))
    assert not (tmp_path / "out").exists()
    with pytest.raises(OutputError, match="`resume=True`"):
        measure(sided, tmp_path / "out")
    with pytest.raises(RunError, match="rule_images"):
        measure(sided, tmp_path / "out", resume=True, rule_images=1)
    looks: list[Any] = []
    monkeypatch.setattr(tune, "heatmaps_by_percentile", noted(looks, heatmaps_by_percentile))
    monkeypatch.setattr(tune, "judge_image", noted(looks, judge_image))
    resumed = measure(sided, tmp_path / "out", resume=True).values.to_json()
    assert len(looks) == 8 - after
    assert resumed == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "sided", "whole"]


def test_wrong_files_are_listed_and_the_others_measured(sided: tuple[Path, Path], tmp_path: Path) -> None:
    _, data = sided
    Image.fromarray(np.zeros((48, 60), np.uint8)).save(data / "masks/dent/1.png")
    found = measure(sided, tmp_path / "out")
    assert [name for name, _ in found.failed] == ["dent/1.png"]
    assert found.values.to_json()["sides"]["train"]["measured"] == 2
    assert found.values.to_json()["judged"]["images"] == 3  # the rules need no mask


def test_fewer_images(sided: tuple[Path, Path], tmp_path: Path) -> None:
    tuning = measure(sided, tmp_path / "out", train_images=2, rule_images=1).values.to_json()
    assert (tuning["sides"]["train"]["chosen"], tuning["sides"]["train"]["measured"]) == (2, 2)
    assert tuning["judged"]["images"] == 1


def test_without_ok_images_nothing_is_judged(sided: tuple[Path, Path], tmp_path: Path) -> None:
    for number in (5, 6):  # those of the training side
        (sided[1] / f"good/{number}.png").unlink()
    tuning = measure(sided, tmp_path / "out").values.to_json()
    assert tuning["judged"] == {"images": 0, "normal_score": None}
    for method in tuning["methods"]:
        oracle, *rules = method["choices"]
        assert oracle["percentile"] is not None
        assert {choice["percentile"] for choice in rules} == {None}


@pytest.mark.parametrize("percentiles", [(), (50, 0), (0, 0), (0, 101), (-1,)])
def test_percentiles_that_are_none(percentiles: tuple[int, ...]) -> None:
    with pytest.raises(SettingsError, match="`percentiles`"):
        PercentileMaps(percentiles)


def test_data_that_cannot_be_used(
    sided: tuple[Path, Path], tmp_path: Path, make_run: Callable[..., Path]
) -> None:
    run, data = sided
    with pytest.raises(DataError, match="no train side"):
        measure((make_run(), data), tmp_path / "out")
    shutil.rmtree(data / "masks")
    with pytest.raises(DataError, match="has a mask"):
        measure((run, data), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["sided"]
