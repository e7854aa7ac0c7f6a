"""Relevance-CAM (Lee et al. 2021)."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ltcam.cam.methods.backward_rules import (
    AVERAGES,
    ELEMENTWISE,
    LINEAR,
    PRODUCTS,
    Function,
    Rules,
    chunks,
    elementwise_rule,
    logit_slopes,
    product_rule,
    quotient,
    ruled_pass,
    with_slope,
)
from ltcam.cam.methods.method import Probe, ProbingMethod
from ltcam.cam.targets import Target, TargetFunction
from ltcam.cam.tensors import at_least_float32


def weights(probe: Probe, layer: int) -> Tensor:
    """w_k = sum_ij R_kij, the relevance that layer-wise relevance propagation brings back to channel k.

    Relevance is passed back as g with R = x g at every tensor x: sums, concatenations and max pooling then
    share R in the proportion of their parts by ordinary differentiation (the residual sum too), and only
    weights, averages, normalisation, activation functions and gates need a rule.

    Returns:
        (N, C, 1, 1).

    Warns:
        UserWarning: operations behind the layer that have no rule and do not conserve relevance, up to
            `conservation.TOLERANCE` (LayerNorm, attention, exponentials, own functions of autograd).
    """
    found = []
    untreated: set[str] = set()
    for part, images, target in chunks(probe):
        logits = _logits_of(probe.captured.output, part)
        relevance = initial_relevance(logits, target)
        done = ruled_pass(probe, layer, _RULES, images, _starting_with(relevance))
        activations, slopes = done.captured.activations[0], done.captured.gradients[0]
        found.append((activations * slopes).sum((2, 3), keepdim=True))  # R = A g
        untreated.update(done.untreated)
    if untreated:
        warnings.warn(
            f"Relevance-CAM at {probe.captured.layers[layer]!r}: {', '.join(sorted(untreated))} behind it "
            "have no relevance rule and passed on their derivative; relevance is not conserved",
            stacklevel=2,
        )
    return torch.cat(found)


def initial_relevance(logits: Tensor, target: Target) -> Tensor:
    """R of the logits (N, K): 1 for the class, -1/(K-1) for each other, as contrastive LRP has it.

    The paper has the logit z_t in the place of 1: a factor of the whole map, whose sign would turn the map
    round where z_t < 0; its authors' program takes 1 too (and 1/K for the others). A callable starts
    with its slopes by the logits as they are: log-odds are a contrast by themselves, and for two
    classes the same one.
    """
    slopes = logit_slopes(logits, target, len(logits))
    if callable(target) or logits.shape[1] == 1:
        return slopes
    others = torch.full_like(logits, -1 / (logits.shape[1] - 1))
    return torch.where(slopes != 0, torch.ones_like(logits), others)


def _logits_of(output: object, part: slice) -> Tensor:
    if not isinstance(output, Tensor):
        raise ValueError(
            f"Relevance-CAM starts at logits (N, K); the model returned {type(output).__name__}; take a "
            "gradient method (grad-cam, layer-cam) for such models"
        )
    return at_least_float32(output[part])


def _starting_with(relevance: Tensor) -> TargetFunction:
    """A target whose slopes g at the logits z make R = z g; asked once per image, in their order."""
    rows = iter(relevance)
    return lambda logits: (logits * quotient(next(rows), logits)).sum()


def _z_plus(
    function: Function, x: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
) -> Tensor:
    """R_i = sum_j z+_ij / (sum_i z+_ij) R_j, with z+_ij = max(x_i w_ij, 0).

    Biases take no share, and the relevance of a unit that its bias alone made active is lost.
    """
    weight = weight.detach()
    value = function(x.detach(), weight, None if bias is None else bias.detach(), *args, **kwargs)
    z = function(functional.relu(x), weight.clamp_min(0), None, *args, **kwargs)
    if bool((x < 0).any()):
        z = z + function(-functional.relu(-x), weight.clamp_max(0), None, *args, **kwargs)
    return with_slope(value, z * quotient(value, z))


def _average(function: Function, x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """The same rule for pooling: only positive inputs take a share; where there are none, the others."""
    value = function(x, *args, **kwargs)
    z = function(functional.relu(x), *args, **kwargs)
    return with_slope(value, torch.where(z > 0, z * quotient(value, z), value))


def _unchanged(x: Tensor, value: Tensor, derivative: Tensor) -> Tensor:  # noqa: ARG001
    """R_in = R_out: with R = x g, g_in = g_out f(x) / x."""
    return quotient(value, x)


def _normalised(function: Function, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Normalisation by running statistics shifts and scales its channel, and passes relevance unchanged."""
    value = function(x.detach(), *args, **kwargs)
    return with_slope(value, x * quotient(value, x))


def _signal_takes_all(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """R goes to the signal, none to a gate (the smaller of the two); half each between equals."""
    if x.numel() == y.numel():
        return y / 2, x / 2
    return (y, torch.zeros_like(x)) if x.numel() > y.numel() else (torch.zeros_like(y), x)


_RULES = Rules(
    {
        **dict.fromkeys(LINEAR, _z_plus),
        **dict.fromkeys(AVERAGES, _average),
        **dict.fromkeys(ELEMENTWISE, elementwise_rule(_unchanged)),
        **dict.fromkeys(PRODUCTS, product_rule(_signal_takes_all)),
        functional.batch_norm: _normalised,
        torch.batch_norm: _normalised,
    },
    conserving=True,
)


RELEVANCE_CAM = ProbingMethod(
    name="relevance-cam",
    title="Relevance-CAM",
    source="Lee et al. 2021; z+ rule: Montavon et al. 2017; contrastive start: Gu et al. 2018",
    sentence="Weighs each channel by the relevance that LRP brings back to it from the class against the others.",
    weights=weights,
)
