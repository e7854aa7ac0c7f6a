"""Seeing, or changing, every call of a function of torch while a network runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch.overrides import TorchFunctionMode


class FunctionCalls(TorchFunctionMode):
    """Within its block `called` answers for every function of torch; calls inside of it are torch's own."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        _types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """What `called` says."""
        return self.called(func, args, kwargs or {})

    def called(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The answer to a call; the function's own by default."""
        return func(*args, **kwargs)
