"""Score-CAM (Wang et al. 2020)."""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from ltcam.cam.methods.method import Probe, ProbingMethod
from ltcam.cam.network.folding import FoldedPasses
from ltcam.cam.network.memory_formats import fastest_format
from ltcam.cam.network.scores import ask, at_once, target_of

_ROUNDINGS = 16  # of the largest value: resizing a constant map leaves differences of up to 2.3


def weights(probe: Probe, layer: int) -> Tensor:
    """The softmax over k of q_k: score of the image times H_k, map k at the image's size, scaled to 0..1.

    A constant map shows no place: it has weight 0, is left out of the softmax and not asked for. The paper
    subtracts from q_k the score of a baseline image, common to all k; that cancels in the softmax.

    Args:
        probe: the network, and what it said of the images.
        layer: index of the layer in `probe.captured.layers`.

    Returns:
        (N, C, 1, 1); an image's weights sum to 1, or to 0 where all its maps are constant.

    Raises:
        ValueError: if the score of a masked image is NaN or infinite.
    """
    activations = probe.captured.activations[layer]
    q = torch.full_like(activations[:, :, 0, 0], -torch.inf)
    varying = (~_constant(*_range(activations))).flatten(1).nonzero()
    memory_format = fastest_format(probe.model, probe.images, gradients=False)
    count = at_once(probe.images.shape[2:], probe.images.device, probe.chunk)
    folded = FoldedPasses(probe.model, probe.images[:1].contiguous(memory_format=memory_format))
    for start in range(0, len(varying), count):
        images, channels = varying[start : start + count].unbind(1)
        masks, constant = _masks(activations[images, channels], probe.captured.input_size)
        scores = folded(partial(_scores, probe, images, masks, memory_format))
        if not bool(scores.isfinite().all()):
            raise ValueError(
                f"layer {probe.captured.layers[layer]!r}: masked by one of the channels {channels.tolist()} an "
                "image has a NaN or infinite score"
            )
        q[images, channels] = torch.where(constant, -torch.inf, scores).to(q.dtype)
    return torch.where(q.isneginf(), 0, q.softmax(1))[:, :, None, None]


def _scores(probe: Probe, images: Tensor, masks: Tensor, memory_format: torch.memory_format) -> Tensor:
    """Target scores (M,) of the images with these indices (M,), seen through masks (M, 1, H, W)."""
    masked = (probe.images[images] * masks).to(probe.images.dtype)
    return ask(probe.model, masked, target_of(probe.target, images.tolist()), memory_format)


def _masks(maps: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """H (M, 1, H, W), 0..1, of maps (M, h, w), and which of them (M,) are constant once resized."""
    resized = functional.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)
    low, high = _range(resized)
    constant = _constant(low, high)
    masks = resized.sub_(low).div_(torch.where(constant, 1, high - low))
    return masks, constant.flatten()


def _range(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest value (N, C, 1, 1) of each map."""
    return maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)


def _constant(low: Tensor, high: Tensor) -> Tensor:
    return high - low <= _ROUNDINGS * torch.finfo(low.dtype).eps * torch.maximum(high.abs(), low.abs())


SCORE_CAM = ProbingMethod(
    name="score-cam",
    title="Score-CAM",
    source="Wang et al. 2020, eq. 5 to 8",
    sentence="Weighs each channel by the score of the image seen through it alone.",
    weights=weights,
)
