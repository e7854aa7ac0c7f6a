"""CAM, the original (Zhou et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ltcam.cam.methods.backward_rules import logit_slopes
from ltcam.cam.methods.method import Probe, ProbingMethod
from ltcam.cam.network.eval_mode import run
from ltcam.cam.network.hooks import Hooks

_TOLERANCE, _HALF_TOLERANCE = 1e-4, 0.03
"""Relative; rounding in float32 (in half precision) stays far below, another layer's means are far above."""


def weights(probe: Probe, layer: int) -> Tensor:
    """w_k = the head's weight of channel k for the class, where y = sum_k w_k mean(A_k) + b.

    A callable target gets the head's rows weighted by its slopes, if it is linear in the logits (a
    difference of two logits, say).

    Returns:
        (N, C, 1, 1).

    Raises:
        ValueError: a network that does not end in global average pooling and one linear layer, a layer
            other than the pooled one, or a target that is not linear in the logits; the message says
            which layer or method to take.
    """
    name, activations = probe.captured.layers[layer], probe.captured.activations[layer]
    head = _head(probe)
    pooled = activations.mean((2, 3))
    if not _same(pooled[:1], head.taken_in):
        raise ValueError(_wrong_layer(name, head))
    slopes = logit_slopes(probe.captured.output, probe.target, len(pooled)).to(pooled.dtype)  # dy / dz
    with torch.autocast(pooled.device.type, enabled=False):
        found = slopes @ head.weight.to(pooled.dtype)
        score = (found * pooled).sum(1) + slopes @ head.bias.to(pooled.dtype)  # y = sum_k w_k mean(A_k) + b
    size = (found * pooled).abs().sum(1) + probe.captured.scores.abs()
    if bool(((score - probe.captured.scores).abs() > _tolerance(head.taken_in) * size).any()):
        raise ValueError(
            "CAM needs a score that is linear in the logits, and this target is not; take a class index, a "
            "difference of logits, or a gradient method (hires-cam)"
        )
    return found[:, :, None, None]


@dataclass(frozen=True)
class _Head:
    """The last linear layer, and what it was seen to take in for the first image.

    Attributes:
        name: as in `model.named_modules()`.
        weight: (K, C).
        bias: (K,), zeros where it has none.
        taken_in: (1, C).
        sources: layers whose maps, averaged over positions, are what was taken in.
    """

    name: str
    weight: Tensor
    bias: Tensor
    taken_in: Tensor
    sources: tuple[str, ...]


def _head(probe: Probe) -> _Head:
    """The linear layer (or 1 x 1 convolution) that returns the logits, found by watching one image."""
    seen, output = _watched(probe.model, probe.images[:1])
    modules = dict(probe.model.named_modules())
    for name, (taken, given) in reversed(seen.items()):
        module = modules[name]
        linear = isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and _is_pointwise(module))
        if not linear or taken.flatten(1).shape[1] != _columns(module) or not _same(given.flatten(1), output):
            continue
        taken_in = taken.flatten(1)
        sources = [
            source
            for source, (_, maps) in seen.items()
            if maps.ndim == 4
            and maps.shape[2:].numel() > 1
            and maps.shape[1] == taken_in.shape[1]
            and _same(maps.mean((2, 3)), taken_in)
        ]
        weight = module.get_parameter("weight").detach().flatten(1)
        bias = module.bias.detach() if isinstance(module.bias, Tensor) else weight.new_zeros(len(weight))
        return _Head(name, weight, bias, taken_in, tuple(sources))
    raise ValueError(
        "CAM needs a network that ends in global average pooling and one linear layer, and this one's logits "
        "come from no linear layer of pooled maps; take Grad-CAM (grad-cam) or HiResCAM (hires-cam), which "
        "give CAM's map where CAM exists"
    )


def _watched(model: nn.Module, image: Tensor) -> tuple[dict[str, tuple[Tensor, Tensor]], Tensor]:
    """First input and output of every module in one forward pass, in the order in which they ended."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def note(name: str, inputs: tuple[object, ...], output: object) -> None:
        taken = inputs[0] if inputs else None
        if isinstance(taken, Tensor) and isinstance(output, Tensor):
            seen[name] = (taken, output.clone())  # what follows may work in place

    with Hooks() as hooks:
        for name, module in model.named_modules():
            hooks.behind(module, partial(note, name))
        output = run(model, image)
    if not isinstance(output, Tensor):
        raise ValueError(
            f"CAM needs a model that returns logits (N, K), got {type(output).__name__}; take Grad-CAM"
        )
    return seen, output


def _is_pointwise(module: nn.Conv2d) -> bool:
    return module.kernel_size == (1, 1) and module.groups == 1


def _columns(module: nn.Module) -> int:
    return int(module.get_parameter("weight").shape[1])


def _wrong_layer(name: str, head: _Head) -> str:
    if not head.sources:
        return (
            f"CAM needs global average pooling right in front of the linear head {head.name!r}; what goes in there "
            "is the mean of no layer's maps; take Grad-CAM (grad-cam) or HiResCAM (hires-cam)"
        )
    return (
        f"CAM exists only at the layer that is pooled for the linear head {head.name!r}, and {name!r} is not it; "
        f"write layers=({head.sources[-1]!r},), or take Grad-CAM (grad-cam) for other layers"
    )


def _same(found: Tensor, wanted: Tensor) -> bool:
    if found.shape != wanted.shape:
        return False
    scale = wanted.abs().amax().clamp_min(torch.finfo(wanted.dtype).tiny)
    return bool((found - wanted).abs().amax() <= _tolerance(found, wanted) * scale)


def _tolerance(*tensors: Tensor) -> float:
    return _HALF_TOLERANCE if any(tensor.dtype.itemsize < 4 for tensor in tensors) else _TOLERANCE


CAM = ProbingMethod(
    name="cam",
    title="CAM",
    source="Zhou et al. 2016, eq. 1-2",
    sentence="Weighs each channel by the linear head's own weight; only for the layer that is pooled for it.",
    weights=weights,
)
