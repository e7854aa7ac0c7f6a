"""How fast an exported file is: torch, ONNX Runtime and OpenVINO side by side, in one process.

    python benchmarks/export_speed.py [--size 224] [--threads 2] [--out docs/results/export-speed.json]

For each backbone, with random weights (time does not depend on them): one image through network and map (the default
map, and LTGrad-CAM of all stages), a student, and the cascade at 2 % defects. The sides take turns; the least of
several rounds counts. Bars: as fast as torch for maps, 1.3 times for students, 1.6 times for the cascade.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import onnxruntime
import torch
from common import parser_of, write_result

from ltcam.calibration.maps import default_cam
from ltcam.cam import log_odds
from ltcam.export.pipeline import Pipeline, build_graph
from ltcam.models.classifier import build_classifier, stages_of
from ltcam.models.student import STUDENT, build_student
from ltcam.runs.network import make_cam
from ltcam_runtime.engines import import_openvino
from ltcam_runtime.graph_networks import EngineSettings, GraphNetwork
from ltcam_runtime.part_files import EngineName, Golden, Origin, Part
from ltcam_runtime.settings import CamSettings, InspectionSettings

MAPS = ("tf_efficientnet_lite0", "vgg16", "vgg16_bn", "resnet18", "resnet50", "mobilenetv3_large_100",
        "convnext_tiny", "regnety_004", "densenet121")  # fmt: skip
STUDENTS = ("tf_efficientnet_lite0", "vgg16")
CASCADES = ("tf_efficientnet_lite0", "vgg16")
ENGINES = get_args(EngineName)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DEFECTS = 0.02

Call = Callable[[], object]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=MAPS)
    parser.add_argument("--out", type=Path, default=Path("docs/results/export-speed.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for backbone in options.only:
        for kind in ("default map", "LTGrad-CAM"):
            rows.append(measure_map(backbone, kind, options))
        if backbone in STUDENTS:
            rows.append(measure_student(backbone, options))
        if backbone in CASCADES:
            rows.append(measure_cascade(backbone, options))
    if options.out.is_file():  # backbones that are not measured now keep their rows
        known = json.loads(options.out.read_text())["rows"]
        rows = [*(row for row in known if row["backbone"] not in options.only), *rows]
    content = {"machine": machine(), "size": options.size, "threads": options.threads, "rows": rows}
    write_result(options.out, content)
    for row in rows:
        times = "  ".join(f"{side} {ms:8.1f} ms" for side, ms in row["ms"].items())
        print(f"{row['backbone']:24}{row['what']:22}{times}  best {row['ratio']:.2f}x (bar {row['bar']})")


def machine() -> dict[str, str]:
    capability = torch.backends.cpu.get_cpu_capability()
    return {
        "processor": f"{platform.processor() or platform.machine()}, {capability}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "openvino": import_openvino().__version__,
        "onnx": onnx.__version__,
    }


def measure_map(backbone: str, kind: str, options: argparse.Namespace) -> dict[str, Any]:
    size = (options.size, options.size)
    network = build_classifier(backbone, 2).eval().requires_grad_(False)
    stages = stages_of(network, size)
    settings = default_cam(stages)
    if kind == "LTGrad-CAM":
        settings = CamSettings(
            method="grad-cam", percentile=50, stages=stages, fusion="sum", positive_activations=False
        )
    graphs = engines(network, settings, options)
    image, cam = picture(options.size), make_cam(settings)
    sides: dict[str, Call] = {"torch": lambda: cam.explain(network, batch(image), log_odds([1]))}
    sides |= {name: partial(graph.respond, [image]) for name, graph in graphs.items()}
    return row(backbone, kind, sides, options, bar=1.0)


def measure_student(backbone: str, options: argparse.Namespace) -> dict[str, Any]:
    network = build_student(backbone, 2).eval().requires_grad_(False)
    settings = CamSettings(method=STUDENT.name, stages=("drawn",))
    graphs = engines(network, settings, options)
    image, cam = picture(options.size), make_cam(settings)
    sides: dict[str, Call] = {"torch": lambda: cam.explain(network, batch(image), log_odds([1]))}
    sides |= {name: partial(graph.respond, [image]) for name, graph in graphs.items()}
    return row(backbone, "student", sides, options, bar=1.3)


def measure_cascade(backbone: str, options: argparse.Namespace) -> dict[str, Any]:
    """Time per image where heatmaps are always made, and where only 2 % of the images pay for one."""
    size = (options.size, options.size)
    network = build_classifier(backbone, 2).eval().requires_grad_(False)
    graph = engines(network, default_cam(stages_of(network, size)), options)["onnxruntime"]
    image = picture(options.size)
    times = least(
        {"maps": lambda: graph.respond([image]), "verdict": lambda: graph.respond([image], ())}, options
    )
    cascade = times["verdict"] + DEFECTS * times["maps"]
    return {
        "backbone": backbone,
        "what": "cascade, 2 % defects",
        "ms": {"always maps": times["maps"], "cascade": cascade},
        "ratio": times["maps"] / cascade,
        "bar": 1.6,
    }


def engines(
    network: torch.nn.Module, settings: CamSettings, options: argparse.Namespace
) -> Mapping[str, GraphNetwork]:
    size = (options.size, options.size)
    model = build_graph(Pipeline(network, {"map": make_cam(settings)}, size, MEAN, STD, (1,)))
    golden = Golden(name="none", image="", probabilities=(), verdict="ok", heatmaps={}, mask="")
    part = Part(
        image_size=size,
        inspection=InspectionSettings(classes=("ok", "defect")),
        maps={"map": settings},
        origin=Origin(run="benchmark", weights_sha256=""),
        golden=(golden,),
    )
    content = model.SerializeToString()
    return {
        name: GraphNetwork(part, content, EngineSettings(name, "cpu", options.threads)) for name in ENGINES
    }


def row(
    backbone: str, what: str, sides: Mapping[str, Call], options: argparse.Namespace, bar: float
) -> dict[str, Any]:
    times = least(sides, options)
    best = min(times[name] for name in ENGINES)
    return {"backbone": backbone, "what": what, "ms": times, "ratio": times["torch"] / best, "bar": bar}


def least(sides: Mapping[str, Call], options: argparse.Namespace) -> dict[str, float]:
    """Milliseconds of each side: the least of several rounds in which they take turns."""
    found = dict.fromkeys(sides, float("inf"))
    for side in sides.values():
        side()
    for _ in range(options.rounds):
        for name, side in sides.items():
            started = time.perf_counter()
            side()
            found[name] = min(found[name], (time.perf_counter() - started) * 1000)
    return {name: round(ms, 2) for name, ms in found.items()}


def picture(side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


def batch(image: np.ndarray) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    pixels = (
        torch.from_numpy(image)[None]
        .permute(0, 3, 1, 2)
        .to(torch.float32, memory_format=torch.contiguous_format)
    )
    return pixels.div_(255).sub_(mean).div_(std)


if __name__ == "__main__":
    main()
