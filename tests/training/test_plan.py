from __future__ import annotations

import torch

from ltcam.models.classifier import build_classifier
from ltcam.runs.run import Arithmetic
from ltcam.training.plan import seconds_of_step
from ltcam.training.settings import TrainingSettings


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
