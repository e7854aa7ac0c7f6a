"""One forward and one backward pass: activations, gradients and scores of a batch.

`Capture` is the border of the engine: above it nobody touches hooks, below it nobody knows methods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ltcam.cam.network.eval_mode import check_images, evaluating, run
from ltcam.cam.network.hooks import Hooks
from ltcam.cam.network.memory_formats import in_fastest_format
from ltcam.cam.network.remembered import unchanging
from ltcam.cam.network.stages import Taps, find_stages, resolve_layers, returns_channels_last
from ltcam.cam.targets import Target, target_scores
from ltcam.cam.tensors import (
    at_least_float32,
    detached,
    refuse_not_finite,
    warn_of_half_precision,
)

Reshape = Callable[[Tensor], Tensor]
"""A layer's output to maps (N, C, H, W), for networks that return something else (tokens, say).

Gradients go the same way, so it may only move or leave out values (view, permute, slice), not change them."""


@dataclass(frozen=True)
class Layers:
    """Which layers of a network are looked at, and how.

    Attributes:
        names: of layers, or one name; None finds the stages (`find_stages`).
        taps: where found stages are tapped; not used with `names`.
        reshape: makes (N, C, h, w) of a layer's output that is not.
    """

    names: Sequence[str] | str | None = None
    taps: Taps = "after"
    reshape: Reshape | None = None

    def of(self, model: nn.Module, images: Tensor) -> tuple[str, ...]:
        """Their names, in the order asked for."""
        if self.names is None:
            return find_stages(model, images, taps=self.taps)
        return (self.names,) if isinstance(self.names, str) else tuple(self.names)


@dataclass(frozen=True)
class Capture:
    """What one look of the classifier at N images leaves behind.

    Attributes:
        layers: names of the layers, in the order asked for (found by itself: shallow to deep).
        activations: per layer (N, C, h, w), float32 or float64, in the memory format of the passes.
        gradients: per layer, same shape: gradient of each image's target score; empty if not asked for.
        output: what the model returned, its tensors detached; logits (N, K) for classifiers.
        scores: target score of each image (N,), before any softmax.
        input_size: (H, W) of the images.
        half: names of the layers that ran in half precision.
    """

    layers: tuple[str, ...]
    activations: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]
    output: Any
    scores: Tensor
    input_size: tuple[int, int]
    half: tuple[str, ...] = ()


def capture(
    model: nn.Module,
    images: Tensor,
    target: Target = None,
    *,
    layers: Layers | Sequence[str] | str | None = None,
    gradients: bool = True,
) -> Capture:
    """Run the model once forward and once backward and keep what class activation maps need.

    The model is left as it was: training flags, `requires_grad`, `.grad` and hooks, also after an
    exception. Images of a batch do not influence each other.

    Args:
        model: a CNN; run in evaluation mode.
        images: (N, 3, H, W), floating point, normalised as the model wants it.
        target: what is explained; see `ltcam.cam.targets`.
        layers: names of layers, or one name; None finds the stages (`find_stages`); `Layers` says more.
        gradients: False leaves the backward pass out, for methods that need activations only.

    Raises:
        TypeError: images of an integer or boolean type.
        ValueError: shapes, names, targets or values that cannot be used; the message says which.
    """
    check_images(images)
    tapped = layers if isinstance(layers, Layers) else Layers(layers)
    with unchanging():
        names = tapped.of(model, images)
        modules = resolve_layers(model, names, images)
        with evaluating(model), torch.inference_mode(False), torch.set_grad_enabled(gradients):
            source = images.clone() if images.is_inference() else images.detach()

            def passes(images: Tensor) -> tuple[object, tuple[Tensor, ...], Tensor, tuple[Tensor, ...]]:
                output, taken = _forward(model, images, names, modules)
                scores = target_scores(output, target, len(images), differentiable=gradients)
                return output, taken, scores, _gradients(scores, names, taken) if gradients else ()

            output, taken, scores, slopes = in_fastest_format(model, source, passes, gradients=gradients)
    half = [name for name, tensor in zip(names, taken, strict=True) if tensor.dtype.itemsize < 4]
    warn_of_half_precision(half, stacklevel=2)

    def as_maps(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        pairs = zip(names, tensors, strict=False)  # no gradients where none were asked for
        return tuple(at_least_float32(_as_map(name, t.detach(), tapped.reshape, images)) for name, t in pairs)

    if tapped.reshape is None:
        _refuse_channels_last(names, modules, taken, images)

    found = Capture(
        layers=names,
        activations=as_maps(taken),
        gradients=as_maps(slopes),
        output=detached(output),
        scores=at_least_float32(scores.detach()),
        input_size=(int(images.shape[2]), int(images.shape[3])),
        half=tuple(half),
    )
    _check_finite(found)
    return found


class _Tap:
    """Takes the outputs of layers during one forward pass."""

    def __init__(self, hooks: Hooks, names: Sequence[str], modules: Sequence[nn.Module], clone: bool):
        self.taken: dict[str, list[Tensor]] = {name: [] for name in names}
        self._versions: list[tuple[Tensor, int]] = []
        self._clone = clone
        for name, module in zip(names, modules, strict=True):
            hooks.behind(module, partial(self._take, name))

    def _take(self, name: str, _inputs: object, output: object) -> Tensor:
        if not isinstance(output, Tensor):
            raise ValueError(
                f"layer {name!r} returns {type(output).__name__}, not a tensor; choose a layer inside or behind it"
            )
        if output.is_inference():
            raise ValueError(
                f"layer {name!r} has no gradient: the model runs it under torch.inference_mode; take that out"
            )
        # Nothing below the first layer needs a gradient: cutting there saves its part of the backward
        # pass and of the memory, whether or not parameters are frozen.
        first = not any(self.taken.values())
        leaf = output.detach().requires_grad_() if first or not output.requires_grad else output
        self.taken[name].append(leaf)
        self._versions.append((leaf, leaf._version))
        return leaf.clone() if self._clone else leaf

    def changed_in_place(self) -> bool:
        """Whether the network wrote over a tapped tensor after the hook had seen it."""
        return any(tensor._version != version for tensor, version in self._versions)


def _forward(
    model: nn.Module, images: Tensor, names: Sequence[str], modules: Sequence[nn.Module]
) -> tuple[object, tuple[Tensor, ...]]:
    """The model's output and the tapped tensors; a second pass with copies if the first was written over."""
    for clone in (False, True):
        with Hooks() as hooks:
            tap = _Tap(hooks, names, modules, clone)
            try:
                output = run(model, images)
            except RuntimeError as error:
                if not clone and "in-place operation" in str(error):
                    continue
                raise
        if clone or not tap.changed_in_place():
            break
    return output, tuple(_only_one(name, tap.taken[name]) for name in names)


def _only_one(name: str, tensors: list[Tensor]) -> Tensor:
    if len(tensors) != 1:
        raise ValueError(
            f"layer {name!r} ran {len(tensors)} times in one forward pass; it must run exactly once"
        )
    return tensors[0]


def _refuse_channels_last(
    names: Sequence[str], modules: Sequence[nn.Module], taken: Sequence[Tensor], images: Tensor
) -> None:
    for name, module, tensor in zip(names, modules, taken, strict=True):
        if returns_channels_last(module, tensor, images.shape[2:]):
            raise ValueError(
                f"layer {name!r} returns maps {tuple(tensor.shape)}, which look like (N, h, w, C); give "
                "reshape=lambda maps: maps.permute(0, 3, 1, 2), or, if they are (N, C, h, w), reshape=lambda maps: maps"
            )


def _as_map(name: str, tensor: Tensor, reshape: Reshape | None, images: Tensor) -> Tensor:
    count = len(images)
    if reshape is not None:
        tensor = reshape(tensor)
    if not isinstance(tensor, Tensor) or tensor.ndim != 4 or len(tensor) != count:
        shape = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
        source = "the reshape callable makes" if reshape is not None else "returns"
        raise ValueError(
            f"layer {name!r}: {source} {shape}; give a reshape callable returning (N, C, H, W), N = {count}"
        )
    return tensor


def _gradients(scores: Tensor, names: Sequence[str], taken: Sequence[Tensor]) -> tuple[Tensor, ...]:
    if not scores.requires_grad:
        raise ValueError(
            f"the target score has no gradient with respect to {', '.join(map(repr, names))}: not on the way to "
            "it, or the model runs under no_grad or inference_mode, or detaches something behind"
        )
    gradients = torch.autograd.grad(scores.sum(), list(taken), allow_unused=True)
    for name, gradient in zip(names, gradients, strict=True):
        if gradient is None:
            raise ValueError(
                f"layer {name!r} has no gradient: it is not on the way to the score, or is detached behind"
            )
    return tuple(gradient for gradient in gradients if gradient is not None)


def _check_finite(found: Capture) -> None:
    checks: list[tuple[str, Tensor]] = [("scores", found.scores)]
    if isinstance(found.output, Tensor):
        checks.insert(0, ("logits", found.output))
    for what, tensors in (("activations", found.activations), ("gradients", found.gradients)):
        checks += [
            (f"{what} of layer {name!r}", tensor) for name, tensor in zip(found.layers, tensors, strict=False)
        ]
    for what, tensor in checks:
        refuse_not_finite(what, tensor)
