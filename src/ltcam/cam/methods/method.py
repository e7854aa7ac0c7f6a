"""What a gradient method is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Weights = Callable[[Tensor, Tensor], Tensor]
"""(activations (N,C,H,W), gradients (N,C,H,W)) -> weights (N,C,1,1) or (N,C,H,W)."""


@dataclass(frozen=True)
class GradientMethod:
    """A class activation map defined by its channel weights.

    Attributes:
        name: how users spell it.
        title: how papers spell it.
        source: paper and equation.
        sentence: what it does, in one sentence.
        weights: the weights w; the map is relu(sum_k w_k A_k).
        divides_by_activations: whether w has a sum of activations in a denominator, so that signed
            activations can make it vanish; `CAM` then warns.
    """

    name: str
    title: str
    source: str
    sentence: str
    weights: Weights
    divides_by_activations: bool = False
