"""Small things done to tensors wherever a network is looked at."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """float64 as it is, everything else as float32: sums of half-precision values are taken in float32."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def contiguous(maps: Tensor) -> Tensor:
    """The same maps (N, C, h, w) with each channel in one piece of memory.

    Channels-last maps are moved as one matrix per image: those torch copies in blocks, twice as fast.
    """
    if maps.is_contiguous() or not maps.is_contiguous(memory_format=torch.channels_last):
        return maps.contiguous()
    n, channels, height, width = maps.shape
    found = torch.empty(maps.shape, dtype=maps.dtype, device=maps.device)
    for rows, values in zip(found.view(n, channels, -1), maps, strict=True):
        rows.copy_(values.permute(1, 2, 0).reshape(height * width, channels).t())
    return found


def detached(output: object) -> object:
    """What a model returned with every tensor in it detached; lists become tuples."""
    if isinstance(output, Tensor):
        return output.detach()
    if isinstance(output, Mapping):
        return {key: detached(value) for key, value in output.items()}
    if isinstance(output, (tuple, list)):
        return tuple(map(detached, output))
    return output


def tensors_in(output: object) -> list[Tensor]:
    """The floating-point tensors with values in what a model returned or takes, in order."""
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() and output.numel() else []
    entries = output.values() if isinstance(output, Mapping) else output
    if isinstance(entries, str) or not hasattr(entries, "__iter__"):
        return []
    return [tensor for entry in entries for tensor in tensors_in(entry)]


def not_finite(tensor: Tensor) -> list[int]:
    """Indices along the first axis that hold NaN or infinities. The sum tells at once that there are none."""
    if bool(torch.isfinite(tensor.sum())):
        return []
    bad = ~torch.isfinite(tensor).flatten(1).all(1) if tensor.ndim > 1 else ~torch.isfinite(tensor)
    return [int(index) for index in bad.nonzero().flatten()]


def refuse_not_finite(what: str, tensor: Tensor) -> None:
    """Refuse NaN and infinite values that a model made out of finite images.

    Raises:
        ValueError: naming the tensor and the images.
    """
    bad = not_finite(tensor)
    if bad:
        raise ValueError(
            f"{what} hold NaN or infinite values for images {bad}; are the model's weights finite?"
        )


def warn_of_half_precision(layers: Sequence[str], stacklevel: int) -> None:
    """Warn that truncation of these layers' half-precision gradients is not reproducible; none, no warning.

    Args:
        layers: names.
        stacklevel: as for `warnings.warn`, counted from the caller.
    """
    if layers:
        warnings.warn(
            f"layers {', '.join(layers)} ran in half precision: which gradients truncation keeps is then not "
            "reproducible; use float32 for reference results",
            stacklevel=stacklevel + 1,
        )
