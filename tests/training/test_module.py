from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests.training.conftest import SettingsOf
from torch import nn

from ltcam.models.classifier import build_classifier
from ltcam.training.module import TrainingModule, _image_ap, freeze_normalisation, rank_of_epoch

NAN = float("nan")


def entry(val_ap: float, val_loss: float) -> dict[str, float]:
    return {"val_ap": val_ap, "val_loss": val_loss}


def test_epochs_are_ordered_by_ap_then_loss() -> None:
    ordered = [entry(NAN, NAN), entry(NAN, 0.5), entry(0.5, 0.1), entry(0.9, 0.7), entry(0.9, 0.2)]
    mixed = [ordered[place] for place in (3, 0, 4, 2, 1)]
    assert sorted(mixed, key=rank_of_epoch) == ordered


def test_rounding_of_the_ap_does_not_decide() -> None:
    assert rank_of_epoch(entry(1 - 1e-9, 0.1)) > rank_of_epoch(entry(1.0, 0.2))


@pytest.mark.parametrize("bad", [entry(NAN, NAN), entry(NAN, 0.0)])
def test_an_epoch_without_ap_never_wins_over_one_with(bad: dict[str, float]) -> None:
    good = entry(0.0, 9.0)
    assert max([bad, good], key=rank_of_epoch) is good
    assert max([good, bad], key=rank_of_epoch) is good


def test_ap_of_all_defects_together() -> None:
    logits = torch.tensor([[3.0, 0, 0], [0, 2, 0], [2, 0, 1.9], [2.5, 0, 0]])
    assert _image_ap(logits, torch.tensor([0, 1, 2, 0])) == 1.0
    assert _image_ap(logits, torch.tensor([1, 0, 0, 0])) == 0.25


@pytest.mark.parametrize("label", [0, 1])
def test_ap_of_one_kind_is_not_a_number(label: int) -> None:
    assert math.isnan(_image_ap(torch.rand(3, 2), torch.full((3,), label)))


def test_ap_tells_confident_scores_apart() -> None:
    """1 - p in single precision is 0 for all of these."""
    logits = torch.tensor([[40.0, 0], [30, 0], [20, 0]])
    assert _image_ap(logits, torch.tensor([0, 0, 1])) == 1.0


def module_of(settings_of: SettingsOf, **values: Any) -> TrainingModule:
    settings = settings_of(**values)
    statistics = ((0.5, 0.4, 0.3), (0.1, 0.2, 0.3))
    return TrainingModule(build_classifier("test_resnet", 2), settings, 1e-3, statistics, channels_last=True)


def test_images_are_normalised_whatever_their_type(settings_of: SettingsOf) -> None:
    module = module_of(settings_of)
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    found = module.normalise(images)
    assert torch.allclose(found, module.normalise(images.float() / 255))
    assert torch.allclose(found[:, 1], (images[:, 1] / 255 - 0.4) / 0.2)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_batch_normalisation_keeps_its_statistics() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    freeze_normalisation(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model(torch.rand(2, 3, 4, 4))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
