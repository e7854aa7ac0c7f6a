"""Layerization (L): stage maps of one network brought to one size and put together (paper, eq. 8)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

Fusion = Literal["sum", "mean", "max", "product"]
StageScale = Literal["none", "max", "minmax", "tanh"]


def check_fusion(fusion: str, stage_scale: str) -> None:
    """Refuse unknown names.

    Raises:
        ValueError: with the choices.
    """
    if fusion not in get_args(Fusion):
        raise ValueError(f"fusion={fusion!r} is unknown; choose from {', '.join(get_args(Fusion))}")
    if stage_scale not in get_args(StageScale):
        raise ValueError(
            f"stage_scale={stage_scale!r} is unknown; choose from {', '.join(get_args(StageScale))}"
        )


def scale_map(stage_map: Tensor, stage_scale: StageScale) -> Tensor:
    """One stage's maps (N, h, w) on a scale that stages can share, per image.

    `none`: as they are (paper). `max`: divided by their maximum; an all-zero map stays zero.
    `minmax`: floor removed as well. `tanh`: tanh(2 M / max M), LayerCAM's own for shallow stages.
    """
    if stage_scale == "none":
        return stage_map
    largest = stage_map.amax((1, 2), keepdim=True)
    if stage_scale == "minmax":
        smallest = stage_map.amin((1, 2), keepdim=True)
        return _divide(stage_map - smallest, largest - smallest)
    scaled = _divide(stage_map, largest)
    return torch.tanh(2 * scaled) if stage_scale == "tanh" else scaled


def resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Psi of eq. 8: bilinear, pixel centres, no antialiasing. (N, h, w) -> (N, H, W).

    Raises:
        ValueError: a target side below 1.
    """
    if min(size) < 1:
        raise ValueError(f"cannot resize maps to {size}; both sides must be at least 1")
    if tuple(maps.shape[1:]) == tuple(size):
        return maps
    resized: Tensor = functional.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)
    return resized[:, 0]


def fuse(
    stage_maps: Sequence[Tensor],
    size: tuple[int, int],
    *,
    fusion: Fusion = "sum",
    stage_scale: StageScale = "none",
) -> Tensor:
    """Stage maps to one heatmap per image (paper, eq. 8: `sum` without scaling).

    Args:
        stage_maps: maps (N, h, w), one per stage, non-negative for `product`.
        size: (H, W) of the heatmaps.
        fusion: `sum`, `mean`, `max`, or `product`: the geometric mean of max-scaled maps, in which a
            place counts only if every stage agrees (a zero in any stage gives zero).
        stage_scale: scaling before fusing; `product` scales by the maximum whatever is said here.

    Returns:
        Heatmaps (N, H, W), raw.

    Raises:
        ValueError: no maps, unequal N, unknown names.
    """
    check_fusion(fusion, stage_scale)
    if not stage_maps:
        raise ValueError("there are no stage maps to fuse")
    counts = {stage_map.shape[0] for stage_map in stage_maps}
    if len(counts) != 1:
        raise ValueError(f"stage maps are of different numbers of images: {sorted(counts)}")
    scale: StageScale = "max" if fusion == "product" else stage_scale
    resized = [resize_maps(scale_map(stage_map, scale), size) for stage_map in stage_maps]
    return _combine(resized, fusion)


def _combine(maps: list[Tensor], fusion: Fusion) -> Tensor:
    if fusion in ("sum", "mean"):
        total = torch.zeros_like(maps[0])
        for heatmap in maps:  # not stacked: that would write all of them once more
            total += heatmap
        return total if fusion == "sum" else total / len(maps)
    if fusion == "max":
        return reduce(torch.maximum, maps)
    # exp(mean log): raw products of five maps underflow float32
    return torch.stack(maps).clamp_min(0).log().mean(0).exp()


def _divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """0 where the denominator is 0."""
    return torch.where(denominator > 0, numerator / torch.where(denominator > 0, denominator, 1), 0)
