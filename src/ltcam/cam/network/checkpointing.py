"""Gradient checkpointing switched off for a pass.

A checkpointed part runs without a graph, and a second time during the backward pass: hooks would see it twice, and
what is put in place of an output or of a derivative would be another's. For one pass of a few images it saves nothing.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils import checkpoint as torch_checkpoint

_lock = threading.Lock()
_without: Counter[int] = Counter()
"""Threads that are inside a block, and inside how many."""

_Reentrant = torch_checkpoint.CheckpointFunction
_generator = torch_checkpoint._checkpoint_without_reentrant_generator


class _Directly:
    """In the place of the reentrant kind."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        """What the function gives, in threads that are inside a block run as if it stood there alone."""
        if threading.get_ident() in _without:
            return function(*args)
        return _Reentrant.apply(function, preserve, *args)


def _around(*args: Any, **kwargs: Any) -> Iterator[None]:
    """In the place of the other kind: what it does before and behind a function, for those threads nothing."""
    if threading.get_ident() in _without:
        yield
    else:
        yield from _generator(*args, **kwargs)


@contextmanager
def without_checkpointing() -> Iterator[None]:
    """Parts of models that are checkpointed run plainly inside the block, in this thread."""
    thread = threading.get_ident()
    with _lock:
        if not _without:
            _put(_Directly, _around)
        _without[thread] += 1
    try:
        yield
    finally:
        with _lock:
            _without[thread] -= 1
            if not _without[thread]:
                del _without[thread]
            if not _without:
                _put(_Reentrant, _generator)


def _put(reentrant: object, generator: object) -> None:
    torch_checkpoint.CheckpointFunction = reentrant  # type: ignore[misc, assignment]
    torch_checkpoint._checkpoint_without_reentrant_generator = generator  # type: ignore[assignment]
