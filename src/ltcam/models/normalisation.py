"""Images as a network takes them."""

from __future__ import annotations

import torch
from torch import Tensor

from ltcam.models.backbones import Statistics


def normalised(
    images: Tensor,
    statistics: Statistics,
    dtype: torch.dtype = torch.float32,
    memory_format: torch.memory_format = torch.preserve_format,
) -> Tensor:
    """Values 0 to 1 less the mean, in standard deviations.

    Args:
        images: (N, 3, h, w), uint8, or floating point from 0 to 1.
        statistics: mean and standard deviation per channel, of values 0 to 1.
        dtype: of the result.
        memory_format: of the result.

    Returns:
        (N, 3, h, w), on the device of the images, which stay as they are.
    """
    mean, std = (
        torch.tensor(values, dtype=dtype, device=images.device).view(1, 3, 1, 1) for values in statistics
    )
    values = images.to(dtype, copy=True, memory_format=memory_format)
    if images.dtype == torch.uint8:
        values.div_(255)
    return values.sub_(mean).div_(std)
