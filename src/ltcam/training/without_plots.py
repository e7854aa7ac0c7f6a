"""Import Lightning without matplotlib, which nothing here plots with.

torchmetrics, which Lightning imports, imports pyplot at once where it is installed. That makes a list of all fonts of
the machine, by a program of the system, and leaves it in the user's home.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_NAMES = ("matplotlib", "matplotlib.axes", "matplotlib.colors", "matplotlib.pyplot")


class _Absent(ModuleType):
    """Has every name that is asked for: classes, and `style.context`, a decorator that changes nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if f"{self.__name__}.{name}" in _NAMES:
            return sys.modules[f"{self.__name__}.{name}"]
        return type(name, (), {"context": staticmethod(_unchanged)})


@contextmanager
def _unchanged(*_: Any) -> Iterator[None]:
    yield


@contextmanager
def without_plots() -> Iterator[None]:
    """Nobody gets matplotlib inside of the block, unless it is loaded already; afterwards it can be imported."""
    if "matplotlib" in sys.modules:
        yield
        return
    sys.modules.update({name: _Absent(name) for name in _NAMES})
    try:
        yield
    finally:
        for name in _NAMES:
            if isinstance(sys.modules.get(name), _Absent):
                del sys.modules[name]
