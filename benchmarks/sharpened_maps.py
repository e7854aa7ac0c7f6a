"""Which map serves best under sharpening: methods and stages, with and without it, from one capture per image.

    python benchmarks/sharpened_maps.py RUN=DATA [RUN=DATA ...] --out docs/results/sharpened-maps.json [--most 30]

Pooled IoU over defective images of the runs' validation and training sides, none of a test side; pixel masks are
used for this measurement. Stages are put together by the geometric mean of their scaled maps.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from common import pair, parser_of, write_result
from rich.console import Console

from ltcam.cam import CAM, fuse, log_odds
from ltcam.data.opened import OpenData
from ltcam.data.truth import read_marks
from ltcam.evaluation.counts import PixelCounts, count_pixels, iou, precision, recall
from ltcam.runs.inspector import Inspector
from ltcam.runs.memory import keep_freed_memory
from ltcam.runs.sides import choose_samples
from ltcam_runtime.images import read_image
from ltcam_runtime.inspector import make_mask, sharpened
from ltcam_runtime.resizing import resize, resize_heatmap

METHODS = ("layer-cam", "hires-cam")
STAGES = ((3,), (2, 3), (3, 4), (2, 3, 4), (1, 2, 3, 4, 5))


def measure(run: Path, data: Path, most: int) -> dict[str, dict[str, float]]:
    inspector = Inspector.load(run)
    opened = OpenData.open(data)
    samples = [
        sample
        for side in ("val", "train")
        for sample in choose_samples(opened, run, side)[0]
        if sample.defective and sample.mask is not None
    ][:most]
    settings, names = inspector.run, inspector.run.stages
    plain_mask = settings.mask.model_copy(update={"reach": 1.0})
    counts: dict[str, PixelCounts] = {}
    for sample in samples:
        image = read_image(sample.path)
        truth = read_marks(sample)
        assert truth is not None
        captured = CAM(layers=names).capture(
            inspector.network.classifier,
            inspector.network.batch([resize(image, settings.image_size)]),
            log_odds(range(1, len(settings.classes))),
        )
        for method, stages in itertools.product(METHODS, STAGES):
            maps = CAM(method=method, layers=names, positive_activations=True).stage_maps(captured)
            fused = fuse([maps[stage - 1] for stage in stages], captured.input_size, fusion="product")
            own = resize_heatmap(fused[0].numpy(), image.shape[:2])
            sharp = sharpened(own, image, settings.sharpening)
            for name, mask in (
                ("plain", make_mask(own, plain_mask)),
                ("sharpened", make_mask(sharp, settings.mask)),
            ):
                key = f"{method} | {','.join(map(str, stages))} | {name}"
                counts[key] = counts.get(key, PixelCounts()) + count_pixels(mask, truth)
    ranked = sorted(counts.items(), key=lambda item: -iou(item[1]))
    return {key: {"iou": iou(c), "precision": precision(c), "recall": recall(c)} for key, c in ranked}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("pairs", nargs="+", type=pair, metavar="RUN=DATA")
    parser.add_argument("--most", type=int, default=30)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    keep_freed_memory()
    results: dict[str, Any] = {}
    for run, data in options.pairs:
        results[run.name] = measure(run, data, options.most)
        for key, row in results[run.name].items():
            Console().print(f"{run.name}: {key}: {row['iou']:.3f}")
        write_result(options.out, results)


if __name__ == "__main__":
    main()
