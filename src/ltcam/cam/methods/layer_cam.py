"""LayerCAM (Jiang et al. 2021)."""

from torch import Tensor

from ltcam.cam.methods.method import GradientMethod


def weights(activations: Tensor, gradients: Tensor) -> Tensor:  # noqa: ARG001
    """w_kij = relu(g_kij)  (LT paper, eq. 4). Returns (N, C, H, W)."""
    return gradients.clamp_min(0)


LAYER_CAM = GradientMethod(
    name="layer-cam",
    title="LayerCAM",
    source="Jiang et al. 2021, eq. 4-6",
    sentence="Weighs each position by its own gradient where that is positive.",
    weights=weights,
    terms=weights,
)
