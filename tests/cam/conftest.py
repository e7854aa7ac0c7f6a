"""Small networks and the literal formulas that the engine is measured against."""

from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ltcam.cam import GradientMethod, ProbingMethod, Truncation, get_method

STAGES = ("features.3", "features.7", "features.11")


class Plain(nn.Module):
    """3 x (Conv, BN, ReLU, MaxPool), then `flat`: two linear layers, or `gap`: pooling and one."""

    def __init__(
        self, head: str = "flat", classes: int = 2, inplace: bool = False, size: tuple[int, int] = (16, 24)
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, o in ((3, 4), (4, 6), (6, 8)):
            layers += [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        places = (size[0] // 8) * (size[1] // 8)
        if head == "flat":
            self.head = nn.Sequential(nn.Linear(8 * places, 10), nn.ReLU(inplace), nn.Linear(10, classes))
        else:
            self.head = nn.Sequential(nn.Linear(8, classes))
        self.kind = head

    def forward(self, images: Tensor) -> Tensor:
        maps = self.features(images)
        logits: Tensor = self.head(maps.flatten(1) if self.kind == "flat" else maps.mean((2, 3)))
        return logits


class Residual(nn.Module):
    """A stem, then one block whose sum and last ReLU are done in place or not; a functional ReLU behind."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.inplace = inplace
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.conv1, self.bn1 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        identity = self.stem(images)
        out = functional.relu(self.bn1(self.conv1(identity)), inplace=self.inplace)
        out = self.bn2(self.conv2(out))
        if self.inplace:
            out += identity
        else:
            out = out + identity
        out = functional.relu(out, inplace=self.inplace)
        out = functional.relu(self.norm(out), inplace=self.inplace)
        logits: Tensor = self.head(out.mean((2, 3)))
        return logits


def shaken(net: nn.Module, seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Every parameter and running statistic random, evaluation mode."""
    random = torch.Generator().manual_seed(seed)
    for module in net.modules():
        for parameter in module.parameters(recurse=False):
            scale = 0.5 / math.sqrt(max(parameter[0].numel(), 1)) if parameter.ndim > 1 else 0.3
            parameter.data = torch.randn(parameter.shape, generator=random) * scale * 2
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data = 0.5 + torch.rand(module.weight.shape, generator=random)
            module.running_mean = torch.randn(module.weight.shape, generator=random) * 0.2
            module.running_var = 0.5 + torch.rand(module.weight.shape, generator=random)
    return net.to(dtype).eval()


def plain(seed: int = 0, **settings: object) -> nn.Module:
    return shaken(Plain(**settings), seed)  # type: ignore[arg-type]


def images(
    seed: int = 0, n: int = 2, size: tuple[int, int] = (16, 24), dtype: torch.dtype = torch.float64
) -> Tensor:
    return torch.randn(
        n, 3, *size, generator=torch.Generator().manual_seed(1000 + seed), dtype=torch.float64
    ).to(dtype)


def pair(
    seed: int, shape: tuple[int, int, int, int] = (2, 3, 4, 5), signed: bool = False
) -> tuple[Tensor, Tensor]:
    """Activations and gradients; with zeros among both, as behind a ReLU."""
    random = torch.Generator().manual_seed(seed)
    activations = torch.randn(shape, generator=random, dtype=torch.float64)
    gradients = torch.randn(shape, generator=random, dtype=torch.float64) * 0.1
    gradients[torch.rand(shape, generator=random) < 0.2] = 0
    return activations if signed else activations.clamp_min(0), gradients


def gradient_method(name: str) -> GradientMethod:
    method = get_method(name)
    assert isinstance(method, GradientMethod)
    return method


def probing_method(name: str) -> ProbingMethod:
    method = get_method(name)
    assert isinstance(method, ProbingMethod)
    return method


# ---- the formulas, literally: loops over images, channels and positions


def kept_list(values: list[float], percentile: float) -> float | None:
    """Smallest kept value of NUMERICS 3.2 in exact arithmetic; None without positive values."""
    positive = sorted(Fraction(v) for v in values if v > 0)
    if not positive:
        return None
    h = (len(positive) - 1) * Fraction(str(percentile)) / 100
    low, high = positive[math.floor(h)], positive[math.ceil(h)]
    delta = low + (h - math.floor(h)) * (high - low)
    return float(min(v for v in positive if v >= delta))


def kept_mask(gradients: Tensor, percentile: float, scope: str) -> np.ndarray:
    g = gradients.numpy()
    mask = np.zeros(g.shape, bool)
    for n in range(g.shape[0]):
        for k in range(g.shape[1]):
            population = g[n, k] if scope == "channel" else g[n]
            smallest = kept_list(population.flatten().tolist(), percentile)
            if smallest is not None:
                mask[n, k] = g[n, k] >= smallest
    return mask


def weight(name: str, A: np.ndarray, g: np.ndarray) -> np.ndarray:
    """w of one channel of one image, as a map (H, W); A and g are (H, W)."""
    H, W = A.shape
    places = [(i, j) for i in range(H) for j in range(W)]
    w = np.zeros((H, W))
    mass = sum(A[p] for p in places)
    if name == "grad-cam":
        w[:] = sum(g[p] for p in places) / len(places)
    elif name == "hires-cam":
        w[:] = g
    elif name == "layer-cam":
        for p in places:
            w[p] = max(g[p], 0.0)
    elif name == "xgrad-cam":
        w[:] = 0 if mass == 0 else sum(g[p] * A[p] for p in places) / mass
    elif name == "grad-cam++":
        total = 0.0
        for p in places:
            denominator = 2 * g[p] ** 2 + mass * g[p] ** 3
            if g[p] > 0 and denominator > 0:
                total += g[p] ** 2 / denominator * g[p]
        w[:] = total
    else:
        raise KeyError(name)
    return w


def signed_map(
    name: str, activations: Tensor, gradients: Tensor, truncation: Truncation | None = None
) -> np.ndarray:
    """sum_k w_k A_k before the ReLU (N, H, W), truncated in either reading."""
    A, g = activations.numpy(), gradients.numpy()
    result = np.zeros((A.shape[0], *A.shape[2:]))
    T = (
        np.ones(A.shape)
        if truncation is None
        else kept_mask(gradients, truncation.percentile, truncation.scope)
    )
    for n in range(A.shape[0]):
        for k in range(A.shape[1]):
            if truncation is None or truncation.reading == "mask":
                result[n] += weight(name, A[n, k], g[n, k]) * T[n, k] * A[n, k]
            else:
                result[n] += weight(name, A[n, k], np.where(T[n, k], g[n, k], 0)) * A[n, k]
    return result


def resized(stage_map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear with pixel centres, position by position; (h, w) -> (H, W)."""

    def taps(count: int, wanted: int) -> list[tuple[int, int, float]]:
        found = []
        for i in range(wanted):
            at = max((i + 0.5) * count / wanted - 0.5, 0.0)
            low = min(int(at), count - 1)
            found.append((low, min(low + 1, count - 1), at - low))
        return found

    result = np.zeros(size)
    for i, (top, bottom, down) in enumerate(taps(stage_map.shape[0], size[0])):
        for j, (left, right, across) in enumerate(taps(stage_map.shape[1], size[1])):
            upper = stage_map[top, left] * (1 - across) + stage_map[top, right] * across
            lower = stage_map[bottom, left] * (1 - across) + stage_map[bottom, right] * across
            result[i, j] = upper * (1 - down) + lower * down
    return result


@pytest.fixture(scope="session")
def nets() -> SimpleNamespace:
    return SimpleNamespace(
        STAGES=STAGES, Plain=Plain, Residual=Residual, plain=plain, shaken=shaken, images=images, pair=pair
    )


@pytest.fixture(scope="session")
def literal() -> SimpleNamespace:
    return SimpleNamespace(
        kept_list=kept_list, kept_mask=kept_mask, weight=weight, signed_map=signed_map, resized=resized
    )
