"""Layerization (L): stage maps of one network brought to one size and put together (paper, eq. 8)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, reduce
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

Fusion = Literal["sum", "mean", "max", "product"]
StageScale = Literal["none", "max", "minmax", "tanh"]

_SMALL = 64
"""On the CPU, maps that grow by so many pixels per pixel are resized by two matrix products: several times as fast."""


def check_fusion(fusion: str, stage_scale: str) -> None:
    """Refuse unknown names.

    Raises:
        ValueError: with the choices.
    """
    if fusion not in get_args(Fusion):
        raise ValueError(f"`fusion` {fusion!r} is unknown; choose from {', '.join(get_args(Fusion))}")
    if stage_scale not in get_args(StageScale):
        raise ValueError(
            f"`stage_scale` {stage_scale!r} is unknown; choose from {', '.join(get_args(StageScale))}"
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
    if _by_matrices(maps, size):
        rows, columns = _matrices(maps, size)
        with torch.autocast("cpu", enabled=False):
            return rows @ (maps @ columns)
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
    scaled = [scale_map(stage_map, scale) for stage_map in stage_maps]
    if fusion in ("sum", "mean"):
        total = _sum(scaled, size)
        return total if fusion == "sum" else total / len(scaled)
    resized = [resize_maps(stage_map, size) for stage_map in scaled]
    if fusion == "max":
        return reduce(torch.maximum, resized)
    # exp(mean log): raw products of five maps underflow float32
    return torch.stack(resized).clamp_min(0).log().mean(0).exp()


def _sum(maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Of maps brought to one size; each is written once, and those resized by matrices not even that."""
    first, *others = maps
    total = resize_maps(first, size)
    if total is first:
        total = first.clone()
    for stage_map in others:
        if _by_matrices(stage_map, size) and stage_map.dtype == total.dtype:
            rows, columns = _matrices(stage_map, size)
            with torch.autocast("cpu", enabled=False):
                total.baddbmm_(rows.expand(len(total), -1, -1), stage_map @ columns)
        else:
            total += resize_maps(stage_map, size)
    return total


def _by_matrices(maps: Tensor, size: tuple[int, int]) -> bool:
    exact = torch.get_float32_matmul_precision() == "highest" or maps.dtype == torch.float64
    few = _SMALL * maps.shape[1] * maps.shape[2] <= size[0] * size[1]
    return few and exact and maps.device.type == "cpu" and maps.dtype in (torch.float32, torch.float64)


def _matrices(maps: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """What maps (N, h, w) are multiplied by, (H, h) from the left and (w, W) from the right, to be resized."""
    height, width = maps.shape[1:]
    return _interpolation(height, size[0], maps.dtype), _interpolation(width, size[1], maps.dtype).T


@lru_cache(maxsize=64)
def _interpolation(old: int, new: int, dtype: torch.dtype) -> Tensor:
    """Linear interpolation of `old` values to `new` ones as a matrix (new, old): rows of weights that sum to 1."""
    # The centre of pixel i lies at (i + 1/2) old / new - 1/2; beyond the first and last centre values stay.
    with torch.inference_mode(False):  # it is kept, and must not be what only inference may use
        place = ((torch.arange(new, dtype=torch.float64, device="cpu") + 0.5) * old / new - 0.5).clamp(
            0, old - 1
        )
        distance = (place[:, None] - torch.arange(old, dtype=torch.float64, device="cpu")).abs()
        return (1 - distance).clamp_min(0).to(dtype)


def _divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """0 where the denominator is 0."""
    return torch.where(denominator > 0, numerator / torch.where(denominator > 0, denominator, 1), 0)
