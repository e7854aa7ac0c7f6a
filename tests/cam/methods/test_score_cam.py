"""Score-CAM against its formula, channel by channel, and against grad-cam where that is right."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ltcam.cam import CAM, Probe, capture
from ltcam.cam.methods.score_cam import SCORE_CAM

TARGETS = (1, [1, 0], lambda logits: logits[1] - logits[0])


def literal_weights(
    net: Any, images: Tensor, activations: Tensor, target: Any, literal: SimpleNamespace
) -> np.ndarray:
    """One forward pass per image and channel, resized position by position."""
    n, channels = activations.shape[:2]
    weights = np.zeros((n, channels))
    for i in range(n):
        scores = {}
        for k in range(channels):
            mask = literal.resized(activations[i, k].double().numpy(), tuple(images.shape[2:]))
            if activations[i, k].min() == activations[i, k].max():
                continue
            mask = (mask - mask.min()) / (mask.max() - mask.min())
            logits = net(images[i : i + 1] * torch.from_numpy(mask).to(images))[0].detach()
            own = target[i] if isinstance(target, list) else target
            scores[k] = float(own(logits) if callable(own) else logits[own])
        total = sum(np.exp(score) for score in scores.values())
        for k, score in scores.items():
            weights[i, k] = np.exp(score) / total
    return weights


def asked(
    net: Any, images: Tensor, target: Callable[..., Any] | int | list[int] | None, layer: str, chunk: int = 8
) -> tuple[Tensor, Tensor]:
    captured = capture(net, images, target, layers=layer, gradients=False)
    with torch.no_grad():
        found = SCORE_CAM.weights(Probe(net, images, target, captured, chunk), 0)
    return captured.activations[0], found


@pytest.mark.parametrize("target", TARGETS, ids=["index", "indices", "callable"])
@pytest.mark.parametrize("stage", range(3))
def test_weights_are_the_formula(
    target: Callable[..., Any] | int | list[int], stage: int, nets: SimpleNamespace, literal: SimpleNamespace
) -> None:
    net, images = nets.plain(stage), nets.images(stage)
    activations, found = asked(net, images, target, nets.STAGES[stage], chunk=3)
    wanted = literal_weights(net, images, activations, target, literal)
    assert found.shape == (*activations.shape[:2], 1, 1)
    np.testing.assert_allclose(found[:, :, 0, 0].numpy(), wanted, rtol=1e-10, atol=1e-14)


def test_float32_is_float64_rounded(nets: SimpleNamespace) -> None:
    images = nets.images(3)
    _, wanted = asked(nets.plain(3), images, 1, nets.STAGES[1])
    _, found = asked(nets.shaken(nets.Plain(), 3, torch.float32), images.float(), 1, nets.STAGES[1])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-6)


def test_heatmap_is_the_weighted_sum(nets: SimpleNamespace, literal: SimpleNamespace) -> None:
    net, images = nets.plain(4), nets.images(4)
    activations, weights = asked(net, images, 1, nets.STAGES[1])
    wanted = np.stack(
        [literal.resized(one, (16, 24)) for one in (weights * activations).sum(1).clamp_min(0).numpy()]
    )
    explanation = CAM("score-cam", layers=nets.STAGES[1:2]).explain(net, images, 1)
    np.testing.assert_allclose(explanation.heatmaps.numpy(), wanted, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(explanation.scores, net(images)[:, 1].detach())


class ConstantMaps(nn.Module):
    """Channel 0 is dead, channel 1 constant and not zero; `all_of_them`: the others too."""

    def __init__(self, nets: SimpleNamespace, all_of_them: bool) -> None:
        super().__init__()
        self.stage = nets.plain(5).features[:4]
        self.last = 4 if all_of_them else 2
        self.head = nn.Linear(4, 2, dtype=torch.float64)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stage(images).clone()
        maps[:, 0] = 0
        maps[:, 1 : self.last] = 0.7
        logits: Tensor = self.head(self.taken(maps).mean((2, 3)))
        return logits

    taken: nn.Module


@pytest.mark.parametrize("all_of_them", [False, True])
def test_constant_maps_are_left_out_and_not_asked_for(
    all_of_them: bool, nets: SimpleNamespace, literal: SimpleNamespace
) -> None:
    net = ConstantMaps(nets, all_of_them)
    net.taken = nn.Identity()
    images, seen = nets.images(5), []
    net.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    activations, found = asked(net, images, 1, "taken")
    assert seen == ([2] if all_of_them else [2, 4])
    assert not found[:, :2].any()
    if all_of_them:
        assert not found.any()
        assert not CAM("score-cam", layers=("taken",))(net, images, 1).any()
    else:
        torch.testing.assert_close(found.sum((1, 2, 3)), torch.ones(2, dtype=torch.float64))
        wanted = literal_weights(net, images, activations, 1, literal)
        np.testing.assert_allclose(found[:, :, 0, 0].numpy(), wanted, rtol=1e-10, atol=1e-14)


def test_a_map_that_resizing_makes_constant_has_no_weight(nets: SimpleNamespace) -> None:
    """Stripes finer than the image: shrinking takes their mean everywhere."""

    class Fine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.Upsample(scale_factor=2.0)
            self.marked: nn.Module

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.marked(self.maps(images)).mean((2, 3))
            return logits

    class Striped(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            maps = maps.clone()
            maps[:, 0] = (torch.arange(maps.shape[3]) % 2).to(maps)
            return maps

    net = Fine()
    net.marked = Striped()
    activations, found = asked(net, nets.images(6), 1, "marked")
    assert activations[:, 0].max() == 1
    assert not found[:, 0].any()
    assert found[:, 1:].all()


@settings(max_examples=15)
@given(seed=st.integers(0, 50), n=st.integers(1, 4), chunk=st.integers(1, 30))
def test_batch_equals_singles_whatever_the_chunk(
    seed: int, n: int, chunk: int, nets: SimpleNamespace
) -> None:
    net, images = nets.plain(seed, classes=3), nets.images(seed, n=n)
    targets = [index % 3 for index in range(n)]
    cam = CAM("score-cam", layers=nets.STAGES[:2], chunk=chunk)
    alone = torch.cat([cam(net, images[i : i + 1], targets[i]) for i in range(n)])
    torch.testing.assert_close(cam(net, images, targets), alone, rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(cam(net, images, torch.tensor(targets)), alone, rtol=1e-9, atol=1e-13)


def test_one_output_and_no_target(nets: SimpleNamespace, literal: SimpleNamespace) -> None:
    net, images = nets.plain(7, classes=1), nets.images(7)
    for target, sign in ((None, 1), (1, 1), (0, -1)):
        activations, found = asked(net, images, target, nets.STAGES[2])
        wanted = literal_weights(net, images, activations, lambda z, sign=sign: sign * z[0], literal)
        np.testing.assert_allclose(found[:, :, 0, 0].numpy(), wanted, rtol=1e-10, atol=1e-14)


def test_the_class_of_none_is_that_of_the_whole_image(nets: SimpleNamespace) -> None:
    """A masked image's largest logit may be another; asked for is the one of the image itself."""
    net, images = nets.plain(8, classes=5), nets.images(8, n=3)
    cam = CAM("score-cam", layers=nets.STAGES[2:])
    torch.testing.assert_close(cam(net, images), cam(net, images, net(images).argmax(1).tolist()))


class Several(nn.Module):
    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Any:
        logits = self.net(images)
        return {"logits": logits, "more": (logits * 2, 3)}


def test_several_outputs(nets: SimpleNamespace) -> None:
    net, images = nets.plain(9), nets.images(9)
    wanted = CAM("score-cam", layers=nets.STAGES[1:2])(net, images, 1)
    layers = tuple(f"net.{name}" for name in nets.STAGES[1:2])
    found = CAM("score-cam", layers=layers)(Several(net), images, lambda output: output["logits"][1])
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-15)


def test_grad_cam_package_at_a_stage_of_the_images_size(nets: SimpleNamespace) -> None:
    """It resizes with aligned corners, which only there makes no difference."""
    pytorch_grad_cam = pytest.importorskip(
        "pytorch_grad_cam", reason="grad-cam is not installed (extra: dev)"
    )
    net, images = nets.plain(10), nets.images(10)
    peer = pytorch_grad_cam.ScoreCAM(net, [net.features[2]])
    try:
        wanted = torch.from_numpy(peer(images.clone(), [lambda logits: logits[1]] * 2))
    finally:
        peer.activations_and_grads.release()
    found = CAM("score-cam", layers=("features.2",))(net, images, 1)
    low, high = found.amin((1, 2), keepdim=True), found.amax((1, 2), keepdim=True)
    assert ((found - low) / (high - low) - wanted).abs().max() < 1e-6


def test_tokens_with_a_reshape_callable(nets: SimpleNamespace, literal: SimpleNamespace) -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv2d(3, 5, 4, stride=4, dtype=torch.float64)
            self.tokens = nn.Flatten(2)
            self.head = nn.Linear(5, 2, dtype=torch.float64)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.head(self.tokens(self.embed(images)).relu().mean(2))
            return logits

    torch.manual_seed(0)
    net, images = Tokens(), nets.images(11)
    wanted = CAM("score-cam", layers=("embed",))(net, images, 1)
    reshaped = CAM("score-cam", layers=("tokens",), reshape=lambda t: t.reshape(len(t), 5, 4, 6))
    torch.testing.assert_close(reshaped(net, images, 1), wanted)


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


def wide(channels: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 8, stride=8), nn.ReLU(), nn.Conv2d(4, channels, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(channels, 2),
    ).eval()  # fmt: skip


def test_memory_is_flat_in_the_number_of_channels() -> None:
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    largest = {}
    for channels in (16, 128):
        batches: list[int] = []
        net = wide(channels)
        net.register_forward_hook(lambda _module, inputs, _output, seen=batches: seen.append(len(inputs[0])))
        with Largest() as mode:  # type: ignore[no-untyped-call]
            CAM("score-cam", layers=("2",), chunk=4)(net, images, 1)
        assert max(batches) == 4
        assert sum(batches) in (channels + 1, channels + 3), "the capture, two trials, and one per channel"
        largest[channels] = mode.elements
    assert largest[16] == largest[128] == 4 * 3 * 64 * 64


class Viewing(nn.Module):
    """`view` of a map that lies channels last stops; so the network must be run as it was."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4 * 16 * 24, 2)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stage(images).relu()
        logits: Tensor = self.head(maps.view(len(maps), -1))
        return logits


class Strided(Viewing):
    """Reads memory as it lies: runs channels last too, and says something else."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stage(images).relu()
        logits: Tensor = self.head(maps.as_strided((len(maps), 4 * 16 * 24), (4 * 16 * 24, 1)))
        return logits


@pytest.mark.parametrize("kind", [Viewing, Strided])
def test_networks_that_cannot_run_channels_last(
    kind: type[Any], nets: SimpleNamespace, literal: SimpleNamespace
) -> None:
    torch.manual_seed(1)
    net, images = kind().eval(), nets.images(12, dtype=torch.float32)
    activations, found = asked(net, images, 1, "stage")
    wanted = literal_weights(net, images, activations, 1, literal)
    np.testing.assert_allclose(found[:, :, 0, 0].numpy(), wanted, rtol=1e-4, atol=1e-6)


def test_infinite_scores_are_refused(nets: SimpleNamespace) -> None:
    class Overflowing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stage = nn.Conv2d(3, 4, 3, padding=1, dtype=torch.float64)

        def forward(self, images: Tensor) -> Tensor:
            maps = self.stage(images)
            logits: Tensor = maps.mean((2, 3)) / (images != 0).all().to(maps)
            return logits

    with pytest.raises(ValueError, match=r"layer 'stage': masked by one of the channels \[0, .*infinite"):
        CAM("score-cam", layers=("stage",))(Overflowing(), nets.images(13), 1)


def test_inference_mode_and_networks_that_write_over_their_input(nets: SimpleNamespace) -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nets.plain(15)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.net(images.clone().mul_(2))
            return logits

    net, images = InPlace(), nets.images(15)
    cam = CAM("score-cam", layers=("net.features.7",))
    wanted = cam(net, images, 1)
    with torch.inference_mode():
        found = cam(net, images.clone(), 1)
    assert torch.equal(found, wanted)


def test_large_images_go_one_by_one_and_small_ones_together() -> None:
    batches: list[int] = []
    net = wide(16)
    net.register_forward_hook(lambda _module, inputs, _output: batches.append(len(inputs[0])))
    for size, wanted in ((64, 8), (640, 1), (256, 6)):
        batches.clear()
        CAM("score-cam", layers=("2",))(net, torch.rand(1, 3, size, size), 1)
        assert max(batches) == wanted
