"""The network from one layer's output on: its scores when that output is another.

What stands in front of the layer runs once, on one image; a hook then puts a whole batch of changed outputs
in place of the layer's own, so that only what stands behind it works for each of them. That needs no
knowledge of the architecture. A network that cannot take it (maps from in front of the layer concatenated
behind it, a batch size remembered from the images) is run as a whole, on copies of the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn

from ltcam.cam.network.hooks import Hooks
from ltcam.cam.network.memory_formats import REFUSALS, formats_of_scores
from ltcam.cam.network.precision import in_float32
from ltcam.cam.network.scores import agree, ask, at_once, target_of
from ltcam.cam.targets import Target

_BYTES_AT_ONCE = 128 * 2**20  # changed outputs of one layer; all channels of most last stages fit in


@dataclass(frozen=True)
class Tail:
    """One image's way from a layer's output to its score.

    Attributes:
        model: the network, in evaluation mode.
        layer: the layer's name.
        image: (1, 3, H, W).
        target: what is explained of this image.
        memory_format: that the network is run in.
        whole: whether the network has to run as a whole, on copies of the image.
        chunk: how many changed outputs to ask for at once.
    """

    model: nn.Module
    layer: str
    image: Tensor
    target: Target
    memory_format: torch.memory_format
    whole: bool
    chunk: int

    def scores(self, activations: Tensor) -> Tensor:
        """Target scores (M,) of changed outputs of the layer, computed in float32 (in float64 of float64).

        Args:
            activations: (M, C, h, w), M at least 1; the network may write over them.

        Raises:
            ValueError: if the layer returns something of another shape.
        """
        count = len(activations)
        images = self.image.repeat(
            count if self.whole else 1, 1, 1, 1
        )  # copies, since networks write over them
        target = target_of(self.target, [0] * count)
        changed = activations.contiguous(memory_format=self.memory_format)
        with Hooks() as hooks, in_float32(self.image):
            hooks.behind(self.model.get_submodule(self.layer), _replaced(self.layer, changed))
            return ask(self.model, images, target, self.memory_format, count)


@dataclass(frozen=True)
class Cut:
    """What one image left behind at a layer when the whole network ran.

    Attributes:
        layer: the layer's name.
        activations: its output (1, C, h, w).
        score: the image's target score.
        half: whether that pass, or a part of it, was in half precision.
    """

    layer: str
    activations: Tensor
    score: float
    half: bool


def tail_behind(model: nn.Module, image: Tensor, target: Target, cut: Cut, chunk: int) -> Tail:
    """The cheapest way on which the layer's own output gives the image's own score.

    Args:
        model: the network, in evaluation mode.
        image: (1, 3, H, W).
        target: what is explained of this image.
        cut: the layer, and what it should give.
        chunk: images, at most, that the network is given at once.

    Raises:
        ValueError: if there is none: the maps were made by a reshape callable, or the network is random or
            couples the images of a batch.
    """
    copies = at_once(image.shape[2:], image.device, chunk)
    failures: list[Exception] = []
    for whole, memory_format in product((False, True), formats_of_scores(image)):
        tail = Tail(
            model=model,
            layer=cut.layer,
            image=image,
            target=target,
            memory_format=memory_format,
            whole=whole,
            chunk=copies if whole else max(copies, _BYTES_AT_ONCE // cut.activations.nbytes),
        )
        failure = _failure(tail, cut)
        if failure is None:
            return tail
        failures.append(failure)
    raise failures[-1]


def _failure(tail: Tail, cut: Cut) -> Exception | None:
    """Why the layer's own output does not give the image's own score; None where it does."""
    own, score = cut.activations, cut.score
    try:
        found, ablated = tail.scores(torch.cat([own, torch.zeros_like(own)])).tolist()
    except REFUSALS as error:
        return error
    change = abs(score - ablated)
    if agree(found, score, scale=change if math.isfinite(change) else 0.0, half=cut.half):
        return None
    return ValueError(
        f"layer {tail.layer!r}: its own output put in its place gives the score {found:g} instead of {score:g}; "
        "is the network random in evaluation mode, or does one image of a batch change another's score?"
    )


def _replaced(layer: str, activations: Tensor) -> Callable[[object, object], Tensor]:
    """A hook that puts activations in place of the layer's output."""

    def hook(_inputs: object, output: object) -> Tensor:
        if not isinstance(output, Tensor) or output.shape[1:] != activations.shape[1:]:
            shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(
                f"layer {layer!r} returns {shape} per image, not the maps {tuple(activations.shape[1:])} of the "
                "reshape callable, which cannot be undone; choose a layer that returns maps (C, h, w)"
            )
        return activations.to(output.dtype)

    return hook
