"""Scores behind a layer: the cheap way where the network takes it, copies of the image where not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ltcam.cam import CAM, Probe, capture
from ltcam.cam.network.partial_forward import Cut, Tail, tail_behind
from ltcam.cam.network.scores import target_of


def tail_of(probe: Probe, image: int) -> Tail:
    captured = probe.captured
    cut = Cut(
        captured.layers[0],
        captured.activations[0][image : image + 1],
        float(captured.scores[image]),
        half=False,
    )
    one = probe.images[image : image + 1]
    return tail_behind(probe.model, one, target_of(probe.target, [image]), cut, probe.chunk)


class Skipping(nn.Module):
    """`deep` is passed by by the maps in front of it: added, added in place, concatenated, or gated."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.deep = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(8 if kind == "concatenated" else 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem(images).relu()
        deep = self.deep(stem).tanh()
        if self.kind == "concatenated":
            deep = torch.cat([stem, deep], 1)
        elif self.kind == "added in place":
            stem += deep
            deep = stem
        elif self.kind == "gated":
            deep = deep * stem.mean((2, 3), keepdim=True).sigmoid()
        else:
            deep = deep + stem
        logits: Tensor = self.head(deep.relu().mean((2, 3)))
        return logits


class Remembering(Skipping):
    """Takes the number of images from its input."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.deep(self.stem(images)).relu()
        logits: Tensor = self.head(maps.mean((2, 3)).reshape(len(images), 4))
        return logits


class Dense(Skipping):
    """As Remembering, but wrong without a word: only the first images' scores come out."""

    def forward(self, images: Tensor) -> Tensor:
        maps = self.deep(self.stem(images)).relu()
        logits: Tensor = self.head(maps.mean((2, 3)))[: len(images)]
        return logits


def probe_of(net: Any, images: Tensor, layer: str, target: int | list[int] = 1, chunk: int = 3) -> Probe:
    captured = capture(net, images, target, layers=layer, gradients=False)
    return Probe(net, images, target, captured, chunk)


def changed_outputs(activations: Tensor, count: int = 5) -> Tensor:
    noise = torch.randn(
        count, *activations.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    return activations + noise.to(activations)


def literal_scores(net: Any, image: Tensor, layer: str, changed: Tensor, target: int) -> Tensor:
    """One whole forward pass per changed output."""
    scores = []
    for one in changed:
        handle = net.get_submodule(layer).register_forward_hook(lambda _m, _i, _o, one=one: one[None].clone())
        scores.append(net(image[None])[0, target].detach())
        handle.remove()
    return torch.stack(scores)


@pytest.mark.parametrize(("make", "layer", "whole"), [
    (lambda nets: nets.plain(0, classes=3), "features.7", False),
    (lambda nets: nets.plain(0, classes=3), "features.1", False),
    (lambda nets: nets.plain(0, classes=3, inplace=True), "features.1", False),
    (lambda nets: nets.shaken(Skipping("added")), "deep", False),
    (lambda nets: nets.shaken(Skipping("gated")), "deep", False),
    (lambda nets: nets.shaken(Skipping("added in place")), "deep", True),
    (lambda nets: nets.shaken(Skipping("added in place")), "stem", False),
    (lambda nets: nets.shaken(Skipping("concatenated")), "deep", True),
    (lambda nets: nets.shaken(Skipping("concatenated")), "stem", False),
    (lambda nets: nets.shaken(Remembering("")), "deep", True),
    (lambda nets: nets.shaken(Dense("")), "deep", True),
], ids=range(11))  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_scores_are_those_of_whole_passes(
    make: Callable[..., Any], layer: str, whole: bool, dtype: torch.dtype, nets: SimpleNamespace
) -> None:
    net, images = make(nets).to(dtype), nets.images(0, dtype=dtype)
    target = [2, 1]
    probe = probe_of(net, images, layer, target)
    for image in range(2):
        with torch.no_grad():
            tail = tail_of(probe, image)
            changed = changed_outputs(probe.captured.activations[0][image])
            found = tail.scores(changed.clone())
        assert tail.whole is whole
        assert (tail.chunk == 3) is whole
        wanted = literal_scores(net, images[image], layer, changed, target[image])
        tolerance = 1e-10 if dtype == torch.float64 else 1e-4
        torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


def test_more_at_once_for_smaller_outputs(nets: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = probe_of(nets.plain(1), nets.images(1), nets.STAGES[1])
    one = probe.captured.activations[0][:1].nbytes
    for fitting, wanted in ((1, 3), (3, 3), (20, 20)):
        monkeypatch.setattr("ltcam.cam.network.partial_forward._BYTES_AT_ONCE", fitting * one)
        assert tail_of(probe, 0).chunk == wanted


def test_maps_of_a_reshape_callable_cannot_be_put_back(nets: SimpleNamespace) -> None:
    net, images = nets.plain(2), nets.images(2)
    for reshape in (lambda maps: maps[:, :, 1:], lambda maps: maps.transpose(2, 3)):
        with pytest.raises(ValueError, match=r"'features.3' returns \(4, 8, 12\).*reshape callable"):
            CAM("ablation-cam", layers=("features.3",), reshape=reshape)(net, images, 1)
    with pytest.raises(ValueError, match=r"'features.3': its own output put in its place gives the score"):
        CAM("ablation-cam", layers=("features.3",), reshape=lambda maps: maps.flip(1))(net, images, 1)


def test_random_networks_are_refused(nets: SimpleNamespace) -> None:
    class Random(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nets.plain(3)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.net(images) * torch.rand(())
            return logits

    with pytest.raises(ValueError, match="random in evaluation mode"):
        CAM("ablation-cam", layers=("net.features.7",))(Random(), nets.images(3), 1)


def test_a_network_that_couples_its_images_is_refused(nets: SimpleNamespace) -> None:
    class Coupling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nets.plain(4)

        def forward(self, images: Tensor) -> Tensor:
            logits = self.net(images)
            found: Tensor = logits - logits.mean(0) * 0.5
            return found

    with pytest.raises(ValueError, match="one image of a batch change another's score"):
        CAM("ablation-cam", layers=("net.features.7",))(Coupling(), nets.images(4, n=1), 1)


def test_errors_of_the_network_itself_come_through(nets: SimpleNamespace) -> None:
    net, images = nets.plain(5), nets.images(5)
    probe = probe_of(net, images, nets.STAGES[1])

    def fail(*_: Any) -> None:
        raise RuntimeError("a wire is loose")

    net.head.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="a wire is loose"):
        tail_of(probe, 0)
    assert not net.get_submodule(nets.STAGES[1])._forward_hooks


def test_hooks_are_gone_after_any_exception(nets: SimpleNamespace) -> None:
    net, images = nets.plain(6), nets.images(6)
    tail = tail_of(probe_of(net, images, nets.STAGES[1]), 0)
    with pytest.raises(ValueError, match="not the maps"):
        tail.scores(torch.zeros(2, 5, 4, 6, dtype=torch.float64))
    assert not any(module._forward_hooks for module in net.modules())


def test_another_thread_runs_the_same_network_unchanged(nets: SimpleNamespace) -> None:
    """While this thread's pass stands behind the hooked layer, another one goes all the way through."""
    net, images = nets.plain(7), nets.images(7)
    tail = tail_of(probe_of(net, images, nets.STAGES[1]), 0)
    wanted = net(images)
    found: list[Any] = []
    thread = threading.get_ident()

    def visit(_module: nn.Sequential, _inputs: tuple[Tensor]) -> None:
        if threading.get_ident() == thread and not found:
            other = threading.Thread(target=lambda: found.append(net(images)))
            other.start()
            other.join()

    handle = net.head.register_forward_pre_hook(visit)
    tail.scores(torch.zeros(2, 6, 4, 6, dtype=torch.float64))
    handle.remove()
    assert torch.equal(found[0], wanted)
