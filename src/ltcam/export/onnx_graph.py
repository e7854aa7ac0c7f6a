"""An ONNX graph in the making: nodes, constants, and the few compositions that everything is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 20, 10

Array = NDArray[Any]


class OnnxGraph:
    """Collects nodes in the order in which they are computed. Values go by their names."""

    def __init__(self, prefix: str = "") -> None:
        """`prefix`: of all names, for graphs inside of another one."""
        self._prefix = prefix
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._small: dict[tuple[bytes, str, tuple[int, ...]], str] = {}
        self._written: dict[tuple[str, tuple[str, ...], int, str], tuple[str, ...]] = {}
        self._count = 0

    def add_input(self, name: str, element: int, shape: Sequence[int | str]) -> str:
        """Declare an input of the graph; a dimension that is a text is free."""
        self._inputs.append(helper.make_tensor_value_info(name, element, shape))
        return name

    def add_output(self, value: str, name: str, element: int, shape: Sequence[int | str]) -> None:
        """Give a value to the outside under a name."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, element, shape))

    def constant(self, values: Array | float | Sequence[int]) -> str:
        """A constant; numbers without a type become float32, sequences of integers int64.

        Small equal ones are one; large ones never are, since OpenVINO computes a transposed convolution wrongly
        that shares its weights with a convolution.
        """
        array = _as_array(values)
        key = (array.tobytes(), array.dtype.str, array.shape) if array.size <= 16 else None
        if key is not None and key in self._small:
            return self._small[key]
        name = self._new("c")
        self._initializers.append(
            numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        )
        if key is not None:
            self._small[key] = name
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append an operator with one output, and return that."""
        return self.op_many(kind, inputs, 1, **attributes)[0]

    def op_many(self, kind: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> tuple[str, ...]:
        """Append an operator with several outputs; one that is there already is not computed again."""
        key = (kind, tuple(inputs), outputs, repr(sorted(attributes.items())))
        if key not in self._written:
            names = tuple(self._new(kind.lower()) for _ in range(outputs))
            self._nodes.append(helper.make_node(kind, list(inputs), list(names), **attributes))
            self._written[key] = names
        return self._written[key]

    def reshape(self, value: str, shape: Sequence[int]) -> str:
        """`shape` as ONNX has it: -1 is what is left, 0 the input's own dimension there."""
        return self.op("Reshape", value, self.constant(list(shape)))

    def reduce(self, kind: str, value: str, axes: Sequence[int], *, keepdims: bool = True) -> str:
        """ReduceSum, ReduceMean, ReduceMax or ReduceMin."""
        return self.op(f"Reduce{kind}", value, self.constant(list(axes)), keepdims=int(keepdims))

    def as_float(self, value: str) -> str:
        """Of booleans or integers."""
        return self.op("Cast", value, to=TensorProto.FLOAT)

    def repeat(self, count: int, step: Callable[[OnnxGraph, str, str], str], value: str, free: str) -> str:
        """What is left of a value after a loop.

        Args:
            count: of iterations.
            step: called once with the graph of the loop's body, the number of the iteration (a scalar, from 0 on) and
                the value before it; returns the value after it. It may read values of this graph.
            value: at the start, float32.
            free: any value of the dimensions that `value` will have.
        """
        self._count += 1
        body = OnnxGraph(f"{self._prefix}loop{self._count}_")
        number, going, before = (f"{body._prefix}{name}" for name in ("number", "going", "before"))
        after = step(body, number, before)
        still = body.op("Identity", going)
        graph = helper.make_graph(
            body._nodes,
            body._prefix,
            [
                helper.make_tensor_value_info(number, TensorProto.INT64, []),
                helper.make_tensor_value_info(going, TensorProto.BOOL, []),
                helper.make_tensor_value_info(before, TensorProto.FLOAT, None),
            ],
            [
                helper.make_tensor_value_info(still, TensorProto.BOOL, []),
                helper.make_tensor_value_info(after, TensorProto.FLOAT, None),
            ],
            body._initializers,
        )
        start = self.op("Add", value, self.op("Mul", free, self.constant(0)))
        found: str = self.op(
            "Loop", self.constant(np.array(count)), self.constant(np.array(True)), start, body=graph
        )
        return found

    def model(self, name: str) -> onnx.ModelProto:
        """The graph as a model, with nothing in it that no output needs."""
        nodes = _needed(self._nodes, {output.name for output in self._outputs})
        used = _read(nodes)
        graph = helper.make_graph(
            nodes,
            name,
            self._inputs,
            self._outputs,
            [constant for constant in self._initializers if constant.name in used],
        )
        model: onnx.ModelProto = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="ltcam",
        )
        return model

    def _new(self, kind: str) -> str:
        self._count += 1
        return f"{self._prefix}{kind}_{self._count}"


def _needed(nodes: Sequence[onnx.NodeProto], wanted: set[str]) -> list[onnx.NodeProto]:
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(_read([node]))
            kept.append(node)
    return kept[::-1]


def _read(nodes: Sequence[onnx.NodeProto]) -> set[str]:
    """What nodes read, the bodies of loops included."""
    bodies = [attribute.g.node for node in nodes for attribute in node.attribute if attribute.HasField("g")]
    return {value for node in nodes for value in node.input}.union(*map(_read, bodies))


def _as_array(values: Array | float | Sequence[int]) -> Array:
    if isinstance(values, np.ndarray):
        return values
    if isinstance(values, (int, float)):
        return np.array(values, np.float32)
    return np.array(list(values), np.int64)
