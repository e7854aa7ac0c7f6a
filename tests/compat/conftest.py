"""A small network of three stages with random weights, and images for it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn


class Small(nn.Module):
    """3 x (Conv, BN, ReLU, MaxPool) on images of 16 x 24, then two linear layers or, `gap`, pooling and one."""

    def __init__(self, head: str, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, o in ((3, 4), (4, 6), (6, 8)):
            layers += [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.pooled = head == "gap"
        flat = [nn.Linear(48, 10), nn.ReLU(), nn.Linear(10, classes)]
        self.head = nn.Sequential(*([nn.Linear(8, classes)] if self.pooled else flat))

    def forward(self, images: Tensor) -> Tensor:
        maps = self.features(images)
        logits: Tensor = self.head(maps.mean((2, 3)) if self.pooled else maps.flatten(1))
        return logits


@pytest.fixture
def small() -> Callable[..., tuple[nn.Module, Tensor]]:
    """(seed, classes, head) -> the network in evaluation mode and three images."""

    def made(seed: int = 0, classes: int = 3, head: str = "flat") -> tuple[nn.Module, Tensor]:
        random = torch.Generator().manual_seed(seed)
        net = Small(head, classes)
        for module in net.modules():
            for parameter in module.parameters(recurse=False):
                scale = 1 / math.sqrt(parameter[0].numel()) if parameter.ndim > 1 else 0.6
                parameter.data = torch.randn(parameter.shape, generator=random) * scale
            if isinstance(module, nn.BatchNorm2d):
                module.weight.data = 0.5 + torch.rand(module.weight.shape, generator=random)
                module.running_mean = torch.randn(module.weight.shape, generator=random) * 0.2
                module.running_var = 0.5 + torch.rand(module.weight.shape, generator=random)
        random = torch.Generator().manual_seed(1000 + seed)
        return net.eval(), torch.randn(3, 3, 16, 24, generator=random, dtype=torch.float64).float()

    return made
