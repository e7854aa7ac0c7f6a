"""Ablation-CAM against its formula: every channel really set to zero, one forward pass each."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ltcam.cam import CAM, Probe, capture
from ltcam.cam.engine import Relu
from ltcam.cam.methods.ablation_cam import ABLATION_CAM

TARGETS = (1, [1, 0], lambda logits: logits[1] - logits[0])


def literal_weights(
    net: nn.Module, images: Tensor, target: Callable[..., Any] | int | list[int], layer: str
) -> np.ndarray:
    """(y - y_k)/|y|, one whole forward pass per image and channel."""

    def score(i: int, channel: int | None = None) -> float:
        def ablate(_module: nn.Module, _inputs: tuple[Tensor], output: Tensor) -> Tensor:
            changed = output.clone()
            if channel is not None:
                changed[:, channel] = 0
            counted.append(output.shape[1])
            return changed

        handle = net.get_submodule(layer).register_forward_hook(ablate)
        with torch.no_grad():
            logits = net(images[i : i + 1].clone())[0]
        handle.remove()
        own = target[i] if isinstance(target, list) else target
        return float(own(logits) if callable(own) else logits[own])

    counted: list[int] = []
    rows = []
    for i in range(len(images)):
        y = score(i)
        rows.append([(y - score(i, channel)) / abs(y) for channel in range(counted[0])])
    return np.array(rows)


def asked(
    net: nn.Module,
    images: Tensor,
    target: Callable[..., Any] | int | list[int] | None,
    layer: str,
    chunk: int = 8,
) -> Tensor:
    captured = capture(net, images, target, layers=layer, gradients=False)
    with torch.no_grad():
        return ABLATION_CAM.weights(Probe(net, images, target, captured, chunk), 0)


def check(net: nn.Module, images: Tensor, target: Callable[..., Any] | int | list[int], layer: str) -> None:
    found = asked(net, images, target, layer)
    wanted = literal_weights(net, images, target, layer)
    assert found.shape == (*wanted.shape, 1, 1)
    assert np.abs(wanted).max() > 1e-3
    np.testing.assert_allclose(found[:, :, 0, 0].numpy(), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("target", TARGETS, ids=["index", "indices", "callable"])
@pytest.mark.parametrize("layer", ["features.0", "features.1", "features.3", "features.7", "features.11"])
def test_weights_are_the_formula(
    target: Callable[..., Any] | int | list[int], layer: str, nets: SimpleNamespace
) -> None:
    """`features.0` and `.1` are signed; behind `.1` a ReLU works in place in every second network."""
    check(nets.plain(0), nets.images(0), target, layer)
    check(nets.plain(1, inplace=True), nets.images(1), target, layer)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("layer", ["stem", "conv1", "bn1", "bn2", "norm"])
def test_residual_network(layer: str, inplace: bool, nets: SimpleNamespace) -> None:
    """Before and inside the block, where a connection passes the layer by, and behind it."""
    check(nets.shaken(nets.Residual(inplace), 2), nets.images(2), [0, 1], layer)


def test_float32_is_float64_rounded(nets: SimpleNamespace) -> None:
    images = nets.images(3)
    wanted = asked(nets.plain(3), images, 1, nets.STAGES[1])
    found = asked(nets.shaken(nets.Plain(), 3, torch.float32), images.float(), 1, nets.STAGES[1])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5)


def test_heatmap_is_the_weighted_sum(nets: SimpleNamespace, literal: SimpleNamespace) -> None:
    net, images = nets.plain(5), nets.images(5)
    A = capture(net, images, 1, layers=nets.STAGES[1], gradients=False).activations[0].numpy()
    maps = np.einsum("nk,nkhw->nhw", literal_weights(net, images, 1, nets.STAGES[1]), A)
    for relu in get_args(Relu):
        wanted = maps if relu == "none" else np.maximum(maps, 0)
        found = CAM("ablation-cam", layers=nets.STAGES[1:2], relu=relu)(net, images, 1)
        resized = np.stack([literal.resized(one, (16, 24)) for one in wanted])
        np.testing.assert_allclose(found.numpy(), resized, rtol=1e-9, atol=1e-11)


def test_a_linear_tail_has_a_closed_form(nets: SimpleNamespace) -> None:
    """Pooling and one linear layer: y - y_k is channel k's own term of the sum."""
    net, images = nets.plain(6, head="gap"), nets.images(6)
    captured = capture(net, images, 1, layers=nets.STAGES[2], gradients=False)
    terms = captured.activations[0].mean((2, 3)) * net.head[0].weight[1].detach()
    found = asked(net, images, 1, nets.STAGES[2])[:, :, 0, 0]
    torch.testing.assert_close(found, terms / captured.scores.abs()[:, None], rtol=1e-9, atol=1e-12)


def test_a_negative_score_keeps_the_signs(nets: SimpleNamespace) -> None:
    """Class 0 of one output has the score -z: by |y| its weights are those of class 1 with the sign turned."""
    net, images = nets.plain(7, classes=1), nets.images(7)
    for_defect, for_ok = (asked(net, images, target, nets.STAGES[1]) for target in (1, 0))
    torch.testing.assert_close(for_ok, -for_defect)
    assert torch.equal(asked(net, images, None, nets.STAGES[1]), for_defect)


def test_a_score_of_zero_is_refused(nets: SimpleNamespace) -> None:
    net = nets.plain(8)
    with pytest.raises(ValueError, match=r"score of images \[1\] is 0.*another target"):
        CAM("ablation-cam", layers=nets.STAGES[:1])(net, nets.images(8), lambda z: (z * _signs.pop(0)).sum())


_signs = [1.0, 0.0]


class Dead(nn.Module):
    """Channels 1 and 3 of the stage are zero everywhere."""

    def __init__(self, nets: SimpleNamespace) -> None:
        super().__init__()
        self.net = nets.plain(9)
        bn = self.net.features[1]
        bn.weight.data[[1, 3]] = 0
        bn.bias.data[[1, 3]] = -1

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images)
        return logits


def test_dead_channels_are_not_asked_for(nets: SimpleNamespace) -> None:
    net, images, seen = Dead(nets), nets.images(9, n=1), []
    net.net.head.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    found = asked(net, images, 1, "net.features.3")
    assert seen == [1, 2, 2], "the capture, the trial, and the two living channels at once"
    assert not found[:, [1, 3]].any()
    assert found[:, [0, 2]].all()
    check(net, images, 1, "net.features.3")


def test_the_front_runs_on_one_image_and_the_tail_on_many(nets: SimpleNamespace) -> None:
    net, images = nets.plain(10), nets.images(10, n=1)
    front, tail = [], []
    net.features[0].register_forward_hook(lambda _module, inputs, _output: front.append(len(inputs[0])))
    net.head.register_forward_hook(lambda _module, inputs, _output: tail.append(len(inputs[0])))
    asked(net, images, 1, nets.STAGES[2], chunk=3)
    assert front == [1, 1, 1], "the capture, the trial, and all channels at once"
    assert tail[:2] == [1, 2]
    assert tail[2] <= 8


@settings(max_examples=15)
@given(seed=st.integers(0, 50), n=st.integers(1, 4), chunk=st.integers(1, 10))
def test_batch_equals_singles_whatever_the_chunk(
    seed: int, n: int, chunk: int, nets: SimpleNamespace
) -> None:
    net, images = nets.plain(seed, classes=3), nets.images(seed, n=n)
    targets = [index % 3 for index in range(n)]
    cam = CAM("ablation-cam", layers=nets.STAGES[1:], chunk=chunk)
    alone = torch.cat([cam(net, images[i : i + 1], targets[i]) for i in range(n)])
    torch.testing.assert_close(cam(net, images, targets), alone, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(cam(net, images, torch.tensor(targets)), alone, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("layer", range(3))
def test_grad_cam_package_behind_a_relu(layer: int, nets: SimpleNamespace) -> None:
    """Right where the layer's smallest value is exactly 0; it divides by y, so y > 0 here."""
    pytorch_grad_cam = pytest.importorskip(
        "pytorch_grad_cam", reason="grad-cam is not installed (extra: dev)"
    )
    net, images = nets.plain(11), nets.images(11)
    net.head[2].bias.data[:] += 10
    name = f"features.{4 * layer + 2}"
    captured = capture(net, images, 1, layers=name, gradients=False)
    assert (captured.scores > 0).all()
    assert (captured.activations[0].amin((1, 2, 3)) == 0).all()
    found = asked(net, images, 1, name)[:, :, 0, 0]
    peer = pytorch_grad_cam.AblationCAM(net, [net.get_submodule(name)])
    try:
        target = [lambda logits: logits[1]] * 2
        wanted = peer.get_cam_weights(
            images, net.get_submodule(name), target, captured.activations[0].numpy(), None
        )
    finally:
        peer.activations_and_grads.release()
    assert np.abs(found.numpy() - wanted).max() <= 1e-6


def test_infinite_scores_are_refused(nets: SimpleNamespace) -> None:
    class Dividing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nets.plain(12, head="gap")

        def forward(self, images: Tensor) -> Tensor:
            maps = self.net.features(images)
            logits: Tensor = self.net.head(maps.mean((2, 3)) / maps[:, 2:3].mean((2, 3)))
            return logits

    with pytest.raises(ValueError, match=r"'net.features.11': without channels \[2\] the score of image 0"):
        CAM("ablation-cam", layers=("net.features.11",))(Dividing(), nets.images(12), 1)


def test_inference_mode(nets: SimpleNamespace) -> None:
    net, images = nets.plain(14, inplace=True), nets.images(14)
    cam = CAM("ablation-cam", layers=nets.STAGES)
    wanted = cam(net, images, 1)
    with torch.inference_mode():
        assert torch.equal(cam(net, images.clone(), 1), wanted)


def test_an_active_autocast(nets: SimpleNamespace) -> None:
    net = nets.shaken(nets.Plain(), 15, torch.float32)
    images = nets.images(15, dtype=torch.float32)
    wanted = asked(net, images, 1, nets.STAGES[1])
    with torch.autocast("cpu", torch.bfloat16), pytest.warns(UserWarning, match="half precision"):
        found = asked(net, images, 1, nets.STAGES[1])
    assert found.dtype == torch.float32
    assert not torch.equal(found, wanted)
    torch.testing.assert_close(found, wanted, rtol=0.1, atol=0.05 * float(wanted.abs().max()))
