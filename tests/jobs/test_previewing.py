"""Masks on validation images after each epoch: looked at, and nothing of the training changed by it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.training.conftest import STATISTICS, prepare

from ltcam.data.dataset import OK, Sample
from ltcam.jobs.previewing import _to_show, previewed
from ltcam.models.classifier import Classifier, build_classifier
from ltcam.reports.comparison_picture import PREDICTION_COLOUR
from ltcam.training.fit import Material, Running, fit
from ltcam.training.listener import Listener, Marked
from ltcam.training.settings import TrainingSettings

SETTINGS = TrainingSettings(
    backbone="test_resnet",
    weights="random",
    epochs=2,
    batch_size=8,
    precision="float32",
    memory_format="contiguous",
    learning_rate=3e-3,
)


def fitted(folder: Path, listener: Listener, *, held_back: bool = True) -> Classifier:
    torch.manual_seed(0)
    classifier = build_classifier("test_resnet", 2)
    validation = prepare(9, 9, 2) if held_back else None
    running = Running("cpu", listener=listener, look=previewed(listener))
    material = Material(prepare(20, 12, 1), STATISTICS, validation)
    fit(classifier, material, SETTINGS, folder, running)
    return classifier


def test_every_epoch_is_shown_and_weights_are_those_of_a_training_that_nobody_watches(tmp_path: Path) -> None:
    seen: dict[int, list[Marked]] = {}
    watched = fitted(
        tmp_path / "a", Listener(pictures=lambda epoch, shown: seen.update({epoch: list(shown)}))
    )
    plain = fitted(tmp_path / "b", Listener())
    assert all(torch.equal(one, plain.state_dict()[name]) for name, one in watched.state_dict().items())
    assert sorted(seen) == [0, 1]
    for shown in seen.values():
        assert [each.label for each in shown] == ["dent"] * 6 + ["ok"] * 2
        assert all(each.held_back and each.picture.shape == (320, 320, 3) for each in shown)
        for each in shown:
            outlined = bool((each.picture == PREDICTION_COLOUR).all(axis=2).any())
            assert outlined == (each.label != OK or each.score >= 0.5), each


def test_where_nothing_was_held_back_images_of_the_training_are_shown(tmp_path: Path) -> None:
    seen: list[Marked] = []
    fitted(tmp_path, Listener(pictures=lambda _epoch, shown: seen.extend(shown)), held_back=False)
    assert len(seen) == 16
    assert not any(each.held_back for each in seen)


@pytest.mark.parametrize("kinds", [("a", "b", "c"), tuple("abcdefghij")])
def test_every_kind_is_shown_before_a_second_image_of_one(kinds: tuple[str, ...]) -> None:
    labels = [OK] * 5 + [kind for kind in kinds for _ in range(9)]
    samples = [Sample(f"{n}.png", Path(f"{n}.png"), label, str(n)) for n, label in enumerate(labels)]
    shown = [labels[place] for place in _to_show(samples)]
    assert shown[-2:] == [OK, OK]
    assert len(set(shown[:-2])) == min(len(kinds), 6)
    assert len(shown) == 8
