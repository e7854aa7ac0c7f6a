"""Defects of confident masks, pasted onto flawless images: training images whose masks are exact.

What is pasted is a residual: the defective image less the same image with the defect filled in. Added to another
surface it keeps the defect's own look, and there is no border to be seen where it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SMALLEST_SHARE = 0.5  # a pixel counts as defect from here on where pieces are looked for
_MARGIN_PX = 2  # at the network's size; the edge of a defect is half defect
_PIECES = 4  # of one image, the largest ones


@dataclass(frozen=True, eq=False)
class Patch:
    """A defect cut out.

    Attributes:
        residual: (3, h, w) float32, -1 to 1: what it adds to the surface.
        share: (h, w) float32, 0 to 1: share of each pixel that is defect.
    """

    residual: Tensor
    share: Tensor


def cut_patches(
    image: NDArray[np.uint8], filled: NDArray[np.uint8], share: NDArray[np.float32]
) -> list[Patch]:
    """The defects of one image, one patch per connected piece, largest first.

    Args:
        image: (H, W, 3) uint8.
        filled: the same image with its defects filled in.
        share: (H, W), 0 to 1: share of each pixel that is defect.
    """
    holes = cv2.dilate((share > 0).astype(np.uint8), np.ones((3, 3), np.uint8), iterations=_MARGIN_PX)
    residual = (image.astype(np.float32) - filled.astype(np.float32)) / 255 * holes[:, :, None]
    _, _, boxes, _ = cv2.connectedComponentsWithStats(holes, connectivity=8)
    largest = sorted(boxes[1:].tolist(), key=lambda box: -box[cv2.CC_STAT_AREA])[:_PIECES]
    patches = []
    for left, top, width, height, _ in largest:
        window = np.s_[top : top + height, left : left + width]
        if share[window].max() >= _SMALLEST_SHARE:
            patches.append(
                Patch(
                    torch.from_numpy(np.ascontiguousarray(residual[window].transpose(2, 0, 1))),
                    torch.from_numpy(np.ascontiguousarray(share[window])),
                )
            )
    return patches


def paste(values: Tensor, share: Tensor, patches: Sequence[Patch], generator: torch.Generator) -> None:
    """Paste one defect, mirrored and placed at random, onto an image and into its target, in place.

    Args:
        values: (3, H, W) float, 0 to 1.
        share: (H, W) float: the target, share of each pixel that is defect.
        patches: to choose from; none, nothing is done.
        generator: source of all randomness.
    """
    if not patches:
        return
    patch = patches[_below(len(patches), generator)]
    axes = [axis for axis in (-2, -1) if _below(2, generator)]
    residual, drawn = patch.residual.flip(axes), patch.share.flip(axes)
    height, width = drawn.shape
    top = _below(values.shape[1] - height + 1, generator)
    left = _below(values.shape[2] - width + 1, generator)
    window = (..., slice(top, top + height), slice(left, left + width))
    values[window] = (values[window] + residual.to(values)).clamp_(0, 1)
    share[window] = torch.maximum(share[window], drawn.to(share))


def _below(limit: int, generator: torch.Generator) -> int:
    return int(torch.randint(limit, (), generator=generator))
