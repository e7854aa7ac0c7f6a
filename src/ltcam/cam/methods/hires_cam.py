"""HiResCAM (Draelos and Carin 2020)."""

from torch import Tensor

from ltcam.cam.methods.method import GradientMethod


def weights(activations: Tensor, gradients: Tensor) -> Tensor:  # noqa: ARG001
    """w_kij = g_kij: before its ReLU the map sums to the score, up to later biases. Returns (N, C, H, W)."""
    return gradients


HIRES_CAM = GradientMethod(
    name="hires-cam",
    title="HiResCAM",
    source="Draelos and Carin 2020, eq. 5",
    sentence="Weighs each position by its own gradient, signs included.",
    weights=weights,
    terms=weights,
)
