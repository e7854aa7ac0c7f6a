"""Many maps of one capture: methods x percentiles x fusions, for about the price of one more map.

What the maps share is done once: one sort of each stage's gradients gives the thresholds of all percentiles,
one T per percentile serves all methods, and one set of stage maps serves all fusions. T is applied to a few
channels at a time, which stay in the processor's cache meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import TypeVar

import torch
from torch import Tensor

from ltcam.cam.captures import Capture
from ltcam.cam.engine import CAM, check_denominators, weighted_sum
from ltcam.cam.fusion import Fusion, fuse
from ltcam.cam.methods import GradientMethod, Method, get_gradient_method, list_gradient_methods
from ltcam.cam.methods.method import Weights
from ltcam.cam.tensors import contiguous
from ltcam.cam.truncation import Scope, Truncation, TruncationReading, thresholds

_AT_ONCE = {"cpu": 2**18, "cuda": 2**24}  # values of a tensor T is applied to at once
_FUSED_AT_ONCE = 2**22  # values of the heatmaps that are made together: 16 MiB

_Value = TypeVar("_Value")
_Setting = tuple[GradientMethod, Truncation | None]


@dataclass(frozen=True)
class Answer:
    """One of the maps that a sweep was asked for.

    Attributes:
        cam: its settings, the captured layers among them; `cam.heatmaps(captured)` gives the same map.
        heatmaps: (N, H, W), raw, at the size of the images.
    """

    cam: CAM
    heatmaps: Tensor


def sweep(
    captured: Capture,
    methods: Sequence[str | Method] | None = None,
    percentiles: Sequence[float | Truncation | None] = (None, 50),
    fusions: Sequence[Fusion] = ("sum",),
    *,
    base: CAM | None = None,
) -> Iterator[Answer]:
    """The heatmaps of every combination, equal to those of `CAM` up to rounding.

    Combinations that are one map by definition are given once: where each position has a weight of its own
    (LayerCAM, HiResCAM) both readings of a truncation are the same; the first is given.

    Args:
        captured: a capture with gradients.
        methods: gradient methods by name, or own ones; None takes all.
        percentiles: 0 to 100, or a `Truncation` of another scope or reading; None among them asks for the
            untruncated map.
        fusions: how stage maps become a heatmap.
        base: a `CAM` whose other settings hold for all (`stage_scale`, `relu`, `positive_activations`).

    Returns:
        An iterator over `Answer`, by method, percentile and fusion in the order given. Stage maps are made in
        the call, heatmaps a few at a time, so that many need no memory together. Those made together share their
        memory: clone what is kept for long.

    Raises:
        ValueError: unknown names, methods without gradients, a capture without gradients.
    """
    if len(captured.gradients) != len(captured.layers):
        raise ValueError("the capture holds no gradients; make it with gradients=True")
    base = base or CAM()
    chosen = list_gradient_methods() if methods is None else _several("methods", methods)
    settings = _settings(
        [get_gradient_method(method) for method in chosen],
        [
            each if each is None or isinstance(each, Truncation) else Truncation(each)
            for each in _several("percentiles", percentiles)
        ],
    )
    cams = [
        replace(base, method=method, truncation=truncation, fusion=fusion, layers=captured.layers)
        for (method, truncation), fusion in product(settings, dict.fromkeys(_several("fusions", fusions)))
    ]
    if not base.positive_activations:
        for method in {method.name: method for method, _ in settings}.values():
            check_denominators(method, captured)
    stages = [
        _stage_maps(settings, activations, gradients, base)
        for activations, gradients in zip(captured.activations, captured.gradients, strict=True)
    ]
    return _answers(cams, stages, captured.input_size)


def _several(name: str, values: Iterable[_Value]) -> list[_Value]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"{name}={values!r} is no list; write {name}=[{values!r}]")
    found = list(values)
    if not found:
        raise ValueError(f"{name} is empty; name at least one")
    return found


def _settings(methods: Sequence[GradientMethod], truncations: Sequence[Truncation | None]) -> list[_Setting]:
    """Every combination that is a map of its own, in order."""
    found: dict[_Setting, _Setting] = {}
    for method, truncation in product(methods, truncations):
        same = replace(truncation, reading="gradient") if truncation and method.by_position else truncation
        found.setdefault((method, same), (method, truncation))
    return list(found.values())


def _answers(cams: Sequence[CAM], stages: Sequence[Tensor], size: tuple[int, int]) -> Iterator[Answer]:
    """Answers by setting and fusion, as `cams` are, of maps (S, N, h, w); a few settings are fused together."""
    settings, images = stages[0].shape[:2]
    step = max(1, _FUSED_AT_ONCE // (images * size[0] * size[1]))
    fusions = len(cams) // settings
    for first in range(0, settings, step):
        maps = [stage[first : first + step].flatten(0, 1) for stage in stages]
        of_fusions = [
            fuse(maps, size, fusion=cam.fusion, stage_scale=cam.stage_scale).reshape(-1, images, *size)
            for cam in cams[:fusions]
        ]
        heatmaps = chain.from_iterable(zip(*of_fusions, strict=True))
        yield from map(Answer, cams[first * fusions :], heatmaps)


@torch.no_grad()
def _stage_maps(settings: Sequence[_Setting], activations: Tensor, gradients: Tensor, base: CAM) -> Tensor:
    """Maps (S, N, h, w) of a stage, one for each of S settings."""
    activations, gradients = contiguous(activations), contiguous(gradients)  # gone through by channels, often
    if base.positive_activations:
        activations = activations.clamp_min(0)
    maps: dict[_Setting, Tensor] = {}
    for scope in ("channel", "stage"):
        together = [
            (method, truncation)
            for method, truncation in settings
            if truncation is not None and truncation.scope == scope and method.terms is not None
        ]
        if together:
            maps.update(_truncated_maps(together, activations, gradients, scope))
    for method, truncation in settings:
        if (method, truncation) not in maps:
            maps[method, truncation] = weighted_sum(method, activations, gradients, truncation)
    found = torch.stack([maps[setting] for setting in settings])
    return found.clamp_min_(0) if base.relu == "stage" else found


@dataclass(frozen=True)
class _Ways:
    """Methods with terms, by how T enters their maps.

    Attributes:
        positional: each position has its weight: sum_k T terms A_k, in either reading.
        masked: one weight a channel, reading `mask`: sum_k w_k T A_k.
        pooled: one weight a channel, reading `gradient`: sum_k (sum_ij T terms) A_k.
    """

    positional: tuple[tuple[GradientMethod, TruncationReading], ...]
    masked: tuple[tuple[GradientMethod, TruncationReading], ...]
    pooled: tuple[tuple[GradientMethod, TruncationReading], ...]


def _truncated_maps(
    settings: Sequence[tuple[GradientMethod, Truncation]],
    activations: Tensor,
    gradients: Tensor,
    scope: Scope,
) -> dict[_Setting, Tensor]:
    """Maps (N, h, w) before the ReLU of methods with terms, for settings that differ in all but their scope."""
    percentiles = list(dict.fromkeys(truncation.percentile for _, truncation in settings))
    asked = list(dict.fromkeys((method, truncation.reading) for method, truncation in settings))
    ways = _Ways(
        positional=tuple((method, reading) for method, reading in asked if method.by_position),
        masked=tuple((m, reading) for m, reading in asked if not m.by_position and reading == "mask"),
        pooled=tuple((m, reading) for m, reading in asked if not m.by_position and reading == "gradient"),
    )
    smallest_kept = thresholds(gradients, percentiles, scope)
    images = zip(activations, gradients, smallest_kept, strict=True)
    maps = torch.stack([_image_maps(ways, _Channels(*image)) for image in images], 2)
    order = product((*ways.positional, *ways.masked, *ways.pooled), percentiles)
    found = {
        (method, reading, percentile): stage_map
        for ((method, reading), percentile), stage_map in zip(order, maps.flatten(0, 1), strict=True)
    }
    return {
        (method, truncation): found[method, truncation.reading, truncation.percentile]
        for method, truncation in settings
    }


@dataclass(frozen=True, eq=False)
class _Channels:
    """Channels of a stage, of one image.

    Attributes:
        activations: (C, h, w).
        gradients: (C, h, w).
        smallest_kept: thresholds (C, P).
    """

    activations: Tensor
    gradients: Tensor
    smallest_kept: Tensor

    def part(self, which: slice) -> _Channels:
        """Some of them."""
        return _Channels(self.activations[which], self.gradients[which], self.smallest_kept[which])


def _image_maps(ways: _Ways, image: _Channels) -> Tensor:
    """Maps (M, P, h, w) of one image, M methods in the order of `_Ways`."""
    activations = image.activations
    channels, height, width = activations.shape
    count = image.smallest_kept.shape[1]
    maps = activations.new_zeros(len(ways.positional) + len(ways.masked), count, height * width)
    sums = activations.new_zeros(len(ways.pooled), count, channels)
    step = max(1, _AT_ONCE.get(activations.device.type, 2**24) // (height * width))
    for first in range(0, channels, step):
        part = slice(first, first + step)
        _add_channels(ways, image.part(part), maps, sums[:, :, part])
    pooled = _product(sums, activations.flatten(1))
    return torch.cat([maps, pooled]).reshape(-1, count, height, width)


def _add_channels(ways: _Ways, some: _Channels, maps: Tensor, sums: Tensor) -> None:
    """Add what some channels give to the maps (M, P, hw), and set their sums of terms (M, P, C)."""

    def of(function: Weights) -> Tensor:
        return function(some.activations[None], some.gradients[None])[0].flatten(1)

    A, g = some.activations.flatten(1), some.gradients.flatten(1)
    products = [of(method.weights) * A for method, _ in ways.positional]
    weights = [of(method.weights)[:, 0] for method, _ in ways.masked]
    terms = [of(method.terms) for method, _ in ways.pooled if method.terms is not None]
    T, room = torch.empty_like(g), torch.empty_like(g)
    for index, smallest in enumerate(some.smallest_kept.unbind(1)):
        torch.ge(g, smallest[:, None], out=T)
        for row, values in enumerate(products):
            maps[row, index] += torch.mul(T, values, out=room).sum(0)
        if weights:
            maps[len(products) :, index] += _product(torch.stack(weights), torch.mul(T, A, out=room))
        for row, values in enumerate(terms):
            torch.sum(torch.mul(T, values, out=room), 1, out=sums[row, index])


def _product(one: Tensor, other: Tensor) -> Tensor:
    """Of matrices, in float32 whatever the network is run in."""
    with torch.autocast(one.device.type, enabled=False):
        return one @ other
