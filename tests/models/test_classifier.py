from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from ltcam.cam import capture
from ltcam.models.classifier import build_classifier, freeze_stages, stages_of
from ltcam.models.names import Head

TINY = ("test_resnet", "test_efficientnet", "test_convnext", "mobilenetv3_small_050", "lcnet_050")


@pytest.mark.parametrize("backbone", TINY)
@pytest.mark.parametrize("classes", [2, 6])
def test_logits_per_class(backbone: str, classes: int) -> None:
    classifier = build_classifier(backbone, classes).eval()
    with torch.no_grad():
        assert classifier(torch.rand(3, 3, 64, 64)).shape == (3, classes)
    assert not classifier.head.bias.any()


@pytest.mark.parametrize("backbone", TINY)
def test_stages_are_found_shallow_to_deep(backbone: str) -> None:
    classifier = build_classifier(backbone, 2)
    stages = stages_of(classifier, (96, 128))
    assert 4 <= len(stages) <= 5
    sizes = output_sizes(classifier, stages, (96, 128))
    assert sizes == sorted(sizes, reverse=True)
    assert classifier.training  # found without leaving a trace


def test_stages_of_vgg_are_its_poolings() -> None:
    stages = stages_of(build_classifier("vgg11", 2), (64, 64))
    assert stages == tuple(f"trunk.features.{index}" for index in (2, 5, 10, 15, 20))


def test_fully_connected_layers_are_no_stage() -> None:
    stages = stages_of(build_classifier("vgg11", 2, "fully-connected"), (320, 288))
    assert stages == tuple(f"trunk.features.{index}" for index in (2, 5, 10, 15, 20))
    before = stages_of(build_classifier("vgg11", 2, "fully-connected"), (320, 288), "before")
    assert before == tuple(f"trunk.features.{index}" for index in (1, 4, 9, 14, 19))


def test_gradients_behind_fully_connected_layers_differ_from_place_to_place() -> None:
    """Behind global pooling alone they do not: truncation has something to cut here."""
    images = torch.rand(1, 3, 288, 288, generator=torch.Generator().manual_seed(0))
    cases: tuple[tuple[Head, bool], ...] = (("pooled", False), ("fully-connected", True))
    for head, varies in cases:
        torch.manual_seed(0)
        classifier = build_classifier("vgg11", 2, head).eval()
        last = capture(classifier, images, 1, layers=["trunk.features.20"]).gradients[0]
        assert bool((last.amax((2, 3)) > last.amin((2, 3)) + 1e-12).any()) == varies


@pytest.mark.parametrize("backbone", TINY)
@pytest.mark.parametrize("count", [0, 1, 2])
def test_frozen_stages_stay_bit_for_bit_and_the_rest_moves(backbone: str, count: int) -> None:
    torch.manual_seed(0)
    classifier = build_classifier(backbone, 2)
    stages = stages_of(classifier, (64, 64))
    number = freeze_stages(classifier, stages, count)
    before = copy.deepcopy(classifier.state_dict())
    frozen = {name for name, parameter in classifier.named_parameters() if not parameter.requires_grad}
    assert number == sum(before[name].numel() for name in frozen)
    assert (number > 0) == (count > 0)
    step(classifier)
    after = classifier.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    moved = {name for name, _ in classifier.named_parameters()} - frozen
    assert any(not torch.equal(before[name], after[name]) for name in moved)
    assert not torch.equal(before["head.weight"], after["head.weight"])


@pytest.mark.parametrize("backbone", TINY)
def test_what_a_frozen_stage_puts_out_does_not_change(backbone: str) -> None:
    """Normalisation statistics too: a stage's output is what counts."""
    torch.manual_seed(0)
    classifier = build_classifier(backbone, 2)
    stages = stages_of(classifier, (64, 64))
    freeze_stages(classifier, stages, 2)
    images = torch.rand(2, 3, 64, 64)
    before = outputs(classifier, stages, images)
    step(classifier)
    after = outputs(classifier, stages, images)
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])
    assert not torch.equal(before[-1], after[-1])


def test_all_stages_can_be_frozen() -> None:
    classifier = build_classifier("test_resnet", 2)
    stages = stages_of(classifier, (64, 64))
    freeze_stages(classifier, stages, len(stages))
    trained = [name for name, parameter in classifier.named_parameters() if parameter.requires_grad]
    assert trained == ["head.weight", "head.bias"]


def step(classifier: nn.Module) -> None:
    optimizer = torch.optim.SGD([p for p in classifier.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss = functional.cross_entropy(classifier(torch.rand(4, 3, 64, 64)), torch.tensor([0, 1, 0, 1]))
        torch.autograd.backward(loss)
        optimizer.step()


def outputs(classifier: nn.Module, stages: tuple[str, ...], images: torch.Tensor) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    hooks = [
        classifier.get_submodule(name).register_forward_hook(lambda _m, _i, out: found.append(out.clone()))
        for name in stages
    ]
    modes = {module: module.training for module in classifier.modules()}
    with torch.no_grad():
        classifier.eval()(images)
    for module, mode in modes.items():
        module.training = mode
    for hook in hooks:
        hook.remove()
    return found


def output_sizes(classifier: nn.Module, stages: tuple[str, ...], size: tuple[int, int]) -> list[int]:
    return [out.shape[2] * out.shape[3] for out in outputs(classifier, stages, torch.rand(1, 3, *size))]
