"""Five folds of KolektorSDD's commutators, and its paper split, from image labels only; resumes after a kill.

    python benchmarks/accuracy_ksdd.py KSDD --work FOLDER [--folds 5] [--only 2] [--train-options "..."]
                                       [--students] [--distill-options "..."] [--at-once 1]
                                       [--out docs/results/accuracy-ksdd.json]

The paper's split comes first. Each fold then holds back a fifth of the commutators (copies of one photograph on one
side), trains on the rest, and is measured on the images held back; every choice (epoch, sharpening, threshold) is
made by image labels of the training side. FOLDER keeps the runs; what is there already is not done again.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import parser_of, write_result

from ltcam.data.dataset import Dataset
from ltcam.data.duplicates import find_duplicates, merge_groups
from ltcam.data.layouts import read_dataset
from ltcam.data.splits import kfold
from ltcam.evaluation.counts import PixelCounts, iou
from ltcam.runs.folder import read_run


def write_manifest(fold: Dataset, file: Path) -> None:
    """A fold as a data set of its own: paths, labels, sides, masks, groups."""
    with file.open("w", newline="", encoding="utf-8") as text:
        writer = csv.writer(text)
        writer.writerow(["path", "label", "split", "mask", "group"])
        for sample in fold.samples:
            mask = sample.mask.relative_to(fold.root) if isinstance(sample.mask, Path) else ""
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


def ltcam(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "ltcam.cli", *map(str, words)], check=True)


def trained(data: Path, run: Path, options: list[str]) -> Path:
    """A run of this side, unless it is there already."""
    if not (run / "run.json").is_file():
        ltcam("train", data, "--out", run, "--resume", *options)
    return run


def distilled(data: Path, run: Path, options: list[str]) -> Path:
    """A student of a run, unless it is there already."""
    student = run.with_name(run.name + "-student")
    if not (student / "run.json").is_file():
        ltcam("distill", run, data, "--out", student, "--resume", *options)
    return student


def measured(data: Path, run: Path) -> dict[str, Any]:
    """A run on the images held back, unless that is done already."""
    folder = run.with_name(run.name + "-metrics")
    if not (folder / "metrics.json").is_file():
        ltcam("evaluate", run, data, "--out", folder, "--split", "test")
    found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    with (folder / "images.csv").open(encoding="utf-8") as text:
        images = list(csv.DictReader(text))
    pooled = [row for row in images if row["label"] != "ok" and row["tp"]]
    ok = [row for row in images if row["label"] == "ok"]
    return {
        **{name: found["pixel"][name] for name in ("iou", "precision", "recall", "f1")},
        "iou_interval": found["pixel"]["intervals"]["iou"],
        "f1_2px": found["pixel"]["boundary"]["2"]["f1"],
        "image_ap": found["image"]["ap"],
        "image_auroc": found["image"]["auroc"],
        "ok_images": len(ok),
        "ok_with_region": sum(row["verdict"] != "ok" and int(row["fp"]) > 0 for row in ok),
        "sharpening": read_run(run).sharpening.model_dump(mode="json"),
        "counts": [sum(int(row[name]) for row in pooled) for name in ("tp", "fp", "fn")],
    }


def summary(folds: list[dict[str, Any]], paper: dict[str, Any] | None) -> dict[str, Any]:
    """Over the folds that are done; None where there is none."""
    found: dict[str, Any] = {"folds": folds, "paper_split": paper}
    found["iou_paper_split"] = None if paper is None else paper["iou"]
    if folds:
        tp, fp, fn = np.sum([fold["counts"] for fold in folds], axis=0).tolist()
        found |= {
            "iou_mean": float(np.mean([fold["iou"] for fold in folds])),
            "iou_std": float(np.std([fold["iou"] for fold in folds])),
            "iou_pooled": iou(PixelCounts(tp=tp, fp=fp, fn=fn, tn=0)),
            "image_ap": float(np.mean([fold["image_ap"] for fold in folds])),
            "image_auroc": float(np.mean([fold["image_auroc"] for fold in folds])),
            "f1_2px_mean": float(np.mean([fold["f1_2px"] for fold in folds])),
            "ok_with_region_share": sum(fold["ok_with_region"] for fold in folds)
            / sum(fold["ok_images"] for fold in folds),
        }
    return found


def write(file: Path, backbone: str, kind: str, values: dict[str, Any]) -> None:
    """Put one backbone's results of one kind into the file; what else is there stays."""
    results = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    machine = f"{platform.machine()}, {os.cpu_count()} cores{gpu}"
    results.setdefault(backbone, {})[kind] = values | {"machine": machine}
    write_result(file, results)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", type=int, help="so many of the folds, if time does not give more")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train-options", default="")
    parser.add_argument("--students", action="store_true", help="distil a student of each run as well")
    parser.add_argument("--distill-options", default="")
    parser.add_argument("--at-once", type=int, default=1, help="sides worked on at a time")
    parser.add_argument("--out", type=Path, default=Path("docs/results/accuracy-ksdd.json"))
    options = parser.parse_args()
    train = ["--seed", str(options.seed), *shlex.split(options.train_options)]
    distill = ["--seed", str(options.seed), *shlex.split(options.distill_options)]
    commands = {
        "cam": f"ltcam train FOLD --out RUN {shlex.join(_without_paths(train))}",
        "student": f"ltcam distill RUN FOLD --out STUDENT {shlex.join(_without_paths(distill))}",
    }
    found: dict[str, tuple[list[dict[str, Any]], dict[str, Any] | None]] = {"cam": ([], None)}
    if options.students:
        found["student"] = ([], None)
    manifests = folds_of(options.data, options.folds, options.seed, options.work)[: options.only]
    sides = [options.data, *manifests]
    runs = [
        options.work / ("run-paper" if number == 0 else f"run-{data.stem}")
        for number, data in enumerate(sides)
    ]

    def work(data: Path, run: Path) -> None:
        measured(data, trained(data, run, train))
        if options.students:
            measured(data, distilled(data, run, distill))

    with ThreadPoolExecutor(options.at_once) as pool:
        for number, (data, run, _) in enumerate(zip(sides, runs, pool.map(work, sides, runs), strict=True)):
            for kind, (folds, paper) in list(found.items()):
                values = measured(data, run if kind == "cam" else distilled(data, run, distill))
                found[kind] = ([], values) if number == 0 else ([*folds, values], paper)
                facts = {
                    "folds_done": f"{number} of {options.folds}",
                    "command": commands[kind],
                    "seed": options.seed,
                }
                write(options.out, read_run(run).backbone, kind, summary(*found[kind]) | facts)


def _without_paths(words: list[str]) -> list[str]:
    return [word.rsplit("/", 1)[-1] for word in words]


if __name__ == "__main__":
    main()
