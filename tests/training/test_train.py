from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tests.conftest import noted
from tests.training.conftest import SettingsOf

from ltcam.calibration.maps import default_cam
from ltcam.calibration.verdict import choose_verdict
from ltcam.data.dataset import OK, Dataset, Sample, make_dataset
from ltcam.data.fingerprint import content_hashes
from ltcam.data.opened import OpenData
from ltcam.data.sides import FEWEST_FOR_VALIDATION, choose_sides
from ltcam.data.splits import split_csv, straddling_groups
from ltcam.jobs.trained import Trained
from ltcam.jobs.training import train_run
from ltcam.models.backbones import build_trunk
from ltcam.models.classifier import build_classifier
from ltcam.training import train as module
from ltcam.training.fit import Running, default_learning_rate
from ltcam.training.images import PreparedImages, prepare_images
from ltcam.training.listener import Listener
from ltcam.training.resume import SETTINGS_FILE
from ltcam.training.settings import TrainingSettings
from ltcam_runtime.errors import DataError, RunError, SettingsError

watched: list[str] | None = None
"""Files that are opened while it is a list."""


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if watched is not None and event == "open":
        watched.append(str(arguments[0]))


sys.addaudithook(_audit)


@pytest.fixture
def short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """For images too large for an epoch of 64."""
    monkeypatch.setattr("ltcam.training.sampling.SMALLEST_EPOCH", 8)


@pytest.fixture
def quick(settings_of: SettingsOf) -> SettingsOf:
    def make(**values: Any) -> TrainingSettings:
        return settings_of(**{"epochs": 1, "image_size": (32, 32), "learning_rate": 3e-3, **values})

    return make


def run(
    dataset: Dataset,
    settings: TrainingSettings,
    work: Path,
    listener: Listener | None = None,
    command: str = "",
) -> Trained:
    return train_run(
        OpenData(dataset.root, dataset),
        settings,
        work,
        Running(device="cpu", listener=listener or Listener()),
        command,
    )


def prepare_split(dataset: Dataset, settings: TrainingSettings) -> tuple[Dataset, str]:
    found = choose_sides(dataset, seed=settings.seed, val_share=settings.validation_share)
    return found.dataset, found.words


def sides(dataset: Dataset) -> dict[str, Sequence[Sample]]:
    return {name: dataset.of_split(name) for name in ("train", "val", "test")}


def by_tens(number: int) -> int:
    return number // 10


# ---------------------------------------------------------------------------------------- the whole


def test_a_training_from_files_to_a_run(
    pictures: Callable[..., Dataset], quick: SettingsOf, tmp_path: Path
) -> None:
    dataset = pictures(ok=(40, None), dent=(20, None))
    said: list[Any] = []
    begun: list[str] = []
    told: list[tuple[str, int, int]] = []
    epochs: list[Any] = []
    listener = Listener(
        planned=said.append,
        begun=begun.append,
        progress=lambda *numbers: told.append((begun[-1], *numbers)),
        epoch=epochs.append,
    )
    settings = quick(epochs=4, image_size=(64, 64))
    found = run(dataset, settings, tmp_path / "work", listener=listener, command="ltcam train ...")
    run_ = found.run
    assert run_.classes == (OK, "dent")
    assert run_.image_size == (64, 64)
    assert run_.backbone == "test_resnet"
    assert run_.training == settings.model_dump(mode="json")
    assert run_.cam == default_cam(run_.stages)
    assert run_.data["images"] == 60
    assert run_.data["labels"] == {OK: 40, "dent": 20}
    assert len(run_.data["fingerprint"]) == 64
    assert run_.evidence["epoch_chosen_by"] == "validation image AP, then loss"
    assert found.history[run_.evidence["best_epoch"]]["val_ap"] == 1.0
    assert 0.05 <= run_.verdict.threshold <= 0.95
    assert "validation images" in run_.verdict.evidence
    assert {"python", "torch", "timm", "lightning", "numpy", "ltcam"} == set(run_.versions)
    assert run_.command == "ltcam train ..."
    assert found.failed == ()
    assert list(found.history) == epochs
    parts = sides(found.dataset)
    read = [numbers for name, *numbers in told if name == "reading images"]
    assert read[-1] == [len(parts["train"]) + len(parts["val"])] * 2
    assert [done for done, _ in read] == list(range(1, len(read) + 1))
    (plan,) = said
    assert plan.sides == {
        name: {side: sum(s.label == name for s in part) for side, part in sides(found.dataset).items()}
        for name in (OK, "dent")
    }
    assert (plan.epochs, plan.finished) == (4, 0)
    assert plan.concerns == ("the verdict's threshold will rest on 3 defective images only",)
    assert plan.seconds > 0
    assert split_csv(found.dataset, found.contents).count("\n") == 61
    json.loads(run_.model_dump_json())


def test_the_same_seed_trains_the_same_model_and_another_another(
    pictures: Callable[..., Dataset], quick: SettingsOf, tmp_path: Path
) -> None:
    dataset = pictures(ok=(12, None), dent=(6, None))
    first = run(dataset, quick(), tmp_path / "1").classifier.state_dict()
    second = run(dataset, quick(), tmp_path / "2").classifier.state_dict()
    third = run(dataset, quick(seed=1), tmp_path / "3").classifier.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], third[name]) for name in first)


def pretend_weights(folder: Path) -> Path:
    torch.manual_seed(5)
    file = folder / "trunk.safetensors"
    save_file(build_trunk("test_resnet").state_dict(), file)
    return file


def test_masks_are_never_opened(
    pictures: Callable[..., Dataset],
    quick: SettingsOf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not by reading them, and not to look at their size or their hash either."""
    global watched  # noqa: PLW0603  # an audit hook cannot be taken back

    dataset = pictures(ok=(20, None), dent=(12, None))
    masks = tmp_path / "masks"
    masks.mkdir()
    for sample in dataset.samples:
        Image.fromarray(np.zeros((64, 64), np.uint8)).save(masks / f"{sample.path.stem}-{sample.label}.png")
    dataset = dataset.with_samples(
        tuple(dataclasses.replace(s, mask=masks / f"{s.path.stem}-{s.label}.png") for s in dataset.samples)
    )

    def refuse(*_a: Any, **_k: Any) -> None:
        raise AssertionError("a mask was read")

    monkeypatch.setattr("ltcam_runtime.mask_reading.read_mask", refuse)
    watched = []
    try:
        found = run(dataset, quick(), tmp_path / "work")
        opened, watched = watched, None
    finally:
        watched = None
    assert len(found.history) == 1
    assert any(str(sample.path) in opened for sample in dataset.samples)
    assert [file for file in opened if str(masks) in file] == []


def test_images_of_the_test_side_are_not_trained_on(
    pictures: Callable[..., Dataset],
    quick: SettingsOf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = []
    original = prepare_images

    def spy(samples: Any, *arguments: Any, **options: Any) -> Any:
        read.extend(samples)
        return original(samples, *arguments, **options)

    monkeypatch.setattr(module, "prepare_images", spy)
    found = run(pictures(ok=(20, None), dent=(12, None)), quick(), tmp_path / "work")
    test = {sample.id for sample in found.dataset.of_split("test")}
    assert test
    assert test.isdisjoint(sample.id for sample in read)


def test_unreadable_images_are_listed_and_the_others_used(
    pictures: Callable[..., Dataset], quick: SettingsOf, tmp_path: Path
) -> None:
    dataset = pictures(
        ok=(12, None), dent=(6, None), split=lambda _l, n: ("test", "val", "val")[n] if n < 3 else "train"
    )
    (tmp_path / "data/dent/003.png").write_bytes(b"")
    (tmp_path / "data/ok/001.png").write_bytes(b"no image")
    (tmp_path / "data/ok/000.png").write_bytes(b"not looked at")
    found = run(dataset, quick(), tmp_path / "work")
    reasons = {sample.id: reason for sample, reason in found.failed}
    assert set(reasons) == {"dent/003.png", "ok/001.png"}
    assert reasons["dent/003.png"] == "the file is empty"


# ------------------------------------------------------------------------- a bound on missed defects


def images_held_back(*, defective: int, ok: int) -> PreparedImages:
    """The defective ones first."""
    labels = torch.tensor([1] * defective + [0] * ok)
    samples = tuple(Sample(f"{number}", Path(f"{number}"), OK, "") for number in range(len(labels)))
    return PreparedImages(torch.zeros(len(labels), 3, 2, 2, dtype=torch.uint8), labels, samples, ())


def test_a_promise_lowers_the_threshold_as_far_as_it_takes(quick: SettingsOf) -> None:
    part, scores = images_held_back(defective=10, ok=10), [0.15, *[0.9] * 8, 0.05, 0.01, *[0.5] * 9]
    said: list[Any] = []
    bold = choose_verdict(part, scores, quick())
    # With ten scores and nine tenths confidence the second from below bounds the missed ones by 34 %.
    verdict = choose_verdict(part, scores, quick(max_miss=0.34, confidence=0.9), said.append)
    assert 0.5 < bold.threshold < 0.9
    assert verdict.threshold == pytest.approx(0.15 - 1e-6, abs=1e-9)
    assert "at most 34 % missed defects with 90 % confidence by any threshold up to 0.15" in verdict.evidence
    assert "9 of 10 OK validation images are judged defective too" in verdict.evidence
    assert f"lowered from {bold.threshold:.4g} (best F1" in verdict.evidence
    assert "caveat: the same images chose the epoch" in verdict.evidence
    assert any(verdict.evidence in sentence for sentence in said)


def test_a_promise_never_raises_the_threshold(quick: SettingsOf) -> None:
    part, scores = images_held_back(defective=10, ok=10), [0.99] * 10 + [0.01] * 10
    bold = choose_verdict(part, scores, quick())
    careful = choose_verdict(part, scores, quick(max_miss=0.4))
    assert careful.threshold == bold.threshold == pytest.approx(0.5)
    assert "not lowered: best F1 (1.000, " in careful.evidence
    assert "0 of 10 OK validation images" in careful.evidence


def test_defective_images_alone_make_a_promise_too(quick: SettingsOf) -> None:
    """They chose no epoch, so there is no caveat."""
    part, scores = images_held_back(defective=10, ok=0), [0.0, *[0.4] * 9]
    assert choose_verdict(part, scores, quick(max_miss=0.21, confidence=0.9)).threshold == 0.0
    careful = choose_verdict(part, scores, quick(max_miss=0.4, confidence=0.9))
    assert careful.threshold == pytest.approx(0.4, abs=2e-6)
    assert "caveat" not in careful.evidence


@pytest.mark.parametrize("held_back", [0, 4])
def test_too_few_defects_for_a_promise_are_counted(
    held_back: int, pictures: Callable[..., Dataset], quick: SettingsOf, tmp_path: Path
) -> None:
    dataset = pictures(ok=(12, None), dent=(9, None), split=lambda _l, n: "val" if n < held_back else "train")
    settings = quick(validation_share=0.0)
    said: list[Any] = []
    plain = run(dataset, settings, tmp_path / "work").run.verdict
    promised = settings.model_copy(update={"max_miss": 0.02})
    verdict = run(dataset, promised, tmp_path / "work", listener=Listener(say=said.append)).run.verdict
    assert verdict.threshold == plain.threshold
    assert verdict.evidence.startswith("WARNING: at most 2 % missed defects with 95 % confidence cannot")
    assert f"149 defective validation images, {149 - held_back} more than the {held_back}" in verdict.evidence
    assert plain.evidence in verdict.evidence
    assert any("WARNING" in sentence for sentence in said)


# ---------------------------------------------------------------------------------------- hard data


@pytest.mark.parametrize(
    "classes",
    [
        {"ok": (30, "lot1"), "dent": (10, "lot1")},  # one lot
        {"ok": (30, None), "dent": (1, None)},  # one defect
        {"ok": (30, None), "dent": (10, "lot7")},  # all defects in one lot
        {"ok": (1, None), "dent": (10, None)},  # one OK image
    ],
)
def test_groups_that_cannot_be_cut_are_all_trained_on(
    classes: dict[str, Any],
    pictures: Callable[..., Dataset],
    quick: SettingsOf,
    tmp_path: Path,
) -> None:
    dataset = pictures(**classes)
    plans: list[Any] = []
    warned: list[Any] = []
    listener = Listener(planned=plans.append, warn=warned.append)
    found = run(dataset, quick(), tmp_path / "work", listener=listener)
    assert len(found.dataset.of_split("train")) == len(dataset.samples)
    assert "no test side: " in found.run.data["split"]
    assert "test" in plans[0].missing
    assert any("validation side" in concern and "stays at 0.5" in concern for concern in plans[0].concerns)
    assert "not calibrated" in warned[-1]
    assert found.run.evidence["epoch_chosen_by"].startswith("the last one")
    assert found.run.verdict.threshold == 0.5


def test_two_defects_are_divided_between_train_and_test(
    pictures: Callable[..., Dataset], quick: SettingsOf
) -> None:
    dataset, words = prepare_split(pictures(ok=(30, None), dent=(2, None)), quick())
    assert [sum(s.defective for s in side) for side in sides(dataset).values()] == [1, 0, 1]
    assert "no test side" not in words


def test_a_lot_is_never_on_two_sides(pictures: Callable[..., Dataset], quick: SettingsOf) -> None:
    dataset, _ = prepare_split(pictures(ok=(120, by_tens), dent=(60, by_tens)), quick())
    assert straddling_groups(dataset) == ()
    assert all(sides(dataset).values())


@pytest.mark.parametrize("missing", [OK, "dent"])
def test_a_validation_side_of_one_kind_chooses_nothing(
    missing: str, pictures: Callable[..., Dataset], quick: SettingsOf, tmp_path: Path
) -> None:
    """By the loss of OK images alone, the best epoch would be the one that calls everything OK."""
    kept = "dent" if missing == OK else OK
    dataset = pictures(
        ok=(16, None), dent=(10, None), split=lambda label, n: "val" if label == kept and n < 5 else "train"
    )
    found = run(dataset, quick(epochs=3), tmp_path / "work")
    kind = "OK" if missing == OK else "defective"
    assert found.run.evidence["epoch_chosen_by"] == (
        f"the last one: there are no {kind} images on the validation side"
    )
    assert found.run.evidence["best_epoch"] == 2
    assert found.run.verdict.threshold == 0.5


def test_few_defects_are_all_learned_from(pictures: Callable[..., Dataset], quick: SettingsOf) -> None:
    few, _ = prepare_split(
        pictures(ok=(40, None), dent=(FEWEST_FOR_VALIDATION - 1, None), split="train"), quick()
    )
    assert few.of_split("val") == ()


def test_more_defects_choose_the_epoch(pictures: Callable[..., Dataset], quick: SettingsOf) -> None:
    dataset, _ = prepare_split(
        pictures(ok=(40, None), dent=(40, None), split=lambda _l, n: "test" if n > 29 else "train"), quick()
    )
    assert [sum(s.defective for s in side) for side in sides(dataset).values()] == [24, 6, 10]
    dataset, _ = prepare_split(dataset.with_samples(dataset.samples), quick(validation_share=0.0))
    assert len(dataset.of_split("val")) > 0  # what is named stays


def test_no_validation_if_none_is_wanted(pictures: Callable[..., Dataset], quick: SettingsOf) -> None:
    dataset, _ = prepare_split(pictures(ok=(40, None), dent=(30, None)), quick(validation_share=0.0))
    assert dataset.of_split("val") == ()


@pytest.mark.parametrize(("kind", "words"), [(OK, "no OK image"), ("dent", "no defective image")])
def test_a_training_side_of_one_kind_is_an_error(
    kind: str, words: str, pictures: Callable[..., Dataset], quick: SettingsOf
) -> None:
    dataset = pictures(
        ok=(9, None), dent=(9, None), split=lambda label, _n: "test" if label == kind else "train"
    )
    with pytest.raises(DataError, match=words):
        prepare_split(dataset, quick())


def test_a_kind_of_which_no_image_can_be_read_is_an_error(
    pictures: Callable[..., Dataset], quick: SettingsOf, tmp_path: Path
) -> None:
    dataset = pictures(ok=(9, None), dent=(3, None), split="train")
    for sample in dataset.samples:
        if sample.defective:
            sample.path.write_bytes(b"")
    with pytest.raises(DataError, match="no defective image of the training side could be read"):
        run(dataset, quick(), tmp_path / "work")


def test_no_readable_image_at_all(
    pictures: Callable[..., Dataset], quick: SettingsOf, tmp_path: Path
) -> None:
    dataset = pictures(ok=(3, None), dent=(3, None), split="train")
    for sample in dataset.samples:
        sample.path.write_bytes(b"")
    with pytest.raises(DataError, match=r"none of the \d training images could be read"):
        run(dataset, quick(image_size=None), tmp_path / "work")


def test_rare_classes_grey_images_and_sizes_of_all_kinds(
    pictures: Callable[..., Dataset],
    quick: SettingsOf,
    short_epochs: None,
    tmp_path: Path,
) -> None:
    dataset = pictures(ok=(20, None), crack=(12, None), dent=(9, None), stain=(1, None))
    for number, sample in enumerate(dataset.samples):
        size = [(1, 1), (200, 7), (40, 90), (64, 64)][number % 4]
        rng = np.random.default_rng(number)
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(sample.path)
    found = run(dataset, quick(image_size=None), tmp_path / "work")
    assert found.run.classes == (OK, "crack", "dent", "stain")
    assert found.classifier.head.out_features == 4
    assert np.isfinite([entry["train_loss"] for entry in found.history]).all()


def test_copies_of_one_photograph_stay_on_one_side(
    pictures: Callable[..., Dataset], quick: SettingsOf
) -> None:
    dataset = pictures(ok=(30, None), dent=(20, None))
    for number in range(0, 20, 2):
        shutil.copy(dataset.samples[number].path, dataset.samples[number + 1].path)
    cut, _ = prepare_split(dataset, quick())
    side = {sample.id: sample.split for sample in cut.samples}
    for number in range(0, 20, 2):
        assert side[dataset.samples[number].id] == side[dataset.samples[number + 1].id]


# ------------------------------------------------------------------------------------ settings, resume


def test_the_size_is_chosen_from_the_training_images(
    pictures: Callable[..., Dataset],
    quick: SettingsOf,
    short_epochs: None,
    tmp_path: Path,
) -> None:
    dataset = pictures(size=(300, 90), ok=(5, None), dent=(5, None), split="train")
    found = run(dataset, quick(image_size=None), tmp_path / "work")
    assert found.run.image_size == (416, 128)


def test_too_many_frozen_stages(pictures: Callable[..., Dataset], quick: SettingsOf, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"`freeze` 8: the network has \d stages"):
        run(pictures(ok=(3, None), dent=(3, None)), quick(freeze=8), tmp_path / "work")


def test_frozen_stages_come_out_as_they_went_in(
    pictures: Callable[..., Dataset], quick: SettingsOf, tmp_path: Path
) -> None:
    """Random weights: only there are the statistics of batch normalisation trained at all."""
    dataset = pictures(ok=(6, None), dent=(6, None), split="train")
    frozen = run(dataset, quick(freeze=2), tmp_path / "1").classifier.state_dict()
    torch.manual_seed(0)
    start = build_classifier("test_resnet", 2).state_dict()
    kept = [n for n in start if n.startswith(("trunk.conv1", "trunk.bn1", "trunk.layer1"))]
    assert len(kept) > 8
    assert all(torch.equal(start[name], frozen[name]) for name in kept)
    assert not torch.equal(start["trunk.layer4.0.conv1.weight"], frozen["trunk.layer4.0.conv1.weight"])


@pytest.mark.parametrize("size", [(7, 7), (16, 16)])
def test_a_size_that_leaves_no_stages(
    size: tuple[int, int],
    pictures: Callable[..., Dataset],
    quick: SettingsOf,
    tmp_path: Path,
) -> None:
    settings = quick(image_size=size, backbone="pit_s_224")
    with pytest.raises(SettingsError, match="`backbone`"):
        run(pictures(ok=(3, None), dent=(3, None)), settings, tmp_path / "work")


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"epochs": 9}, "`epochs`"),
        ({"seed": 3}, "`seed`"),
        ({"learning_rate": 1e-4}, "`learning_rate`"),
        ({"augment": False}, "`augment`"),
        ({"image_size": (64, 64)}, "`image_size` [0-9]+x[0-9]+, not 64x64; give"),
    ],
)
def test_a_training_is_not_gone_on_with_other_settings(
    change: dict[str, Any],
    option: str,
    pictures: Callable[..., Dataset],
    quick: SettingsOf,
    tmp_path: Path,
) -> None:
    dataset = pictures(ok=(6, None), dent=(6, None), split="train")
    run(dataset, quick(), tmp_path / "work")
    with pytest.raises(RunError, match=f"begun with {option}"):
        run(dataset, quick(**change), tmp_path / "work")


def test_a_training_is_not_gone_on_with_other_data(
    pictures: Callable[..., Dataset], quick: SettingsOf, tmp_path: Path
) -> None:
    dataset = pictures(ok=(6, None), dent=(6, None), split="train")
    run(dataset, quick(), tmp_path / "work")
    fewer = make_dataset(dataset.root, dataset.layout, list(dataset.samples[1:]))
    with pytest.raises(RunError, match="other images or labels"):
        run(fewer, quick(), tmp_path / "work")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"settings": 3}', "{}"])
def test_damaged_settings_of_a_begun_training(
    content: str, pictures: Callable[..., Dataset], quick: SettingsOf, tmp_path: Path
) -> None:
    dataset = pictures(ok=(6, None), dent=(6, None), split="train")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / SETTINGS_FILE).write_text(content)
    with pytest.raises(RunError, match="is damaged"):
        run(dataset, quick(), tmp_path / "work")


@pytest.mark.parametrize(("backbone", "rate"), [("test_resnet", 1e-4), ("test_convnext", 5e-5)])
def test_networks_without_batch_normalisation_learn_more_slowly(backbone: str, rate: float) -> None:
    assert default_learning_rate(build_classifier(backbone, 2)) == rate


def test_an_open_data_set_is_hashed_once_however_many_trainings_there_are(
    pictures: Callable[..., Dataset],
    quick: SettingsOf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ltcam.data import opened  # noqa: PLC0415

    hashed: list[Any] = []
    monkeypatch.setattr(opened, "content_hashes", noted(hashed, content_hashes))
    dataset = pictures(ok=(6, None), dent=(6, None), split="train")
    data = OpenData(dataset.root, dataset)
    for number in range(2):
        train_run(data, quick(), tmp_path / str(number), Running(device="cpu"))
    assert len(hashed) == 1
