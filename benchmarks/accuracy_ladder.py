"""From the usual map to the default one, rung by rung: what each step gains on defective test images.

    python benchmarks/accuracy_ladder.py RUN=DATA [RUN=DATA ...] --out docs/results/accuracy-ladder.json

Pooled over the defective images of the run's test side, masks by Otsu's threshold. Pixel masks measure; nothing is
chosen with them here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from common import pair, parser_of, write_result
from rich.console import Console
from rich.table import Table

from ltcam.calibration.maps import classic_cam
from ltcam.data.opened import OpenData
from ltcam.data.truth import read_marks
from ltcam.evaluation.counts import PixelCounts, count_pixels, f1, iou, precision, recall
from ltcam.runs.folder import read_run
from ltcam.runs.inspector import Inspector
from ltcam.runs.memory import keep_freed_memory
from ltcam.runs.sides import choose_samples
from ltcam_runtime.settings import MAP, CamSettings, Overrides


def with_map(inspector: Inspector, cam: CamSettings) -> Inspector:
    return replace(inspector, network=inspector.network.with_maps({MAP: cam}))


def rungs(inspector: Inspector) -> dict[str, Inspector]:
    plain = inspector.overridden(Overrides(sharpen="none"))
    paper = classic_cam(inspector.run.stages)
    last = paper.model_copy(update={"percentile": None, "stages": inspector.run.stages[-1:]})
    return {
        "Grad-CAM, last stage": with_map(plain, last),
        "LTGrad-CAM 50 %, all stages, raw sum (paper)": with_map(plain, paper),
        "default map": plain,
        "default map, sharpened": inspector,
    }


def measure(run: Path, data: Path) -> dict[str, Any]:
    inspector = Inspector.load(run)
    samples, side = choose_samples(OpenData.open(data), run, "test")
    chosen = [sample for sample in samples if sample.defective and sample.mask is not None]
    rows = {}
    for name, rung in rungs(inspector).items():
        counts = PixelCounts(0, 0, 0, 0)
        found = rung.inspect_files([(sample.id, sample.path) for sample in chosen], gate=False)
        for sample, item in zip(chosen, found, strict=True):
            truth = read_marks(sample)
            assert item.inspection is not None
            assert truth is not None
            counts += count_pixels(item.inspection.mask, truth)
        rows[name] = {
            "iou": iou(counts),
            "precision": precision(counts),
            "recall": recall(counts),
            "f1": f1(counts),
        }
    settings = read_run(run)
    return {
        "backbone": settings.backbone,
        "side": side,
        "defective_images": len(chosen),
        "sharpening": settings.sharpening.model_dump(mode="json"),
        "rows": rows,
    }


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("pairs", nargs="+", type=pair, metavar="RUN=DATA")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    keep_freed_memory()
    results = {}
    for run, data in options.pairs:
        results[run.name] = measure(run, data)
        table = Table(
            "map", "IoU", "precision", "recall", "F1", title=f"{run.name}: {results[run.name]['side']}"
        )
        for name, row in results[run.name]["rows"].items():
            table.add_row(name, *(f"{row[key]:.3f}" for key in ("iou", "precision", "recall", "f1")))
        Console(width=120).print(table)
        write_result(options.out, results)


if __name__ == "__main__":
    main()
