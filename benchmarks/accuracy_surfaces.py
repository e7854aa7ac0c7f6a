"""Masks of any surface, per kind of defect: train's choice, quick, last stage, the paper's map, students, the oracle.

    python benchmarks/accuracy_surfaces.py --work FOLDER [--data NAME=FOLDER ...] [--synthetic "tile,steel,..."]
                                           [--students] [--quick-only] [--out docs/results/accuracy-surfaces.json]

Every set is trained and measured with default options, on image labels alone; masks of the test side only measure,
but for the oracle, which takes per kind the candidate that is best there. FOLDER keeps data and runs; what is there
already is not done again, so a killed benchmark goes on. CPU-seconds are of the run, from labels to its run folder.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import parser_of, write_result
from judge import sides, true_ious, true_search, with_all_maps  # beside this script
from rich.console import Console
from rich.table import Table
from sklearn.metrics import average_precision_score

from ltcam.calibration.candidates import candidates
from ltcam.calibration.looks import MOST_OK, OkImages, look_at, shuffled
from ltcam.data.dataset import Dataset, Sample
from ltcam.data.layouts import read_dataset
from ltcam.data.truth import read_truth
from ltcam.evaluation.counts import PixelCounts, count_pixels, iou
from ltcam.evaluation.hits import HitCounts, count_hit, hit_rate
from ltcam.jobs.choosing import LAST
from ltcam.runs.folder import package_versions
from ltcam.runs.inspector import Inspector
from ltcam_runtime.settings import MAP, Overrides

SYNTHETIC = {
    "mixed": ("brushed,cast,fabric,ceramic", 75, "0.25"),
    "tile": ("tile", 400, "0.5"),
    "steel": ("steel", 400, "0.5"),
    "painted": ("painted", 300, "0.5"),
    "concrete": ("concrete", 240, "0.5"),
}
"""Name to surfaces, images per surface, share of defective ones."""

PAPER = {
    "method": "grad-cam",
    "percentile": 50,
    "fusion": "sum",
    "positive_activations": False,
    "sharpen": "none",
}


def made(folder: Path, *words: object) -> float | None:
    """Run a command that writes a folder, unless it is there; the CPU-seconds that it took, where that is known."""
    kept = folder.with_name(f"{folder.name}.seconds")
    if not folder.is_dir():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "ltcam.cli", *map(str, words)], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        kept.write_text(f"{seconds:.1f}\n", encoding="utf-8")
    return float(kept.read_text(encoding="utf-8")) if kept.is_file() else None


def measured(inspector: Inspector, samples: Iterable[Sample]) -> dict[str, Any]:
    """Figures of the test side, the verdict's gate aside."""
    samples = list(samples)
    counts: dict[str, PixelCounts] = {}
    hits: dict[str, HitCounts] = {}
    scores, truths, marked = [], [], []
    files = [(sample.id, sample.path) for sample in samples]
    for item, sample in zip(inspector.inspect_files(files, gate=False), samples, strict=True):
        found = item.inspection
        if found is None:
            continue
        scores.append(found.score)
        truths.append(sample.defective)
        if not sample.defective:
            marked.append(bool(found.mask.any()))
        elif (truth := read_truth(sample, found.mask.shape)) is not None:
            counts[sample.label] = counts.get(sample.label, PixelCounts()) + count_pixels(found.mask, truth)
            hits[sample.label] = hits.get(sample.label, HitCounts()) + count_hit(found.heatmap, truth)
    return {
        **summary({kind: iou(each) for kind, each in counts.items()}),
        "iou_pooled": rounded(iou(sum(counts.values(), PixelCounts()))),
        "hits": {kind: rounded(hit_rate(each)) for kind, each in hits.items()},
        "image_ap": rounded(float(average_precision_score(truths, scores))),
        "ok_with_region": rounded(float(np.mean(marked))) if marked else None,
    }


def summary(kinds: dict[str, float]) -> dict[str, Any]:
    """IoU per kind, and their mean."""
    return {
        "iou_mean": rounded(float(np.mean(list(kinds.values())))),
        "iou_kinds": {kind: rounded(each) for kind, each in kinds.items()},
    }


def oracle(run: Path, dataset: Dataset) -> dict[str, Any]:
    """Per kind the candidate with the best IoU on the test side: what a perfect judge would get. Sees masks."""
    network = with_all_maps(Inspector.load(run).network)
    side = sides(run, dataset)
    ok = [s.path for s in dataset.samples if side[s.id] in {"train", "val"} and not s.defective]
    normal = OkImages(look_at(network, shuffled(ok, network.run.seed), MOST_OK))
    tried = candidates(normal, [MAP, LAST, "seed"])
    best = {}
    for kind in dataset.classes[1:]:
        samples = [s for s in dataset.samples if side[s.id] == "test" and s.label == kind]
        if samples:
            true = partial(true_ious, network, normal, kind, samples)
            best[kind] = max(true_search(tried, normal, true).values())
    return {**summary(best), "sees_masks": True}


def of_set(name: str, data: Path, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All rows of one set."""
    dataset = read_dataset(data)
    found: dict[str, Any] = {}
    quick = work / f"{name}-quick"
    seconds = made(quick, "quick", data, "--out", quick)
    test = [s for s in dataset.samples if sides(quick, dataset)[s.id] == "test"]
    found["quick"] = {**measured(Inspector.load(quick, device="cpu"), test), "cpu_s": seconds}
    if options.quick_only:
        return found
    run = work / f"{name}-run"
    seconds = made(run, "train", data, "--out", run, "--resume")
    inspector = Inspector.load(run, device="cpu")
    test = [s for s in dataset.samples if sides(run, dataset)[s.id] == "test"]
    stages = inspector.run.stages
    last = Overrides(method="grad-cam", stages=stages[-1:], fusion="sum", percentile="none", sharpen="none")
    paper = Overrides(**PAPER, stages=stages)
    found["default"] = {**measured(inspector, test), "cpu_s": seconds}
    found["gradcam-last"] = measured(inspector.overridden(last), test)
    found["classic"] = measured(inspector.overridden(paper), test)
    found["oracle"] = oracle(run, dataset)
    if options.students:
        student = work / f"{name}-student"
        seconds = made(student, "distill", run, data, "--out", student, "--resume")
        found["student"] = {**measured(Inspector.load(student, device="cpu"), test), "cpu_s": seconds}
    return found


def rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", action="append", default=[], help="NAME=FOLDER, any number of times")
    parser.add_argument(
        "--synthetic", default=",".join(SYNTHETIC), help="names, separated by commas; '' for none"
    )
    parser.add_argument("--students", action="store_true")
    parser.add_argument(
        "--quick-only", action="store_true", help="no training: the rows of `ltcam quick` alone"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/results/accuracy-surfaces.json"))
    options = parser.parse_args()
    folders = dict(pair.split("=", 1) for pair in options.data)
    for name in filter(None, options.synthetic.split(",")):
        surfaces, images, share = SYNTHETIC[name]
        drawn = options.work / f"{name}-data"
        wanted = (
            "--surfaces",
            surfaces,
            "--images",
            images,
            "--defect-share",
            share,
            "--image-size",
            "208x208",
        )
        made(drawn, "data", "synth", drawn, *wanted)
        folders[name] = str(drawn)
    before = json.loads(options.out.read_text(encoding="utf-8")) if options.out.is_file() else {}
    sets: dict[str, Any] = before.get("sets", {})
    table = Table("set", "way", "mean over kinds", "pooled", "image AP", "OK with region", "CPU-s")
    for name, folder in folders.items():
        sets[name] = {**sets.get(name, {}), **of_set(name, Path(folder), options.work, options)}
        write_result(options.out, {"versions": package_versions(), "sets": sets})
        for way, each in sets[name].items():
            values = (each.get(k) for k in ("iou_mean", "iou_pooled", "image_ap", "ok_with_region", "cpu_s"))
            table.add_row(name, way, *("" if value is None else f"{value:.3f}" for value in values))
    Console().print(table)


if __name__ == "__main__":
    main()
