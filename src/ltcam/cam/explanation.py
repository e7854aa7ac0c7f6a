"""What a class activation map says of a batch, whatever kind of method made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Explanation:
    """Heatmaps, and what the network said of the same images in the same pass.

    Attributes:
        heatmaps: (N, H, W), raw, at the size of the images.
        output: what the model returned, detached; logits (N, K) for classifiers.
        scores: target score of each image (N,), before any softmax.
    """

    heatmaps: Tensor
    output: Any
    scores: Tensor
