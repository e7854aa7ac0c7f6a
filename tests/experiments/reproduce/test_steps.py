from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.conftest import noted

from ltcam.data import opened as open_data
from ltcam.data.layouts import read_dataset
from ltcam.experiments.compare.comparison import CompareRow, Comparison
from ltcam.experiments.compare.contenders import ContenderSettings
from ltcam.experiments.reproduce import steps as job
from ltcam.experiments.reproduce.finished import summary_of_folds
from ltcam.experiments.reproduce.page import reproduce_markdown, reproduce_page
from ltcam.experiments.reproduce.reproduction import OverFolds, Reproduction, SyntheticSet
from ltcam.experiments.reproduce.steps import AtHand, Plan, reproduce
from ltcam.experiments.results import ImageTotals, PixelSums
from ltcam.jobs.execution import Execution
from ltcam.runs.inspector import Inspector
from ltcam.synth.write import SynthesisSettings, synthesise
from ltcam.training.listener import Listener
from ltcam.training.settings import TrainingSettings
from ltcam_runtime.errors import DataError, OutputError, RunError, SettingsError

TRAINING = TrainingSettings(
    backbone="test_resnet",
    weights="random",
    image_size=(64, 64),
    epochs=1,
    precision="float32",
    memory_format="contiguous",
)
PLAN = Plan(
    "synthetic",
    TRAINING,
    rows=2,
    bootstrap=20,
    synthetic=SyntheticSet(("cast",), 24, (96, 96)),
)
QUICK = ContenderSettings(("grad-cam",))
BARE = replace(PLAN, maps=QUICK, tuning=False, questions=False)


def run(
    plan: Plan, out: Path, *, resume: bool = False, listener: Listener | None = None, **at_hand: Any
) -> Reproduction:
    execution = Execution("cpu", resume=resume, command="ltcam reproduce it", listener=listener or Listener())
    return reproduce(AtHand(**at_hand), out, plan, execution)


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.fixture(scope="module")
def opens() -> list[str]:
    """What the reproductions of this module open, in order: data sets that are scanned, runs that are loaded."""
    return []


@pytest.fixture(scope="module", autouse=True)
def counted(opens: list[str]) -> Iterator[None]:
    scan, load = read_dataset, Inspector.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_data, "read_dataset", noted(opens, scan, "data"))
        patch.setattr(Inspector, "load", noted(opens, load, "run"))
        yield


@pytest.fixture(scope="module")
def done(
    opens: list[str],
    opens_below: Callable[[Path], AbstractContextManager[Counter[str]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Reproduction]:
    """A whole miniature reproduction: folder and what was returned. Not to be changed."""
    out = tmp_path_factory.mktemp("synthetic") / "out"
    opens.clear()
    with opens_below(out.parent) as files:
        found = run(PLAN, out)
    images = {name: count for name, count in files.items() if re.search(r"/data/(?!masks)\w+/", name)}
    assert len(images) == 24
    assert min(images.values()) == 3  # its header, for bits and size, and its content
    assert max(images.values()) <= 1 + 5 * 2, (
        "once for the training, and for each of four measurements that look at it"
    )
    assert opens == ["data", "run"], (
        "training, four measurements and the page share one scan and one loaded run"
    )
    return out, found


def test_a_whole_miniature_writes_page_figures_and_numbers(done: tuple[Path, Reproduction]) -> None:
    out, found = done
    assert json.loads((out / "reproduction.json").read_text()) == found.to_json()
    assert Reproduction.model_validate(found.to_json()) == found
    names = ("compare", "tune", "questions", "figures")
    steps = {name: json.loads((out / name / f"{name}.json").read_text()) for name in names}
    assert {name: found.to_json()[name] for name in steps} == steps
    assert found.questions_of_folds is None
    assert hidden(out.parent) == []
    for name in ("stages", "methods", "truncation", "layers", "delta"):
        with Image.open(out / f"figures/{name}.png") as picture:
            assert picture.width > 600
        assert (out / f"figures/{name}.svg").read_text().startswith("<?xml")
    assert (out / "run/weights.safetensors").is_file()
    assert (found.kind, found.split, found.seed) == ("synthetic", "lots", 0)
    titles = {row.method for row in found.compare.rows}
    assert {"Grad-CAM", "LTGrad-CAM", "Score-CAM", "Ablation-CAM", "LTFullGrad", "This run"} <= titles
    assert found.run.initial_weights["source"] == "random initialisation"
    assert found.versions["torch"]
    table = json.loads((out / "compare.json").read_text())
    assert (table["split"], table["backbone"]) == ("lots", "test_resnet")
    assert [row["iou"] for row in table["rows"]] == [row.iou for row in found.compare.rows]


def test_the_page_is_complete_in_itself_and_shows_what_was_measured(done: tuple[Path, Reproduction]) -> None:
    out, found = done
    page = (out / "report.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(r"<script|https?://|src=\"(?!data:)", page)
    assert page.count("data:image/webp") == 5
    for words in ("What the paper leaves open", "behind the train masks&#39; choice", "LTLayerCAM"):
        assert words in page
    assert "ltcam reproduce it" in page
    for row in found.compare.rows:
        assert row.method in page
        assert f"{row.iou:.3f}" in page
    assert "random initialisation" in page


def test_the_images_shown_are_chosen_by_area(done: tuple[Path, Reproduction]) -> None:
    images = done[1].figures.images
    assert len(images) == 2
    assert images[0].defect_share <= images[1].defect_share
    assert [each.among for each in images] == [done[1].compare.images.measured] * 2
    for image in images:
        assert {each.method for each in image.iou} >= {"Grad-CAM", "Score-CAM", "This run"}


@pytest.mark.slow
def test_what_is_finished_is_not_repeated_and_a_seed_gives_the_same_numbers(
    done: tuple[Path, Reproduction], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_given: Any, **_named: Any) -> None:
        raise KeyboardInterrupt

    out, plan = tmp_path / "out", replace(BARE, questions=True)
    with monkeypatch.context() as patch:
        patch.setattr(job, "make_figures", stopped)
        with pytest.raises(KeyboardInterrupt, match="`resume=True`"):
            run(plan, out)
    assert not out.exists()
    with pytest.raises(OutputError, match="`resume=True`"):
        run(plan, out)
    with pytest.raises(RunError, match=r"other settings \(percentile\)"):
        run(replace(plan, maps=replace(plan.maps, percentile=20)), out, resume=True)
    with pytest.raises(RunError, match=r"other settings \(epochs\)"):
        run(replace(plan, training=TRAINING.model_copy(update={"epochs": 2})), out, resume=True)
    for name in ("synthesise", "train", "compare_run", "ablate_runs"):
        monkeypatch.setattr(job, name, stopped)
    found = run(plan, out, resume=True)
    assert hidden(tmp_path) == []
    folder, whole = done
    assert (out / "run/weights.safetensors").read_bytes() == (folder / "run/weights.safetensors").read_bytes()
    assert found.questions is not None
    assert whole.questions is not None
    assert found.questions.rows == whole.questions.rows
    expected = {(row.method, row.stages): row.iou for row in whole.compare.rows}
    for row in found.compare.rows:  # in batches of another size, so up to rounding
        assert row.iou == pytest.approx(expected[row.method, row.stages], abs=1e-3)


@pytest.mark.slow
def test_a_training_that_was_killed_goes_on_at_the_next_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(BARE, training=TRAINING.model_copy(update={"epochs": 2}))
    told: list[tuple[str, int, int]] = []
    begun: list[str] = []

    def after_training(*_given: Any, **_named: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ltcam.jobs.training.with_kinds", after_training)
        with pytest.raises(KeyboardInterrupt):
            run(plan, tmp_path / "out")
    (work,) = hidden(tmp_path)
    assert len(list((tmp_path / work).glob(".run.*.training/last.ckpt"))) == 1
    listener = Listener(begun=begun.append, progress=lambda *now: told.append((begun[-1], *now)))
    monkeypatch.setattr(job, "compare_run", after_training)
    with pytest.raises(KeyboardInterrupt):
        run(plan, tmp_path / "out", resume=True, listener=listener)
    assert (tmp_path / work / "run/run.json").is_file()
    assert {name for name, *_ in told} >= {"2/4 making a run: reading images"}
    assert "2/4 making a run: training" not in {name for name, *_ in told}  # both epochs were done


def test_nothing_finished_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_given: Any, **_named: Any) -> None:
        raise SettingsError("weights that do not fit")

    monkeypatch.setattr("ltcam.training.train.prepare_images", broken)
    with pytest.raises(SettingsError):
        run(replace(PLAN, kind="ksdd2"), tmp_path / "out", data=ksdd2(tmp_path / "data"))
    assert hidden(tmp_path) == []


def ksdd2(root: Path) -> Path:
    """KolektorSDD2's official layout, tiny: 18 images to train on and 8 to test, a third of each with a dent."""
    for side, count in (("train", 18), ("test", 8)):
        for number in range(count):
            rng = np.random.default_rng([number, len(side)])
            pixels = rng.integers(100, 160, (96, 36, 3), dtype=np.uint8)
            mask = np.zeros((96, 36), np.uint8)
            if number % 3 == 0:
                top = int(rng.integers(5, 70))
                pixels[top : top + 16, 8:28], mask[top : top + 16, 8:28] = 20, 255
            (root / side).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / side / f"{20000 + number}.png")
            Image.fromarray(mask).save(root / side / f"{20000 + number}_GT.png")
    return root


@pytest.fixture(scope="module")
def on_ksdd2(opens: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Reproduction]:
    folder = tmp_path_factory.mktemp("ksdd2")
    training = TRAINING.model_copy(update={"image_size": (96, 64)})
    plan = replace(
        PLAN,
        kind="ksdd2",
        training=training,
        maps=ContenderSettings(percentile=0),
        folds=2,
        tuning=False,
    )
    data = ksdd2(folder / "data")
    opens.clear()
    found = run(plan, folder / "out", data=data)
    assert opens == ["data", "run", "run", "run"], "one scan; the run, and that of each fold, are loaded once"
    return folder / "out", found


def test_ksdd2_in_its_official_layout_beside_the_papers_numbers(on_ksdd2: tuple[Path, Reproduction]) -> None:
    out, found = on_ksdd2
    assert (found.kind, found.split) == ("ksdd2", "official")
    assert found.compare.images.to_json() == {"defective": 3, "with_mask": 3, "measured": 3}
    paper = {row.method: row.paper.iou for row in found.compare.rows if row.paper}
    assert paper["LTGrad-CAM"] == 0.4267
    assert len(paper) == 7  # without Score-CAM and Ablation-CAM
    assert found.compare.paper_order is not None
    assert found.compare.paper_order["last"].methods == 7
    page = (out / "report.html").read_text()
    assert "0.427" in page
    assert "KolektorSDD2" in page
    assert "Spearman" in page
    assert "synthetic" not in found.plan.to_json()


def test_folds_are_trained_and_compared_and_summed_up(on_ksdd2: tuple[Path, Reproduction]) -> None:
    out, _ = on_ksdd2
    folds = json.loads((out / "folds.json").read_text())
    assert (folds["split"], folds["folds"]) == ("folds", 2)
    assert sum(folds["images"]) == 9  # every defective image once
    each = [json.loads((out / f"folds/{n}/compare/compare.json").read_text()) for n in (1, 2)]
    (row,) = [row for row in folds["rows"] if row["method"] == "LTGrad-CAM"]
    ious = [r["iou"] for one in each for r in one["rows"] if r["method"] == "LTGrad-CAM"]
    assert row["iou"]["folds"] == ious
    assert row["iou"]["mean"] == pytest.approx(np.mean(ious))
    assert row["iou"]["std"] == pytest.approx(np.std(ious, ddof=1))
    assert "Score-CAM" not in {row["method"] for row in folds["rows"]}  # an hour per fold with VGG16
    assert not list(out.glob("folds/*/run"))
    asked = json.loads((out / "questions-folds/questions.json").read_text())
    assert [each["run"] for each in asked["runs"]] == ["fold-1", "fold-2"]
    assert f"{row['iou']['mean']:.3f} ± {row['iou']['std']:.3f}" in (out / "report.html").read_text()


def test_undefined_values_of_folds() -> None:
    row = {"method": "m", "stages": "last", "percentile": None, "paper": None}
    numbers = dict.fromkeys(("iou", "precision", "recall", "f1"))
    counts = PixelSums(tp=0, fp=0, fn=0)
    measured = CompareRow.model_construct(**row, **numbers, counts=counts)  # type: ignore[arg-type]
    images = ImageTotals(defective=1, with_mask=1, measured=1)
    found = summary_of_folds([Comparison.model_construct(images=images, rows=(measured,))])  # type: ignore[call-arg]
    assert found is not None
    assert found.rows[0].iou == OverFolds(mean=None, std=None, folds=(None,))
    assert found.rows[0].pooled_iou is None
    assert summary_of_folds([]) is None


@pytest.mark.slow
def test_runs_at_hand_are_measured_instead_of_trained(
    done: tuple[Path, Reproduction], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    synthesise(data, SynthesisSettings(surfaces=("cast",), images_per_surface=24, size=(96, 96)))
    monkeypatch.setattr(job, "train", None)
    at_hand = done[0] / "run"
    with pytest.raises(DataError, match="ksdd"):
        run(replace(PLAN, kind="ksdd"), tmp_path / "out", data=data, run=at_hand)
    with pytest.raises(SettingsError, match="`fold_run`"):
        run(replace(BARE, folds=2), tmp_path / "other", run=at_hand, fold_runs=(at_hand,))
    found = run(BARE, tmp_path / "out", run=at_hand, fold_runs=(at_hand, at_hand))
    expected = {(row.method, row.stages): row.iou for row in done[1].compare.rows}
    compared = {(row.method, row.stages): row.iou for row in found.compare.rows}
    for key, iou in compared.items():  # in batches of another size, so up to rounding
        assert iou == pytest.approx(expected[key], abs=1e-3)
    assert not (tmp_path / "out/run").exists()
    assert found.folds is not None
    assert found.folds.folds == 2
    for row in found.folds.rows:
        assert row.iou.folds == (compared[row.method, row.stages],) * 2
    assert (tmp_path / "out/folds/2/run.json").read_text() == (at_hand / "run.json").read_text()


@pytest.mark.parametrize(
    ("plan", "data", "said"),
    [
        (replace(PLAN, kind="ksdd3"), None, "ksdd3"),  # type: ignore[arg-type]
        (PLAN, "here", "makes its own data; give none"),
        (replace(PLAN, kind="ksdd"), None, "ksdd needs data"),
        (replace(PLAN, folds=1), None, "`folds` 1"),
    ],
)
def test_settings_that_cannot_be_used(plan: Plan, data: str | None, said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        run(plan, tmp_path / "out", data=None if data is None else tmp_path / data)
    assert list(tmp_path.iterdir()) == []


def test_what_comes_from_files_is_escaped(done: tuple[Path, Reproduction]) -> None:
    values = done[1].to_json()
    nasty = "<script>alert(1)</script>"
    values["compare"]["failed"] = [{"image": nasty, "reason": nasty}]
    values["compare"]["notes"] = [nasty]
    values["command"] = nasty
    values["run"]["initial_weights"] = {"source": nasty}
    found = Reproduction.model_validate(values)
    page = reproduce_page(found, {}, title=nasty)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "data:image" not in page
    assert "<script" not in reproduce_markdown(found)
