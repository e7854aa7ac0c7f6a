"""Operators of torch as nodes of an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from onnx import TensorProto

from ltcam.export.onnx_graph import OnnxGraph
from ltcam.export.tracing import NORMALISATIONS, Batch, Dim, Node, Shape, Trace, normalisation
from ltcam.export.winograd import layer_of, write_convolution
from ltcam_runtime.errors import ExportError


class Emitter:
    """Writes traces into an ONNX graph, and knows which value each node became."""

    def __init__(self, graph: OnnxGraph, images: str, *, fewer_products: bool = False):
        """What to write into.

        Args:
            graph: to write into.
            images: a value of the graph whose first dimension is the number of images.
            fewer_products: whether large convolutions are written as in `winograd`.
        """
        self.graph = graph
        self.fewer_products = fewer_products
        self._images = images
        self._values: dict[Node, str] = {}
        self._batch = ""

    def write(self, traced: Trace, inputs: Sequence[str]) -> tuple[str, ...]:
        """The values of a trace's outputs, given those of its inputs.

        Raises:
            ExportError: an operator that has no translation.
        """
        self._values.update(zip(traced.inputs, inputs, strict=True))
        for node in traced.nodes:
            self._values[node] = self._written(node)
        return tuple(self.value(node) for node in traced.outputs)

    def value(self, argument: Any) -> str:
        """The value of a node or a number."""
        if not isinstance(argument, Node):
            return self.graph.constant(float(argument))
        if argument not in self._values:
            assert argument.value is not None  # noqa: S101  # whatever is no constant was written before
            self._values[argument] = self.graph.constant(as_array(argument.value))
        return self._values[argument]

    def shape(self, shape: Shape) -> str:
        """A shape as a value, the number of images filled in when it is known."""
        if not any(isinstance(dim, Batch) for dim in shape):
            return self.graph.constant([int(dim) for dim in shape])  # type: ignore[arg-type]
        parts = [
            self._batch_times(dim.times) if isinstance(dim, Batch) else self.graph.constant([dim])
            for dim in shape
        ]
        return self.graph.op("Concat", *parts, axis=0)

    def reshape(self, value: str, shape: Shape) -> str:
        """Reshape to a shape in which at most one dimension hangs on the number of images."""
        free = [dim for dim in shape if isinstance(dim, Batch)]
        if len(free) > 1:
            return self.graph.op("Reshape", value, self.shape(shape))
        return self.graph.reshape(value, [-1 if isinstance(dim, Batch) else dim for dim in shape])

    def expand(self, value: str, shape: Shape) -> str:
        """Repeat along dimensions of size 1."""
        return self.graph.op("Expand", value, self.shape(shape))

    def _batch_times(self, times: int) -> str:
        if not self._batch:
            shape = self.graph.op("Shape", self._images, start=0, end=1)
            self._batch = shape
        return self._batch if times == 1 else self.graph.op("Mul", self._batch, self.graph.constant([times]))

    def _written(self, node: Node) -> str:
        if node.op not in RULES:
            raise UntranslatedError(node.op)
        return RULES[node.op](self, node)


class UntranslatedError(ExportError):
    """An operator of torch without translation.

    Attributes:
        operator: its name in torch.
    """

    def __init__(self, operator: str, what: str = "") -> None:
        super().__init__(f"operator {operator}{what} has no translation to ONNX")
        self.operator = operator


Rule = Callable[[Emitter, Node], str]
RULES: dict[str, Rule] = {}


def as_array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """As numpy, floating point as float32."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


R = TypeVar("R")


def in_table(rules: dict[str, R], *names: str) -> Callable[[R], R]:
    """Register what is decorated as the rule of these operators."""

    def register(function: R) -> R:
        rules.update(dict.fromkeys(names, function))
        return function

    return register


rule = partial(in_table, RULES)
"""Registers a translation."""


# ----------------------------------------------------------------------------------- elementwise


def _unary(kind: str, emitter: Emitter, node: Node) -> str:
    return emitter.graph.op(kind, emitter.value(node.args[0]))


RULES.update(
    {
        name: partial(_unary, kind)
        for name, kind in {
            "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "exp": "Exp", "log": "Log", "abs": "Abs",
            "neg": "Neg", "sqrt": "Sqrt", "reciprocal": "Reciprocal", "hardswish": "HardSwish", "sign": "Sign",
            "logical_not": "Not", "bitwise_not": "Not", "floor": "Floor", "mish": "Mish", "erf": "Erf",
        }.items()
    }
)  # fmt: skip


def _binary(kind: str, emitter: Emitter, node: Node) -> str:
    first, second = (
        emitter.value(argument) if kind in _OF_BOOLEANS else number(emitter, argument)
        for argument in node.args[:2]
    )
    if node.kwargs.get("alpha", 1) != 1:
        second = emitter.graph.op("Mul", second, emitter.value(node.kwargs["alpha"]))
    return emitter.graph.op(kind, first, second)


_OF_BOOLEANS = frozenset({"And", "Or", "Equal"})


def number(emitter: Emitter, argument: Any) -> str:
    """The value of a node or a number, truth values as 0 and 1."""
    value = emitter.value(argument)
    return emitter.graph.as_float(value) if isinstance(argument, Node) and argument.boolean else value


RULES.update(
    {
        name: partial(_binary, kind)
        for name, kind in {
            "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "maximum": "Max", "minimum": "Min", "pow": "Pow",
            "gt": "Greater", "ge": "GreaterOrEqual", "lt": "Less", "le": "LessOrEqual", "eq": "Equal",
            "bitwise_and": "And", "bitwise_or": "Or", "logical_and": "And", "logical_or": "Or",
        }.items()
    }
)  # fmt: skip


@rule("clone", "alias", "detach", "lift_fresh", "dropout", "contiguous")
def _same(emitter: Emitter, node: Node) -> str:
    return emitter.value(node.args[0])


@rule("_to")
def _cast(emitter: Emitter, node: Node) -> str:
    kind = node.kwargs.get("dtype", torch.float32)
    kinds = {torch.float32: TensorProto.FLOAT, torch.bool: TensorProto.BOOL, torch.int64: TensorProto.INT64}
    if kind not in kinds:
        raise UntranslatedError("_to_copy", f" to {kind}")
    return emitter.graph.op("Cast", emitter.value(node.args[0]), to=kinds[kind])


@rule("where")
def _where(emitter: Emitter, node: Node) -> str:
    return emitter.graph.op("Where", *(emitter.value(argument) for argument in node.args))


@rule("ne")
def _not_equal(emitter: Emitter, node: Node) -> str:
    return emitter.graph.op("Not", _binary("Equal", emitter, node))


@rule("rsqrt")
def _rsqrt(emitter: Emitter, node: Node) -> str:
    return emitter.graph.op("Reciprocal", _unary("Sqrt", emitter, node))


@rule("clamp", "hardtanh", "relu6", "clamp_min", "clamp_max")
def _clamp(emitter: Emitter, node: Node) -> str:
    low, high = bounds(node)
    value = emitter.value(node.args[0])
    if low is not None and high is not None:
        return emitter.graph.op("Clip", value, emitter.value(low), emitter.value(high))
    if low is not None:
        return (
            emitter.graph.op("Relu", value)
            if low == 0
            else emitter.graph.op("Max", value, emitter.value(low))
        )
    return emitter.graph.op("Min", value, emitter.value(high))


def bounds(node: Node) -> tuple[Any, Any]:
    """Lower and upper bound of a clamp, None where there is none."""
    if node.op == "relu6":
        return 0, 6
    if node.op == "clamp_max":
        return None, node.args[1]
    low = (
        node.args[1] if len(node.args) > 1 else node.kwargs.get("min", -1 if node.op == "hardtanh" else None)
    )
    high = (
        node.args[2] if len(node.args) > 2 else node.kwargs.get("max", 1 if node.op == "hardtanh" else None)
    )
    return low, high


@rule("silu")
def _silu(emitter: Emitter, node: Node) -> str:
    value = emitter.value(node.args[0])
    return emitter.graph.op("Mul", value, emitter.graph.op("Sigmoid", value))


@rule("hardsigmoid")
def _hardsigmoid(emitter: Emitter, node: Node) -> str:
    return emitter.graph.op("HardSigmoid", emitter.value(node.args[0]), alpha=1 / 6, beta=0.5)


@rule("gelu")
def _gelu(emitter: Emitter, node: Node) -> str:
    return emitter.graph.op(
        "Gelu", emitter.value(node.args[0]), approximate=node.kwargs.get("approximate", "none")
    )


@rule("leaky_relu")
def _leaky_relu(emitter: Emitter, node: Node) -> str:
    slope = float(node.args[1]) if len(node.args) > 1 else 0.01
    return emitter.graph.op("LeakyRelu", emitter.value(node.args[0]), alpha=slope)


@rule("elu")
def _elu(emitter: Emitter, node: Node) -> str:
    if len(node.args) > 2:
        raise UntranslatedError("elu", " with a scale")
    return emitter.graph.op(
        "Elu", emitter.value(node.args[0]), alpha=float(node.args[1]) if len(node.args) > 1 else 1.0
    )


# ---------------------------------------------------------------------------------------- layers


@rule("convolution")
def _convolution(emitter: Emitter, node: Node) -> str:
    image, weight, bias, stride, padding, dilation, transposed, output_padding, groups = node.args
    inputs = [emitter.value(image), emitter.value(weight)] + (
        [emitter.value(bias)] if bias is not None else []
    )
    options: dict[str, Any] = {
        "strides": list(stride),
        "pads": [*padding, *padding],
        "dilations": list(dilation),
        "group": groups,
    }
    layer = layer_of(image.shape, weight.shape, options, transposed=transposed)
    if emitter.fewer_products and layer is not None:
        found = write_convolution(emitter.graph, inputs[0], inputs[1], layer)
        return (
            emitter.graph.op("Add", found, per_channel(emitter, bias.value, 4)) if bias is not None else found
        )
    if transposed:
        return emitter.graph.op("ConvTranspose", *inputs, **options, output_padding=list(output_padding))
    return emitter.graph.op("Conv", *inputs, **options)


@rule(*NORMALISATIONS)
def _batch_norm(emitter: Emitter, node: Node) -> str:
    scale, shift = (per_channel(emitter, values, len(node.shape)) for values in normalisation(node))
    return emitter.graph.op("Add", emitter.graph.op("Mul", emitter.value(node.args[0]), scale), shift)


def per_channel(emitter: Emitter, values: torch.Tensor, dims: int) -> str:
    """Values (C,) shaped (C, 1, ...), to be broadcast over a tensor (N, C, ...) of so many dimensions."""
    return emitter.graph.constant(as_array(values).reshape(-1, *[1] * (dims - 2)))


@rule("native_layer_norm", "layer_norm")
def _layer_norm(emitter: Emitter, node: Node) -> str:
    image, sizes, weight, bias, epsilon = node.args[:5]
    scale = (
        emitter.value(weight) if weight is not None else emitter.graph.constant(np.ones(sizes, np.float32))
    )
    inputs = [emitter.value(image), scale] + ([emitter.value(bias)] if bias is not None else [])
    return emitter.graph.op("LayerNormalization", *inputs, axis=-len(sizes), epsilon=float(epsilon))


@rule("addmm")
def _addmm(emitter: Emitter, node: Node) -> str:
    _only_plain(node)
    bias, left, right = (emitter.value(argument) for argument in node.args[:3])
    return emitter.graph.op("Gemm", left, right, bias)


@rule("mm", "bmm", "matmul")
def _matmul(emitter: Emitter, node: Node) -> str:
    return emitter.graph.op("MatMul", *(emitter.value(argument) for argument in node.args[:2]))


@rule("baddbmm")
def _baddbmm(emitter: Emitter, node: Node) -> str:
    _only_plain(node)
    total, left, right = (emitter.value(argument) for argument in node.args[:3])
    return emitter.graph.op("Add", total, emitter.graph.op("MatMul", left, right))


def _only_plain(node: Node) -> None:
    if any(node.kwargs.get(name, 1) != 1 for name in ("alpha", "beta")):
        raise UntranslatedError(node.op, " with factors")


@rule("max_pool2d_with_indices", "max_pool2d")
def _max_pool(emitter: Emitter, node: Node) -> str:
    return emitter.graph.op("MaxPool", emitter.value(node.args[0]), **pooling(node))


@rule("avg_pool2d")
def _avg_pool(emitter: Emitter, node: Node) -> str:
    counts_padding = node.args[5] if len(node.args) > 5 else True
    if len(node.args) > 6 and node.args[6] is not None:
        raise UntranslatedError("avg_pool2d", " with a divisor")
    return emitter.graph.op(
        "AveragePool", emitter.value(node.args[0]), **pooling(node), count_include_pad=int(counts_padding)
    )


def pooling(node: Node) -> dict[str, Any]:
    """ONNX attributes of a pooling."""
    kernel, stride, padding, rest = window(node)
    options: dict[str, Any] = {"kernel_shape": kernel, "strides": stride, "pads": [*padding, *padding]}
    if node.op.startswith("max_pool2d"):
        options["dilations"] = pair(rest[0] if rest else 1)
        options["ceil_mode"] = int(rest[1]) if len(rest) > 1 else 0
    else:
        options["ceil_mode"] = int(rest[0]) if rest else 0
    return options


def window(node: Node) -> tuple[list[int], list[int], list[int], tuple[Any, ...]]:
    """Kernel, stride and padding of a pooling, and its further arguments."""
    args = node.args[1:]
    kernel = pair(args[0])
    stride = pair(args[1]) if len(args) > 1 and args[1] else kernel
    return kernel, stride, pair(args[2]) if len(args) > 2 else [0, 0], args[3:]


def pair(value: Any) -> list[int]:
    """One number for both axes, or one for each."""
    numbers = list(value) if isinstance(value, (tuple, list)) else [value]
    return [int(number) for number in (numbers * 2)[:2]] if len(numbers) == 1 else [int(n) for n in numbers]


@rule("_adaptive_avg_pool2d", "adaptive_avg_pool2d")
def _adaptive_avg_pool(emitter: Emitter, node: Node) -> str:
    rows, columns = adaptive_matrices(node)
    left = emitter.graph.op("MatMul", emitter.graph.constant(rows), emitter.value(node.args[0]))
    return emitter.graph.op("MatMul", left, emitter.graph.constant(columns.T.copy()))


def adaptive_matrices(node: Node) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Averages over rows (out, in) and over columns (out, in): y = rows x columns^T."""
    height, width = node.args[0].shape[2:]
    return _averages(height, node.shape[2]), _averages(width, node.shape[3])


def _averages(old: Dim, new: Dim) -> np.ndarray[Any, Any]:
    assert isinstance(old, int)  # noqa: S101  # sizes do not hang on the number of images
    assert isinstance(new, int)  # noqa: S101
    matrix = np.zeros((new, old), np.float32)
    for place in range(new):
        start, end = place * old // new, -(-(place + 1) * old // new)
        matrix[place, start:end] = 1 / (end - start)
    return matrix


@rule("upsample_bilinear2d", "upsample_nearest2d")
def _upsample(emitter: Emitter, node: Node) -> str:
    bilinear = node.op == "upsample_bilinear2d"
    if bilinear and node.args[2]:
        raise UntranslatedError(node.op, " with aligned corners")
    sizes = emitter.shape(node.shape)
    return emitter.graph.op(
        "Resize",
        emitter.value(node.args[0]),
        "",
        "",
        sizes,
        mode="linear" if bilinear else "nearest",
        coordinate_transformation_mode="half_pixel" if bilinear else "asymmetric",
        nearest_mode="floor",
    )


# --------------------------------------------------------------------------------------- reductions


@rule("mean", "sum", "amax", "amin")
def _reduce(emitter: Emitter, node: Node) -> str:
    kind = {"mean": "Mean", "sum": "Sum", "amax": "Max", "amin": "Min"}[node.op]
    axes, keepdims = reduced(node)
    value = emitter.value(node.args[0])
    return emitter.graph.reduce(kind, value, axes, keepdims=keepdims) if axes else value


def reduced(node: Node) -> tuple[list[int], bool]:
    """Axes, counted from the front, and whether they stay as size 1."""
    dims = len(node.args[0].shape)
    given = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    axes = range(dims) if given is None or given == () else [given] if isinstance(given, int) else given
    keepdims = bool(node.args[2]) if len(node.args) > 2 else bool(node.kwargs.get("keepdim", False))
    return sorted(axis % dims for axis in axes), keepdims


@rule("_softmax", "softmax")
def _softmax(emitter: Emitter, node: Node) -> str:
    return emitter.graph.op("Softmax", emitter.value(node.args[0]), axis=int(node.args[1]))


# -------------------------------------------------------------------------------------------- shape


@rule("view", "reshape", "_unsafe_view", "unsqueeze", "squeeze", "flatten", "_reshape_alias")
def _view(emitter: Emitter, node: Node) -> str:
    return emitter.reshape(emitter.value(node.args[0]), node.shape)


@rule("expand")
def _expand(emitter: Emitter, node: Node) -> str:
    value = emitter.value(node.args[0])
    return value if node.shape == node.args[0].shape else emitter.expand(value, node.shape)


@rule("permute", "t", "transpose")
def _permute(emitter: Emitter, node: Node) -> str:
    return emitter.graph.op("Transpose", emitter.value(node.args[0]), perm=permutation(node))


def permutation(node: Node) -> list[int]:
    """Which axis of the input each axis of the output is."""
    dims = len(node.args[0].shape)
    if node.op == "permute":
        return [axis % dims for axis in node.args[1]]
    order = list(range(dims))
    one, other = (0, dims - 1) if node.op == "t" else (axis % dims for axis in node.args[1:3])
    order[one], order[other] = order[other], order[one]
    return order


@rule("cat")
def _cat(emitter: Emitter, node: Node) -> str:
    axis = int(node.args[1]) if len(node.args) > 1 else int(node.kwargs.get("dim", 0))
    return emitter.graph.op("Concat", *(emitter.value(part) for part in node.args[0]), axis=axis)


@rule("stack")
def _stack(emitter: Emitter, node: Node) -> str:
    axis = int(node.args[1]) if len(node.args) > 1 else 0
    parts = [
        emitter.graph.op("Unsqueeze", emitter.value(part), emitter.graph.constant([axis]))
        for part in node.args[0]
    ]
    return emitter.graph.op("Concat", *parts, axis=axis)


@rule("slice")
def _slice(emitter: Emitter, node: Node) -> str:
    axis, start, end, step = sliced(node)
    constant = emitter.graph.constant
    return emitter.graph.op(
        "Slice",
        emitter.value(node.args[0]),
        constant([start]),
        constant([end]),
        constant([axis]),
        constant([step]),
    )


def sliced(node: Node) -> tuple[int, int, int, int]:
    """Axis, start, end and step of a slice."""
    _, axis, start, end, step = [*node.args, *(None,) * 5][:5]
    if any(isinstance(value, Batch) for value in (start, end)):
        raise UntranslatedError("slice", " along the images")
    return (
        int(axis or 0),
        int(start or 0),
        2**31 - 1 if end is None else min(int(end), 2**31 - 1),
        int(step or 1),
    )


@rule("select")
def _select(emitter: Emitter, node: Node) -> str:
    _, axis, index = node.args
    return emitter.graph.op(
        "Gather", emitter.value(node.args[0]), emitter.graph.constant(np.array(index, np.int64)), axis=axis
    )


@rule("constant_pad_nd")
def _pad(emitter: Emitter, node: Node) -> str:
    fill = node.args[2] if len(node.args) > 2 else 0
    return emitter.graph.op(
        "Pad",
        emitter.value(node.args[0]),
        emitter.graph.constant(pads(node)),
        emitter.value(fill),
        mode="constant",
    )


def pads(node: Node) -> list[int]:
    """As ONNX has them: before every axis, then behind every axis."""
    dims, given = len(node.shape), [int(pad) for pad in node.args[1]]
    before, behind = [0] * dims, [0] * dims
    for index in range(len(given) // 2):
        before[dims - 1 - index], behind[dims - 1 - index] = given[2 * index], given[2 * index + 1]
    return before + behind


@rule(
    "full",
    "zeros",
    "ones",
    "full_like",
    "zeros_like",
    "ones_like",
    "scalar_tensor",
    "new_zeros",
    "new_ones",
    "new_full",
)
def _full(emitter: Emitter, node: Node) -> str:
    fills = {"zeros": 0, "zeros_like": 0, "new_zeros": 0, "ones": 1, "ones_like": 1, "new_ones": 1}
    at = {"scalar_tensor": 0, "new_full": 2}.get(node.op, 1)
    fill = fills[node.op] if node.op in fills else node.args[at]
    value = emitter.graph.constant(np.array(fill, np.float32))
    return value if not node.shape else emitter.expand(value, node.shape)


@rule("select_scatter")
def _select_scatter(emitter: Emitter, node: Node) -> str:
    _, source, axis, _ = node.args
    if node.shape[axis] != 1:
        raise UntranslatedError("select_scatter", " into one of several places")
    return emitter.reshape(emitter.value(source), node.shape)  # all there is on this axis is written over
