"""What a torch function computes, as a list of operators that change nothing in place.

Every function is traced twice, with two numbers of images: integers that differ between the two traces hang on
the number of images, and the graph made of them takes any number. Heights and widths stay as they are traced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import make_fx

from ltcam_runtime.errors import ExportError

_COUNTS = (2, 3)  # images


@dataclass(frozen=True)
class Batch:
    """An integer that is so many times the number of images."""

    times: int


Dim = int | Batch
Shape = tuple[Dim, ...]


@dataclass(eq=False)
class Node:
    """One operator.

    Attributes:
        op: its name in torch without namespace and overload (`convolution`), `input` or `constant`.
        args: nodes, numbers, and lists of them; the keyword arguments stand in `kwargs`.
        kwargs: keyword arguments.
        shape: of its (first) output.
        value: of a constant.
        boolean: whether it holds truth values.
    """

    op: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    shape: Shape = ()
    value: Tensor | None = None
    boolean: bool = False

    def inputs(self) -> list[Node]:
        """The nodes among its arguments."""
        return _nodes_in((self.args, tuple(self.kwargs.values())))

    def size(self, axis: int) -> int:
        """Of an axis that does not hang on the number of images."""
        dim = self.shape[axis]
        if isinstance(dim, Batch):
            raise ExportError(f"operator {self.op} mixes images; it cannot be exported")
        return dim


@dataclass(frozen=True)
class Trace:
    """A traced function.

    Attributes:
        inputs: one node per argument.
        nodes: all others, in the order of computation.
        outputs: what it returns.
    """

    inputs: tuple[Node, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Node, ...]

    def users(self) -> dict[Node, int]:
        """How often each node is read, outputs included."""
        counts: dict[Node, int] = {}
        for read in [*(i for node in self.nodes for i in node.inputs()), *self.outputs]:
            counts[read] = counts.get(read, 0) + 1
        return counts


def trace(function: Callable[..., tuple[Tensor, ...]], shapes: Sequence[Sequence[int]]) -> Trace:
    """Trace a function of float32 tensors.

    Args:
        function: returns a tuple of tensors; branches on shapes only, not on values.
        shapes: of its arguments, each without the leading number of images.

    Raises:
        ExportError: it does something with the number of images that no graph can follow.
    """
    with torch.no_grad():
        first, second = (
            make_fx(
                functionalize(function, remove="mutations_and_views"),
                tracing_mode="fake",
                _allow_non_fake_inputs=True,
            )(*(torch.zeros(count, *shape) for shape in shapes))
            for count in _COUNTS
        )
    for module in (first, second):
        module.graph.eliminate_dead_code()
    if len(first.graph.nodes) != len(second.graph.nodes):
        raise ExportError("the network does other things for other numbers of images; it cannot be exported")
    return _merged(first, second)


def _merged(first: fx.GraphModule, second: fx.GraphModule) -> Trace:
    known: dict[fx.Node, Node] = {}
    inputs: list[Node] = []
    nodes: list[Node] = []
    outputs: tuple[Node, ...] = ()
    for one, other in zip(first.graph.nodes, second.graph.nodes, strict=True):
        if one.op == "output":
            outputs = tuple(known[node] for node in one.args[0])
        elif one.op == "placeholder":
            known[one] = Node("input", shape=_shape(one, other))
            inputs.append(known[one])
        elif one.op == "get_attr":
            known[one] = _constant(getattr(first, one.target).detach())
        elif one.name.startswith("getitem") and one.args[1] == 0:
            known[one] = known[one.args[0]]
        else:
            node = _operator(one, other, known)
            known[one] = _folded(one, node)
            if known[one] is node:
                nodes.append(node)
    return Trace(tuple(inputs), tuple(nodes), outputs)


def _operator(one: fx.Node, other: fx.Node, known: dict[fx.Node, Node]) -> Node:
    op = str(one.target).removeprefix("aten.").split(".")[0].removesuffix("_copy") or str(one.target)
    args, kwargs = _arguments((one.args, dict(one.kwargs)), (other.args, dict(other.kwargs)), known)
    boolean = getattr(one.meta.get("val"), "dtype", None) == torch.bool
    return Node(op, args, kwargs, _shape(one, other), boolean=boolean)


def _arguments(one: Any, other: Any, known: dict[fx.Node, Node]) -> Any:
    if isinstance(one, fx.Node):
        return known[one]
    if isinstance(one, dict):
        return {key: _arguments(one[key], other[key], known) for key in one}
    if isinstance(one, (tuple, list)):
        return tuple(_arguments(a, b, known) for a, b in zip(one, other, strict=True))
    return _dimension(one, other) if type(one) is int else one


def _shape(one: fx.Node, other: fx.Node) -> Shape:
    sizes = [node.meta.get("val") for node in (one, other)]
    sizes = [size[0] if isinstance(size, (tuple, list)) else size for size in sizes]
    if not all(isinstance(size, Tensor) for size in sizes):
        return ()
    return tuple(_dimension(a, b) for a, b in zip(sizes[0].shape, sizes[1].shape, strict=True))  # type: ignore[union-attr]


def _dimension(one: int, other: int) -> Dim:
    if one == other:
        return one
    if one * _COUNTS[1] != other * _COUNTS[0] or one % _COUNTS[0]:
        raise ExportError(
            f"a dimension is {one} for {_COUNTS[0]} images and {other} for {_COUNTS[1]}; it cannot be exported"
        )
    return Batch(one // _COUNTS[0])


def _constant(value: Tensor) -> Node:
    return Node("constant", shape=tuple(value.shape), value=value)


def _folded(source: fx.Node, node: Node) -> Node:
    """The constant that a node is whose inputs are all constants, or the node itself."""
    inputs = node.inputs()
    if not inputs or any(i.value is None for i in inputs) or any(isinstance(d, Batch) for d in node.shape):
        return node
    real = _with_values((node.args, node.kwargs))
    value = source.target(*real[0], **real[1])  # type: ignore[operator]
    return _constant(value) if isinstance(value, Tensor) else node


def _with_values(arguments: Any) -> Any:
    if isinstance(arguments, Node):
        return arguments.value
    if isinstance(arguments, dict):
        return {key: _with_values(value) for key, value in arguments.items()}
    return tuple(map(_with_values, arguments)) if isinstance(arguments, tuple) else arguments


def _nodes_in(arguments: Any) -> list[Node]:
    if isinstance(arguments, Node):
        return [arguments]
    if isinstance(arguments, (tuple, list)):
        return [node for argument in arguments for node in _nodes_in(argument)]
    return []


def with_folded_normalisations(traced: Trace) -> Trace:
    """The same function with batch normalisations put into the convolutions in front of them.

    A convolution whose output anything else reads keeps its own weights.
    """
    users = traced.users()
    replaced: dict[Node, Node] = {}
    for node in traced.nodes:
        if node.op not in NORMALISATIONS:
            continue
        convolution = node.args[0]
        if convolution.op != "convolution" or users[convolution] > 1 or convolution.args[6]:
            continue
        scale, shift = normalisation(node)
        weight, bias = convolution.args[1].value, convolution.args[2]
        if weight is None:
            continue
        bias_value = torch.zeros_like(shift) if bias is None else bias.value.double()
        new_weight = (weight.double() * scale[:, None, None, None]).to(weight.dtype)
        new_bias = (bias_value * scale + shift).to(weight.dtype)
        node.op, node.kwargs = "convolution", {}
        node.args = (convolution.args[0], _constant(new_weight), _constant(new_bias), *convolution.args[3:])
        replaced[convolution] = node
    return Trace(traced.inputs, tuple(node for node in traced.nodes if node not in replaced), traced.outputs)


NORMALISATIONS = frozenset({"native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"})


def normalisation(node: Node) -> tuple[Tensor, Tensor]:
    """Scale and shift (C,), float64, of a batch normalisation in evaluation mode."""
    _, weight, bias, mean, variance = (arg.value if isinstance(arg, Node) else None for arg in node.args[:5])
    assert mean is not None  # noqa: S101  # in evaluation mode there are running statistics
    assert variance is not None  # noqa: S101
    scale = (variance.double() + float(node.args[-1])).rsqrt()
    if weight is not None:
        scale = scale * weight.double()
    shift = -mean.double() * scale
    return scale, shift if bias is None else shift + bias.double()
