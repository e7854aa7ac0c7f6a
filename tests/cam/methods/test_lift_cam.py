"""Lift-CAM against DeepLIFT written out, its property that contributions add up, and exact cases."""

from __future__ import annotations

import itertools
import threading
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from numpy.typing import NDArray
from tests.cam.conftest import probing_method
from torch import Tensor, nn
from torch.nn import functional

from ltcam.cam import CAM, Probe, capture, log_odds
from ltcam.cam.targets import resolved

LIFT = probing_method("lift-cam")


def lift_weights(net: nn.Module, images: Tensor, target: Any, layer: str, chunk: int = 8) -> Tensor:
    captured = capture(net, images, target, layers=(layer,), gradients=False)
    with torch.no_grad():
        return LIFT.weights(
            Probe(net, images, resolved(captured.output, target, len(images)), captured, chunk), 0
        )


def difference(net: nn.Module, images: Tensor, target: int | list[int], layer: str) -> Tensor:
    """y - y(layer's output set to 0)."""
    module = dict(net.named_modules())[layer]
    whole = capture(net, images, target, layers=(layer,), gradients=False).scores
    handle = module.register_forward_hook(lambda _m, _i, output: output * 0)
    try:
        without = capture(net, images, target, layers=(layer,), gradients=False).scores
    finally:
        handle.remove()
    return whole - without


def by_hand(net: Any, A: NDArray[np.float64], row: int) -> NDArray[np.float64]:
    """DeepLIFT of the tail conv, BN, ReLU, MaxPool, Linear, ReLU, Linear, in float64 numpy loops, for one image."""
    conv, norm = net.features[8], net.features[9]
    scale = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach().numpy()
    w = conv.weight.detach().numpy() * scale[:, None, None, None]
    b = scale * (conv.bias - norm.running_mean).detach().numpy() + norm.bias.detach().numpy()
    first, last = net.head[0], net.head[2]
    C, H, W = A.shape
    K = len(b)

    def convolve(maps: NDArray[np.float64]) -> NDArray[np.float64]:
        padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
        out = np.zeros((K, H, W))
        for k, i, j in itertools.product(range(K), range(H), range(W)):
            out[k, i, j] = b[k] + (w[k] * padded[:, i : i + 3, j : j + 3]).sum()
        return out

    def pooled(
        maps: NDArray[np.float64],
    ) -> tuple[dict[tuple[int, int, int], tuple[int, int, int]], NDArray[np.float64]]:
        places, out = {}, np.zeros((K, H // 2, W // 2))
        for k, i, j in itertools.product(range(K), range(H // 2), range(W // 2)):
            window = maps[k, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            di, dj = divmod(int(window.argmax()), 2)
            places[k, i, j], out[k, i, j] = (k, 2 * i + di, 2 * j + dj), window[di, dj]
        return places, out

    def rescale(x: NDArray[np.float64], r: NDArray[np.float64]) -> NDArray[np.float64]:
        quotient = (np.maximum(x, 0) - np.maximum(r, 0)) / np.where(x == r, 1, x - r)
        return np.where(x == r, (x > 0) * 1.0, quotient)

    states = []
    for maps in (A, np.zeros_like(A)):
        u = convolve(maps)
        places, p = pooled(np.maximum(u, 0))
        hidden = first.weight.detach().numpy() @ p.reshape(-1) + first.bias.detach().numpy()
        states.append((u, places, p, hidden))
    (u, places, p, h), (u0, places0, p0, h0) = states
    m = (last.weight.detach().numpy()[row] * rescale(h, h0)) @ first.weight.detach().numpy()
    m = m.reshape(p.shape)
    relu, relu0 = np.maximum(u, 0), np.maximum(u0, 0)
    at_relu = np.zeros_like(relu)
    for key in places:
        place = places[key] if p[key] >= p0[key] else places0[key]
        there = relu[place] - relu0[place]
        at_relu[place] += m[key] * ((p[key] - p0[key]) / there if there else 1.0)
    at_conv = at_relu * rescale(u, u0)
    at_input = np.zeros((C, H + 2, W + 2))
    for k, i, j in itertools.product(range(K), range(H), range(W)):
        at_input[:, i : i + 3, j : j + 3] += at_conv[k, i, j] * w[k]
    found: NDArray[np.float64] = (at_input[:, 1:-1, 1:-1] * A).sum((1, 2))
    return found


@pytest.mark.parametrize("inplace", [False, True])
def test_equals_deeplift_by_hand(inplace: bool, nets: SimpleNamespace) -> None:
    for seed in range(3):
        net, images = nets.plain(seed, inplace=inplace), nets.images(seed)
        found = lift_weights(net, images, [1, 0], "features.7")[:, :, 0, 0]
        A = capture(net, images, 1, layers=("features.7",)).activations[0].numpy()
        wanted = np.stack([by_hand(net, A[0], 1), by_hand(net, A[1], 0)])
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-9, atol=1e-12)


def test_pooled_linear_head_has_exact_shapley_values(nets: SimpleNamespace) -> None:
    net, images = nets.plain(head="gap"), nets.images(1)
    captured = capture(net, images, 1, layers=("features",))
    exact = (captured.activations[0] * captured.gradients[0]).sum((2, 3), keepdim=True)
    assert torch.allclose(lift_weights(net, images, 1, "features"), exact, rtol=1e-12)


class Gated(nn.Module):
    """Squeeze-excite, a residual sum in place, smooth activations, and a skip around the tapped layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.tapped = nn.Conv2d(6, 6, 3, padding=1)
        self.squeeze, self.excite = nn.Conv2d(6, 2, 1), nn.Conv2d(2, 6, 1)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        stem = functional.silu(self.stem(images))
        maps = self.tapped(stem)
        gate = self.excite(functional.relu(self.squeeze(maps.mean((2, 3), keepdim=True)), inplace=True))
        maps = maps * gate.sigmoid()
        maps += stem
        maps = functional.hardtanh(self.norm(maps), 0, 6, inplace=True)
        maps = functional.gelu(functional.max_pool2d(maps, 3, 2, 1)) * maps.mean((2, 3), keepdim=True)
        logits: Tensor = self.head(maps.mean((2, 3)))
        return logits


@pytest.mark.parametrize("target", [0, [2, 1]])
def test_contributions_add_up_behind_gates_skips_and_smooth_activations(
    target: int | list[int], nets: SimpleNamespace
) -> None:
    net, images = nets.shaken(Gated()), nets.images(2)
    weights = lift_weights(net, images, target, "tapped")
    assert torch.allclose(weights.sum((1, 2, 3)), difference(net, images, target, "tapped"), rtol=1e-9)
    gradient = capture(net, images, target, layers=("tapped",))
    plain = (gradient.activations[0] * gradient.gradients[0]).sum((1, 2, 3))
    assert not torch.allclose(weights.sum((1, 2, 3)), plain, rtol=0.01)  # the rules did something


@pytest.mark.parametrize(("build", "layer"), [
    (lambda: torchvision.models.resnet18(num_classes=3), "layer2"),
    (lambda: timm.create_model("tf_efficientnet_lite0", num_classes=3), "blocks.4"),
    (lambda: timm.create_model("mobilenetv3_small_050", num_classes=3), "blocks.1"),
])  # fmt: skip
def test_contributions_add_up_in_real_networks(build: Callable[..., Any], layer: str) -> None:
    torch.manual_seed(0)
    net, images = build().eval().double(), torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weights = lift_weights(net, images, 1, layer)
    assert torch.allclose(weights.sum((1, 2, 3)), difference(net, images, 1, layer), rtol=1e-8)


def test_log_odds_of_two_classes_is_the_difference(nets: SimpleNamespace) -> None:
    net, images = nets.plain(3), nets.images(3)
    both = [lift_weights(net, images, c, "features.7") for c in (0, 1)]
    odds = lift_weights(net, images, log_odds([1]), "features.7")
    assert torch.allclose(odds, both[1] - both[0], rtol=1e-9, atol=1e-12)


def test_portions_and_batches_do_not_matter(nets: SimpleNamespace) -> None:
    net, images = nets.plain(4), nets.images(4, n=5)
    target = [0, 1, 1, 0, 1]
    whole = lift_weights(net, images, target, "features.3", chunk=100)
    assert torch.allclose(lift_weights(net, images, target, "features.3", chunk=4), whole, rtol=1e-10)
    as_tensor = lift_weights(net, images, torch.tensor(target), "features.3", chunk=1)
    assert torch.allclose(as_tensor, whole, rtol=1e-10)


def test_warns_with_the_measured_gap_where_the_rule_does_not_stand(nets: SimpleNamespace) -> None:
    net = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()),
        *(nn.LayerNorm(16), nn.Linear(16, 2)),
    )
    net, images = nets.shaken(net), nets.images(5)
    with pytest.warns(UserWarning, match=r"'1': contributions miss.*by \d+\.\d%.*\(layer_norm\)"):
        lift_weights(net, images, 1, "1")


def test_another_thread_sees_the_network_as_it_is(nets: SimpleNamespace) -> None:
    net, images = nets.plain(7), nets.images(7)
    wanted, wanted_weights = net(images).detach(), lift_weights(net, images, 1, "features.7")
    seen, stop = [], threading.Event()

    def other() -> None:
        while not stop.is_set():
            seen.append(bool(torch.equal(net(images).detach(), wanted)))

    thread = threading.Thread(target=other)
    thread.start()
    found = [lift_weights(net, images, 1, "features.7") for _ in range(10)]
    stop.set()
    thread.join()
    assert seen
    assert all(seen)
    assert all(torch.equal(weights, wanted_weights) for weights in found)


def test_layers_without_maps_are_refused(nets: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="return"):
        CAM("lift-cam", layers=("head.0",))(nets.plain(), nets.images(), 1)


class Squared(nn.Module):
    """The logits are squares, for which there is no rule; terms of both signs nearly cancel each other."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.net(images).square()
        return logits


def test_contributions_are_judged_against_what_they_should_add_up_to(nets: SimpleNamespace) -> None:
    """y - y(reference) is small against the sum of absolute contributions, so the same gap is all the larger."""
    net, images = Squared(nets.plain(21, head="gap")), nets.images(21)
    with pytest.warns(UserWarning, match=r"miss y - y\(reference\) by (\d+)\.\d% of it"):
        CAM("lift-cam", layers=(f"net.{nets.STAGES[-1]}",))(net, images, 1)


class Halved(torch.autograd.Function):
    """Passes back half of its derivative."""

    @staticmethod
    def forward(ctx: Tensor, x: Tensor) -> Tensor:
        return x * 3

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return slope * 1.5


@pytest.mark.parametrize("name", ["exp", "pow", "einsum", "Halved"])
def test_what_nobody_has_listed_is_found_by_what_is_missing(name: str, nets: SimpleNamespace) -> None:
    operations: dict[str, Callable[..., Tensor]] = {
        "exp": torch.exp,
        "pow": lambda x: x**3,
        "einsum": lambda x: torch.einsum("nchw,nchw->nchw", x, x),
        "Halved": Halved.apply,
    }

    class Tail(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Linear(4, 2)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.head(operations[name](self.stem(images)).mean((2, 3)))
            return logits

    with pytest.warns(UserWarning, match=r"'stem': contributions miss y - y\(reference\) by"):
        CAM("lift-cam", layers=("stem",))(nets.shaken(Tail()), nets.images(5), 1)


class _ChannelsBehind(nn.Module):
    """A network whose last layer returns maps with their channels behind."""

    class Turned(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            return maps.permute(0, 2, 3, 1)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.ReLU())
        self.turned = self.Turned()
        self.head = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.turned(self.stem(images)).mean((1, 2)))
        return logits


@pytest.mark.parametrize("method", ["lift-cam", "relevance-cam"])
def test_maps_that_a_callable_makes_are_asked_about_in_the_same_way(method: str) -> None:
    torch.manual_seed(0)
    net = _ChannelsBehind().double().eval()
    images = torch.randn(3, 3, 12, 16, dtype=torch.float64)
    plain = CAM(method, layers=("stem",))(net, images, 1)
    turned = CAM(method, layers=("turned",), reshape=lambda maps: maps.permute(0, 3, 1, 2))(net, images, 1)
    assert plain.abs().max() > 0
    assert torch.allclose(plain, turned, rtol=1e-9)
