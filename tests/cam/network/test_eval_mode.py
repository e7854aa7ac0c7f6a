"""Evaluation mode for a while, and running a model."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from ltcam.cam import CAM
from ltcam.cam.network.eval_mode import evaluating, run


def flags(net: nn.Module) -> list[bool]:
    return [module.training for module in net.modules()]


def test_each_flag_comes_back_also_after_an_exception(nets: SimpleNamespace) -> None:
    net = nets.plain()
    net.train()
    net.features[1].eval()
    before = flags(net)
    with evaluating(net):
        assert not any(flags(net))
    assert flags(net) == before
    with pytest.raises(RuntimeError, match="inside"), evaluating(net):
        raise RuntimeError("inside")
    assert flags(net) == before


def test_blocks_that_overlap_restore_only_at_the_last_end(nets: SimpleNamespace) -> None:
    """Two threads with one model: the first to finish must not switch training on under the other."""
    net = nets.plain()
    net.train()
    net.features[5].eval()
    before = flags(net)
    first, second = evaluating(net), evaluating(net)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not any(flags(net))
    second.__exit__(None, None, None)
    assert flags(net) == before


@pytest.mark.parametrize("n", [1, 2])
def test_batch_statistics_are_refused(n: int, nets: SimpleNamespace) -> None:
    net = nets.plain()
    net.features[5] = nn.BatchNorm2d(6, track_running_stats=False)
    net.train()
    before = flags(net)
    with pytest.raises(ValueError, match=r"'features\.5'.*batch"), evaluating(net):
        pass
    assert flags(net) == before


def test_instance_normalisation_is_no_batch_normalisation(nets: SimpleNamespace) -> None:
    network = nn.Sequential(nn.InstanceNorm2d(3)).train()
    with evaluating(network):
        assert not network.training
    assert network.training


def test_a_wrong_number_of_channels_is_explained(nets: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match=r"\(1, 1, 16, 24\).*1 channels.*\(N, 3, H, W\)"):
        run(nets.plain(), torch.zeros(1, 1, 16, 24, dtype=torch.float64))


def test_other_errors_of_the_model_pass_through(nets: SimpleNamespace) -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        run(nets.plain(), torch.zeros(1, 3, 32, 32, dtype=torch.float64))


@pytest.mark.parametrize(
    "made", [torch.jit.script, lambda net: torch.jit.trace(net, torch.zeros(1, 3, 16, 24))]
)
@pytest.mark.parametrize("method", ["grad-cam", "fullgrad", "score-cam"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_and_traced_models_are_named(
    made: Callable[..., Any], method: str, nets: SimpleNamespace
) -> None:
    net = made(nn.Sequential(nets.plain(head="gap").float().features, nn.Flatten()))
    with pytest.raises(ValueError, match=r"scripted or traced.*give the model that it was made from"):
        CAM(method)(net, torch.zeros(1, 3, 16, 24), 1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_part_is_passed_over_and_cannot_be_chosen(nets: SimpleNamespace) -> None:
    net = nets.plain(head="gap")
    wanted = CAM("layer-cam", layers=nets.STAGES)(net, nets.images(), 1)
    net.features[2], net.features[6] = (torch.jit.script(net.features[place]) for place in (2, 6))
    assert torch.equal(CAM("layer-cam")(net, nets.images(), 1), wanted)
    with pytest.raises(ValueError, match=r"'features\.6' is scripted or traced"):
        CAM("layer-cam", layers=("features.6",))(net, nets.images(), 1)
