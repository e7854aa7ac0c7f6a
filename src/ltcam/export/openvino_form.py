"""A graph in OpenVINO's own form."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ltcam_runtime.engines import import_openvino


def intermediate_representation(model: onnx.ModelProto, *, half: bool) -> tuple[bytes, bytes]:
    """The XML of a graph, and the numbers that it refers to.

    Args:
        model: the graph.
        half: whether weights are kept in float16.
    """
    openvino = import_openvino()
    whole = openvino.Core().read_model(_with_own_weights(model).SerializeToString())
    for number, operator in enumerate(whole.get_ordered_ops()):  # else they count on through the process
        operator.set_friendly_name(f"n{number}")
    with tempfile.TemporaryDirectory(prefix="ltcam-") as scratch:
        file = Path(scratch) / "graph.xml"
        openvino.save_model(whole, file, compress_to_fp16=half)
        return file.read_bytes(), file.with_suffix(".bin").read_bytes()


def _with_own_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph, with no transposed convolution whose weights are those of a convolution.

    OpenVINO writes equal constants once, and computes a transposed convolution wrongly that shares its weights with a
    convolution (see `OnnxGraph.constant`). Twice the weights of half the input give the same, to the last bit.
    """
    found = onnx.ModelProto()
    found.CopyFrom(model)
    weights = {constant.name: constant for constant in found.graph.initializer}
    transposed = {node.input[1] for node in found.graph.node if node.op_type == "ConvTranspose"}
    for name in transposed & set(weights):
        values = numpy_helper.to_array(weights[name]) * np.float32(2)
        weights[name].CopyFrom(numpy_helper.from_array(values, name))
    found.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "half"))
    nodes = []
    for node in found.graph.node:
        if node.op_type == "ConvTranspose" and node.input[1] in weights:
            halved = f"{node.output[0]}_halved"
            nodes.append(helper.make_node("Mul", [node.input[0], "half"], [halved]))
            node.input[0] = halved
        nodes.append(node)
    copied = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del found.graph.node[:]
    found.graph.node.extend(copied)
    return found
