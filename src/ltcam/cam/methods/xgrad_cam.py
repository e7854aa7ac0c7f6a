"""XGrad-CAM (Fu et al. 2020)."""

import torch
from torch import Tensor

from ltcam.cam.methods.method import GradientMethod


def weights(activations: Tensor, gradients: Tensor) -> Tensor:
    """w_k = sum_ij g_kij A_kij / sum_ij A_kij; 0 where the denominator is 0. Returns (N, C, 1, 1)."""
    return (gradients * activations).sum((2, 3), keepdim=True) / _mass(activations)


def terms(activations: Tensor, gradients: Tensor) -> Tensor:
    """g_kij A_kij / sum_ij A_kij. Returns (N, C, H, W)."""
    return gradients * activations / _mass(activations)


def _mass(activations: Tensor) -> Tensor:
    """sum_ij A_kij, infinite instead of 0, so that what is divided by it becomes 0. Returns (N, C, 1, 1)."""
    mass = activations.sum((2, 3), keepdim=True)
    return torch.where(mass == 0, torch.inf, mass)


XGRAD_CAM = GradientMethod(
    name="xgrad-cam",
    title="XGrad-CAM",
    source="Fu et al. 2020, eq. 8",
    sentence="Weighs each channel by its gradient's mean over where the channel is active.",
    weights=weights,
    terms=terms,
    divides_by_activations=True,
)
