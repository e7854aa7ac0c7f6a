"""What a method is: its weights, and what it needs to find them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from ltcam.cam.captures import Capture, Reshape
from ltcam.cam.explanation import Explanation
from ltcam.cam.fusion import Fusion
from ltcam.cam.targets import Target
from ltcam.cam.truncation import Truncation

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
        terms: what each position adds to its channel's w, (N, C, H, W); `weights` itself where every position
            has a weight of its own. Optional: only `sweep` asks for it, to be faster. It must be 0 where g is
            0, take g of no other position and A of no other channel, so that truncating g only drops terms.
    """

    name: str
    title: str
    source: str
    sentence: str
    weights: Weights
    divides_by_activations: bool = False
    terms: Weights | None = None

    @property
    def by_position(self) -> bool:
        """Whether the terms are the weights. Both readings of a truncation are then one map."""
        return self.terms is self.weights


@dataclass(frozen=True)
class Probe:
    """What a probing method may ask: the network itself, and what a first forward pass left behind.

    Attributes:
        model: the network; in evaluation mode while the method runs.
        images: (N, 3, H, W), as captured.
        target: what is explained; indices are fixed (None was resolved by the first pass), so that changed
            activations cannot change the class asked for.
        captured: activations, output and scores of the images; gradients are empty.
        chunk: how many images the network may be given at once.
        reshape: what the captured activations were made of the layers' outputs with.
    """

    model: nn.Module
    images: Tensor
    target: Target
    captured: Capture
    chunk: int
    reshape: Reshape | None = None


ProbingWeights = Callable[[Probe, int], Tensor]
"""(probe, index of the layer in probe.captured.layers) -> weights (N,C,1,1)."""


@dataclass(frozen=True)
class ProbingMethod:
    """A class activation map whose channel weights come from asking the network again.

    It has no gradients to truncate, so no LT form, only the layerized one.

    Attributes:
        name: how users spell it.
        title: how papers spell it.
        source: paper and equation.
        sentence: what it does, in one sentence.
        weights: the weights w of one layer; the map is relu(sum_k w_k A_k).
    """

    name: str
    title: str
    source: str
    sentence: str
    weights: ProbingWeights


NetworkExplain = Callable[[nn.Module, Tensor, Target, Truncation | None, Fusion], Explanation]
"""(model, images, target, truncation, fusion) -> explanation: heatmaps at the size of the images."""


@dataclass(frozen=True)
class NetworkMethod:
    """A map made of the whole network's layers instead of a few stages: FullGrad.

    Attributes:
        name: how users spell it.
        title: how papers spell it.
        source: paper and equation.
        sentence: what it does, in one sentence.
        explain: makes the heatmaps; choosing layers, capturing and fusing are its own business.
    """

    name: str
    title: str
    source: str
    sentence: str
    explain: NetworkExplain


Method = GradientMethod | ProbingMethod | NetworkMethod
