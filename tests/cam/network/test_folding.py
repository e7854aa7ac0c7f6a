"""Forward passes with folded normalisations: the same values, and nothing left behind."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import noted
from torch import Tensor, nn
from torch.nn import functional

from ltcam.cam import CAM
from ltcam.cam.methods import score_cam
from ltcam.cam.network.folding import FoldedPasses


class Counted(nn.Module):
    """Two convolutions with normalisations, put together as `way` says."""

    def __init__(self, way: str = "plain", bias: bool = False, affine: bool = True) -> None:
        super().__init__()
        self.way = way
        self.first, self.second = (
            nn.Conv2d(3, 4, 3, padding=1, bias=bias),
            nn.Conv2d(4, 4, 3, padding="same", groups=2),
        )
        self.one, self.two = nn.BatchNorm2d(4, affine=affine), nn.BatchNorm2d(4, eps=1e-2)
        self.head = nn.Linear(4, 2)
        for normalisation in (self.one, self.two):
            normalisation.get_buffer("running_mean").normal_()
            normalisation.get_buffer("running_var").uniform_(0.1, 3)
        nn.init.normal_(self.two.weight)
        nn.init.normal_(self.two.bias)

    def forward(self, images: Tensor) -> Any:
        maps = self.first(images)
        normalised = self.one(maps) if not self.way.startswith("dark") else self.darkened(images, maps)
        if self.way == "read twice":
            normalised = normalised + maps
        if self.way == "normalised twice":
            normalised = normalised + self.two(maps)
        if self.way == "written over":
            normalised = self.one(self.first(images).relu_())
        if self.way == "used twice":
            normalised = normalised + self.two(self.first(images + 1))
        if self.way == "kept":
            self.maps = maps
        if self.way == "compared":
            normalised = normalised * (maps > 0.3).flatten(1).any(1)[:, None, None, None]
        if self.way == "set":
            maps[:, 0] = 0
        if self.way == "arrays":
            normalised = normalised.double() * torch.as_tensor(np.array(2.0))
        maps = self.second(functional.relu(normalised))
        last = self.two(maps)
        if self.way == "given out":
            return self.head(last.mean((2, 3))), maps
        logits: Tensor = self.head(last.mean((2, 3)))
        return logits

    def darkened(self, images: Tensor, maps: Tensor) -> Any:
        """The first normalisation; of dark images something else."""
        if images.mean() > 0.6:
            return self.one(maps)
        ways: dict[str, Callable[[], Any]] = {
            "another normalisation": lambda: self.two(maps),
            "none": lambda: maps,
            "one by one": lambda: torch.cat([self.one(each) for each in maps.split(1)]),
            "read in the dark": lambda: self.one(maps) + maps,
            "of the batch": lambda: functional.batch_norm(maps, None, None, training=True),
        }
        return ways[self.way.removeprefix("dark: ")]()


@pytest.fixture
def normalisations(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """How many normalisations were really computed."""
    count: list[Any] = []
    real = torch.batch_norm
    monkeypatch.setattr(torch, "batch_norm", noted(count, real, 1))
    return count


def build(way: str = "plain", **options: Any) -> tuple[Counted, Tensor]:
    torch.manual_seed(0)
    net = Counted(way, **options).double().eval()
    return net, torch.rand(2, 3, 9, 7, dtype=torch.float64)


@torch.no_grad()
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("bias", "affine"), [(False, True), (True, False)])
def test_values_are_the_same_and_no_normalisation_is_computed(
    normalisations: list[Any], bias: bool, affine: bool, memory_format: torch.memory_format
) -> None:
    net, images = build(bias=bias, affine=affine)
    wanted = net(images)
    folded = FoldedPasses(net, images[:1].contiguous(memory_format=memory_format))
    normalisations.clear()
    found = folded(lambda: net(images))
    assert not normalisations
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)


@torch.no_grad()
@pytest.mark.parametrize(
    ("way", "left"),
    [
        ("read twice", 1),
        ("normalised twice", 2),
        ("written over", 2),
        ("used twice", 2),
        ("given out", 1),
        ("kept", 1),
        ("compared", 1),
        ("set", 1),
    ],
)
def test_what_anything_else_reads_is_left_alone(way: str, left: int, normalisations: list[Any]) -> None:
    net, images = build(way)
    wanted = net(images)
    folded = FoldedPasses(net, images[:1])
    normalisations.clear()
    found = folded(lambda: net(images))
    assert len(normalisations) >= left
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


@torch.no_grad()
@pytest.mark.parametrize(
    "way", ["another normalisation", "none", "one by one", "read in the dark", "of the batch"]
)
def test_a_pass_that_goes_another_way_is_run_as_it_is(way: str) -> None:
    """The image that is watched is bright and alone; these are dark and several."""
    net, images = build(f"dark: {way}")
    folded = FoldedPasses(net, images[:1] + 1)
    bright = images[:1] + 2
    torch.testing.assert_close(folded(lambda: net(bright)), net(bright), rtol=1e-12, atol=1e-14)
    for _ in range(2):
        torch.testing.assert_close(folded(lambda: net(images / 9)), net(images / 9), rtol=1e-12, atol=1e-14)


@torch.no_grad()
def test_arrays_and_types_that_a_network_hands_to_torch_are_no_trouble() -> None:
    net, images = build("arrays")
    folded = FoldedPasses(net, images[:1])
    torch.testing.assert_close(folded(lambda: net(images)), net(images), rtol=1e-12, atol=1e-14)


@torch.no_grad()
def test_a_model_with_hooks_or_in_half_precision_is_left_alone(normalisations: list[Any]) -> None:
    net, images = build()
    handle = net.first.register_forward_hook(lambda *_: None)
    folded = FoldedPasses(net, images[:1])
    normalisations.clear()
    folded(lambda: net(images))
    assert len(normalisations) == 2
    handle.remove()
    net.float()
    with torch.autocast("cpu", torch.bfloat16):
        folded = FoldedPasses(net, images[:1].float())
        normalisations.clear()
        folded(lambda: net(images.float()))
    assert len(normalisations) == 2


@torch.no_grad()
def test_the_model_is_as_before_also_after_an_exception(normalisations: list[Any]) -> None:
    net, images = build()
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(ZeroDivisionError):
        FoldedPasses(net, images[:1])(lambda: net(images) / (1 // 0))
    normalisations.clear()
    net(images)
    assert len(normalisations) == 2
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_score_cam_is_the_same_with_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    net, images = build()
    cam = CAM("score-cam", layers=("two",))
    found = cam(net, images, 1)
    monkeypatch.setattr(score_cam, "FoldedPasses", lambda *_: lambda one_pass: one_pass())
    torch.testing.assert_close(found, cam(net, images, 1), rtol=1e-10, atol=1e-12)
