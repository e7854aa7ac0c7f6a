"""A network asked again, with images or activations of our making: scores only, in the fastest way to run it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ltcam.cam.network.eval_mode import run
from ltcam.cam.targets import Target, target_scores
from ltcam.cam.tensors import at_least_float32

_AGREES = 1e-2  # other kernels move a score by less, a way that is wrong by more
_AGREES_IN_HALF = 0.1  # with the score of a pass in half precision
_PIXELS_AT_ONCE = 3 * 2**17
"""Of images given to a network on the CPU: two of 256 x 704, six of 256 x 256. The maps between layers then
stay in the cache and in memory that the allocator hands out again, while the weights of large linear layers
still serve more than one image; EfficientNet-Lite0 takes twice the time per image in batches of 16."""


def at_once(size: Sequence[int], device: torch.device, most: int) -> int:
    """How many images to give to a network at once.

    Args:
        size: (height, width) of each.
        device: where it computes.
        most: at most so many.
    """
    if device.type != "cpu":
        return most
    return min(most, max(1, _PIXELS_AT_ONCE // (size[0] * size[1])))


def ask(
    model: nn.Module,
    images: Tensor,
    target: Target,
    memory_format: torch.memory_format,
    count: int | None = None,
) -> Tensor:
    """Target scores (M,), float32 or float64, of images (M, 3, H, W).

    Args:
        model: the network, in evaluation mode.
        images: given to it; it may write over them.
        target: as for `targets.target_scores`.
        memory_format: one of `memory_formats.formats_of_scores`.
        count: M, where a hook makes a larger batch of the images.
    """
    output = run(model, images.contiguous(memory_format=memory_format))
    scores = target_scores(output, target, count or len(images), differentiable=False)
    return at_least_float32(scores.detach())


def target_of(target: Target, images: Sequence[int]) -> Target:
    """The target of a batch made of these images (indices, repeated or left out as need be)."""
    if target is None or callable(target):
        return target
    values: Any = target.tolist() if hasattr(target, "tolist") else target
    return [values[image] for image in images] if isinstance(values, Sequence) else values


def agree(found: float, wanted: float, scale: float = 0.0, *, half: bool = False) -> bool:
    """Whether a score that was found in another way is the one wanted.

    Args:
        found: the score.
        wanted: what it should be.
        scale: size of what it is a difference of, where that is known.
        half: whether what is wanted comes from a pass in half precision.
    """
    return abs(found - wanted) <= (_AGREES_IN_HALF if half else _AGREES) * max(abs(wanted), scale)
