"""Answers about models that are remembered as long as the models stay as they are."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from torch import nn

from ltcam.cam.network.hooks import hooks_of_others

T = TypeVar("T")

_SETTINGS = frozenset({bool, int, float, str, type(None)})
_MOST = 64  # numbers that are compared
_FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType, partial)


class Remembered(Generic[T]):
    """Answers per model and question. They go when the model goes, or is put together in another way."""

    def __init__(self, *, lists: bool = False) -> None:
        """`lists` may change the answer, or count as records of a model's passes, of which each costs another one."""
        self._lists = lists
        self._known: WeakKeyDictionary[nn.Module, tuple[object, dict[Hashable, T]]] = WeakKeyDictionary()

    def of(self, model: nn.Module) -> dict[Hashable, T]:
        """The answers that hold for the model as it is now; new ones are put into it."""
        built, lists = _seen_once(model)
        made_of = (built, lists) if self._lists else built
        known = self._known.get(model)
        if known is None or known[0] != made_of:
            known = self._known[model] = made_of, {}
        return known[1]


_seen: ContextVar[dict[nn.Module, tuple[object, object]] | None] = ContextVar("_seen", default=None)
"""What models are made of, as far as it was asked for in this block."""


@contextmanager
def unchanging() -> Iterator[None]:
    """In this block models are taken to stay as they are: each is looked at once, however often it is asked for."""
    token = _seen.set({})
    try:
        yield
    finally:
        _seen.reset(token)


def _seen_once(model: nn.Module) -> tuple[object, object]:
    seen = _seen.get()
    if seen is None:
        return _made_of(model)
    if model not in seen:
        seen[model] = _made_of(model)
    return seen[model]


def _made_of(model: nn.Module) -> tuple[object, object]:
    """The modules with their names and what is set in each, and what lists in them hold; equal if nothing is exchanged.

    Weights do not count: they change no way through the network. Nor does the training flag.
    """
    built, lists = [], []
    for name, module in model.named_modules(remove_duplicate=False):
        values = [value for key, value in vars(module).items() if key != "training"]
        built.append(
            (name, weakref.ref(module), hooks_of_others(module), [_setting(each) for each in values])
        )
        lists.append([_settings_in(each) for each in values if isinstance(each, (list, dict))])
    return built, lists


def _setting(value: object) -> object:
    """What can be compared later, and keeps no model alive: a number, numbers, a function; None for anything else."""
    if type(value) in _SETTINGS:
        return value
    if isinstance(value, tuple):
        return _settings_in(value)
    if isinstance(value, MethodType):
        return id(value.__self__), weakref.ref(value.__func__)
    return weakref.ref(value) if isinstance(value, _FUNCTIONS) else None


def _settings_in(values: tuple[object, ...] | list[object] | dict[object, object]) -> object:
    """The numbers in it; None where there are others, or too many."""
    found = (*values, *values.values()) if isinstance(values, dict) else tuple(values)
    return found if len(found) <= _MOST and all(type(each) in _SETTINGS for each in found) else None
