"""Grad-CAM (Selvaraju et al. 2017)."""

from torch import Tensor

from ltcam.cam.methods.method import GradientMethod


def weights(activations: Tensor, gradients: Tensor) -> Tensor:  # noqa: ARG001
    """w_k = (1/Z) sum_ij g_kij  (LT paper, eq. 2). Returns (N, C, 1, 1)."""
    return gradients.mean((2, 3), keepdim=True)


def terms(activations: Tensor, gradients: Tensor) -> Tensor:  # noqa: ARG001
    """g_kij / Z. Returns (N, C, H, W)."""
    return gradients / (gradients.shape[2] * gradients.shape[3])


GRAD_CAM = GradientMethod(
    name="grad-cam",
    title="Grad-CAM",
    source="Selvaraju et al. 2017, eq. 1-2",
    sentence="Weighs each channel by its mean gradient.",
    weights=weights,
    terms=terms,
)
