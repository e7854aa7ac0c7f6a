"""The graph of one forward pass, as autograd keeps it: which values all ways to the output lead through."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.autograd.graph import Node

Value = tuple[Node, int]
"""A tensor of the pass: the operation that made it, and the how-manieth of that operation's results it is."""


def value_of(tensor: Tensor) -> Value | None:
    """Which value of the pass a tensor is; None for what carries no gradient or was computed by nothing."""
    return None if tensor.grad_fn is None else (tensor.grad_fn, tensor.output_nr)


def bottlenecks(source: Value, outputs: Sequence[Value]) -> set[Value]:
    """Values that every way from the source to the outputs leads through, the source among them.

    Args:
        source: where all ways begin.
        outputs: where they end.

    Returns:
        An empty set if no way leads from the source to the outputs.
    """
    behind = [value for value in _inputs_first(outputs) if value != source]
    place = {source: 0}  # of values that depend on the source, each behind all that it is made of
    furthest = {source: 0}  # the last place that a value is read at
    for value in behind:
        read = [each for each in _made_of(value) if each in place]
        if read:
            place[value] = furthest[value] = len(place)
            furthest.update(dict.fromkeys(read, place[value]))  # places only grow
    ends = [value for value in outputs if value in place]
    if not ends:
        return set()
    furthest.update(dict.fromkeys(ends, len(place)))
    # Nothing that ends nowhere may count: only what an output is made of was gone through.
    found, reach = set(), 0
    for value, own in place.items():
        if reach <= own:  # nothing in front of it is read behind it
            found.add(value)
        reach = max(reach, furthest[value])
    return found


def _made_of(value: Value) -> list[Value]:
    return [(node, number) for node, number in value[0].next_functions if node is not None]


def _inputs_first(outputs: Sequence[Value]) -> list[Value]:
    """All values that the outputs are made of, and these, each behind what it is made of itself."""
    order: list[Value] = []
    seen: set[Value] = set()
    waiting = [(value, False) for value in outputs]
    while waiting:
        value, done = waiting.pop()
        if done:
            order.append(value)
        elif value not in seen:
            seen.add(value)
            waiting.append((value, True))
            waiting += [(each, False) for each in _made_of(value)]
    return order
