"""A student's exported file in 8 bits against the same one in float32: time, verdicts, masks.

    python benchmarks/int8.py STUDENT=DATA [STUDENT=DATA ...] [--untrained vgg16] [--threads 1]
                              [--out docs/results/int8.json]

STUDENT is a run folder of `ltcam distill`, and DATA the images it was trained on. Both files are written by
`ltcam export`; the ranges of values come from images of the training side, and the images held back tell what 8 bits
cost: IoU of all their masks with the true ones, and how many verdicts are others. One image through the network, both
files in turn, the least of several rounds. Where `export` keeps float32, the table says why. Of `--untrained` backbones
a student with random weights tells the time alone, at 224 x 224 on one thread.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from common import pair, parser_of, write_result
from rich.console import Console
from rich.table import Table

from ltcam.data.dataset import Sample
from ltcam.data.opened import OpenData
from ltcam.data.truth import read_truth
from ltcam.evaluation.counts import PixelCounts, count_pixels, iou
from ltcam.export.export import ExportSettings, Precision, export_run
from ltcam.export.pipeline import Pipeline, build_graph
from ltcam.export.quantisation import quantised, speed_up
from ltcam.models.student import STUDENT, build_student
from ltcam.runs.folder import read_run
from ltcam.runs.network import make_cam
from ltcam.runs.sides import choose_samples
from ltcam_runtime.exported import Inspector
from ltcam_runtime.graph_networks import EngineSettings
from ltcam_runtime.resizing import resize
from ltcam_runtime.results import Verdict
from ltcam_runtime.settings import CamSettings

CALIBRATED, SIDE = 64, 224
FASTER_WITHOUT, FASTER_WITH = 1.4, 2.5
"""Times as fast as float32 at least, without and with VNNI instructions."""


def spread(samples: Sequence[Sample], most: int) -> list[Path]:
    """So many images of each label as go into half of `most`, from all over the list."""
    chosen: list[Path] = []
    for defective in (False, True):
        files = [sample.path for sample in samples if sample.defective == defective]
        chosen += files[:: max(1, -(-len(files) * 2 // most))]
    return chosen


def on_images(inspector: Inspector, samples: Sequence[Sample]) -> tuple[PixelCounts, list[Verdict]]:
    """Counts over all images that have a true mask, and every image's verdict."""
    counts, verdicts = PixelCounts(), list[Verdict]()
    for sample in samples:
        found = inspector.inspect(sample.path)
        verdicts.append(found.verdict)
        truth = read_truth(sample, found.mask.shape)
        if truth is not None and sample.defective:
            counts += count_pixels(found.mask, truth)
    return counts, verdicts


def least(inspectors: Sequence[Inspector], file: Path, rounds: int) -> list[float]:
    """Milliseconds of one image through each network, turn by turn."""
    picture = resize(inspectors[0].pixels(file, file.name), inspectors[0].network.image_size)
    found = [float("inf")] * len(inspectors)
    for _ in range(rounds):
        for place, inspector in enumerate(inspectors):
            started = time.perf_counter()
            inspector.network.respond([picture])
            found[place] = min(found[place], (time.perf_counter() - started) * 1000)
    return found


def row_of(student: Path, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    opened = OpenData.open(data)
    training, held_back = (choose_samples(opened, student, side)[0] for side in ("train", "test"))
    engine = EngineSettings("onnxruntime", "cpu", options.threads)
    inspectors, notes = [], []
    with tempfile.TemporaryDirectory() as scratch:
        precisions: tuple[Precision, ...] = ("fp32", "int8")
        for precision in precisions:
            settings = ExportSettings(precision=precision, calibration=tuple(spread(training, CALIBRATED)))
            exported = export_run(student, Path(scratch) / f"{precision}.ltcam.onnx", settings)
            inspectors.append(Inspector.load(exported.path, engine=engine))
            notes.append(exported.note)
    whole, small = (on_images(inspector, held_back) for inspector in inspectors)
    times = least(inspectors, held_back[0].path, options.rounds)
    run = read_run(student)
    return {
        "run": student.name,
        "backbone": run.backbone,
        "image_size": run.image_size,
        "written": inspectors[1].network.part.precision,
        "note": notes[1],
        "ms": dict(zip(precisions, (round(ms, 2) for ms in times), strict=True)),
        "ratio": round(times[0] / times[1], 3),
        "bar": bar(),
        "iou": {name: iou(each[0]) for name, each in zip(precisions, (whole, small), strict=True)},
        "images": len(held_back),
        "verdicts_changed": sum(a != b for a, b in zip(whole[1], small[1], strict=True)),
    }


def speed_of(backbone: str) -> dict[str, Any]:
    """How many times as fast 8 bits make a student of this backbone, whose weights are random."""
    network = build_student(backbone, 2).eval().requires_grad_(False)
    cam = make_cam(CamSettings(method=STUDENT.name, stages=("drawn",)))
    pipeline = Pipeline(network, {"map": cam}, (SIDE, SIDE), (0.5,) * 3, (0.5,) * 3, (1,))
    whole, plain = build_graph(pipeline), build_graph(pipeline, plain=True)
    pictures = list(np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8))
    small = quantised(plain, pictures)
    ratio = speed_up(whole.SerializeToString(), small.SerializeToString(), pictures[0])
    return {
        "run": "",
        "backbone": backbone,
        "image_size": [SIDE, SIDE],
        "ratio": round(ratio, 3),
        "bar": bar(),
    }


def bar() -> float:
    return FASTER_WITH if has_vnni() else FASTER_WITHOUT


def has_vnni() -> bool:
    known = Path("/proc/cpuinfo")
    return known.is_file() and "vnni" in known.read_text(encoding="utf-8")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("students", nargs="+", type=pair, metavar="STUDENT=DATA")
    parser.add_argument("--untrained", nargs="*", default=[], metavar="BACKBONE")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("docs/results/int8.json"))
    options = parser.parse_args()
    rows = [row_of(student, data, options) for student, data in options.students]
    rows += map(speed_of, options.untrained)
    content = {
        "machine": f"{platform.machine()}, {'with' if has_vnni() else 'without'} VNNI instructions",
        "onnxruntime": onnxruntime.__version__,
        "threads": options.threads,
        "rows": rows,
    }
    write_result(options.out, content)
    table = Table("student", "times as fast", "IoU fp32", "IoU int8", "verdicts changed", "written")
    for row in rows:
        iou_of = row.get("iou", {})
        table.add_row(
            row["run"] or f"{row['backbone']}, untrained",
            f"{row['ratio']:.2f} (bar {row['bar']})",
            *(f"{iou_of[each]:.3f}" if iou_of else "" for each in ("fp32", "int8")),
            f"{row['verdicts_changed']} of {row['images']}" if iou_of else "",
            row.get("note", ""),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
