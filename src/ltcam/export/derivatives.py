"""Derivatives of torch's operators as nodes of an ONNX graph: what a backward pass does, written down.

Each rule takes the gradient of an operator's output to the gradients of those inputs that need one. Weights are
constants of the graph and need none. At kinks the derivatives are torch's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ltcam.export.operators import (
    Emitter,
    UntranslatedError,
    adaptive_matrices,
    bounds,
    in_table,
    pads,
    per_channel,
    permutation,
    pooling,
    reduced,
    sliced,
    window,
)
from ltcam.export.tracing import NORMALISATIONS, Batch, Node, Shape, Trace, normalisation

Gradients = Iterable[tuple[Node, str]]
Rule = Callable[[Emitter, Node, str], Gradients]
RULES: dict[str, Rule] = {}


def write_gradients(
    emitter: Emitter, traced: Trace, output: Node, gradient: str, layers: Sequence[Node]
) -> tuple[str, ...]:
    """The gradients at some nodes of a trace that is already written, given the gradient of one of its outputs.

    Args:
        emitter: which the trace was written with.
        traced: the network.
        output: of the network, (N, K).
        gradient: of the score by the output, (N, K).
        layers: nodes whose gradients are wanted.

    Raises:
        ExportError: an operator on the way whose derivative has no translation.
        ValueError: a layer that is not on the way to the output.
    """
    needed = _depending(traced, layers)
    found: dict[Node, str] = {output: gradient}
    for node in reversed(traced.nodes):
        if node not in found or node not in needed or not any(i in needed for i in node.inputs()):
            continue
        if node.op not in RULES:
            raise UntranslatedError(node.op, "'s derivative")
        for source, part in RULES[node.op](emitter, node, found[node]):
            if source in needed:
                found[source] = emitter.graph.op("Add", found[source], part) if source in found else part
    missing = [index for index, layer in enumerate(layers) if layer not in found]
    if missing:
        raise ValueError(f"layers {missing} are not on the way to the score")
    return tuple(found[layer] for layer in layers)


def _depending(traced: Trace, layers: Sequence[Node]) -> set[Node]:
    """The layers, and every node that reads one of these."""
    found = set(layers)
    for node in traced.nodes:
        if found.intersection(node.inputs()):
            found.add(node)
    return found


rule = partial(in_table, RULES)
"""Registers a derivative."""


def _as(emitter: Emitter, gradient: str, shape: Shape, wanted: Shape) -> str:
    """The gradient of what was broadcast from the wanted shape: summed over what was repeated."""
    front = len(shape) - len(wanted)
    axes = [
        axis for axis in range(len(shape)) if axis < front or (wanted[axis - front] == 1 and shape[axis] != 1)
    ]
    if axes:
        gradient = emitter.graph.reduce("Sum", gradient, axes)
    return emitter.reshape(gradient, wanted) if front else gradient


# ----------------------------------------------------------------------------------- elementwise


@rule("detach")
def _none(emitter: Emitter, node: Node, gradient: str) -> Gradients:  # noqa: ARG001
    yield from ()


@rule("clone", "alias", "dropout", "contiguous")
def _same(emitter: Emitter, node: Node, gradient: str) -> Gradients:  # noqa: ARG001
    yield node.args[0], gradient


@rule("relu")
def _relu(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    graph = emitter.graph
    yield (
        node.args[0],
        graph.op("Mul", gradient, graph.op("Sign", emitter.value(node))),
    )  # y > 0, where y >= 0


@rule("hardtanh", "relu6", "clamp", "clamp_min", "clamp_max")
def _clamp(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    graph, value = emitter.graph, emitter.value(node.args[0])
    low, high = bounds(node)
    strict = node.op in {"hardtanh", "relu6"}  # the derivative at the bound itself is 0; that of a clamp is 1
    conditions = []
    if low is not None:
        conditions.append(graph.op("Greater" if strict else "GreaterOrEqual", value, emitter.value(low)))
    if high is not None:
        conditions.append(graph.op("Less" if strict else "LessOrEqual", value, emitter.value(high)))
    inside = conditions[0] if len(conditions) == 1 else graph.op("And", *conditions)
    yield node.args[0], graph.op("Where", inside, gradient, emitter.value(0))


@rule("hardswish")
def _hardswish(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    """0 below -3, x/3 + 1/2 up to and with 3, then 1."""
    graph, value = emitter.graph, emitter.value(node.args[0])
    slope = graph.op("Add", graph.op("Mul", value, emitter.value(1 / 3)), emitter.value(0.5))
    slope = graph.op("Where", graph.op("Less", value, emitter.value(-3)), emitter.value(0), slope)
    slope = graph.op("Where", graph.op("Greater", value, emitter.value(3)), emitter.value(1), slope)
    yield node.args[0], graph.op("Mul", gradient, slope)


@rule("hardsigmoid")
def _hardsigmoid(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    graph, value = emitter.graph, emitter.value(node.args[0])
    inside = graph.op("Less", graph.op("Abs", value), emitter.value(3))
    yield (
        node.args[0],
        graph.op("Where", inside, graph.op("Mul", gradient, emitter.value(1 / 6)), emitter.value(0)),
    )


@rule("sigmoid")
def _sigmoid(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    """Y (1 - y)."""
    graph, y = emitter.graph, emitter.value(node)
    yield node.args[0], graph.op("Mul", gradient, graph.op("Mul", y, graph.op("Sub", emitter.value(1), y)))


@rule("tanh")
def _tanh(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    """1 - y^2."""
    graph, y = emitter.graph, emitter.value(node)
    yield node.args[0], graph.op("Mul", gradient, graph.op("Sub", emitter.value(1), graph.op("Mul", y, y)))


@rule("silu")
def _silu(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    """S + y (1 - s), with s the sigmoid of x and y = x s."""
    graph, y = emitter.graph, emitter.value(node)
    s = graph.op("Sigmoid", emitter.value(node.args[0]))
    slope = graph.op("Add", s, graph.op("Mul", y, graph.op("Sub", emitter.value(1), s)))
    yield node.args[0], graph.op("Mul", gradient, slope)


@rule("gelu")
def _gelu(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    """F(x) + x f(x), with F and f the normal distribution and its density."""
    if node.kwargs.get("approximate", "none") != "none":
        raise UntranslatedError("gelu", " (tanh)'s derivative")
    graph, x = emitter.graph, emitter.value(node.args[0])
    erf = graph.op("Erf", graph.op("Mul", x, emitter.value(0.5**0.5)))
    below = graph.op("Mul", graph.op("Add", erf, emitter.value(1)), emitter.value(0.5))
    bell = graph.op("Exp", graph.op("Mul", graph.op("Mul", x, x), emitter.value(-0.5)))
    density = graph.op("Mul", bell, emitter.value((2 * np.pi) ** -0.5))
    yield node.args[0], graph.op("Mul", gradient, graph.op("Add", below, graph.op("Mul", x, density)))


@rule("leaky_relu")
def _leaky_relu(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    graph, slope = emitter.graph, float(node.args[1]) if len(node.args) > 1 else 0.01
    positive = graph.op("Greater", emitter.value(node.args[0]), emitter.value(0))
    yield node.args[0], graph.op("Where", positive, gradient, graph.op("Mul", gradient, emitter.value(slope)))


@rule("elu")
def _elu(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    """1 above 0, y + alpha below."""
    graph, alpha = emitter.graph, float(node.args[1]) if len(node.args) > 1 else 1.0
    positive = graph.op("Greater", emitter.value(node.args[0]), emitter.value(0))
    slope = graph.op("Add", emitter.value(node), emitter.value(alpha))
    yield node.args[0], graph.op("Where", positive, gradient, graph.op("Mul", gradient, slope))


@rule("exp")
def _exp(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    yield node.args[0], emitter.graph.op("Mul", gradient, emitter.value(node))


@rule("neg")
def _neg(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    yield node.args[0], emitter.graph.op("Neg", gradient)


@rule("add", "sub")
def _add(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    graph, (first, second) = emitter.graph, node.args[:2]
    if isinstance(first, Node):
        yield first, _as(emitter, gradient, node.shape, first.shape)
    if isinstance(second, Node):
        factor = float(node.kwargs.get("alpha", 1)) * (1 if node.op == "add" else -1)
        part = gradient if factor == 1 else graph.op("Mul", gradient, emitter.value(factor))
        yield second, _as(emitter, part, node.shape, second.shape)


@rule("mul")
def _mul(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    for one, other in (node.args, node.args[::-1]):
        if isinstance(one, Node) and one.value is None:
            part = emitter.graph.op("Mul", gradient, emitter.value(other))
            yield one, _as(emitter, part, node.shape, one.shape)


@rule("div")
def _div(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    graph, (above, below) = emitter.graph, node.args[:2]
    part = graph.op("Div", gradient, emitter.value(below))
    if isinstance(above, Node):
        yield above, _as(emitter, part, node.shape, above.shape)
    if isinstance(below, Node) and below.value is None:
        part = graph.op("Neg", graph.op("Mul", part, emitter.value(node)))  # -g y / below
        yield below, _as(emitter, part, node.shape, below.shape)


# ---------------------------------------------------------------------------------------- layers


@rule("convolution")
def _convolution(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    image, weight, _, stride, padding, dilation, transposed, _, groups = node.args
    if weight.value is None or transposed or len(stride) != 2:
        raise UntranslatedError("convolution", " (transposed, or with computed weights)'s derivative")
    o, i, *kernel = weight.value.shape
    if all(step == 1 for step in stride):
        # A plain convolution with the weights flipped and turned: faster than a transposed one, and right on
        # OpenVINO, which computes a transposed convolution wrongly that shares weights with a convolution.
        turned = weight.value.reshape(groups, o // groups, i, *kernel).transpose(1, 2)
        turned = turned.reshape(groups * i, o // groups, *kernel).flip(2, 3)
        pad = [dilation[axis] * (kernel[axis] - 1) - padding[axis] for axis in (0, 1)]
        if min(pad) >= 0:
            yield (
                image,
                emitter.graph.op(
                    "Conv",
                    gradient,
                    emitter.graph.constant(turned.contiguous().numpy()),
                    pads=[*pad, *pad],
                    dilations=list(dilation),
                    group=groups,
                ),
            )
            return
    rest = [
        image.size(2 + axis)
        - (
            (node.size(2 + axis) - 1) * stride[axis]
            - 2 * padding[axis]
            + dilation[axis] * (kernel[axis] - 1)
            + 1
        )
        for axis in (0, 1)
    ]
    yield (
        image,
        emitter.graph.op(
            "ConvTranspose",
            gradient,
            emitter.graph.constant(weight.value.numpy()),  # a copy of its own, see `OnnxGraph.constant`
            strides=list(stride),
            pads=[*padding, *padding],
            dilations=list(dilation),
            output_padding=rest,
            group=groups,
        ),
    )


@rule(*NORMALISATIONS)
def _batch_norm(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    scale, _ = normalisation(node)
    yield node.args[0], emitter.graph.op("Mul", gradient, per_channel(emitter, scale, len(node.shape)))


@rule("native_layer_norm", "layer_norm")
def _layer_norm(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    """Input: r (h - mean h - u mean(h u)); h = g weight, u the normalised input, r = 1 / its deviation."""
    graph, (image, sizes, weight, _, epsilon) = emitter.graph, node.args[:5]
    axes = [-1 - index for index in range(len(sizes))]
    x = emitter.value(image)
    centred = graph.op("Sub", x, graph.reduce("Mean", x, axes))
    variance = graph.reduce("Mean", graph.op("Mul", centred, centred), axes)
    deviation = graph.op("Sqrt", graph.op("Add", variance, emitter.value(epsilon)))
    u = graph.op("Div", centred, deviation)
    h = gradient if weight is None else graph.op("Mul", gradient, emitter.value(weight))
    along = graph.op("Mul", u, graph.reduce("Mean", graph.op("Mul", h, u), axes))
    rest = graph.op("Sub", graph.op("Sub", h, graph.reduce("Mean", h, axes)), along)
    yield image, graph.op("Div", rest, deviation)


@rule("addmm")
def _addmm(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    bias, *factors = node.args[:3]
    yield bias, _as(emitter, gradient, node.shape, bias.shape)
    yield from _product(emitter, factors, gradient)


@rule("mm", "bmm", "matmul")
def _matmul(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    yield from _product(emitter, node.args[:2], gradient)


def _product(emitter: Emitter, factors: Sequence[Node], gradient: str) -> Gradients:
    """Of y = a b: g b^T and a^T g."""
    graph, (left, right) = emitter.graph, factors

    def turned(node: Node) -> str:
        order = list(range(len(node.shape)))
        return graph.op("Transpose", emitter.value(node), perm=[*order[:-2], order[-1], order[-2]])

    if left.value is None:
        yield left, graph.op("MatMul", gradient, turned(right))
    if right.value is None:
        yield right, graph.op("MatMul", turned(left), gradient)


@rule("max_pool2d_with_indices", "max_pool2d")
def _max_pool(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    """To the place of each window's maximum; to the first one, where several places hold it."""
    image = node.args[0]
    kernel, stride, padding, _ = window(node)
    apart = kernel == stride and padding == [0, 0] and kernel[0] == kernel[1]
    whole = all(image.size(2 + axis) % kernel[axis] == 0 for axis in (0, 1))
    write = (
        _max_pool_apart if apart and whole and pooling(node)["dilations"] == [1, 1] else _max_pool_overlapping
    )
    yield image, write(emitter, node, gradient)


def _max_pool_apart(emitter: Emitter, node: Node, gradient: str) -> str:
    """Of windows that tile the image: the places of a window become channels."""
    graph, image, side = emitter.graph, node.args[0], window(node)[0][0]
    places, (channels, height, width) = side * side, (node.size(axis) for axis in (1, 2, 3))
    by_place = graph.op("SpaceToDepth", emitter.value(image), blocksize=side)
    by_place = emitter.reshape(by_place, (Batch(1), places, channels, height, width))
    first = graph.op("ArgMax", by_place, axis=1, keepdims=1)
    here = graph.op("Equal", first, graph.constant(np.arange(places).reshape(1, places, 1, 1, 1)))
    found = graph.op(
        "Mul", graph.as_float(here), emitter.reshape(gradient, (Batch(1), 1, channels, height, width))
    )
    found = emitter.reshape(found, (Batch(1), places * channels, height, width))
    return graph.op("DepthToSpace", found, blocksize=side, mode="DCR")


def _max_pool_overlapping(emitter: Emitter, node: Node, gradient: str) -> str:
    graph, image = emitter.graph, node.args[0]
    channels, height, width = (image.size(axis) for axis in (1, 2, 3))
    _, places = graph.op_many("MaxPool", [emitter.value(image)], 2, **pooling(node))
    inside = graph.op(
        "Mod", places, graph.constant([height * width])
    )  # ONNX counts on over channels and images
    shape = (Batch(1), channels, -1)
    zeros = emitter.expand(emitter.value(0), (Batch(1), channels, height * width))
    found = graph.op(
        "ScatterElements",
        zeros,
        _rows(emitter, inside, shape),
        _rows(emitter, gradient, shape),
        axis=2,
        reduction="add",
    )
    return emitter.reshape(found, image.shape)


def _rows(emitter: Emitter, value: str, shape: Any) -> str:
    return emitter.graph.reshape(value, [0, shape[1], -1])


@rule("avg_pool2d")
def _avg_pool(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    image = node.args[0]
    kernel, stride, padding, _ = window(node)
    channels = image.size(1)
    rest = [
        image.size(2 + axis) - ((node.size(2 + axis) - 1) * stride[axis] - 2 * padding[axis] + kernel[axis])
        for axis in (0, 1)
    ]
    if padding != [0, 0] and not (node.args[5] if len(node.args) > 5 else True):
        raise UntranslatedError("avg_pool2d", " (padding not counted)'s derivative")
    if kernel == stride and padding == [0, 0] and rest == [0, 0]:
        spread = emitter.graph.op(
            "Resize", gradient, "", emitter.graph.constant(np.array([1, 1, *kernel], np.float32)),
            mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        )  # fmt: skip
        yield image, emitter.graph.op("Mul", spread, emitter.value(1 / (kernel[0] * kernel[1])))
        return
    weight = np.full((channels, 1, *kernel), 1 / (kernel[0] * kernel[1]), np.float32)
    if min(rest) < 0:
        raise UntranslatedError("avg_pool2d", " (windows beyond the image)'s derivative")
    yield (
        image,
        emitter.graph.op(
            "ConvTranspose",
            gradient,
            emitter.graph.constant(weight),
            strides=stride,
            pads=[*padding, *padding],
            output_padding=rest,
            group=channels,
        ),
    )


@rule("_adaptive_avg_pool2d", "adaptive_avg_pool2d")
def _adaptive_avg_pool(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    rows, columns = adaptive_matrices(node)
    left = emitter.graph.op("MatMul", emitter.graph.constant(rows.T.copy()), gradient)
    yield node.args[0], emitter.graph.op("MatMul", left, emitter.graph.constant(columns))


# --------------------------------------------------------------------------------- reductions, shape


@rule("mean", "sum")
def _reduce(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    image = node.args[0]
    axes, keepdims = reduced(node)
    kept: Shape = tuple(1 if axis in axes else dim for axis, dim in enumerate(image.shape))
    part = gradient if keepdims else emitter.reshape(gradient, kept)
    if node.op == "mean":
        part = emitter.graph.op("Mul", part, emitter.value(1 / np.prod([image.size(axis) for axis in axes])))
    yield image, emitter.expand(part, image.shape)


@rule("amax")
def _amax(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    """To the places of the maximum, in equal parts."""
    graph, image = emitter.graph, node.args[0]
    axes, keepdims = reduced(node)
    kept: Shape = tuple(1 if axis in axes else dim for axis, dim in enumerate(image.shape))
    highest, part = (
        value if keepdims else emitter.reshape(value, kept) for value in (emitter.value(node), gradient)
    )
    here = graph.as_float(graph.op("Equal", emitter.value(image), highest))
    yield image, graph.op("Mul", here, graph.op("Div", part, graph.reduce("Sum", here, axes)))


@rule("upsample_bilinear2d")
def _upsample(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    """Of y = rows x columns^T: rows^T g columns."""
    image, graph = node.args[0], emitter.graph
    rows, columns = (_resizing(image.size(axis), node.size(axis)) for axis in (2, 3))
    left = graph.op("MatMul", graph.constant(np.ascontiguousarray(rows.T)), gradient)
    yield image, graph.op("MatMul", left, graph.constant(columns))


def _resizing(old: int, new: int) -> np.ndarray[Any, Any]:
    """What one axis is multiplied with: (new, old)."""
    unit = torch.eye(old)[None, :, :, None]  # (1, one unit vector each, its values, 1)
    resized = functional.interpolate(unit, size=(new, 1), mode="bilinear", align_corners=False)
    return np.ascontiguousarray(resized[0, :, :, 0].T.numpy())


@rule("view", "reshape", "_unsafe_view", "unsqueeze", "squeeze", "flatten", "_reshape_alias")
def _view(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    yield node.args[0], emitter.reshape(gradient, node.args[0].shape)


@rule("expand")
def _expand(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    yield node.args[0], _as(emitter, gradient, node.shape, node.args[0].shape)


@rule("permute", "t", "transpose")
def _permute(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    order = permutation(node)
    back = [order.index(axis) for axis in range(len(order))]
    yield node.args[0], emitter.graph.op("Transpose", gradient, perm=back)


@rule("cat")
def _cat(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    parts = node.args[0]
    axis = (int(node.args[1]) if len(node.args) > 1 else int(node.kwargs.get("dim", 0))) % len(node.shape)
    sizes = [part.size(axis) for part in parts]
    split = emitter.graph.op_many("Split", [gradient, emitter.graph.constant(sizes)], len(parts), axis=axis)
    yield from zip(parts, split, strict=True)


@rule("slice")
def _slice(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    axis, start, _, step = sliced(node)
    image, size = node.args[0], node.args[0].shape[axis]
    if step != 1 or isinstance(size, Batch):
        raise UntranslatedError("slice", " (with steps)'s derivative")
    before = start % size if start < 0 else start
    pad = [0] * (2 * len(node.shape))
    pad[axis], pad[axis + len(node.shape)] = before, size - before - node.size(axis)
    yield (
        image,
        emitter.graph.op("Pad", gradient, emitter.graph.constant(pad), emitter.value(0), mode="constant"),
    )


@rule("constant_pad_nd")
def _pad(emitter: Emitter, node: Node, gradient: str) -> Gradients:
    back = [-pad for pad in pads(node)]
    yield (
        node.args[0],
        emitter.graph.op("Pad", gradient, emitter.graph.constant(back), emitter.value(0), mode="constant"),
    )
