"""Which operators find a percentile inside a graph fastest: TopK, or counting bit by bit in a loop.

    python benchmarks/export_percentile.py [--out docs/results/export-percentile.json]

Sizes are those of VGG16's stages at 256 x 256. Both are exact; TopK sorts as many values as the 50th percentile needs.
The threads are one, the sides take turns, the least of several rounds counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import parser_of, write_result
from export_speed import machine
from numpy.typing import NDArray
from onnx import TensorProto

from ltcam.cam import Truncation
from ltcam.export.onnx_graph import OnnxGraph
from ltcam.export.truncation import write_selection
from ltcam_runtime.graph_networks import ENGINE_LOADERS, EngineSettings
from ltcam_runtime.part_files import IMAGES

SHAPES = ((64, 128, 128), (128, 64, 64), (256, 32, 32), (512, 16, 16), (512, 8, 8))
ROUNDS = 5


def counting(shape: tuple[int, int, int]) -> bytes:
    graph = OnnxGraph()
    gradients = graph.add_input(IMAGES, TensorProto.FLOAT, (1, *shape))
    graph.add_output(
        write_selection(graph, gradients, shape, Truncation(50)), "kept", TensorProto.FLOAT, (1, *shape)
    )
    return bytes(graph.model("counting").SerializeToString())


def top_k(shape: tuple[int, int, int]) -> bytes:
    channels, height, width = shape
    graph = OnnxGraph()
    gradients = graph.add_input(IMAGES, TensorProto.FLOAT, (1, *shape))
    rows = graph.reshape(gradients, [1, channels, -1])
    half = height * width // 2
    largest, _ = graph.op_many("TopK", [rows, graph.constant([half])], 2, axis=2, largest=1, sorted=1)
    count = graph.reduce("Sum", graph.as_float(graph.op("Greater", rows, graph.constant(0))), [2])
    rank = graph.op(
        "Cast", graph.op("Floor", graph.op("Mul", count, graph.constant(0.5))), to=TensorProto.INT64
    )
    rank = graph.op("Min", graph.op("Max", rank, graph.constant([0])), graph.constant([half - 1]))
    threshold = graph.op("Unsqueeze", graph.op("GatherElements", largest, rank, axis=2), graph.constant([3]))
    kept = graph.as_float(graph.op("GreaterOrEqual", gradients, threshold))
    graph.add_output(kept, "kept", TensorProto.FLOAT, (1, *shape))
    return bytes(graph.model("topk").SerializeToString())


def least(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    found = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS + 1):  # the first one warms up
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            found[name] = min(found[name], (time.perf_counter() - started) * 1000)
    return {name: round(ms, 2) for name, ms in found.items()}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/results/export-percentile.json"))
    options = parser.parse_args()
    rows = []
    for shape in SHAPES:
        values: NDArray[Any] = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
        runs: dict[str, Callable[[], object]] = {}
        for engine, load in ENGINE_LOADERS.items():
            for name, model in (("counting", counting(shape)), ("TopK", top_k(shape))):
                run = load(model, ("kept",), EngineSettings(engine, "cpu", 1))
                runs[f"{name}, {engine}"] = partial(run, values)
        ms = least(runs)
        rows.append({"shape": shape, "ms": ms})
        print(
            f"{' x '.join(map(str, shape)):16}",
            "  ".join(f"{k} {v:7.1f} ms" for k, v in ms.items()),
        )
    write_result(options.out, {"machine": machine(), "threads": 1, "rows": rows})


if __name__ == "__main__":
    main()
