"""Hooks on the modules of a network: for one block and one thread, and none is left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from torch import nn
from torch.jit import ScriptModule
from torch.utils.hooks import RemovableHandle


def hooks_of_others(module: nn.Module) -> list[int]:
    """The hooks of a module's forward pass that are not of our making, by their numbers, which are given once."""
    hooks = (*module._forward_pre_hooks.items(), *module._forward_hooks.items())
    return [number for number, hook in hooks if getattr(hook, "__module__", None) != __name__]


class Hooks:
    """Hooks that live as long as a block, whatever is raised in it.

    Only passes of the thread that made them call them: others may run the same model meanwhile. Scripted
    parts of a model (torch.jit) call none.

        with Hooks() as hooks:
            hooks.behind(model.layer4, lambda inputs, output: ...)
            model(images)
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._handles:
            self._handles.pop().remove()

    def before(self, module: nn.Module, hook: Callable[[tuple[Any, ...]], Any]) -> None:
        """Have a hook see what a module is given.

        Args:
            module: of the network.
            hook: (positional inputs) -> other inputs, or None to leave them.
        """

        def called(_module: nn.Module, inputs: tuple[Any, ...]) -> Any:
            return hook(inputs) if threading.get_ident() == self._thread else None

        if not isinstance(module, ScriptModule):
            self._handles.append(module.register_forward_pre_hook(called))

    def behind(self, module: nn.Module, hook: Callable[[tuple[Any, ...], Any], Any]) -> None:
        """Have a hook see what a module returns.

        Args:
            module: of the network.
            hook: (positional inputs, output) -> another output, or None to leave it.
        """

        def called(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
            return hook(inputs, output) if threading.get_ident() == self._thread else None

        if not isinstance(module, ScriptModule):
            self._handles.append(module.register_forward_hook(called))
