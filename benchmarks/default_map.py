"""Which map serves best as the product's default: many settings from one capture per image.

    python benchmarks/default_map.py RUN=DATA [RUN=DATA ...] --split val --out docs/results/default-map.json

Each RUN is measured on one side of the split that it was trained with, on the defective images of
DATA. `val` images were not trained on (they chose the epoch, by image labels) and are no test images.
Pixel masks are used for this measurement.
"""

from __future__ import annotations

import itertools
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from common import pair, parser_of, write_result
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ltcam.cam import CAM, Truncation, fuse
from ltcam.cam.fusion import Fusion, StageScale
from ltcam.data.opened import OpenData
from ltcam.data.truth import read_marks
from ltcam.evaluation.counts import PixelCounts, count_pixels, f1, iou, precision, recall
from ltcam.runs.inspector import Inspector
from ltcam.runs.memory import keep_freed_memory
from ltcam.runs.sides import choose_samples
from ltcam_runtime.images import read_image
from ltcam_runtime.masks import otsu
from ltcam_runtime.resizing import resize, resize_heatmap

Setting = tuple[str, str, str, Fusion, StageScale]
Size = tuple[int, int]

METHODS = ("grad-cam", "layer-cam", "hires-cam")
TRUNCATIONS: dict[str, Truncation | None] = {
    "none": None,
    "50 channel": Truncation(50),
    "50 stage mask": Truncation(50, "stage", "mask"),
}
STAGES = ("5", "4", "3", "2,3", "3,4", "3,4,5", "2,3,4", "2,3,4,5", "1,2,3,4,5")
FUSIONS: tuple[tuple[Fusion, StageScale], ...] = (("sum", "none"), ("product", "max"))


def settings_of_all() -> list[Setting]:
    """(method, truncation, stages, fusion, scale); one stage needs one fusion only."""
    rows = []
    for method, truncation, stages in itertools.product(METHODS, TRUNCATIONS, STAGES):
        fusions = FUSIONS if "," in stages else FUSIONS[:1]
        rows += [(method, truncation, stages, *fusion) for fusion in fusions]
    return rows


def measure(run: Path, data: Path, split: str, positive: bool) -> dict[str, dict[str, float]]:
    """Pooled pixel metrics per setting over the defective images of one side."""
    inspector = Inspector.load(run)
    samples, side = choose_samples(OpenData.open(data), run, split)
    samples = tuple(sample for sample in samples if sample.defective and sample.mask is not None)
    Console().print(f"{run}: {len(samples)} defective images, {side}")
    counts = {setting: PixelCounts(0, 0, 0, 0) for setting in settings_of_all()}
    names = inspector.run.stages
    target = inspector.network.target
    whole = CAM(layers=names)
    for sample in samples:
        pixels = read_image(sample.path)
        truth = read_marks(sample)
        assert truth is not None
        images = inspector.network.batch([resize(pixels, inspector.run.image_size)])
        captured = whole.capture(inspector.network.classifier, images, target)
        maps = {}
        for method, (name, truncation) in itertools.product(METHODS, TRUNCATIONS.items()):
            cam = CAM(method=method, truncation=truncation, layers=names, positive_activations=positive)
            maps[method, name] = cam.stage_maps(captured)
        for setting in counts:
            counts[setting] += count_pixels(
                _mask(maps, setting, captured.input_size, pixels.shape[:2]), truth
            )
    return {
        " | ".join(setting): {"iou": iou(c), "precision": precision(c), "recall": recall(c), "f1": f1(c)}
        for setting, c in counts.items()
    }


def _mask(
    maps: Mapping[tuple[str, str], Sequence[Tensor]], setting: Setting, size: Size, own_size: Size
) -> NDArray[np.bool_]:
    method, truncation, stages, fusion, scale = setting
    all_maps = maps[method, truncation]
    chosen = [all_maps[int(stage) - 1] for stage in stages.split(",") if int(stage) <= len(all_maps)]
    heatmap = fuse(chosen, size, fusion=fusion, stage_scale=scale)[0]
    return otsu(resize_heatmap(heatmap.numpy(), own_size))


def main() -> None:
    """Measure all runs, print the best settings and the named ones, write everything."""
    parser = parser_of(__doc__)
    parser.add_argument("pairs", nargs="+", type=pair, metavar="RUN=DATA")
    parser.add_argument("--split", default="val")
    parser.add_argument("--signed", action="store_true", help="activations as they are, signs included")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    keep_freed_memory()
    results = {}
    for run, data in options.pairs:
        results[run.name] = measure(run, data, options.split, not options.signed)
    mean = {
        setting: sum(result[setting]["iou"] for result in results.values()) / len(results)
        for setting in next(iter(results.values()))
    }
    result = {
        "what": "pooled IoU of Otsu masks, defective images; method | truncation | stages | fusion | scale",
        "split": options.split,
        "positive_activations": not options.signed,
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "mean_iou": dict(sorted(mean.items(), key=lambda item: -item[1])),
        "runs": results,
    }
    write_result(options.out, result)
    table = Table(title="mean IoU over runs")
    for column in ("setting", "mean", *results):
        table.add_column(column)
    ranked = sorted(mean, key=lambda setting: -mean[setting])
    for setting in ranked[:30]:
        table.add_row(
            setting, f"{mean[setting]:.3f}", *(f"{result[setting]['iou']:.3f}" for result in results.values())
        )
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
