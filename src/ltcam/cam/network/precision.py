"""Passes of a network in half precision, computed in float32.

Differences of scores, quotients of activations and relevances do not survive ten bits. The weights stay what they
are: they are made float32 one by one, while they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ltcam.cam.network.functions import FunctionCalls
from ltcam.cam.tensors import at_least_float32

_HALF = (torch.float16, torch.bfloat16)


@contextmanager
def in_float32(like: Tensor) -> Iterator[None]:
    """Inside the block this thread computes in float32: without autocasting, and half-precision values as float32.

    Args:
        like: what the network is given; only if that is of half precision its weights are.
    """
    with torch.autocast(like.device.type, enabled=False):
        if like.dtype in _HALF:
            with _InFloat32():
                yield
        else:
            yield


class _InFloat32(FunctionCalls):
    def called(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The function's own answer to the same values in float32."""
        return func(*without_half(args), **without_half(kwargs))


def without_half(given: Any) -> Any:
    """What a function of torch is given (tensors, in lists too), with half-precision tensors made float32."""
    if isinstance(given, Tensor):
        return at_least_float32(given) if given.dtype in _HALF else given
    if type(given) in (list, tuple):
        return type(given)(map(without_half, given))
    if type(given) is dict:
        return {key: without_half(value) for key, value in given.items()}
    return given
