"""Whether operations that have no rule pass relevance on without loss, whoever wrote them.

With R = x g at every tensor, an operation y = f(x) that passes on its derivative keeps the sum of relevance, whatever
comes from above, if and only if J(x) x = y: where f(cx) = c f(x). So each one is called a second time with doubled
inputs (a power of two: exact in floating point) and has to answer with doubled outputs. Sums, concatenations,
maxima, views and resizing do, whatever they are called; exponentials, powers, normalisations and products of two
signals do not.

What no function of torch has done in sight (own autograd functions, scripted functions) is found in autograd's graph.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from ltcam.cam.tensors import tensors_in

TOLERANCE = 0.01
"""Share of an operation's outputs by which the relevance that goes in may differ from what comes out."""

Function = Callable[..., Any]

_JOINS: tuple[Function, ...] = (
    *(torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__),
    *(torch.sub, Tensor.sub, Tensor.sub_, Tensor.__sub__, Tensor.__rsub__, Tensor.__isub__),
    *(torch.cat, torch.concat, torch.stack, torch.maximum, torch.minimum, torch.where, Tensor.where),
)
"""What joins activations: those that come from elsewhere than the layer have a right to a share of relevance."""


class Behind:
    """What stands behind the layer in autograd's graph."""

    def __init__(self) -> None:
        self._behind: set[Node] = set()
        self._elsewhere: set[Node] = set()

    def holds(self, tensor: Tensor) -> bool:
        """Whether a tensor depends on the layer, whose output is a leaf of the graph."""
        self.enter(tensor)
        return _is_leaf(tensor) or tensor.grad_fn in self._behind

    def enter(self, tensor: Tensor) -> list[str]:
        """Note the operations that made a tensor; names of those behind the layer that were not known yet."""
        waiting = [] if tensor.grad_fn is None else [tensor.grad_fn]
        found = []
        while waiting:
            node = waiting[-1]
            before = [each for each, _ in node.next_functions if each is not None]
            unknown = [each for each in before if each not in self._behind and each not in self._elsewhere]
            if node in self._behind or node in self._elsewhere:
                waiting.pop()
            elif unknown:
                waiting += unknown
            elif _is_leaf(getattr(node, "variable", None)):
                self._behind.add(node)
            elif any(each in self._behind for each in before):
                self._behind.add(node)
                found.append(re.sub(r"Backward\d*$", "", node.name()))
            else:
                self._elsewhere.add(node)
        return found


def _is_leaf(value: object) -> bool:
    return (
        isinstance(value, Tensor)
        and value.is_leaf
        and value.requires_grad
        and not isinstance(value, nn.Parameter)
    )


def changes_its_input(function: Function, kwargs: dict[str, Any]) -> bool:
    """Whether a function of torch works in place, by its name."""
    name = getattr(function, "__name__", "")
    return bool(kwargs.get("inplace")) or re.fullmatch(r".*[^_]_|__i\w+__", name) is not None


def doubled(function: Function, given: Any, behind: Behind, constants: frozenset[int]) -> Any:
    """What a function is given, with twice the signals.

    Args:
        function: of torch.
        given: its arguments.
        behind: knows which of them depend on the layer.
        constants: addresses of the storages of parameters and buffers, which take no relevance.
    """
    if isinstance(given, Tensor):
        if not given.is_floating_point() or isinstance(given, nn.Parameter):
            return given
        joined = function in _JOINS and given.ndim > 0 and given.untyped_storage().data_ptr() not in constants
        return 2 * given.detach() if joined or behind.holds(given) else given
    if isinstance(given, dict):
        return {key: doubled(function, item, behind, constants) for key, item in given.items()}
    if type(given) in (list, tuple):
        return type(given)(doubled(function, item, behind, constants) for item in given)
    return given


def is_twice(answer: Any, result: Any) -> bool:
    """Whether an answer is twice a result, within the tolerance, in all that passes gradients on."""
    pairs = zip(tensors_in(answer), tensors_in(result), strict=True)
    return all(_is_twice(twice, once) for twice, once in pairs if once.requires_grad)


def _is_twice(twice: Tensor, once: Tensor) -> bool:
    wanted = 2 * once.detach()
    if twice.shape != wanted.shape:
        return False
    apart = torch.where(twice == wanted, 0, (twice - wanted).abs())  # infinities are equal, too
    return bool(apart.sum() <= TOLERANCE * wanted.abs().sum())
