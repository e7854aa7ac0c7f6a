"""Small things done to tensors wherever a network is looked at."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn


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


def detached(output: object) -> Any:
    """What a model returned, of the same type, with every tensor in it detached."""
    return output.detach() if isinstance(output, Tensor) else with_parts(output, detached)


def tensors_in(output: object) -> list[Tensor]:
    """The tensors in what a model or a function returned or takes, in order.

    What holds others, such as a list or an object, counts once wherever it stands: objects may refer to each other.
    """
    found: list[Tensor] = []
    waiting = [output]
    seen: dict[int, object] = {}  # kept alive: another object may get the id of one that is gone
    while waiting:
        part = waiting.pop()
        if isinstance(part, Tensor):
            found.append(part)
        elif id(part) not in seen:
            seen[id(part)] = part
            waiting += [inner for _, inner in reversed(parts_of(part))]
    return found


def float_tensors_in(output: object) -> list[Tensor]:
    """The tensors of floating-point numbers in what a model or a function returned or takes, in order; no empty ones.

    They are found as by `tensors_in`.
    """
    return [tensor for tensor in tensors_in(output) if tensor.is_floating_point() and tensor.numel()]


def parts_of(output: object) -> list[tuple[Any, object]]:
    """What a model's output is put together from, with the key, place or name of each part.

    Lists, tuples, mappings and objects with attributes (dataclasses, a library's own results) have parts;
    tensors, numbers, text, classes, functions and modules have none.
    """
    if isinstance(output, Mapping):
        return list(output.items())
    if isinstance(output, (list, tuple)):
        return list(enumerate(output))
    if isinstance(output, (Tensor, nn.Module, type)) or callable(output):
        return []
    names = (
        [field.name for field in fields(output)]
        if is_dataclass(output)
        else list(getattr(output, "__dict__", ()))
    )
    slots = [name for kind in type(output).__mro__ for name in getattr(kind, "__slots__", ())]
    return [
        (name, getattr(output, name)) for name in dict.fromkeys([*names, *slots]) if hasattr(output, name)
    ]


def with_parts(output: object, change: Callable[[object], object]) -> Any:
    """An output of the same type, made of changed parts; itself if it has none or none of them changes."""
    parts = parts_of(output)
    changed = [(key, change(part)) for key, part in parts]
    if all(new is old for (_, new), (_, old) in zip(changed, parts, strict=True)):
        return output
    if isinstance(output, (list, tuple)):
        make: Any = getattr(output, "_make", type(output))  # named tuples take their parts one by one
        return make([part for _, part in changed])
    if isinstance(output, Mapping) and not isinstance(output, MutableMapping):
        frozen: Any = type(output)
        return frozen(dict(changed))
    result = copy.copy(output)
    for key, part in changed:
        if isinstance(result, MutableMapping):
            result[key] = part
        else:
            object.__setattr__(result, key, part)  # frozen dataclasses too
    return result


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


def has_channels_last(tensor: Tensor, image_size: Sequence[int]) -> bool:
    """Whether a layer's output is (N, h, w, C): so it has the image's proportions, and as (N, C, h, w) it has not.

    Args:
        tensor: of any shape.
        image_size: (H, W) of the images.
    """
    height, width = image_size

    def in_proportion(h: int, w: int) -> bool:  # each of them is rounded once or twice on the way
        return abs(w * height - h * width) <= 2 * (height + width)

    if tensor.ndim != 4 or min(tensor.shape[1:3]) < 2:
        return False
    first, second, third = tensor.shape[1:]
    return in_proportion(first, second) and not in_proportion(second, third)


def warn_of_half_precision(layers: Sequence[str], stacklevel: int) -> None:
    """Warn that truncation of these layers' half-precision gradients is not reproducible; none, no warning.

    Args:
        layers: names.
        stacklevel: as for `warnings.warn`, counted from the caller.
    """
    if layers:
        warnings.warn(
            f"layers {', '.join(layers)} ran in half precision: gradients are rounded, and which of them truncation "
            "keeps is then not reproducible; use float32 for reference results",
            stacklevel=stacklevel + 1,
        )
