"""What a training will do, said before it is done."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from torch import nn

from ltcam.data.dataset import Split
from ltcam.models.classifier import Classifier
from ltcam.runs.run import Arithmetic
from ltcam.training.settings import TrainingSettings

_LONG = 5.0  # seconds of a first step, after which it is not repeated
_FORWARD = 1 / 3  # of a step's time: a step goes forward once, and backward for twice as long


@dataclass(frozen=True)
class Plan:
    """What a training will do.

    Attributes:
        sides: images per class and side (train, val, test).
        missing: why there is no validation or test side, by side.
        backbone: timm's name.
        weights: where they come from, a sentence.
        image_size: (height, width) that the network sees.
        images_size: median (height, width) of the images to train on.
        epochs: passes over the balanced sample; 0 where no network is trained.
        steps: of an epoch.
        batch_size: images of a step.
        arithmetic: precision and memory format.
        device: where it is computed.
        finished: epochs that a stopped training has behind it.
        seconds: of an epoch on this machine, about; None where nobody tried.
        concerns: what should make one hesitate, a sentence each.
    """

    sides: Mapping[str, Mapping[str, int]]
    missing: Mapping[Split, str]
    backbone: str
    weights: str
    image_size: tuple[int, int]
    images_size: tuple[int, int]
    epochs: int
    steps: int
    batch_size: int
    arithmetic: Arithmetic
    device: str
    finished: int
    seconds: float | None
    concerns: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "arithmetic": self.arithmetic.model_dump(mode="json")}


def typical_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The median (height, width)."""
    return round(median(size[0] for size in sizes)), round(median(size[1] for size in sizes))


def seconds_of_step(
    classifier: Classifier, size: tuple[int, int], settings: TrainingSettings, arithmetic: Arithmetic
) -> float:
    """How long a step takes on the device that the classifier is on: one of grey pixels, on a copy, after a first one.

    Random numbers and the classifier are left as they were. Nothing that is computed depends on it.
    """
    device = next(classifier.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        network = copy.deepcopy(classifier).train()
        pixels = torch.full((max(settings.batch_size, 2), 3, *size), 0.5, device=device)
        if arithmetic.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        first = _timed_step(network, pixels, arithmetic)
        return first if first > _LONG else _timed_step(network, pixels, arithmetic)


def _timed_step(network: nn.Module, pixels: torch.Tensor, arithmetic: Arithmetic) -> float:
    began = time.perf_counter()
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=arithmetic.bfloat16):
        network(pixels).float().square().sum().backward()
    if pixels.device.type == "cuda":
        torch.cuda.synchronize(pixels.device)
    return time.perf_counter() - began


def seconds_of_epoch(step: float, steps: int, held_back: int, batch_size: int) -> float:
    """Time of an epoch by that of a step: its steps, and a look at the images that were held back."""
    return step * (steps + _FORWARD * held_back / batch_size)
