"""Gradient checkpointing is off while the engine looks at a model, and on again behind it."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import checkpoint as torch_checkpoint
from torch.utils.checkpoint import checkpoint

from ltcam.cam import CAM, LTFullGrad, list_methods
from ltcam.cam.network.checkpointing import without_checkpointing

KINDS = (torch_checkpoint.CheckpointFunction, torch_checkpoint._checkpoint_without_reentrant_generator)


class Checkpointed(nn.Module):
    """The small network in three parts, the last two of them checkpointed."""

    def __init__(self, net: Any, reentrant: bool) -> None:
        super().__init__()
        self.net: Any = net
        self.reentrant = reentrant

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.net.features[:4](images)
        for part in (self.net.features[4:8], self.net.features[8:]):
            maps = checkpoint(part, maps, use_reentrant=self.reentrant)
        logits: torch.Tensor = self.net.head(maps.mean((2, 3)))
        return logits


@pytest.mark.parametrize("method", [method.name for method in list_methods()])
@pytest.mark.parametrize("reentrant", [True, False])
def test_maps_are_those_without(method: str, reentrant: bool, nets: SimpleNamespace) -> None:
    net, images = nets.plain(head="gap"), nets.images()
    layers = {"fullgrad": None, "cam": ("features.11",)}.get(method, nets.STAGES)
    wanted = CAM(method, layers=layers)(net, images, 1)
    inside = layers and tuple(f"net.{layer}" for layer in layers)
    checkpointed = Checkpointed(net, reentrant)
    assert torch.equal(CAM(method, layers=inside)(checkpointed, images, 1), wanted)
    assert (
        torch_checkpoint.CheckpointFunction,
        torch_checkpoint._checkpoint_without_reentrant_generator,
    ) == KINDS


def test_it_is_on_again_behind_an_exception(nets: SimpleNamespace) -> None:
    net = Checkpointed(nets.plain(head="gap"), reentrant=True)
    with pytest.raises(ValueError, match="out of range"):
        LTFullGrad()(net, nets.images(), 7)
    assert (
        torch_checkpoint.CheckpointFunction,
        torch_checkpoint._checkpoint_without_reentrant_generator,
    ) == KINDS


@pytest.mark.parametrize("reentrant", [True, False])
def test_another_threads_training_goes_on_being_checkpointed(reentrant: bool) -> None:
    """A checkpointed part runs twice where there is a backward pass, once inside the block."""
    runs = []

    def part(x: torch.Tensor) -> torch.Tensor:
        runs.append(threading.get_ident())
        return (x * 2).sin()

    def work() -> None:
        x = torch.ones(3, requires_grad=True)
        checkpoint(part, x, use_reentrant=reentrant).sum().backward()
        assert x.grad is not None
        assert torch.allclose(x.grad, 2 * torch.cos(torch.full((3,), 2.0)))

    with without_checkpointing():
        with without_checkpointing():
            work()
        other = threading.Thread(target=work)
        other.start()
        other.join()
        work()
    mine = threading.get_ident()
    assert runs.count(mine) == 2
    assert len(runs) == 4, "twice in the other thread"
    work()
    assert runs.count(mine) == 4
