from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image
from tests.conftest import noted
from tests.experiments.conftest import executed, marks_of

from ltcam.cam import CAM, Truncation, capture, log_odds
from ltcam.cam.fusion import Fusion, StageScale
from ltcam.data.layouts import read_dataset
from ltcam.evaluation.counts import PixelCounts, count_pixels
from ltcam.experiments.ablation.answers import CHOICE, Answer, Answers, RunAnswer
from ltcam.experiments.ablation.measure import (
    GAIN_PERCENTILES,
    AblationSettings,
    ablate,
    ablate_runs,
)
from ltcam.experiments.ablation.over_runs import over_runs
from ltcam.experiments.opened import Source
from ltcam.experiments.results import Found
from ltcam.runs import network
from ltcam.runs.inspector import Inspector
from ltcam_runtime.errors import DataError, OutputError, SettingsError
from ltcam_runtime.folders import FILES_FILE
from ltcam_runtime.images import read_image
from ltcam_runtime.masks import otsu
from ltcam_runtime.resizing import resize, resize_heatmap

SETTINGS = AblationSettings(bootstrap=20)


def opened(run: Path, data: Path) -> Source:
    return Source.open(run, data, device="cpu")


def measure(
    runs: Sequence[Path],
    data: Path,
    out: Path,
    *,
    maps: Path | None = None,
    settings: AblationSettings = SETTINGS,
    **work: Any,
) -> Found[Answers]:
    return ablate_runs([opened(run, data) for run in runs], out, settings, executed(**work), maps=maps)


@pytest.fixture(scope="module")
def answer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, make_run: Callable[..., Path]
) -> tuple[Path, Path, Any]:
    """One run asked once, for all tests that only read: (run, data, answer)."""
    root = tmp_path_factory.mktemp("asked") / "data"
    for number in range(5):
        rng = np.random.default_rng(number)
        pixels = rng.integers(100, 200, (44 + number, 64), dtype=np.uint8)
        kind = "dent" if number < 3 else "good"
        (root / kind).mkdir(parents=True, exist_ok=True)
        if kind == "dent":
            mask = np.zeros_like(pixels)
            pixels[10:30, 20:44], mask[10:30, 20:44] = 20, 255
            (root / "masks/dent").mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(root / f"masks/dent/{number}.png")
        Image.fromarray(pixels).save(root / f"{kind}/{number}.png")
    run = make_run()
    return run, root, ablate(opened(run, root), SETTINGS, maps=tmp_path_factory.mktemp("maps")).to_json()


def by_hand(run: Path, data: Path, cam: Callable[..., CAM]) -> PixelCounts:
    inspector = Inspector.load(run, device="cpu")
    counts = []
    for sample in read_dataset(data).samples:
        if sample.mask is not None:
            image = read_image(sample.path)
            batch = inspector.network.batch([resize(image, inspector.run.image_size)])
            heatmap = cam(inspector.run.stages)(inspector.network.classifier, batch, log_odds([1]))[0].numpy()
            counts.append(count_pixels(otsu(resize_heatmap(heatmap, image.shape[:2])), marks_of(sample)))
    return sum(counts, PixelCounts())


CASES = {
    ("base", "paper", "Grad-CAM"): lambda stages: CAM(layers=stages),
    ("base", "paper", "LTLayerCAM"): lambda stages: CAM("layer-cam", Truncation(50), stages),
    ("scope", "stage", "LTGrad-CAM"): lambda stages: CAM("grad-cam", Truncation(50, "stage"), stages),
    ("reading", "mask", "LTGrad-CAM"): lambda stages: CAM("grad-cam", Truncation(50, reading="mask"), stages),
    ("fusion", "product", "LTGrad-CAM"): lambda stages: CAM(
        "grad-cam", Truncation(50), stages, fusion="product"
    ),
    ("stage_scale", "tanh", "Grad-CAM"): lambda stages: CAM(layers=stages, stage_scale="tanh"),
    ("relu", "none", "Grad-CAM"): lambda stages: CAM(layers=stages, relu="none"),
    ("stages", "S2", "LTGrad-CAM"): lambda stages: CAM("grad-cam", Truncation(50), stages[1:2]),
}


@pytest.mark.parametrize("which", CASES, ids="-".join)
def test_rows_are_what_the_engine_gives(which: tuple[str, str, str], answer: tuple[Path, Path, Any]) -> None:
    run, data, found = answer
    (row,) = [r for r in found["rows"] if (r["question"], r["value"], r["method"]) == which]
    expected = by_hand(run, data, CASES[which])
    tolerance = 4  # pixels whose level rounding moves across the threshold
    for name in ("tp", "fp", "fn"):
        assert abs(row["counts"][name] - getattr(expected, name)) <= tolerance, name
    tp, fp, fn = (row["counts"][name] for name in ("tp", "fp", "fn"))
    assert row["iou"] == tp / (tp + fp + fn)
    (base,) = [r for r in found["rows"] if r["question"] == "base" and r["method"] == which[2]]
    assert row["gain"] == pytest.approx(row["iou"] - base["iou"])
    assert row["mean_image_gain"] == pytest.approx(row["mean_image_iou"] - base["mean_image_iou"])
    low, high = row["intervals"]["gain"]
    assert low <= high
    if which[0] == "base":
        assert (low, high) == (0, 0)


def test_every_choice_is_varied_alone(answer: tuple[Path, Path, Any]) -> None:
    _, _, found = answer
    rows = found["rows"]
    asked = {(row["question"], row["value"]) for row in rows if row["method"] == "LTGrad-CAM"}
    stages = {("stages", f"S{place + 1}") for place in range(len(found["stages"]))}
    expected = {("base", "paper"), ("scope", "stage"), ("reading", "mask"), ("relu", "none")}
    expected |= {("fusion", fusion) for fusion in get_args(Fusion) if fusion != "sum"}
    expected |= {("stage_scale", scale) for scale in get_args(StageScale) if scale != "none"}
    expected |= stages
    assert asked - {("tap", "before")} == expected
    assert (("tap", "before") in asked) == found["pooling_stages"]
    layer = {(row["question"], row["value"]) for row in rows if row["method"] == "LTLayerCAM"}
    assert asked - layer == {("reading", "mask")}
    plain = {(row["question"], row["value"]) for row in rows if row["method"] == "Grad-CAM"}
    assert layer - plain == {("scope", "stage")}


def test_mean_and_sum_are_one_mask(answer: tuple[Path, Path, Any]) -> None:
    _, _, found = answer
    for row in found["rows"]:
        if (row["question"], row["value"]) == ("fusion", "mean"):
            assert abs(row["gain"]) < 2e-3


def test_gains_are_those_over_grad_cam_and_shares_add_up(answer: tuple[Path, Path, Any]) -> None:
    _, _, found = answer
    stages = len(found["stages"])
    after = [row for row in found["gains"] if row["taps"] == "after"]
    assert len(after) == 2 * 2 * len(GAIN_PERCENTILES) * (stages + 1)
    rows = {(row["question"], row["value"], row["method"]): row["iou"] for row in found["rows"]}
    for row in after:
        assert row["gain"] == pytest.approx(row["iou"] - row["grad_cam_iou"])
        if row["stage"] == "all":
            assert row["grad_cam_iou"] == rows["base", "paper", "Grad-CAM"]
        else:
            assert row["grad_cam_iou"] == rows["stages", row["stage"], "Grad-CAM"]
        if (row["scope"], row["reading"], row["percentile"], row["stage"]) == ("channel", "mask", 50, "all"):
            assert row["iou"] == rows["reading", "mask", "LTGrad-CAM"]
    last = {
        row["percentile"]: row["moved"]
        for row in after
        if (row["scope"], row["reading"], row["stage"]) == ("channel", "gradient", f"S{stages}")
    }
    # The last stage goes into a global average: one gradient per channel, of which no percentile drops any.
    assert last == pytest.approx(dict.fromkeys(GAIN_PERCENTILES, 0), abs=1e-6)
    assert any(row["moved"] > 0.01 for row in after if row["percentile"] == 90 and row["stage"] != "all")
    for name in ("share", "grad_cam_share"):
        one = [row[name] for row in after[: stages + 1]]
        assert one[0] == 1
        assert sum(one[1:]) == pytest.approx(1)


def run_answer(value: str, iou: float, gain: float | None, low: float = 0, high: float = 1) -> RunAnswer:
    return RunAnswer(
        question="fusion",
        value=value,
        method="Grad-CAM",
        **dict.fromkeys(("iou", "precision", "recall", "f1", "mean_image_iou"), iou),
        counts={"tp": 1, "fp": 2, "fn": 3},
        **dict.fromkeys(("gain", "mean_image_gain"), gain),
        intervals={"gain": (low, high)},
    )


def test_over_runs() -> None:
    tables = [
        [run_answer("a", 0.2, None)],
        [run_answer("a", 0.4, 0.1), run_answer("b", 0.5, 0.2, 0.1, 0.3)],
    ]
    a, b = over_runs(tables, CHOICE, Answer)
    assert (a.value, a.runs, a.intervals) == ("a", 2, None)
    assert a.iou == pytest.approx(0.3)
    assert a.gain == 0.1
    assert a.range("iou") == (0.2, 0.4)
    assert a.spread["iou"] is not None
    assert a.spread["iou"].sd == pytest.approx(0.1 * 2**0.5)
    assert a.spread["gain"] is None
    assert (b.runs, b.range("gain"), b.spread["iou"]) == (1, (0.1, 0.3), None)


def test_several_runs_are_written_side_by_side(
    answer: tuple[Path, Path, Any], make_run: Callable[..., Path], tmp_path: Path
) -> None:
    run, data, alone = answer
    other = make_run(seed=1)
    calls = []
    out = tmp_path / "results" / "out"
    found = measure(
        [run, other],
        data,
        out,
        command="ltcam questions a b c",
        progress=lambda *call: calls.append(call),
    )
    names = {"questions.json", "questions.csv", "gains.csv", "questions.md", "report.html"}
    assert {path.name for path in out.iterdir()} == names | {"effects.svg", "effects.png", FILES_FILE}
    assert [path.name for path in out.parent.iterdir()] == ["out"]  # the maps are gone
    assert calls[-1] == (200, 200)
    questions = json.loads((out / "questions.json").read_text())
    assert questions == found.values.to_json()
    assert [each["run"] for each in questions["runs"]] == [run.name, other.name]
    assert questions["runs"][0] == alone
    ious = [
        next(row["iou"] for row in each["rows"] if row["method"] == "LTGrad-CAM")
        for each in questions["runs"]
    ]
    row = next(row for row in questions["rows"] if row["method"] == "LTGrad-CAM")
    assert row["iou"] == pytest.approx(np.mean(ious))
    assert (row["spread"]["iou"]["low"], row["spread"]["iou"]["high"]) == (min(ious), max(ious))
    gains = [
        row
        for row in questions["gains"]
        if (row["taps"], row["stage"], row["percentile"]) == ("after", "all", 50)
    ]
    assert questions["best_reading"]["gain"] == max(row["gain"] for row in gains)
    with (out / "questions.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == sum(len(each["rows"]) for each in questions["runs"])
    assert float(table[0]["iou"]) == pytest.approx(questions["runs"][0]["rows"][0]["iou"], abs=1e-6)
    with (out / "gains.csv").open() as file:
        assert len(list(csv.DictReader(file))) == sum(len(each["gains"]) for each in questions["runs"])
    with pytest.raises(OutputError, match="`overwrite=True`"):
        measure([run], data, out)


def test_a_rerun_from_kept_maps_asks_the_network_nothing(
    answer: tuple[Path, Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data, alone = answer
    first = measure([run], data, tmp_path / "a", maps=tmp_path / "maps").values.to_json()
    assert len(list((tmp_path / "maps").iterdir())) == 3

    def refuse(*_given: Any, **_named: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(network, "capture", refuse)
    again = measure([run], data, tmp_path / "b", maps=tmp_path / "maps").values.to_json()
    assert again["runs"] == first["runs"] == [alone]


def test_a_stopped_measurement_goes_on_from_its_maps(
    answer: tuple[Path, Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data, alone = answer

    def progress(done: int, _total: int) -> None:
        if done >= 60:  # per cent: two of three images
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure([run], data, tmp_path / "out", progress=progress)
    looks: list[Any] = []
    monkeypatch.setattr(network, "capture", noted(looks, capture))
    found = measure([run], data, tmp_path / "out").values.to_json()
    assert len(looks) == (2 if alone["pooling_stages"] else 1)  # the third image
    assert found["runs"] == [alone]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_wrong_files_are_listed_and_the_others_measured(
    answer: tuple[Path, Path, Any], sided: tuple[Path, Path], tmp_path: Path
) -> None:
    run, _, _ = answer
    _, data = sided
    (data / "dent/3.png").write_bytes(b"no image")
    found = measure([run], data, tmp_path / "out")
    assert [name for name, _ in found.failed] == ["dent/3.png"]
    assert found.values.to_json()["runs"][0]["images"] == {"defective": 5, "with_mask": 5, "measured": 4}


def test_what_cannot_be_asked(answer: tuple[Path, Path, Any], tmp_path: Path) -> None:
    run, data, _ = answer
    with pytest.raises(SettingsError, match="RUN"):
        measure([run, run], data, tmp_path / "out")
    with pytest.raises(DataError, match="there is no train side"):
        measure([run], data, tmp_path / "out", settings=AblationSettings("train"))
    assert list(tmp_path.iterdir()) == []
