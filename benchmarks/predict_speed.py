"""`ltcam predict` against the bare network's capture of the same images, run by run in one process.

    python benchmarks/predict_speed.py RUN IMAGES --out docs/results/predict-speed.json [--number 200]

"Bare" is one forward and one backward pass to the stages that the run's map needs, of images that are
already in memory at the network's size, in batches of the same size. `predict` also reads, resizes,
makes maps, masks and regions, and writes masks, heatmaps, overlays, CSV, JSON and COCO.
"""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from common import parser_of, write_result
from rich.console import Console

from ltcam.cam import capture
from ltcam.jobs.execution import Execution
from ltcam.jobs.predicting import find_inputs, predict
from ltcam.runs.inspector import Inspector
from ltcam.runs.memory import keep_freed_memory
from ltcam_runtime.images import read_image
from ltcam_runtime.resizing import resize


def bare_seconds(inspector: Inspector, files: Sequence[tuple[str, Path]], batch_size: int) -> float:
    size = inspector.run.image_size
    batches = [
        inspector.network.batch(
            [resize(read_image(path), size) for _, path in files[start : start + batch_size]]
        )
        for start in range(0, len(files), batch_size)
    ]
    target = inspector.network.target
    started = time.perf_counter()
    for batch in batches:
        capture(inspector.network.classifier, batch, target, layers=inspector.run.cam.stages)
    return time.perf_counter() - started


def predict_seconds(run: Path, files: Sequence[tuple[str, Path]], batch_size: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        listing = Path(folder) / "inputs"
        listing.mkdir()
        for number, (_, path) in enumerate(files):
            (listing / f"{number:04d}{path.suffix}").symlink_to(path.absolute())
        started = time.perf_counter()
        predict(run, listing, Path(folder) / "out", execution=Execution(batch_size=batch_size))
        return time.perf_counter() - started


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("images")
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    keep_freed_memory()
    files = find_inputs([options.images]).files[: options.number]
    inspector = Inspector.load(options.run)
    bare_seconds(inspector, files[:8], options.batch_size)  # warm-up
    rows = []
    for _ in range(options.rounds):
        theirs = bare_seconds(inspector, files, options.batch_size)
        ours = predict_seconds(options.run, files, options.batch_size)
        rows.append(
            {"bare_s": round(theirs, 3), "predict_s": round(ours, 3), "ratio": round(ours / theirs, 3)}
        )
        Console().print(rows[-1])
    best = {"bare_s": min(row["bare_s"] for row in rows), "predict_s": min(row["predict_s"] for row in rows)}
    result = {
        "what": "ltcam predict against the bare capture of the same images",
        "backbone": inspector.run.backbone,
        "image_size": inspector.run.image_size,
        "images": len(files),
        "batch_size": options.batch_size,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, {platform.processor() or 'unknown'}",
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "rounds": rows,
        "ratio": round(best["predict_s"] / best["bare_s"], 3),
        "bar": 1.25,
    }
    Console().print(f"ratio of the best of {options.rounds}: {result['ratio']} (bar 1.25)")
    if options.out:
        write_result(options.out, result)


if __name__ == "__main__":
    main()
