from __future__ import annotations

import csv
import json
import math
import shutil
import warnings
from importlib.metadata import version

import numpy as np
import pytest
from PIL import Image

from ltcam.cam import CAM, FullGrad, Truncation, list_gradient_methods, log_odds, truncated
from ltcam.data.layouts import read_dataset
from ltcam.evaluation.counts import PixelCounts, count_pixels
from ltcam.experiments.compare import contenders
from ltcam.experiments.compare import measure as compare
from ltcam.experiments.compare.measure import compare_run
from ltcam.inspector import Inspector
from ltcam.measuring import evaluate_run
from ltcam.runs import CamSettings, MaskSettings, SharpeningSettings
from ltcam_runtime.errors import DataError, OutputError, RunError, SettingsError
from ltcam_runtime.images import read_image, read_mask, resize, resize_heatmap
from ltcam_runtime.masks import otsu

METRICS = ("iou", "precision", "recall", "f1")


@pytest.fixture
def data(tmp_path):
    """Three OK images, and four with a dent, a mask and sizes of their own."""
    root = tmp_path / "data"
    for number in range(7):
        kind, height = ("good", 48) if number < 3 else ("dent", 44 + number)
        rng = np.random.default_rng(number)
        pixels = rng.integers(100, 200, (height, 64), dtype=np.uint8)
        mask = np.zeros_like(pixels)
        if kind == "dent":
            pixels[10:30, 20:44] = 20
            mask[10:30, 20:44] = 255
            (root / "masks/dent").mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(root / f"masks/dent/{number}.png")
        (root / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / f"{kind}/{number}.png")
    return root


@pytest.fixture(scope="module")
def run(make_run):
    return make_run(sharpening=SharpeningSettings(polarity="dark", window=0.5), mask=MaskSettings(reach=0.15))


def measure(run, data, out, **options):
    return compare_run(run, data, out, device="cpu", bootstrap=20, **options)


def row_of(comparison, method, stages):
    (found,) = [row for row in comparison["rows"] if (row["method"], row["stages"]) == (method, stages)]
    return found


def by_hand(run, data, heatmap_of):
    """Counts of Otsu masks over the defective images, one image after the other, with one CAM."""
    inspector = Inspector.load(run, device="cpu")
    total = PixelCounts()
    for sample in read_dataset(data).samples:
        if sample.mask is None:
            continue
        image = read_image(sample.path)
        batch = inspector.normalised([resize(image, inspector.run.image_size)])
        heatmap = heatmap_of(inspector, batch, log_odds([1]))[0].numpy()
        mask = otsu(resize_heatmap(heatmap, image.shape[:2]))
        total += count_pixels(mask, read_mask(sample.mask))
    return total


def last_stage(inspector, images, target):
    return CAM("grad-cam", layers=inspector.run.stages[-1:])(inspector.classifier, images, target)


def all_stages(inspector, images, target):
    return CAM("hires-cam", layers=inspector.run.stages)(inspector.classifier, images, target)


def truncated_layer_cam(inspector, images, target):
    cam = truncated("layer-cam", 30, layers=inspector.run.stages)
    return cam(inspector.classifier, images, target)


def truncated_full_grad(inspector, images, target):
    return FullGrad(Truncation(30))(inspector.classifier, images, target)


def ablation(inspector, images, target):
    return CAM("ablation-cam", layers=inspector.run.stages[-1:])(inspector.classifier, images, target)


@pytest.mark.parametrize(
    ("method", "stages", "heatmap_of"),
    [
        ("Grad-CAM", "last", last_stage),
        ("HiResCAM", "all", all_stages),
        ("LTLayerCAM", "all", truncated_layer_cam),
        ("LTFullGrad", "network", truncated_full_grad),
        ("Ablation-CAM", "last", ablation),
    ],
)
def test_counts_are_those_of_the_single_cam(method, stages, heatmap_of, run, data, tmp_path):
    found = measure(run, data, tmp_path / "out", percentile=30, probing=True).values
    row = row_of(found, method, stages)
    expected = by_hand(run, data, heatmap_of)
    tolerance = 4  # pixels whose level rounding moves across the threshold
    for name in ("tp", "fp", "fn"):
        assert abs(row["counts"][name] - getattr(expected, name)) <= tolerance, name
    tp, fp, fn = (row["counts"][name] for name in ("tp", "fp", "fn"))
    assert tp + fn == 4 * 20 * 24
    assert row["iou"] == tp / (tp + fp + fn)
    assert row["f1"] == 2 * tp / (2 * tp + fp + fn)
    assert row["precision"] == tp / (tp + fp)
    assert row["recall"] == tp / (tp + fn)
    for name in METRICS:
        low, high = row["intervals"][name]
        assert 0 <= low <= high <= 1


@pytest.mark.parametrize(
    ("title", "options"),
    [
        ("This run", {}),
        ("This run, unsharpened", {"sharpening": {"polarity": "none"}, "mask": {"reach": 1.0}}),
    ],
)
def test_the_runs_own_map_is_what_evaluate_measures(title, options, run, data, tmp_path):
    row = row_of(measure(run, data, tmp_path / "out").values, title, "run")
    evaluated = evaluate_run(run, data, tmp_path / "m", device="cpu", bootstrap=20, **options).metrics
    for name in METRICS:
        assert row[name] == pytest.approx(evaluated["pixel"][name], abs=1e-3), name
    assert row["sharpening"] == ("dark" if title == "This run" else "none")


@pytest.mark.parametrize(
    "cam",
    [
        CamSettings(method="fullgrad", percentile=20, stages=("trunk.layer2",)),
        CamSettings(method="score-cam", stages=("trunk.layer3",)),
        CamSettings(
            method="grad-cam", percentile=70, scope="stage", reading="mask", stages=("trunk.layer2.0.conv1",)
        ),
    ],
    ids=lambda cam: cam.method,
)
def test_a_run_with_any_map_can_be_compared(cam, make_run, data, tmp_path):
    run = make_run(cam=cam)
    found = measure(run, data, tmp_path / "out").values
    assert [row["method"] for row in found["rows"] if row["stages"] == "run"] == ["This run"]
    evaluated = evaluate_run(run, data, tmp_path / "m", device="cpu", bootstrap=20).metrics
    own = row_of(found, "This run", "run")
    assert own["iou"] == pytest.approx(evaluated["pixel"]["iou"], abs=2e-3)
    assert own["delta"] == cam.percentile
    assert own["shares_capture"] == (cam.method == "grad-cam")


def test_what_is_compared(run, data, tmp_path):
    titles = [method.title for method in list_gradient_methods()]
    assert {"Grad-CAM", "Grad-CAM++", "XGrad-CAM", "LayerCAM", "HiResCAM"} <= set(titles)
    rows = measure(run, data, tmp_path / "out", percentile=70).values["rows"]
    found = {(row["method"], row["stages"], row["delta"]) for row in rows}
    expected = {(title, stages, None) for title in titles for stages in ("last", "all")}
    expected |= {(f"LT{title}", "all", 70) for title in titles}
    expected |= {("FullGrad", "network", None), ("LTFullGrad", "network", 70)}
    expected |= {("This run", "run", None), ("This run, unsharpened", "run", None)}
    assert found == expected
    assert len(rows) == len(expected)
    probed = measure(run, data, tmp_path / "probed", probing=True).values["rows"]
    extra = {(row["method"], row["stages"]) for row in probed} - {(name, stages) for name, stages, _ in found}
    assert extra == {("Score-CAM", "last"), ("Ablation-CAM", "last")}


def test_what_is_written(run, data, tmp_path):
    calls = []
    found = measure(
        run, data, tmp_path / "out", command="ltcam compare a b", progress=lambda *c: calls.append(c)
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "compare.json",
        "compare.csv",
        "compare.md",
        "report.html",
    }
    assert calls[-1] == (4, 4)
    comparison = json.loads((tmp_path / "out/compare.json").read_text())
    assert comparison == found.values
    assert comparison["schema_version"] == 1
    assert (comparison["split"], comparison["backbone"], comparison["seed"]) == ("all", "test_resnet", 0)
    assert comparison["command"] == "ltcam compare a b"
    assert comparison["versions"]["torch"] == version("torch")
    assert comparison["images"] == {"defective": 4, "with_mask": 4, "measured": 4}
    assert comparison["paper_order"] is None  # not KolektorSDD
    assert comparison["capture_seconds"] > 0
    assert comparison["failed"] == []
    for row in comparison["rows"]:
        assert set(row) == {
            *("method", "stages", "delta", "sharpening", "classes", *METRICS),
            *("bfloat16", "intervals", "counts", "seconds", "shares_capture", "paper"),
        }
        assert row["seconds"] > 0
        assert row["paper"] is None
        assert row["classes"] is None  # there is one kind of defect only
    with (tmp_path / "out/compare.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["method"] for row in table] == [row["method"] for row in comparison["rows"]]
    for written, row in zip(table, comparison["rows"], strict=True):
        assert float(written["iou"]) == pytest.approx(row["iou"], abs=1e-6)
        assert float(written["f1_high"]) == pytest.approx(row["intervals"]["f1"][1], abs=1e-6)
        assert int(written["tp"]) == row["counts"]["tp"]
        assert written["paper_iou"] == ""
    assert "| LTGrad-CAM | all stages | 50 |" in (tmp_path / "out/compare.md").read_text()
    with pytest.raises(OutputError, match="--overwrite"):
        measure(run, data, tmp_path / "out")
    measure(run, data, tmp_path / "out", overwrite=True)


def test_the_papers_numbers_stand_beside_those_of_ksdd(run, tmp_path):
    root = tmp_path / "ksdd"
    for group in range(3):
        for part in range(2):
            rng = np.random.default_rng(10 * group + part)
            folder = root / f"kos{group + 1:02}"
            folder.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(100, 200, (64, 40), dtype=np.uint8)
            mask = np.zeros_like(pixels)
            if part:
                pixels[20:30, 5:30], mask[20:30, 5:30] = 20, 255
            Image.fromarray(pixels).save(folder / f"Part{part}.jpg")
            Image.fromarray(mask).save(folder / f"Part{part}_label.bmp")
    found = measure(run, root, tmp_path / "out", probing=True).values
    assert found["settings"]["layout"] == "ksdd"
    assert row_of(found, "LTGrad-CAM", "all")["paper"]["iou"] == 0.2409
    for stages in ("last", "all"):
        assert row_of(found, "Grad-CAM", stages)["paper"]["f1"] == 0.2979
    ablation_paper = row_of(found, "Ablation-CAM", "last")["paper"]
    assert ablation_paper["precision"] == 0.1998
    assert "18.97" in ablation_paper["note"]
    assert row_of(found, "This run", "run")["paper"] is None
    assert {each["methods"] for each in found["paper_order"].values()} == {9}
    page = (tmp_path / "out/report.html").read_text()
    assert "0.241" in page
    assert "Spearman" in page
    other = measure(run, root, tmp_path / "other", percentile=20).values
    assert row_of(other, "LTGrad-CAM", "all")["paper"] is None  # the paper's is of delta 50


def test_only_defective_images_with_a_mask_count(run, data, tmp_path):
    (data / "masks/dent/4.png").unlink()
    found = measure(run, data, tmp_path / "out").values
    assert found["images"] == {"defective": 4, "with_mask": 3, "measured": 3}
    counts = found["rows"][0]["counts"]
    assert counts["tp"] + counts["fn"] == 3 * 20 * 24
    assert found["failed"] == []


def test_wrong_files_are_listed_and_the_others_measured(run, data, tmp_path):
    (data / "dent/3.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((48, 60), np.uint8)).save(data / "masks/dent/5.png")
    found = measure(run, data, tmp_path / "out")
    reasons = dict(found.failed)
    assert set(reasons) == {"dent/3.png", "dent/5.png"}
    assert "the mask is 48 x 60, its image 49 x 64" in reasons["dent/5.png"]
    assert found.values["images"]["measured"] == 2
    assert {each["image"]: each["reason"] for each in found.values["failed"]} == reasons
    for row in found.values["rows"]:
        assert row["counts"]["tp"] + row["counts"]["fn"] == 2 * 20 * 24


def test_an_image_that_one_method_cannot_mask_counts_for_none(run, data, tmp_path, monkeypatch):
    whole = compare.look

    def one_not_finite(inspector, compared, shrunk):
        seconds, maps = whole(inspector, compared, shrunk)

        def spoilt():
            for each in maps:
                if each.contender.title == "XGrad-CAM":
                    each.heatmaps[0] = math.nan
                yield each

        return seconds, spoilt()

    monkeypatch.setattr(compare, "look", one_not_finite)
    found = measure(run, data, tmp_path / "out", batch_size=3)
    assert [name for name, _ in found.failed] == ["dent/3.png", "dent/6.png"]
    assert all(reason.startswith("XGrad-CAM: ") for _, reason in found.failed)
    for row in found.values["rows"]:
        assert row["counts"]["tp"] + row["counts"]["fn"] == 2 * 20 * 24


def test_nothing_to_measure(run, data, tmp_path):
    shutil.copytree(data, tmp_path / "broken")
    for file in (tmp_path / "broken/dent").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match="none of the 4 images could be measured"):
        measure(run, tmp_path / "broken", tmp_path / "out")
    shutil.rmtree(data / "masks")
    with pytest.raises(DataError, match=r"none of the 4 defective images \(all\) has a mask"):
        measure(run, data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_settings_that_cannot_be_used(run, data, tmp_path):
    for percentile in (-1, 101, math.nan):
        with pytest.raises(SettingsError, match="--percentile"):
            measure(run, data, tmp_path / "out", percentile=percentile)
    with pytest.raises(SettingsError, match="--split 'half'"):
        measure(run, data, tmp_path / "out", split="half")


def test_batch_size_changes_nothing(run, data, tmp_path):
    one = measure(run, data, tmp_path / "1", batch_size=1).values["rows"]
    three = measure(run, data, tmp_path / "3", batch_size=3).values["rows"]
    for each, other in zip(one, three, strict=True):
        assert each["method"] == other["method"]
        assert each["iou"] == pytest.approx(other["iou"], abs=2e-3), each["method"]


def test_one_capture_serves_all_gradient_methods(run, data, tmp_path, monkeypatch):
    captures = []
    whole = contenders.capture

    def counted(model, images, *rest, **options):
        captures.append(len(images))
        return whole(model, images, *rest, **options)

    monkeypatch.setattr(contenders, "capture", counted)
    measure(run, data, tmp_path / "out", batch_size=4)
    assert captures == [4]


def test_warnings_of_methods_become_notes(run, data, tmp_path, monkeypatch):
    whole = contenders.sweep

    def warning(*arguments, **options):
        warnings.warn("beware of <b>this</b>", stacklevel=2)
        return whole(*arguments, **options)

    monkeypatch.setattr(contenders, "sweep", warning)
    found = measure(run, data, tmp_path / "out").values
    assert "beware of <b>this</b>" in found["notes"]
    assert len(found["notes"]) == len(set(found["notes"]))
    page = (tmp_path / "out/report.html").read_text()
    assert "beware of &lt;b&gt;this" in page


def test_a_network_that_a_method_fails_on(run, data, tmp_path, monkeypatch):
    def no_memory(*_arguments, **_options):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(contenders, "sweep", no_memory)
    with pytest.raises(RunError, match="the run cannot be used on images: out of memory"):
        measure(run, data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_each_class_is_pooled_by_itself(make_run, data, tmp_path):
    (data / "hole").mkdir()
    (data / "masks/hole").mkdir()
    for number in (5, 6):
        for folder in ("", "masks/"):
            (data / f"{folder}dent/{number}.png").rename(data / f"{folder}hole/{number}.png")
    found = measure(make_run(classes=("ok", "dent", "hole")), data, tmp_path / "out").values
    for row in found["rows"]:
        assert {name: each["images"] for name, each in row["classes"].items()} == {"dent": 2, "hole": 2}
    for name in ("dent", "hole"):
        alone = tmp_path / name
        shutil.copytree(data, alone)
        other = "hole" if name == "dent" else "dent"
        shutil.rmtree(alone / "masks" / other)
        single = measure(make_run(classes=("ok", "dent", "hole")), alone, tmp_path / f"out-{name}").values
        for row, only in zip(found["rows"], single["rows"], strict=True):
            for metric in METRICS:
                assert row["classes"][name][metric] == pytest.approx(only[metric], abs=2e-3)
    assert "hole (2)" in (tmp_path / "out/report.html").read_text()
    assert "hole (2)" in (tmp_path / "out/compare.md").read_text()


def test_a_stopped_comparison_goes_on_at_the_next_image(run, data, tmp_path, monkeypatch):
    whole = measure(run, data, tmp_path / "whole", batch_size=1).values
    look, seen = compare.look, []

    def stops(inspector, compared, shrunk):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(shrunk)
        return look(inspector, compared, shrunk)

    with monkeypatch.context() as patch:
        patch.setattr(compare, "look", stops)
        with pytest.raises(KeyboardInterrupt):
            measure(run, data, tmp_path / "out", batch_size=1)
    assert not (tmp_path / "out").exists()
    with pytest.raises(OutputError, match="--resume"):
        measure(run, data, tmp_path / "out", batch_size=1)
    with pytest.raises(RunError, match="percentile"):
        measure(run, data, tmp_path / "out", batch_size=1, resume=True, percentile=20)
    counted = []
    monkeypatch.setattr(compare, "look", lambda *given: counted.append(given) or look(*given))
    progress = []
    again = measure(
        run, data, tmp_path / "out", batch_size=1, resume=True, progress=lambda *now: progress.append(now)
    ).values
    assert len(counted) == 2
    assert progress == [(2, 4), (3, 4), (4, 4)]
    for row, other in zip(again["rows"], whole["rows"], strict=True):
        assert (row["counts"], row["intervals"]) == (other["counts"], other["intervals"])
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
