"""Ablation-CAM (Desai and Ramaswamy 2020)."""

import torch
from torch import Tensor

from ltcam.cam.methods.method import Probe, ProbingMethod
from ltcam.cam.network.partial_forward import Cut, tail_behind
from ltcam.cam.network.scores import target_of
from ltcam.cam.tensors import float_tensors_in


def weights(probe: Probe, layer: int) -> Tensor:
    """w_k = (y - y_k) / |y|, with y_k the score when channel k of the layer is set to zero.

    The paper divides by y; by |y| the weights keep their sign where y < 0: a channel that the score falls
    without counts for it. Channels that are zero anyway have weight 0 and are not asked for.

    Args:
        probe: the network, and what it said of the images.
        layer: index of the layer in `probe.captured.layers`.

    Returns:
        (N, C, 1, 1).

    Raises:
        ValueError: if a score is 0, which no drop can be measured against, or if the layer's output cannot
            be replaced (see `tail_behind`).
    """
    scores = probe.captured.scores
    if not bool(scores.all()):
        none = (scores == 0).nonzero().flatten().tolist()
        raise ValueError(
            f"the target score of images {none} is 0, and Ablation-CAM divides by it; explain another target, "
            "or use a method that does not"
        )
    drops = [_drops(probe, layer, image) for image in range(len(scores))]
    return (torch.stack(drops) / scores.abs()[:, None])[:, :, None, None]


def _drops(probe: Probe, layer: int, image: int) -> Tensor:
    """Y - y_k (C,) of one image, both in float32 whatever the network's own precision is."""
    activations, score = probe.captured.activations[layer][image], probe.captured.scores[image]
    half = any(tensor.dtype.itemsize < 4 for tensor in float_tensors_in(probe.captured.output))
    alive = activations.flatten(1).any(1).nonzero().flatten()
    cut = Cut(probe.captured.layers[layer], activations[None], float(score), half)
    target = target_of(probe.target, [image])
    tail = tail_behind(probe.model, probe.images[image : image + 1], target, cut, probe.chunk)
    if half:
        score = tail.scores(activations[None])[0]
    found = score.repeat(len(activations))
    for start in range(0, len(alive), tail.chunk):
        channels = alive[start : start + tail.chunk]
        changed = activations.repeat(len(channels), 1, 1, 1)
        changed[torch.arange(len(channels), device=channels.device), channels] = 0
        found[channels] = tail.scores(changed)
    if not bool(found.isfinite().all()):
        bad = (~found.isfinite()).nonzero().flatten().tolist()
        raise ValueError(
            f"layer {probe.captured.layers[layer]!r}: without channels {bad} the score of image {image} is NaN "
            "or infinite"
        )
    return score - found


ABLATION_CAM = ProbingMethod(
    name="ablation-cam",
    title="Ablation-CAM",
    source="Desai and Ramaswamy 2020, eq. 4",
    sentence="Weighs each channel by the share of the score that is lost without it.",
    weights=weights,
)
