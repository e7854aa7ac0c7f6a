"""A graph's convolutions in 8 bits: ranges of the values between them measured on images (static quantisation).

Weights are signed, per channel. Processors without VNNI instructions add two products in 16 bits, which may overflow;
weights of 7 bits never do, but change heatmaps four times as much. So they have 8, and the file's golden images say
whether a machine is to be trusted with them. What a heatmap is drawn by stays in float32, and so do the logits.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from ltcam_runtime.engines import import_onnxruntime
from ltcam_runtime.part_files import HEATMAP, IMAGES

_KINDS = ("Conv", "Pad", "Clip")  # others cost more between 8 and 32 bits than they save
_ROUNDS = 9

Pixels = NDArray[np.uint8]


def quantised(model: onnx.ModelProto, images: Sequence[Pixels]) -> onnx.ModelProto:
    """The same graph with convolutions of 8 bits.

    Args:
        model: without gradients in it.
        images: (h, w, 3) at the network's size; their values say which ranges there are.
    """
    import_onnxruntime()  # with its telemetry off
    from onnxruntime import quantization  # noqa: PLC0415

    named = onnx.ModelProto()
    named.CopyFrom(model)
    for number, node in enumerate(named.graph.node):
        node.name = f"n{number}"
    feeds = iter({IMAGES: image[None]} for image in images)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def get_next(self) -> Mapping[str, NDArray[np.uint8]] | None:
            return next(feeds, None)

    with tempfile.TemporaryDirectory(prefix="ltcam-") as scratch, _quiet():
        file = Path(scratch) / "int8.onnx"
        quantization.quantize_static(
            named,
            file,
            Reader(),
            op_types_to_quantize=list(_KINDS),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=sorted(_drawing(named.graph)),
        )
        found = onnx.load(file)
    del found.metadata_props[:]
    return found


def speed_up(slow: bytes, fast: bytes, image: Pixels) -> float:
    """How many times as fast the second of two graphs is here, on one thread: turn by turn, the least of each.

    Args:
        slow: a model.
        fast: another one with the same input.
        image: (h, w, 3) at the network's size.
    """
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    sessions = [
        runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"]) for model in (slow, fast)
    ]
    least = [np.inf, np.inf]
    for _ in range(_ROUNDS):
        for place, session in enumerate(sessions):
            started = time.perf_counter()
            session.run(None, {IMAGES: image[None]})
            least[place] = min(least[place], time.perf_counter() - started)
    return float(least[0] / least[1])


def _drawing(graph: onnx.GraphProto) -> set[str]:
    """The last convolutions on the way to a heatmap."""
    makers = {output: node for node in graph.node for output in node.output}
    found, seen = set(), set()
    wanted = [output.name for output in graph.output if output.name.startswith(HEATMAP)]
    while wanted:
        node = makers.get(wanted.pop())
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if node.op_type == "Conv":
            found.add(node.name)
        else:
            wanted += node.input
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """ONNX Runtime warns on the root logger that a model could be prepared; it is."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
