"""Put evaluations of runs on KolektorSDD's paper split into one file and one table.

    ltcam train KSDD --out RUN --backbone vgg16 --weights TRUNK --image-size 640x256 ...
    ltcam evaluate RUN KSDD --out METRICS
    python benchmarks/ksdd_paper_split.py RUN=METRICS [RUN=METRICS ...] --out docs/results/ksdd-paper-split.json

The Markdown table goes beside the JSON file.
"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

from common import pair, parser_of, write_result

from ltcam.runs.folder import read_run

_PIXEL = (
    "iou",
    "precision",
    "recall",
    "f1",
    "ap",
    "auroc",
    "pro",
    "mean_image_iou",
    "two_class_miou",
    "ceiling_2px",
)
_IMAGE = ("ap", "auroc", "f1", "accuracy", "threshold")


def entry(run: Path, metrics_folder: Path) -> dict[str, Any]:
    """What is kept of one run."""
    metrics = json.loads((metrics_folder / "metrics.json").read_text())
    settings = read_run(run)
    pixel = {name: metrics["pixel"][name] for name in _PIXEL}
    return {
        "method": settings.cam.model_dump(mode="json")
        | {"sharpening": settings.sharpening.model_dump(mode="json")}
        | {"mask": settings.mask.model_dump(mode="json")},
        "pixel": pixel
        | {"boundary": metrics["pixel"]["boundary"], "intervals": metrics["pixel"]["intervals"]},
        "populations": {
            name: {key: values[key] for key in ("iou", "precision", "recall", "f1")}
            for name, values in metrics["populations"].items()
        },
        "image": {name: metrics["image"][name] for name in _IMAGE}
        | {"intervals": metrics["image"]["intervals"]},
        "image_size": settings.image_size,
        "weights": settings.initial_weights.get("source"),
        "best_epoch": settings.evidence.get("best_epoch"),
        "command": [_without_paths(settings.command), _without_paths(metrics["settings"]["command"])],
        "seed": settings.seed,
        "versions": settings.versions,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {_processor()}",
    }


def _without_paths(command: str) -> str:
    """File names are enough for a reader, and say nothing of the machine."""
    return " ".join(part.rsplit("/", 1)[-1] if "/" in part else part for part in command.split())


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def table(entries: dict[str, dict[str, Any]]) -> str:
    """Markdown."""
    head = "| backbone | IoU | precision | recall | F1 | F1 within 2 px | image AP | image AUROC | ceiling (2 px) |"
    lines = [head, "|---|" + "---:|" * 8]
    for name, values in entries.items():
        pixel, image = values["pixel"], values["image"]
        numbers = [pixel[key] for key in ("iou", "precision", "recall", "f1")]
        numbers += [pixel["boundary"]["2"]["f1"], image["ap"], image["auroc"], pixel["ceiling_2px"]]
        lines.append(f"| {name} | " + " | ".join(f"{number:.3f}" for number in numbers) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("pairs", nargs="+", type=pair, metavar="RUN=METRICS")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    entries = {}
    for run, metrics in options.pairs:
        entries[read_run(run).backbone] = entry(run, metrics)
    write_result(options.out, entries)
    options.out.with_suffix(".md").write_text(table(entries))
    print(table(entries))


if __name__ == "__main__":
    main()
