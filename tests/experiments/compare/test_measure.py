from __future__ import annotations

import csv
import json
import math
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import noted
from tests.experiments.conftest import executed, marks_of
from torch import Tensor

from ltcam.cam import (
    CAM,
    FullGrad,
    GradientMethod,
    Truncation,
    capture,
    list_gradient_methods,
    log_odds,
    register_method,
    sweep,
    truncated,
)
from ltcam.cam.methods import registry
from ltcam.data.layouts import read_dataset
from ltcam.evaluation.counts import PixelCounts, count_pixels
from ltcam.evaluation.hits import HitCounts, count_hit
from ltcam.evaluation.settings import EvaluationSettings
from ltcam.experiments.compare import contenders
from ltcam.experiments.compare import measure as compare
from ltcam.experiments.compare.comparison import Comparison
from ltcam.experiments.compare.contenders import ContenderSettings
from ltcam.experiments.compare.contenders import look as look_by_all
from ltcam.experiments.compare.measure import CompareSettings, compare_run
from ltcam.experiments.opened import Source
from ltcam.experiments.results import Found
from ltcam.jobs.evaluating import evaluate
from ltcam.jobs.execution import Execution
from ltcam.runs.inspector import Inspector
from ltcam_runtime.errors import DataError, OutputError, RunError, SettingsError
from ltcam_runtime.folders import FILES_FILE
from ltcam_runtime.images import read_image
from ltcam_runtime.masks import otsu
from ltcam_runtime.resizing import resize, resize_heatmap
from ltcam_runtime.settings import MAP, CamSettings, KindSettings, MaskSettings, Overrides, SharpeningSettings

METRICS = ("iou", "precision", "recall", "f1")


QUICK_MAPS = ContenderSettings(("grad-cam", "xgrad-cam"))
QUICK = CompareSettings(QUICK_MAPS, bootstrap=20)
"""Methods that a comparison takes where it does not matter which."""


def make_data(root: Path) -> Path:
    """Three OK images, and four with a dent, a mask and sizes of their own."""
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


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data(tmp_path / "data")


@pytest.fixture(scope="module")
def run(make_run: Callable[..., Path]) -> Path:
    return make_run(sharpening=SharpeningSettings(polarity="dark", window=0.5), mask=MaskSettings(reach=0.15))


@pytest.fixture(scope="module")
def whole(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Any]:
    """One comparison of all methods, for all tests that only read: (data, results' folder, what was found)."""
    folder = tmp_path_factory.mktemp("whole")
    data = make_data(folder / "data")
    calls = []
    maps = ContenderSettings(percentile=30, probing=True)
    found = measure(
        run,
        data,
        folder / "out",
        replace(QUICK, maps=maps),
        command="ltcam compare a b",
        progress=lambda *c: calls.append(c),
    )
    assert calls[-1] == (4, 4)
    return data, folder / "out", found.values.to_json()


def measure(
    run: Path,
    data: Path,
    out: Path,
    settings: CompareSettings = QUICK,
    **work: Any,
) -> Found[Comparison]:
    return compare_run(Source.open(run, data, device="cpu"), out, settings, executed(**work))


def row_of(comparison: Mapping[str, Any], method: str, stages: str) -> dict[str, Any]:
    (found,) = [row for row in comparison["rows"] if (row["method"], row["stages"]) == (method, stages)]
    result: dict[str, Any] = found
    return result


def by_hand(run: Path, data: Path, heatmap_of: Callable[..., Tensor]) -> PixelCounts:
    """Counts of Otsu masks over the defective images, one image after the other, with one CAM."""
    inspector = Inspector.load(run, device="cpu")
    total = PixelCounts()
    for sample in read_dataset(data).samples:
        if sample.mask is None:
            continue
        image = read_image(sample.path)
        batch = inspector.network.batch([resize(image, inspector.run.image_size)])
        heatmap = heatmap_of(inspector, batch, log_odds([1]))[0].numpy()
        mask = otsu(resize_heatmap(heatmap, image.shape[:2]))
        total += count_pixels(mask, marks_of(sample))
    return total


def last_stage(inspector: Inspector, images: Tensor, target: Any) -> Tensor:
    return CAM("grad-cam", layers=inspector.run.stages[-1:])(inspector.network.classifier, images, target)


def all_stages(inspector: Inspector, images: Tensor, target: Any) -> Tensor:
    return CAM("hires-cam", layers=inspector.run.stages)(inspector.network.classifier, images, target)


def truncated_layer_cam(inspector: Inspector, images: Tensor, target: Any) -> Tensor:
    cam = truncated("layer-cam", 30, layers=inspector.run.stages)
    return cam(inspector.network.classifier, images, target)


def truncated_full_grad(inspector: Inspector, images: Tensor, target: Any) -> Tensor:
    return FullGrad(Truncation(30))(inspector.network.classifier, images, target)


def ablation(inspector: Inspector, images: Tensor, target: Any) -> Tensor:
    return CAM("ablation-cam", layers=inspector.run.stages[-1:])(inspector.network.classifier, images, target)


def test_methods_that_draw_nothing_are_noted(run: Path, data: Path, tmp_path: Path) -> None:
    source = Source.open(run, data, device="cpu")
    torch.nn.init.zeros_(source.inspector.network.classifier.head.weight)
    (note,) = compare_run(source, tmp_path / "out", QUICK).notes
    assert re.match(
        r"nothing is drawn in any image by (XGrad-CAM|Grad-CAM) \(last\), .*the score may not depend", note
    )


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
def test_counts_are_those_of_the_single_cam(
    method: str, stages: str, heatmap_of: Callable[..., Any], run: Path, whole: tuple[Path, Path, Any]
) -> None:
    data, _, found = whole
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


def test_the_runs_own_map_is_what_evaluate_measures(
    run: Path, whole: tuple[Path, Path, Any], tmp_path: Path
) -> None:
    data, _, found = whole
    unsharpened: dict[str, Any] = {"overrides": Overrides(sharpen="none")}
    for title, options in (("This run", {}), ("This run, unsharpened", unsharpened)):
        row = row_of(found, title, "run")
        out = tmp_path / title
        evaluated = evaluate(
            run,
            data,
            out,
            EvaluationSettings(bootstrap=20, **options),
            Execution(device="cpu"),
        ).metrics
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
def test_a_run_with_any_map_can_be_compared(
    cam: CamSettings, make_run: Callable[..., Path], data: Path, tmp_path: Path
) -> None:
    run = make_run(maps={MAP: cam})
    found = measure(run, data, tmp_path / "out").values.to_json()
    assert [row["method"] for row in found["rows"] if row["stages"] == "run"] == ["This run"]
    evaluated = evaluate(
        run,
        data,
        tmp_path / "m",
        EvaluationSettings(bootstrap=20),
        Execution(device="cpu"),
    ).metrics
    own = row_of(found, "This run", "run")
    assert own["iou"] == pytest.approx(evaluated["pixel"]["iou"], abs=2e-3)
    assert own["percentile"] == cam.percentile
    assert own["shares_capture"] == (cam.method == "grad-cam")


def test_what_is_compared(whole: tuple[Path, Path, Any]) -> None:
    rows = whole[2]["rows"]
    titles = [method.title for method in list_gradient_methods()]
    assert {"Grad-CAM", "Grad-CAM++", "XGrad-CAM", "LayerCAM", "HiResCAM"} <= set(titles)
    expected: set[tuple[str, str, int | None]] = {
        (title, each, None) for title in titles for each in ("last", "all")
    }
    expected |= {(f"LT{title}", "all", 30) for title in titles}
    expected |= {("FullGrad", "network", None), ("LTFullGrad", "network", 30)}
    expected |= {("Score-CAM", "last", None), ("Ablation-CAM", "last", None)}
    expected |= {("This run", "run", None), ("This run, unsharpened", "run", None)}
    assert {(row["method"], row["stages"], row["percentile"]) for row in rows} == expected
    assert len(rows) == len(expected)


def test_any_registered_method_can_be_compared(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Methods that are in no comparison by default, and an own one."""
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))  # forgotten again afterwards
    own = GradientMethod(
        name="test-own",
        title="Own-CAM",
        source="this test",
        sentence="the gradient itself",
        weights=lambda activations, gradients: gradients,
    )
    register_method(own)
    names = ("test-own", "lift-cam", "relevance-cam", "cam", "fullgrad")
    rows = measure(
        run, data, tmp_path / "out", replace(QUICK, maps=ContenderSettings(names))
    ).values.to_json()["rows"]
    found = [(row["method"], row["stages"]) for row in rows if row["stages"] != "run"]
    assert found == [
        *(("Own-CAM", "last"), ("Own-CAM", "all"), ("LTOwn-CAM", "all")),
        *(("LIFT-CAM", "last"), ("Relevance-CAM", "last"), ("CAM", "last")),
        *(("FullGrad", "network"), ("LTFullGrad", "network")),
    ]
    with pytest.raises(SettingsError, match=r"`methods`: .*no-cam"):
        measure(run, data, tmp_path / "other", replace(QUICK, maps=ContenderSettings(("no-cam",))))


def test_hits_are_where_the_highest_pixel_lies(run: Path, whole: tuple[Path, Path, Any]) -> None:
    data, _, found = whole
    inspector = Inspector.load(run, device="cpu")
    hits = HitCounts()
    for sample in read_dataset(data).samples:
        if sample.mask is not None:
            image = read_image(sample.path)
            batch = inspector.network.batch([resize(image, inspector.run.image_size)])
            heatmap = last_stage(inspector, batch, log_odds([1]))[0].numpy()
            hits += count_hit(resize_heatmap(heatmap, image.shape[:2]), marks_of(sample))
    row = row_of(found, "Grad-CAM", "last")
    assert hits.images == 4
    assert (row["hit_8px"], row["hit_inside"]) == (hits.near / 4, hits.inside / 4)
    assert row["mean_over_kinds"] == {
        "iou": row["iou"],
        "hit_8px": hits.near / 4,
        "hit_inside": hits.inside / 4,
    }


def test_what_is_written(run: Path, whole: tuple[Path, Path, Any]) -> None:
    data, out, found = whole
    names = {"compare.json", "compare.csv", "compare.md", "report.html"}
    assert {path.name for path in out.iterdir()} == names | {FILES_FILE}
    comparison = json.loads((out / "compare.json").read_text())
    assert comparison == found
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
            *("method", "stages", "percentile", "sharpening", "classes", *METRICS),
            *("bfloat16", "intervals", "counts", "seconds", "shares_capture", "paper"),
            *("hit_8px", "hit_inside", "mean_over_kinds"),
        }
        assert row["seconds"] > 0
        assert row["paper"] is None
        assert row["classes"] is None  # there is one kind of defect only
    with (out / "compare.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["method"] for row in table] == [row["method"] for row in comparison["rows"]]
    for written, row in zip(table, comparison["rows"], strict=True):
        assert float(written["iou"]) == pytest.approx(row["iou"], abs=1e-6)
        assert float(written["f1_high"]) == pytest.approx(row["intervals"]["f1"][1], abs=1e-6)
        assert float(written["hit_8px"]) == pytest.approx(row["hit_8px"], abs=1e-6)
        assert int(written["tp"]) == row["counts"]["tp"]
        assert written["paper_iou"] == ""
    assert "| LTGrad-CAM | all stages | 30 |" in (out / "compare.md").read_text()
    with pytest.raises(OutputError, match="`overwrite=True`"):
        measure(run, data, out)


def test_the_papers_numbers_stand_beside_those_of_ksdd(run: Path, tmp_path: Path) -> None:
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
    maps = ContenderSettings(probing=True)
    found = measure(run, root, tmp_path / "out", replace(QUICK, maps=maps)).values.to_json()
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
    other = measure(
        run, root, tmp_path / "other", replace(QUICK, maps=replace(QUICK_MAPS, percentile=20))
    ).values.to_json()
    assert row_of(other, "LTGrad-CAM", "all")["paper"] is None  # the paper's is of delta 50


def test_only_defective_images_with_a_mask_count(run: Path, data: Path, tmp_path: Path) -> None:
    (data / "masks/dent/4.png").unlink()
    found = measure(run, data, tmp_path / "out").values.to_json()
    assert found["images"] == {"defective": 4, "with_mask": 3, "measured": 3}
    counts = found["rows"][0]["counts"]
    assert counts["tp"] + counts["fn"] == 3 * 20 * 24
    assert found["failed"] == []


def test_wrong_files_are_listed_and_the_others_measured(run: Path, data: Path, tmp_path: Path) -> None:
    (data / "dent/3.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((48, 60), np.uint8)).save(data / "masks/dent/5.png")
    found = measure(run, data, tmp_path / "out")
    reasons = dict(found.failed)
    assert set(reasons) == {"dent/3.png", "dent/5.png"}
    assert "the mask is 48 x 60, its image 49 x 64" in reasons["dent/5.png"]
    assert found.values.to_json()["images"]["measured"] == 2
    assert {each["image"]: each["reason"] for each in found.values.to_json()["failed"]} == reasons
    for row in found.values.to_json()["rows"]:
        assert row["counts"]["tp"] + row["counts"]["fn"] == 2 * 20 * 24


def test_an_image_that_one_method_cannot_mask_counts_for_none(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = look_by_all

    def one_not_finite(inspector: Inspector, compared: Any, resized: Any) -> tuple[Any, Any]:
        seconds, maps = look(inspector, compared, resized)

        def spoilt() -> Iterator[Any]:
            for each in maps:
                if each.contender.title == "XGrad-CAM":
                    each.heatmaps[0] = math.nan
                yield each

        return seconds, spoilt()

    monkeypatch.setattr(compare, "look", one_not_finite)
    found = measure(run, data, tmp_path / "out", batch_size=3)
    assert [name for name, _ in found.failed] == ["dent/3.png", "dent/6.png"]
    assert all(reason.startswith("XGrad-CAM: ") for _, reason in found.failed)
    for row in found.values.to_json()["rows"]:
        assert row["counts"]["tp"] + row["counts"]["fn"] == 2 * 20 * 24


def test_nothing_to_measure(run: Path, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "broken")
    for file in (tmp_path / "broken/dent").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match="none of the 4 images could be measured"):
        measure(run, tmp_path / "broken", tmp_path / "out")
    shutil.rmtree(data / "masks")
    with pytest.raises(DataError, match=r"none of the 4 defective images \(all\) has a mask"):
        measure(run, data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_settings_that_cannot_be_used(run: Path, data: Path, tmp_path: Path) -> None:
    for percentile in (-1, 101, math.nan):
        with pytest.raises(SettingsError, match="`percentile`"):
            measure(
                run, data, tmp_path / "out", replace(QUICK, maps=replace(QUICK_MAPS, percentile=percentile))
            )
    with pytest.raises(SettingsError, match="`split` 'half'"):
        measure(run, data, tmp_path / "out", replace(QUICK, split="half"))


def test_batch_size_changes_nothing(run: Path, data: Path, tmp_path: Path) -> None:
    one = measure(run, data, tmp_path / "1", batch_size=1).values.to_json()["rows"]
    three = measure(run, data, tmp_path / "3", batch_size=3).values.to_json()["rows"]
    for each, other in zip(one, three, strict=True):
        assert each["method"] == other["method"]
        assert each["iou"] == pytest.approx(other["iou"], abs=2e-3), each["method"]


def test_one_capture_serves_all_gradient_methods(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captures = []
    whole = capture

    def counted(model: Any, images: Any, *rest: Any, **options: Any) -> Any:
        captures.append(len(images))
        return whole(model, images, *rest, **options)

    monkeypatch.setattr(contenders, "capture", counted)
    measure(run, data, tmp_path / "out", batch_size=4)
    assert captures == [4]


def test_it_is_said_that_a_run_draws_each_kind_in_its_own_way(
    make_run: Callable[..., Path], data: Path, tmp_path: Path
) -> None:
    """Otherwise the run's row is taken for what predict draws and evaluate measures."""
    run = make_run(kinds={"dent": KindSettings()})
    notes = measure(run, data, tmp_path / "out").values.notes
    assert any("`ltcam evaluate` measures those" in note for note in notes)
    assert not any(
        "measures those" in note for note in measure(make_run(), data, tmp_path / "two").values.notes
    )


def test_warnings_of_methods_become_notes(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sweep

    def warning(*arguments: Any, **options: Any) -> Any:
        warnings.warn("beware of <b>this</b>", stacklevel=2)
        return whole(*arguments, **options)

    monkeypatch.setattr(contenders, "sweep", warning)
    found = measure(run, data, tmp_path / "out").values.to_json()
    assert "beware of <b>this</b>" in found["notes"]
    assert len(found["notes"]) == len(set(found["notes"]))
    page = (tmp_path / "out/report.html").read_text()
    assert "beware of &lt;b&gt;this" in page


def test_a_network_that_a_method_fails_on(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_arguments: Any, **_options: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(contenders, "sweep", no_memory)
    with pytest.raises(RunError, match="the run cannot be used on images: out of memory"):
        measure(run, data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_each_class_is_pooled_by_itself(make_run: Callable[..., Path], data: Path, tmp_path: Path) -> None:
    (data / "hole").mkdir()
    (data / "masks/hole").mkdir()
    for number in (5, 6):
        for folder in ("", "masks/"):
            (data / f"{folder}dent/{number}.png").rename(data / f"{folder}hole/{number}.png")
    found = measure(make_run(classes=("ok", "dent", "hole")), data, tmp_path / "out").values.to_json()
    for row in found["rows"]:
        assert {name: each["images"] for name, each in row["classes"].items()} == {"dent": 2, "hole": 2}
    for name in ("dent", "hole"):
        alone = tmp_path / name
        shutil.copytree(data, alone)
        other = "hole" if name == "dent" else "dent"
        shutil.rmtree(alone / "masks" / other)
        single = measure(
            make_run(classes=("ok", "dent", "hole")), alone, tmp_path / f"out-{name}"
        ).values.to_json()
        for row, only in zip(found["rows"], single["rows"], strict=True):
            for metric in METRICS:
                assert row["classes"][name][metric] == pytest.approx(only[metric], abs=2e-3)
    assert "hole (2)" in (tmp_path / "out/report.html").read_text()
    assert "hole (2)" in (tmp_path / "out/compare.md").read_text()


def test_a_stopped_comparison_goes_on_at_the_next_image(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = measure(run, data, tmp_path / "whole", batch_size=1).values.to_json()
    look = look_by_all
    seen: list[Any] = []

    def stops(inspector: Inspector, compared: Any, resized: Any) -> Any:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(resized)
        return look(inspector, compared, resized)

    with monkeypatch.context() as patch:
        patch.setattr(compare, "look", stops)
        with pytest.raises(KeyboardInterrupt):
            measure(run, data, tmp_path / "out", batch_size=1)
    assert not (tmp_path / "out").exists()
    with pytest.raises(OutputError, match="`resume=True`"):
        measure(run, data, tmp_path / "out", batch_size=1)
    with pytest.raises(RunError, match="percentile"):
        measure(
            run,
            data,
            tmp_path / "out",
            replace(QUICK, maps=replace(QUICK_MAPS, percentile=20)),
            batch_size=1,
            resume=True,
        )
    counted: list[Any] = []
    monkeypatch.setattr(compare, "look", noted(counted, look))
    progress = []
    again = measure(
        run,
        data,
        tmp_path / "out",
        batch_size=1,
        resume=True,
        progress=lambda *now: progress.append(now),
    ).values.to_json()
    assert len(counted) == 2
    assert progress == [(2, 4), (3, 4), (4, 4)]
    for row, other in zip(again["rows"], whole["rows"], strict=True):
        assert (row["counts"], row["intervals"]) == (other["counts"], other["intervals"])
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
