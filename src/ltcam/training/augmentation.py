"""Variation that a surface under inspection really shows: position, orientation, light."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_ZOOM = 0.1  # the picture is shrunk by up to a tenth; its mirror image fills the border
_LIGHT = 0.15


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flipped, slightly shrunk and moved, brightened or darkened copies, each image by its own dice.

    Nothing is cut off: the one small defect of an image labelled defective may lie at its border.

    Args:
        images: (N, 3 + M, H, W) float, 0 to 1. Channels behind the first three (what is known of each pixel,
            say) are moved along, and not lit.
        generator: source of all randomness, on the CPU.

    Returns:
        (N, 3 + M, H, W) float, 0 to 1.
    """
    count = images.shape[0]
    dice = torch.rand(count, 7, generator=generator).to(images.device)
    flip = torch.where(dice[:, :2] < 0.5, -1.0, 1.0)  # left-right, up-down
    zoom = 1 + _ZOOM * dice[:, 2:3]
    shift = (2 * dice[:, 3:5] - 1) * (zoom - 1)
    matrix = torch.zeros(count, 2, 3, device=images.device)
    matrix[:, 0, 0] = (flip[:, 0:1] * zoom)[:, 0]
    matrix[:, 1, 1] = (flip[:, 1:2] * zoom)[:, 0]
    matrix[:, :, 2] = shift
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    moved = functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    contrast = (1 + _LIGHT * (2 * dice[:, 5] - 1)).view(-1, 1, 1, 1)
    brightness = (_LIGHT * (2 * dice[:, 6] - 1)).view(-1, 1, 1, 1)
    pixels, along = moved[:, :3], moved[:, 3:]
    mean = pixels.mean((1, 2, 3), keepdim=True)
    lit = ((pixels - mean) * contrast + mean + brightness).clamp(0, 1)
    return torch.cat([lit, along], 1) if along.shape[1] else lit
