"""FullGrad (Srinivas and Fleuret 2019) and LTFullGrad: every layer with a bias has a map, all are summed.

S = Psi(g^x x) + sum over layers and channels of Psi(b g), with Psi = resize of min-max of the absolute value
(LT paper, eq. 6 and 7). Per channel the value of a bias other than 0 drops out: min-max of |b g| is that of
|g|. Resizing is linear, so the channels of a layer are added first and resized once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ltcam.cam.explanation import Explanation
from ltcam.cam.fusion import Fusion, check_fusion, fuse
from ltcam.cam.methods.bias_gradients import BiasCapture, BiasLayer, visit_biases, warn_if_incomplete
from ltcam.cam.methods.method import NetworkMethod
from ltcam.cam.targets import Target
from ltcam.cam.tensors import contiguous
from ltcam.cam.truncation import Truncation, selection, thresholds

InputTerm = Literal["scaled", "raw", "none"]

_VALUES_AT_ONCE = 2**20  # measured: small enough for caches, large enough for threads


@dataclass(frozen=True)
class FullGrad:
    """FullGrad, with a truncation LTFullGrad, over all convolutions and normalisations of a CNN.

    Holds settings and never tensors. Maps have the layers of convolutional maps that have a bias (a batch
    normalisation always has an effective one). Linear layers have none: they know no places. The implicit
    biases of activations have none either: the papers sum over layers; they count for completeness only.

    Attributes:
        truncation: T(g) g takes the place of g at every layer, before the product with b. Its scope
            `stage` is a layer here; both readings give the same.
        input_term: `scaled`: the image's channels, g^x x, go through Psi like all others; `raw`: their sum
            as eq. 6 prints it, on whatever scale it has; `none`: without it.
        fusion: how the layers' maps become one; see `ltcam.cam.fusion.fuse`. The papers sum.
        truncate_input: whether T acts on g^x too. The image is no feature map, so it does not by itself.

    Raises:
        ValueError: unknown names.
    """

    truncation: Truncation | None = None
    input_term: InputTerm = "scaled"
    fusion: Fusion = "sum"
    truncate_input: bool = False

    def __post_init__(self) -> None:
        if self.truncation is not None and not isinstance(self.truncation, Truncation):
            raise ValueError(
                f"truncation={self.truncation!r} is no Truncation; write Truncation(percentile) or None"
            )
        if self.input_term not in get_args(InputTerm):
            choices = ", ".join(get_args(InputTerm))
            raise ValueError(f"`input_term` {self.input_term!r} is unknown; choose from {choices}")
        check_fusion(self.fusion, "none")

    def __call__(self, model: nn.Module, images: Tensor, target: Target = None) -> Tensor:
        """Heatmaps (N, H, W), raw, float32 (float64 of float64), at the size of the images (N, C, H, W)."""
        return self.explain(model, images, target).heatmaps

    def explain(self, model: nn.Module, images: Tensor, target: Target = None) -> Explanation:
        """Heatmaps together with the output and scores of the same pass.

        One forward and one backward pass; of each layer only its map is kept. The model is left as it was.

        Raises:
            TypeError: images of an integer or boolean type.
            ValueError: a model without biases; shapes, targets or values that cannot be used.

        Warns:
            UserWarning: the model is not complete, that is, its biases do not explain the score.
        """
        maps, found = visit_biases(model, images, target, self._layer_map)
        warn_if_incomplete(found, stacklevel=2)
        present = [layer_map for layer_map in maps if layer_map is not None]
        return Explanation(self._fused(present, found), found.output, found.scores)

    def heatmaps(self, captured: BiasCapture) -> Tensor:
        """Heatmaps (N, H, W) of a capture."""
        return self._fused(self.layer_maps(captured), captured)

    def layer_maps(self, captured: BiasCapture) -> tuple[Tensor, ...]:
        """One map (N, h, w) per layer that has one, at the layer's own size, in the order of execution.

        Each is the sum of its channels scaled to 0..1, so from 0 to C. The input term is not among them.
        """
        maps = (self._layer_map(layer) for layer in captured.layers)
        return tuple(layer_map for layer_map in maps if layer_map is not None)

    def input_map(self, captured: BiasCapture) -> Tensor | None:
        """The input term (N, H, W); None if `input_term` is `none`."""
        if self.input_term == "none":
            return None
        gradient = captured.input_gradient
        if self.truncation is not None and self.truncate_input:
            gradient = _truncated(gradient, self.truncation)
        product = gradient * captured.images
        return product.sum(1) if self.input_term == "raw" else sum_of_scaled_channels(product)

    def _layer_map(self, layer: BiasLayer) -> Tensor | None:
        if not layer.is_map:
            return None
        gradient = contiguous(layer.gradient)
        if self.truncation is not None:
            gradient = _truncated(gradient, self.truncation)
        return sum_of_scaled_channels(gradient, layer.bias)

    def _fused(self, layer_maps: Sequence[Tensor], found: BiasCapture) -> Tensor:
        input_map = self.input_map(found)
        maps = [*layer_maps] if input_map is None else [input_map, *layer_maps]
        if not maps:
            raise ValueError(
                "no layer of convolutional maps has a bias, and input_term='none' leaves nothing to show"
            )
        return fuse(
            _summed_by_size(maps) if self.fusion == "sum" else maps, found.input_size, fusion=self.fusion
        )


@torch.no_grad()
def sum_of_scaled_channels(values: Tensor, bias: Tensor | None = None) -> Tensor:
    """Sum over channels of min-max of |b v|, each channel of each image by itself.

    Args:
        values: v (N, C, h, w).
        bias: b (C,), of which only matters where it is 0: nothing is added there. None: nowhere.

    Returns:
        (N, h, w). A constant channel adds 0.
    """
    n, channels, height, width = values.shape
    values = contiguous(values)
    total = values.new_zeros(n, height * width)
    step = max(1, min(channels, _VALUES_AT_ONCE // max(1, n * height * width)))
    # Memory that is written for the first time is dear, so all parts share one buffer.
    buffer = values.new_empty(n, step, height * width)
    for start in range(0, channels, step):
        part = values[:, start : start + step].flatten(2)
        scaled = torch.abs(part, out=buffer[:, : part.shape[1]])
        low, high = scaled.amin(2, keepdim=True), scaled.amax(2, keepdim=True)
        counts = high > low
        if bias is not None:
            counts = counts & (bias[start : start + step, None] != 0)
        total += scaled.sub_(low).div_(torch.where(counts, high - low, torch.inf)).sum(1)
    return total.reshape(n, height, width)


def full_grad_sweep(
    model: nn.Module,
    images: Tensor,
    target: Target = None,
    percentiles: Sequence[float | None] = (None, 50),
    *,
    base: FullGrad | None = None,
) -> Iterator[tuple[float | None, Tensor]]:
    """FullGrad's heatmaps at many percentiles, from one forward and one backward pass.

    Each layer's gradients are sorted once for all percentiles, and only its maps are kept. The passes are made
    in the call; a heatmap is put together when its turn comes.

    Args:
        model: a CNN; left as it was.
        images: (N, C, H, W), floating point, normalised as the model wants it.
        target: what is explained.
        percentiles: 0 to 100; None among them asks for the untruncated map.
        base: other settings; of its truncation only the scope counts.

    Returns:
        (percentile, heatmaps (N, H, W)), in the order given, as `FullGrad` makes them one by one.

    Raises:
        TypeError: images of an integer or boolean type.
        ValueError: as `FullGrad`; a percentile that is none.

    Warns:
        UserWarning: the model is not complete.
    """
    base = base or FullGrad()
    scope = "channel" if base.truncation is None else base.truncation.scope
    each = [
        replace(base, truncation=None if percentile is None else Truncation(percentile, scope))
        for percentile in percentiles
    ]

    def take(layer: BiasLayer) -> list[Tensor] | None:
        if not layer.is_map:
            return None
        truncations = [settings.truncation for settings in each]
        return [
            sum_of_scaled_channels(g, layer.bias) for g in _truncated_by_each(layer.gradient, truncations)
        ]

    maps, found = visit_biases(model, images, target, take)
    warn_if_incomplete(found, stacklevel=2)
    present = [layer_maps for layer_maps in maps if layer_maps is not None]
    return (
        (percentile, settings._fused([layer_maps[place] for layer_maps in present], found))
        for place, (percentile, settings) in enumerate(zip(percentiles, each, strict=True))
    )


def _truncated_by_each(gradient: Tensor, truncations: Sequence[Truncation | None]) -> Iterator[Tensor]:
    """The gradient under each truncation, all of one scope; held one at a time."""
    given = [truncation for truncation in truncations if truncation is not None]
    if not given:
        yield from (gradient for _ in truncations)
        return
    gradient = contiguous(gradient)  # once for all
    smallest = thresholds(gradient, [truncation.percentile for truncation in given], given[0].scope)
    places = iter(range(len(given)))
    for truncation in truncations:
        if truncation is None:
            yield gradient
        else:
            kept = torch.ge(
                gradient, smallest[:, :, next(places), None, None], out=torch.empty_like(gradient)
            )
            yield kept.mul_(gradient)


def _truncated(gradient: Tensor, truncation: Truncation) -> Tensor:
    return selection(gradient, truncation).mul_(gradient)


def _summed_by_size(maps: Sequence[Tensor]) -> list[Tensor]:
    """Maps of one size added up: resizing is linear, so once per size is enough."""
    sums: dict[tuple[int, ...], Tensor] = {}
    for layer_map in maps:
        size = tuple(layer_map.shape)
        sums[size] = sums[size] + layer_map if size in sums else layer_map
    return list(sums.values())


def _explain(
    model: nn.Module, images: Tensor, target: Target, truncation: Truncation | None, fusion: Fusion
) -> Explanation:
    return FullGrad(truncation, fusion=fusion).explain(model, images, target)


FULL_GRAD = NetworkMethod(
    name="fullgrad",
    title="FullGrad",
    source="Srinivas and Fleuret 2019, eq. 4; LT paper, eq. 6-7",
    sentence="Adds up the gradients at all layers with a bias, each channel on its own scale.",
    explain=_explain,
)
