"""Lift-CAM (Jung and Oh 2021)."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ltcam.cam.methods.backward_rules import (
    ELEMENTWISE,
    MAX_POOLS,
    PRODUCTS,
    Function,
    Rules,
    chunks,
    elementwise_rule,
    product_rule,
    quotient,
    ruled_pass,
    with_slope,
)
from ltcam.cam.methods.method import Probe, ProbingMethod

_ROUNDING = 1e-5
_GAP = 0.01
"""Share of the score's difference that contributions may miss before the user is told."""


def weights(probe: Probe, layer: int) -> Tensor:
    """w_k = sum_ij C_kij, the contribution of channel k to y - y(reference), by DeepLIFT's rescale rule.

    The reference is the layer's output set to 0. Images go through the network twice at once: as they are, and
    with the reference behind the layer; every operation of the tail then sees its input x and its reference r.

    Returns:
        (N, C, 1, 1).

    Warns:
        UserWarning: where contributions do not add up to y - y(reference), with the share that is missing:
            the tail holds operations for which the rescale rule does not stand (LayerNorm, softmax).
    """
    found, gap = [], 0.0
    untreated: set[str] = set()
    for part, images, target in chunks(probe, copies=2):
        n = part.stop - part.start
        done = ruled_pass(probe, layer, _RULES, images, target)
        activations, multipliers = done.captured.activations[0][:n], done.captured.gradients[0][:n]
        contributions = multipliers * activations  # C = m (A - 0)
        found.append(contributions.sum((2, 3), keepdim=True))
        difference = done.captured.scores[:n] - done.captured.scores[n:]
        missing = (contributions.sum((1, 2, 3)) - difference).abs()
        missing = missing - _ROUNDING * contributions.abs().sum((1, 2, 3))  # of terms that cancel each other
        gap = max(gap, float((missing / difference.abs().clamp_min(1e-30)).amax()))
        untreated.update(done.untreated)
    if gap > _GAP:
        _warn_of_gap(probe.captured.layers[layer], gap, untreated)
    return torch.cat(found)


def _with_reference(output: Tensor) -> Tensor:
    """The layer's output for the first half of the batch, zeros for the second."""
    half = len(output) // 2
    return torch.cat([output[:half], torch.zeros_like(output[half:])])


def _rescaled(x: Tensor, value: Tensor, derivative: Tensor) -> Tensor:
    """Rescale rule: m = (f(x) - f(r)) / (x - r); the derivative where x and r are equal up to rounding."""
    (own, reference), (f_own, f_reference) = x.chunk(2), value.chunk(2)
    rounding = torch.finfo(x.dtype).eps ** 0.5 * torch.maximum(own.abs(), reference.abs())
    apart = torch.where((own - reference).abs() > rounding, own - reference, 0)
    slope = quotient(f_own - f_reference, apart, derivative.chunk(2)[0])
    return torch.cat([slope, torch.zeros_like(slope)])  # nothing is passed back to the reference


def _averaged(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor] | None:
    """Products: xy - rs = (x - r)(y + s)/2 + (y - s)(x + r)/2, exactly."""
    if x.ndim != y.ndim or len(x) != len(y) or len(x) % 2:
        return None
    means = [(tensor[: len(tensor) // 2] + tensor[len(tensor) // 2 :]) / 2 for tensor in (y, x)]
    return torch.cat([means[0]] * 2), torch.cat([means[1]] * 2)


def _max_pool(function: Function, x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """The larger of the two maxima marks the place: m = (max x - max r) / (x - r) there, 0 elsewhere."""
    if kwargs.get("return_indices"):
        return function(x, *args, **kwargs)
    pool: Any = functional.max_pool2d if function is torch.max_pool2d else function
    values, indices = pool(x.detach(), *args, **{**kwargs, "return_indices": True})
    (own, reference), (places, reference_places) = values.chunk(2), indices.chunk(2)
    place = torch.where(own >= reference, places, reference_places).flatten(-2)
    x_there, r_there = (half.flatten(-2).gather(-1, place) for half in x.chunk(2))
    slope = quotient((own - reference).flatten(-2), x_there - r_there, 1.0)
    return torch.cat([with_slope(own, (x_there * slope).reshape(own.shape)), reference])


_RULES = Rules(
    {
        **dict.fromkeys(ELEMENTWISE, elementwise_rule(_rescaled)),
        **dict.fromkeys(PRODUCTS, product_rule(_averaged)),
        **dict.fromkeys(MAX_POOLS, _max_pool),
    },
    edit=_with_reference,
)


def _warn_of_gap(layer: str, gap: float, untreated: set[str]) -> None:
    named = f" ({', '.join(sorted(untreated))})" if untreated else ""
    warnings.warn(
        f"Lift-CAM at {layer!r}: contributions miss y - y(reference) by {gap:.1%} of it; something "
        f"behind the layer has no rescale rule{named}; HiResCAM and LayerCAM need none",
        stacklevel=2,
    )


LIFT_CAM = ProbingMethod(
    name="lift-cam",
    title="LIFT-CAM",
    source="Jung and Oh 2021; DeepLIFT's rescale rule: Shrikumar et al. 2017",
    sentence="Weighs each channel by its DeepLIFT contribution to the score against the channel set to zero.",
    weights=weights,
)
