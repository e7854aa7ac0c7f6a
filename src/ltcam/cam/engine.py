"""A class activation map as a value: which method, truncation, layers and fusion; called like a function."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ltcam.cam.captures import Capture, Layers, Reshape, capture
from ltcam.cam.explanation import Explanation
from ltcam.cam.fusion import Fusion, StageScale, check_fusion, fuse
from ltcam.cam.methods import (
    GradientMethod,
    Method,
    NetworkMethod,
    Probe,
    ProbingMethod,
    get_gradient_method,
    get_method,
)
from ltcam.cam.network.eval_mode import evaluating
from ltcam.cam.network.stages import Taps
from ltcam.cam.targets import Target, resolved
from ltcam.cam.truncation import Truncation, selection

Relu = Literal["stage", "none"]


@dataclass(frozen=True)
class CAM:
    """A class activation map over one or several layers.

    Holds settings and never tensors: call it with any model and images, from any thread.

    Attributes:
        method: name of a method or an own one.
        truncation: None for the plain method, a `Truncation` for its LT form (gradient methods only).
        layers: names of layers, or one name; None takes the model's stages, found by itself.
        taps: where found stages are tapped, `after` or `before` their pooling.
        fusion: how stage maps become one heatmap; see `ltcam.cam.fusion.fuse`.
        stage_scale: scaling of the stage maps before fusing; the paper has none.
        relu: `stage` cuts each stage map at 0 (eq. 3), `none` leaves it signed (eq. 11 as printed).
        positive_activations: use only the positive part of activations. For layers whose outputs are
            signed (linear bottlenecks), where a positive gradient times a negative activation would
            count against the class.
        reshape: for layers that return no maps.
        chunk: images, at most, that a probing method gives the network at once; results do not depend on it.

    Raises:
        ValueError: unknown names.
    """

    method: str | Method = "grad-cam"
    truncation: Truncation | None = None
    layers: tuple[str, ...] | None = None
    taps: Taps = "after"
    fusion: Fusion = "sum"
    stage_scale: StageScale = "none"
    relu: Relu = "stage"
    positive_activations: bool = False
    reshape: Reshape | None = None
    chunk: int = 8

    def __post_init__(self) -> None:
        method = get_method(self.method)
        check_fusion(self.fusion, self.stage_scale)
        if self.truncation is not None and not isinstance(self.truncation, Truncation):
            raise ValueError(
                f"truncation={self.truncation!r} is no Truncation; write Truncation(percentile) or None"
            )
        if self.truncation is not None and isinstance(method, ProbingMethod):
            raise ValueError(f"{method.title} has no gradients to truncate; leave the percentile out")
        if isinstance(method, NetworkMethod):
            self._refuse_settings_of_layers(method)
        if not isinstance(self.chunk, int) or self.chunk < 1:
            raise ValueError(f"chunk={self.chunk!r} must be a whole number, at least 1")
        if not isinstance(self.positive_activations, bool):
            raise ValueError(f"positive_activations={self.positive_activations!r} must be True or False")
        if self.taps not in get_args(Taps):
            raise ValueError(f"`taps` {self.taps!r} is unknown; choose from {', '.join(get_args(Taps))}")
        if self.layers is not None:
            names = (self.layers,) if isinstance(self.layers, str) else tuple(self.layers)
            object.__setattr__(self, "layers", names)
        if self.relu not in get_args(Relu):
            raise ValueError(f"`relu` {self.relu!r} is unknown; choose from {', '.join(get_args(Relu))}")

    def __call__(self, model: nn.Module, images: Tensor, target: Target = None) -> Tensor:
        """Heatmaps (N, H, W), raw, float32 (float64 of float64), at the size of the images (N, 3, H, W)."""
        return self.explain(model, images, target).heatmaps

    def explain(self, model: nn.Module, images: Tensor, target: Target = None) -> Explanation:
        """Heatmaps together with the output and scores of the same pass."""
        method = get_method(self.method)
        if isinstance(method, NetworkMethod):
            return method.explain(model, images, target, self.truncation, self.fusion)
        captured = self.capture(model, images, target)
        if isinstance(method, ProbingMethod):
            probe = Probe(
                model,
                images,
                resolved(captured.output, target, len(images)),
                captured,
                self.chunk,
                self.reshape,
            )
            with evaluating(model), torch.inference_mode(False), torch.no_grad():
                maps = tuple(self._probed_map(method, probe, index) for index in range(len(captured.layers)))
        else:
            maps = self.stage_maps(captured)
        return Explanation(self._fused(maps, captured), captured.output, captured.scores)

    def capture(self, model: nn.Module, images: Tensor, target: Target = None) -> Capture:
        """What this map needs of the model: one forward pass and, for gradient methods, one backward pass.

        Raises:
            ValueError: as `ltcam.cam.captures`; and for a method of the whole network (FullGrad).
        """
        method = get_method(self.method)
        if isinstance(method, NetworkMethod):
            raise ValueError(
                f"{method.title} takes all layers, not a capture of some; call the CAM with model and images"
            )
        return capture(
            model,
            images,
            target,
            layers=Layers(self.layers, self.taps, self.reshape),
            gradients=isinstance(method, GradientMethod),
        )

    def heatmaps(self, captured: Capture) -> Tensor:
        """Heatmaps (N, H, W) of a capture, by a gradient method."""
        return self._fused(self.stage_maps(captured), captured)

    def stage_maps(self, captured: Capture) -> tuple[Tensor, ...]:
        """One map (N, h, w) per layer of a capture, at the layer's own size, by a gradient method.

        Raises:
            ValueError: for a method that needs the network itself; call the CAM on it instead.
        """
        method = get_method(self.method)
        if not isinstance(method, GradientMethod):
            raise ValueError(
                f"{method.title} needs the network, not a capture alone; call the CAM with model and images"
            )
        if len(captured.gradients) != len(captured.activations):
            raise ValueError(
                f"{method.title} needs gradients, and this capture has none; take it with gradients=True"
            )
        if not self.positive_activations:
            check_denominators(method, captured)
        pairs = zip(captured.activations, captured.gradients, strict=True)
        return tuple(self.stage_map(activations, gradients) for activations, gradients in pairs)

    def _fused(self, maps: tuple[Tensor, ...], captured: Capture) -> Tensor:
        return fuse(maps, captured.input_size, fusion=self.fusion, stage_scale=self.stage_scale)

    def _refuse_settings_of_layers(self, method: NetworkMethod) -> None:
        chosen = {field.name for field in fields(self) if getattr(self, field.name) != field.default}
        meaningless = chosen & {"layers", "taps", "stage_scale", "relu", "positive_activations", "reshape"}
        if meaningless:
            raise ValueError(
                f"{method.title} takes all layers of the network; leave out {', '.join(sorted(meaningless))}"
            )

    @torch.no_grad()
    def stage_map(self, activations: Tensor, gradients: Tensor, kept: Tensor | None = None) -> Tensor:
        """The map (N, h, w) of one layer, by a gradient method.

        Args:
            activations: (N, C, h, w).
            gradients: (N, C, h, w).
            kept: as for `weighted_sum`.
        """
        if self.positive_activations:
            activations = activations.clamp_min(0)
        method = get_gradient_method(self.method)
        return self._cut(weighted_sum(method, activations, gradients, self.truncation, kept))

    def _probed_map(self, method: ProbingMethod, probe: Probe, layer: int) -> Tensor:
        activations = probe.captured.activations[layer]
        if self.positive_activations:
            activations = activations.clamp_min(0)
        return self._cut(_sum_over_channels(method.weights(probe, layer), activations))

    def _cut(self, stage_map: Tensor) -> Tensor:
        return stage_map.clamp_min(0) if self.relu == "stage" else stage_map


def check_denominators(method: GradientMethod, captured: Capture) -> None:
    """Warn the caller's caller of layers whose negative activations a method divides by.

    Raises:
        ValueError: such a layer ran in half precision: of a sum that nearly cancels, its rounding is all that is left.
    """
    if not method.divides_by_activations:
        return
    pairs = zip(captured.layers, captured.activations, strict=True)
    signed = [name for name, tensor in pairs if tensor.amin() < 0]
    if rounded := [name for name in signed if name in captured.half]:
        raise ValueError(
            f"{method.title} divides by sums of activations; {', '.join(rounded)} return negative ones, whose sums say "
            "nothing in half precision: use float32, choose layers behind a ReLU, or `positive_activations=True`"
        )
    if signed:
        warnings.warn(
            f"{method.title} divides by sums of activations; {', '.join(signed)} return negative ones: "
            "its weights can blow up; choose layers behind a ReLU, or `positive_activations=True`",
            stacklevel=3,
        )


def weighted_sum(
    method: GradientMethod,
    activations: Tensor,
    gradients: Tensor,
    truncation: Truncation | None,
    kept: Tensor | None = None,
) -> Tensor:
    """sum_k w_k A_k of one layer, before any ReLU, with the truncation in either reading.

    Args:
        method: gives w from activations and gradients.
        activations: A (N, C, h, w).
        gradients: g (N, C, h, w).
        truncation: None, or T of eq. 9 / eq. 11.
        kept: T of these gradients as numbers (N, C, h, w), where it is known already; it is written over.

    Returns:
        (N, h, w).
    """
    if truncation is None:
        return _sum_over_channels(method.weights(activations, gradients), activations)
    if kept is None:
        kept = selection(gradients, truncation)
    if truncation.reading == "gradient":  # eq. 9: T g stands wherever g stood
        weights = method.weights(activations, kept.mul_(gradients))
    else:  # eq. 11: w from the whole g, T at each position
        weights = method.weights(activations, gradients) * kept
    return _sum_over_channels(weights, activations)


def _sum_over_channels(weights: Tensor, activations: Tensor) -> Tensor:
    n, channels, height, width = activations.shape
    if tuple(weights.shape) not in ((n, channels, 1, 1), (n, channels, height, width)):
        raise ValueError(
            f"the method's weights are {tuple(weights.shape)}; activations {tuple(activations.shape)} need "
            "(N, C, 1, 1) or (N, C, H, W)"
        )
    if weights.shape[2:] == (1, 1):
        with torch.autocast(
            activations.device.type, enabled=False
        ):  # maps are float32 whatever the network is
            return torch.einsum("nc,nchw->nhw", weights[:, :, 0, 0].to(activations), activations)
    return (weights * activations).sum(1)  # several times faster on CPUs than the same sum as an einsum
