"""Grad-CAM++ (Chattopadhay et al. 2018)."""

import torch
from torch import Tensor

from ltcam.cam.methods.method import GradientMethod


def weights(activations: Tensor, gradients: Tensor) -> Tensor:
    """w_k = sum over g > 0 of alpha g, with alpha = 1 / (2 + S_k g) and S_k = sum_ij A_kij.

    This is eq. 19 for Y = exp(y) in piecewise linear networks, where the second derivatives of y
    vanish: alpha = g^2 / (2 g^2 + S_k g^3). S_k sums A alone. A denominator <= 0 (signed activations
    only) counts 0. Returns (N, C, 1, 1).
    """
    return terms(activations, gradients).sum((2, 3), keepdim=True)


def terms(activations: Tensor, gradients: Tensor) -> Tensor:
    """The terms alpha g, 0 where g <= 0. Returns (N, C, H, W)."""
    mass = activations.sum((2, 3), keepdim=True)
    positive = gradients.clamp_min(0)
    denominator = 2 + mass * positive
    counts = torch.gt(denominator, 0, out=torch.empty_like(denominator))  # 0 and 1: faster than a selection
    smallest = torch.finfo(denominator.dtype).tiny  # below every denominator that counts
    return positive.mul_(counts).div_(denominator.clamp_min_(smallest))


GRAD_CAM_PLUS_PLUS = GradientMethod(
    name="grad-cam++",
    title="Grad-CAM++",
    source="Chattopadhay et al. 2018, eq. 15 and 19",
    sentence="Weighs each channel by its positive gradients, each position by a second-order coefficient.",
    weights=weights,
    terms=terms,
    divides_by_activations=True,
)
