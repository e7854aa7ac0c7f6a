"""What a reproduction ends with: the finished steps' folders, every number in one JSON file, and the page."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from ltcam.data.splits import paper_split
from ltcam.evaluation.counts import PIXEL_RATIOS, PixelCounts, iou
from ltcam.experiments.ablation.answers import Answers
from ltcam.experiments.ablation.written import ABLATION_FILE
from ltcam.experiments.compare.comparison import Comparison
from ltcam.experiments.compare.measure import COMPARE_FILE
from ltcam.experiments.opened import Source
from ltcam.experiments.reproduce.figures.draw import CAPTIONS, FIGURES_FILE
from ltcam.experiments.reproduce.page import reproduce_markdown, reproduce_page
from ltcam.experiments.reproduce.reproduction import (
    Drawn,
    FoldRow,
    Folds,
    Machine,
    MeasuredRun,
    OverFolds,
    Planned,
    Published,
    Reproduction,
)
from ltcam.experiments.results import Values, write_json
from ltcam.experiments.tune.measure import TUNE_FILE
from ltcam.experiments.tune.page import curve_figure
from ltcam.experiments.tune.tuning import Tuning
from ltcam.reports.drawing import save_figure
from ltcam.runs.folder import package_versions
from ltcam.runs.run import RUN_FILE
from ltcam_runtime.errors import DataError
from ltcam_runtime.processors import allowed_processors

REPRODUCTION_SCHEMA_VERSION = 1

V = TypeVar("V", bound=Values)


@dataclass(frozen=True, eq=False)
class Finished:
    """What a reproduction is assembled of.

    Attributes:
        work: folder of the finished steps.
        source: the run that was measured, and the data.
        fold_runs: run folders of the folds.
        plan: what was asked for.
        command: kept in the results.
    """

    work: Path
    source: Source
    fold_runs: Sequence[Path]
    plan: Planned
    command: str


def assemble(folder: Path, finished: Finished, *, title: str) -> Reproduction:
    """Copy the finished steps into the results' folder, and write the JSON files and the page.

    Args:
        folder: of the results; empty.
        finished: what there is. The run is copied too where it was trained here.
        title: heading of the page.

    Returns:
        What was written to reproduction.json.
    """
    folds = _copy(folder, finished)
    found = _together(folder, finished, folds)
    if found.tune is not None:
        save_figure(curve_figure(found.tune), folder / "figures", "delta")
    write_json(folder / "reproduction.json", found.to_json())
    published = Published.model_validate(found.compare.to_json() | {"split": found.split})
    write_json(folder / "compare.json", published.to_json())
    if found.folds is not None:
        about = {"split": "folds", "backbone": finished.source.inspector.run.backbone}
        write_json(folder / "folds.json", about | found.folds.to_json())
    files = {name: folder / "figures" / f"{name}.png" for name in CAPTIONS}
    pictures = {name: (file, *CAPTIONS[name]) for name, file in files.items() if file.is_file()}
    (folder / "report.md").write_text(reproduce_markdown(found), encoding="utf-8")
    (folder / "report.html").write_text(reproduce_page(found, pictures, title=title), encoding="utf-8")
    return found


def _copy(folder: Path, finished: Finished) -> list[Path]:
    """Have the finished steps in the results' folder; the folders of the folds there."""
    work, run = finished.work, finished.source.run
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
    return folds


def _together(folder: Path, finished: Finished, folds: Sequence[Path]) -> Reproduction:
    """The numbers of all steps, read from the results' folder."""
    source, plan, run = finished.source, finished.plan, finished.source.inspector.run
    return Reproduction(
        schema_version=REPRODUCTION_SCHEMA_VERSION,
        kind=plan.kind,
        split=split_name(source, plan.kind),
        run=MeasuredRun.model_validate(run.model_dump(mode="json")),
        compare=_read(folder / "compare" / COMPARE_FILE, Comparison),
        tune=_read_if_done(folder / "tune" / TUNE_FILE, Tuning),
        questions=_read_if_done(folder / "questions" / ABLATION_FILE, Answers),
        questions_of_folds=_read_if_done(folder / "questions-folds" / ABLATION_FILE, Answers),
        figures=_read(folder / "figures" / FIGURES_FILE, Drawn),
        folds=summary_of_folds([_read(fold / "compare" / COMPARE_FILE, Comparison) for fold in folds]),
        plan=plan,
        seed=run.seed,
        versions=package_versions(),
        machine=Machine(processor=platform.machine(), system=platform.system(), cores=allowed_processors()),
        command=finished.command,
    )


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


def summary_of_folds(comparisons: Sequence[Comparison]) -> Folds | None:
    """Mean, standard deviation over folds and pooled value of each metric of each method; None without folds."""
    if not comparisons:
        return None
    rows = []
    for first in comparisons[0].rows:
        found = [
            row
            for each in comparisons
            for row in each.rows
            if (row.method, row.stages) == (first.method, first.stages)
        ]
        if len(found) < len(comparisons):  # the run's own map without sharpening, where one fold has none
            continue
        rows.append(
            FoldRow(
                method=first.method,
                stages=first.stages,
                percentile=first.percentile,
                paper=first.paper,
                **{name: _over_folds([getattr(row, name) for row in found]) for name in PIXEL_RATIOS},
                pooled_iou=iou(sum((PixelCounts(**dict(row.counts)) for row in found), PixelCounts())),
            )
        )
    images = tuple(each.images.measured for each in comparisons)
    return Folds(folds=len(comparisons), images=images, rows=tuple(rows))


def _over_folds(values: Sequence[float | None]) -> OverFolds:
    known = [value for value in values if value is not None]
    return OverFolds(
        mean=float(np.mean(known)) if known else None,
        std=float(np.std(known, ddof=1)) if len(known) > 1 else None,
        folds=tuple(values),
    )


def _forget_place(folder: Path, work: Path) -> None:
    """Name runs and data by where they are in the results: the hidden work folder is gone by then."""
    place = json.dumps(f"{work}/")[1:-1]
    for file in folder.glob("*.json"):
        text = file.read_text(encoding="utf-8")
        if place in text:
            file.write_text(text.replace(place, ""), encoding="utf-8")


def _read(file: Path, values: type[V]) -> V:
    """A step's numbers."""
    return values.model_validate_json(file.read_text(encoding="utf-8"))


def _read_if_done(file: Path, values: type[V]) -> V | None:
    """A step's numbers; None where it was not done."""
    return _read(file, values) if file.is_file() else None
