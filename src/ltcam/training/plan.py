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
from ltcam_runtime.phrases import counted
from ltcam_runtime.zooming import too_small_to_see

FEW_FOR_VALIDATION = 5
"""Validation images of a label; a threshold that rests on fewer is a guess."""

FEW_FOR_TRAINING = 8
"""Defective images to train on; with fewer a network hardly learns what they have in common."""

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


def concerns(
    sides: Mapping[str, Mapping[str, int]],
    missing: Mapping[Split, str],
    images_size: tuple[int, int],
    image_size: tuple[int, int],
) -> tuple[str, ...]:
    """What should make one hesitate to start, or to believe the result.

    Args:
        sides: images per class and side; the first class is OK.
        missing: why there is no validation or test side.
        images_size: (height, width) of the images, typically.
        image_size: (height, width) that the network sees.
    """
    return (
        *_of_training(sides),
        *_of_validation(sides, missing),
        *too_small_to_see(images_size, image_size, "`image_size` makes the network's picture larger"),
    )


def _of_training(sides: Mapping[str, Mapping[str, int]]) -> list[str]:
    kinds = list(sides)[1:]
    defective = sum(sides[kind]["train"] for kind in kinds)
    found = []
    if defective < FEW_FOR_TRAINING:
        found.append(f"only {counted(defective, 'defective images')} to train on; thirty are a start")
    found += [
        f"{kind} has no image to train on"
        for kind in kinds
        if not sides[kind]["train"] and any(sides[kind].values())
    ]
    return found


def _of_validation(sides: Mapping[str, Mapping[str, int]], missing: Mapping[Split, str]) -> list[str]:
    ok, *kinds = sides
    held_back = {"OK": sides[ok]["val"], "defective": sum(sides[kind]["val"] for kind in kinds)}
    uncalibrated = "scores are not calibrated, and the verdict's threshold stays at 0.5"
    if not any(held_back.values()):
        why = f" ({missing['val']})" if "val" in missing else ""
        return [f"there is no validation side{why}: {uncalibrated}"]
    empty = [label for label, count in held_back.items() if not count]
    if empty:
        return [f"the validation side has no {empty[0]} image: {uncalibrated}"]
    return [
        f"the verdict's threshold will rest on {counted(count, f'{label} images')} only"
        for label, count in held_back.items()
        if count < FEW_FOR_VALIDATION
    ]


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
