"""Five folds of KolektorSDD's commutators, and its paper split, from image labels only; resumes after a kill.

    python benchmarks/accuracy_ksdd.py KSDD --work FOLDER [--folds 5] [--train-options "..."]
                                       [--out docs/results/accuracy-ksdd.json]

Each fold holds back a fifth of the commutators (copies of one photograph on one side), trains on the rest with the
default options, and is measured on the defective images held back; every choice (epoch, sharpening, threshold) is
made by image labels of the training side. FOLDER keeps the runs; what is there already is not done again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ltcam.data.dataset import Dataset
from ltcam.data.duplicates import find_duplicates, merge_groups
from ltcam.data.layouts import read_dataset
from ltcam.data.splits import kfold
from ltcam.evaluation.counts import PixelCounts, iou
from ltcam.runs import read_run


def write_manifest(fold: Dataset, file: Path) -> None:
    """A fold as a data set of its own: paths, labels, sides, masks, groups."""
    with file.open("w", newline="", encoding="utf-8") as text:
        writer = csv.writer(text)
        writer.writerow(["path", "label", "split", "mask", "group"])
        for sample in fold.samples:
            mask = "" if sample.mask is None else sample.mask.relative_to(fold.root)
            writer.writerow(
                [
                    sample.path.relative_to(fold.root),
                    sample.label,
                    sample.split or "train",
                    mask,
                    sample.group,
                ]
            )


def folds_of(data: Path, count: int, seed: int, work: Path) -> list[Path]:
    """One manifest per fold, beside a copy of the images: a manifest does not lead out of its folder."""
    copy = work / "data"
    manifests = [copy / f"fold-{number}.csv" for number in range(count)]
    if all(manifest.is_file() for manifest in manifests):
        return manifests
    shutil.copytree(data, copy, dirs_exist_ok=True)
    dataset = read_dataset(data)
    dataset = merge_groups(dataset, find_duplicates(dataset.samples))
    for manifest, fold in zip(manifests, kfold(dataset, count, seed=seed), strict=True):
        write_manifest(fold, manifest)
    return manifests


def measure(data: Path, run: Path, options: list[str]) -> dict[str, Any]:
    """Train and evaluate one side, unless that is done already."""
    metrics = run.with_name(run.name + "-metrics")
    ltcam = [sys.executable, "-m", "ltcam.cli"]
    if not (run / "run.json").is_file():
        subprocess.run([*ltcam, "train", str(data), "--out", str(run), "--resume", *options], check=True)
    for folder, extra in ((metrics, []), (run.with_name(run.name + "-plain"), ["--sharpen", "none"])):
        if not (folder / "metrics.json").is_file():
            subprocess.run(
                [*ltcam, "evaluate", str(run), str(data), "--out", str(folder), "--split", "test", *extra],
                check=True,
            )
    found = json.loads((metrics / "metrics.json").read_text(encoding="utf-8"))
    plain = json.loads((run.with_name(run.name + "-plain") / "metrics.json").read_text(encoding="utf-8"))
    return {
        **{name: found["pixel"][name] for name in ("iou", "precision", "recall", "f1")},
        "iou_unsharpened": plain["pixel"]["iou"],
        "f1_2px": found["pixel"]["boundary"]["2"]["f1"],
        "image_ap": found["image"]["ap"],
        "image_auroc": found["image"]["auroc"],
        "sharpening": read_run(run).sharpening.model_dump(mode="json"),
        "counts": _counts(metrics / "images.csv"),
    }


def _counts(file: Path) -> list[int]:
    """Pooled true positives, false positives and misses over the defective images."""
    with file.open(encoding="utf-8") as text:
        rows = [row for row in csv.DictReader(text) if row["label"] != "ok" and row["tp"]]
    return [sum(int(row[name]) for row in rows) for name in ("tp", "fp", "fn")]


def summary(folds: list[dict[str, Any]], paper: dict[str, Any] | None) -> dict[str, Any]:
    ious = [fold["iou"] for fold in folds]
    tp, fp, fn = np.sum([fold["counts"] for fold in folds], axis=0).tolist()
    return {
        "iou_mean": float(np.mean(ious)),
        "iou_std": float(np.std(ious)),
        "iou_pooled": iou(PixelCounts(tp=tp, fp=fp, fn=fn, tn=0)),
        "iou_unsharpened_mean": float(np.mean([fold["iou_unsharpened"] for fold in folds])),
        "iou_paper_split": None if paper is None else paper["iou"],
        "image_ap": float(np.mean([fold["image_ap"] for fold in folds])),
        "folds": folds,
        "paper_split": paper,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", type=int, help="so many of the folds, if time does not give more")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--paper-run", type=Path, help="a run trained on the paper's split")
    parser.add_argument("--train-options", default="")
    parser.add_argument("--out", type=Path, default=Path("docs/results/accuracy-ksdd.json"))
    options = parser.parse_args()
    train = ["--seed", str(options.seed), *shlex.split(options.train_options)]
    paper = None if options.paper_run is None else measure(options.data, options.paper_run, train)
    folds = []
    for manifest in folds_of(options.data, options.folds, options.seed, options.work)[: options.only]:
        run = options.work / f"run-{manifest.stem}"
        folds.append(measure(manifest, run, train))
        backbone = read_run(run).backbone
        results = json.loads(options.out.read_text(encoding="utf-8")) if options.out.is_file() else {}
        results[backbone] = {
            "cam": summary(folds, paper)
            | {
                "folds_done": f"{len(folds)} of {options.folds}",
                "command": f"ltcam train FOLD --out RUN {shlex.join(_without_paths(train))}",
                "seed": options.seed,
                "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            }
        }
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _without_paths(words: list[str]) -> list[str]:
    return [word.rsplit("/", 1)[-1] for word in words]


if __name__ == "__main__":
    main()
