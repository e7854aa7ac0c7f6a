from __future__ import annotations

import torch

from ltcam.models.classifier import build_classifier
from ltcam.runs.run import Arithmetic
from ltcam.training.plan import concerns, seconds_of_step
from ltcam.training.settings import TrainingSettings


def counts(train: int, val: int, *, ok_val: int = 9) -> dict[str, dict[str, int]]:
    return {"ok": {"train": 40, "val": ok_val, "test": 0}, "dent": {"train": train, "val": val, "test": 0}}


def test_enough_images_make_nobody_hesitate() -> None:
    assert concerns(counts(20, 5), {}, (400, 400), (320, 320)) == ()


def test_what_should_make_one_hesitate() -> None:
    assert "only 5 defective images to train on" in concerns(counts(5, 5), {}, (64, 64), (64, 64))[0]
    assert "only 1 defective image to" in concerns(counts(1, 5), {}, (64, 64), (64, 64))[0]
    (found,) = concerns(counts(20, 0, ok_val=0), {"val": "one lot"}, (64, 64), (64, 64))
    assert "no validation side (one lot)" in found
    assert "stays at 0.5" in found
    assert "has no defective image" in concerns(counts(20, 0), {}, (64, 64), (64, 64))[0]
    assert "rest on 2 defective images only" in concerns(counts(20, 2), {}, (64, 64), (64, 64))[0]
    unseen = {**counts(20, 5), "pit": {"train": 0, "val": 1, "test": 0}}
    assert "pit has no image to train on" in concerns(unseen, {}, (64, 64), (64, 64))


def test_trying_a_step_changes_neither_network_nor_dice() -> None:
    classifier = build_classifier("test_resnet", 2)
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    assert seconds_of_step(classifier, (32, 32), TrainingSettings(), Arithmetic()) > 0
    assert torch.equal(torch.rand(4), expected)
    assert all(torch.equal(before[name], tensor) for name, tensor in classifier.state_dict().items())
    assert all(parameter.grad is None for parameter in classifier.parameters())
