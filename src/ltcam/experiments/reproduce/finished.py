"""What a reproduction ends with: the finished steps' folders, every number in one JSON file, and the page."""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ltcam.data.splits import paper_split
from ltcam.evaluation.counts import PIXEL_RATIOS, PixelCounts, iou
from ltcam.experiments.ablation.measure import ABLATION_FILE
from ltcam.experiments.compare.measure import COMPARE_FILE
from ltcam.experiments.opened import Source
from ltcam.experiments.reproduce.figures.draw import CAPTIONS, FIGURES_FILE
from ltcam.experiments.reproduce.page import reproduce_markdown, reproduce_page
from ltcam.experiments.results import write_json
from ltcam.experiments.tune.measure import TUNE_FILE
from ltcam.experiments.tune.page import curve_figure
from ltcam.experiments.tune.tuning import Tuning
from ltcam.reports.drawing import save_figure
from ltcam.runs.folder import package_versions
from ltcam.runs.run import RUN_FILE
from ltcam_runtime.errors import DataError

REPRODUCTION_SCHEMA_VERSION = 1

_HITS = ("hit_8px", "hit_inside", "mean_over_kinds")
_ROW = ("method", "stages", "percentile", "sharpening", *PIXEL_RATIOS, *_HITS, "counts", "classes", "paper")
_RUN = (
    "backbone",
    "image_size",
    "stages",
    "classes",
    "initial_weights",
    "training",
    "arithmetic",
    "evidence",
    "data",
    "seed",
)


@dataclass(frozen=True, eq=False)
class Finished:
    """What a reproduction is assembled of.

    Attributes:
        work: folder of the finished steps.
        source: the run that was measured, and the data.
        fold_runs: run folders of the folds.
        plan: what was asked for, as JSON values.
        command: kept in the results.
    """

    work: Path
    source: Source
    fold_runs: Sequence[Path]
    plan: Mapping[str, Any]
    command: str


def assemble(folder: Path, finished: Finished, *, title: str) -> dict[str, Any]:
    """Copy the finished steps into the results' folder, and write the JSON files and the page.

    Args:
        folder: of the results; empty.
        finished: what there is. The run is copied too where it was trained here.
        title: heading of the page.

    Returns:
        What was written to reproduction.json.
    """
    work, source, plan, run = finished.work, finished.source, finished.plan, finished.source.run
    for name in ("compare", "tune", "questions", "figures", "questions-folds"):
        if (work / name).is_dir():
            shutil.copytree(work / name, folder / name)
            _forget_place(folder / name, work)
    if run.parent == work:
        shutil.copytree(run, folder / "run")
    folds = [folder / "folds" / str(number) for number in range(1, len(finished.fold_runs) + 1)]
    for fold, fold_run in zip(folds, finished.fold_runs, strict=True):
        shutil.copytree(work / "folds" / fold.name / "compare", fold / "compare")
        _forget_place(fold / "compare", work)
        shutil.copy(fold_run / RUN_FILE, fold)  # classifiers are large, and nothing that is shown needs them
    comparison = _read(folder / "compare" / COMPARE_FILE)
    settings = source.inspector.run
    found: dict[str, Any] = {
        "schema_version": REPRODUCTION_SCHEMA_VERSION,
        "kind": plan["kind"],
        "split": split_name(source, plan["kind"]),
        "run": {name: value for name, value in settings.model_dump(mode="json").items() if name in _RUN},
        "compare": comparison,
        "tune": _read(folder / "tune" / TUNE_FILE),
        "questions": _read(folder / "questions" / ABLATION_FILE),
        "questions_of_folds": _read(folder / "questions-folds" / ABLATION_FILE),
        "figures": _read(folder / "figures" / FIGURES_FILE),
        "folds": summary_of_folds([_read(fold / "compare" / COMPARE_FILE) for fold in folds]),
        "plan": dict(plan),
        "seed": settings.seed,
        "versions": package_versions(),
        "machine": {"processor": platform.machine(), "system": platform.system(), "cores": os.cpu_count()},
        "command": finished.command,
    }
    if found["tune"] is not None:
        save_figure(curve_figure(Tuning.model_validate(found["tune"])), folder / "figures", "delta")
    write_json(folder / "reproduction.json", found)
    write_json(folder / "compare.json", table_for_docs(found["split"], comparison))
    if found["folds"] is not None:
        write_json(folder / "folds.json", {"split": "folds", "backbone": settings.backbone, **found["folds"]})
    pictures = [
        (name, folder / "figures" / f"{name}.png")
        for name in CAPTIONS
        if (folder / "figures" / f"{name}.png").is_file()
    ]
    (folder / "report.md").write_text(reproduce_markdown(found), encoding="utf-8")
    (folder / "report.html").write_text(
        reproduce_page(found, {name: (file, *CAPTIONS[name]) for name, file in pictures}, title=title),
        encoding="utf-8",
    )
    return found


def split_name(source: Source, kind: str) -> str:
    """Which split the measured images are of: `paper`, `official`, `lots`, or `groups` for any other."""
    dataset = source.data.dataset
    measured = {sample.id for sample in source.side("auto").samples}
    try:
        named = paper_split(dataset) if kind == "ksdd" else dataset
    except DataError:  # a part of the data set only
        return "groups"
    expected = {sample.id for sample in named.of_split("test")}
    names = {"ksdd": "paper", "ksdd2": "official", "synthetic": "lots"}
    return names[kind] if measured == expected else "groups"


def table_for_docs(split: str, comparison: Mapping[str, Any]) -> dict[str, Any]:
    """The comparison as it is published: which split, which network, a row per method, and no path of a machine."""
    return {
        "split": split,
        "backbone": comparison["backbone"],
        "images": comparison["images"],
        "rows": [
            {name: row.get(name) for name in _ROW} | {"intervals": row["intervals"]}
            for row in comparison["rows"]
        ],
        "paper_order": comparison["paper_order"],
        "seed": comparison["seed"],
        "versions": comparison["versions"],
    }


def summary_of_folds(comparisons: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Mean, standard deviation over folds and pooled value of each metric of each method; None without folds."""
    if not comparisons:
        return None
    keys = [(row["method"], row["stages"]) for row in comparisons[0]["rows"]]
    rows = []
    for method, stages in keys:
        found = [
            row
            for each in comparisons
            for row in each["rows"]
            if (row["method"], row["stages"]) == (method, stages)
        ]
        if len(found) < len(comparisons):  # the run's own map without sharpening, where one fold has none
            continue
        first = found[0]
        rows.append(
            {
                "method": method,
                "stages": stages,
                "percentile": first["percentile"],
                "paper": first["paper"],
                **{name: _over_folds([row[name] for row in found]) for name in PIXEL_RATIOS},
                "pooled_iou": _pooled_iou(found),
            }
        )
    return {
        "folds": len(comparisons),
        "images": [each["images"]["measured"] for each in comparisons],
        "rows": rows,
    }


def _over_folds(values: Sequence[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "std": float(np.std(known, ddof=1)) if len(known) > 1 else None,
        "folds": list(values),
    }


def _pooled_iou(rows: Sequence[Mapping[str, Any]]) -> float | None:
    pooled = iou(sum((PixelCounts(**row["counts"]) for row in rows), PixelCounts()))
    return None if math.isnan(pooled) else pooled


def _forget_place(folder: Path, work: Path) -> None:
    """Name runs and data by where they are in the results: the hidden work folder is gone by then."""
    place = json.dumps(f"{work}/")[1:-1]
    for file in folder.glob("*.json"):
        text = file.read_text(encoding="utf-8")
        if place in text:
            file.write_text(text.replace(place, ""), encoding="utf-8")


def _read(file: Path) -> Any:
    """A step's numbers; None where it was not done."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
