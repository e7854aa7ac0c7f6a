"""The choices that the paper leaves open, measured: the job behind `ltcam questions`.

Each choice is varied alone against the paper's base setting: percentile 50 of each channel, in the gradient (eq. 9),
stages tapped behind their pooling, each cut at 0, all of them added up raw, Otsu. Head and input size are
properties of a run; runs are measured one by one and stand side by side.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ltcam.cam.fusion import Fusion, StageScale
from ltcam.cam.truncation import Scope, TruncationReading
from ltcam.data.dataset import Sample
from ltcam.evaluation.bootstrap import pooled_intervals
from ltcam.evaluation.counts import PixelCounts, count_pixels, iou, pixel_ratios
from ltcam.experiments.ablation.answers import (
    CHOICE,
    TRUNCATION,
    Answer,
    Answers,
    Base,
    BestReading,
    QuestionSettings,
    RunAnswer,
    RunAnswers,
    RunGain,
    TruncationGain,
)
from ltcam.experiments.ablation.over_runs import over_runs
from ltcam.experiments.ablation.stage_maps import Kind, Recipe, StageMapFiles, moved, shares_of_stages
from ltcam.experiments.ablation.written import ABLATION_FILE, write_answers
from ltcam.experiments.cases import Case, noting_warnings, read_cases
from ltcam.experiments.opened import Source
from ltcam.experiments.results import (
    Found,
    ImageTotals,
    PixelSums,
    failures,
)
from ltcam.jobs.execution import Execution
from ltcam.runs.folder import package_versions
from ltcam.runs.unfinished import work_folder
from ltcam_runtime.errors import DataError, SettingsError
from ltcam_runtime.folders import output_folder
from ltcam_runtime.masks import otsu
from ltcam_runtime.resizing import resize_heatmap

ABLATION_SCHEMA_VERSION = 1

BASE_PERCENTILE = 50
GAIN_PERCENTILES = (0, BASE_PERCENTILE, 90)
"""Percentiles at which the gain over Grad-CAM is looked at: 0 only drops what is not positive."""

BASES: Mapping[str, Kind] = {
    "Grad-CAM": Kind("grad-cam"),
    "LTGrad-CAM": Kind("grad-cam", BASE_PERCENTILE),
    "LTLayerCAM": Kind("layer-cam", BASE_PERCENTILE),
}

_WORK = "questions"

Progress = Callable[[int, int], None]
"""Called with (done, total)."""


@dataclass(frozen=True)
class AblationSettings:
    """What is measured, on what.

    Attributes:
        split: as for `ltcam.runs.sides.choose_samples`.
        positive_activations: use only the positive part of activations.
        bootstrap: resamples of the intervals.
    """

    split: str = "auto"
    positive_activations: bool = False
    bootstrap: int = 1000


@dataclass(frozen=True)
class _Variant:
    """One row: a method with one choice made otherwise than in the base setting (or, as `base`, none)."""

    question: str
    value: str
    method: str
    recipe: Recipe


@dataclass
class _Tally:
    """What is kept while images go by: no maps, no images."""

    counts: dict[Recipe, list[PixelCounts]]
    shares: dict[Kind, list[list[float]]]
    moves: dict[Kind, list[list[float]]]
    failed: dict[str, str] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    measured: int = 0

    def table(self, recipe: Recipe) -> NDArray[np.float64]:
        """(N, 4): tp, fp, fn and IoU of each image."""
        return np.array(
            [(each.tp, each.fp, each.fn, iou(each)) for each in self.counts[recipe]], np.float64
        ).reshape(-1, 4)


def ablate(
    source: Source, settings: AblationSettings, *, maps: Path, progress: Progress = lambda _done, _total: None
) -> RunAnswers:
    """Vary each open choice alone, on the defective images of one run that have a mask.

    Masks are used for this measurement and for nothing else.

    Args:
        source: run and data.
        settings: what is measured.
        maps: folder of stage maps: those that are there are used, others are added. May be shared by runs.
        progress: called with (done, total).

    Raises:
        LtcamError: run, data or settings that cannot be used.
    """
    side = source.side(settings.split)
    side.must_have_masks(source.data.root)
    files = StageMapFiles.of(source, maps, positive_activations=settings.positive_activations)
    run = source.inspector.run
    stages, pooled = len(run.stages), files.layers("before") != files.layers("after")
    variants, gains = _variants(stages, pooled=pooled), _gain_kinds(pooled=pooled)
    recipes = [variant.recipe for variant in variants]
    recipes += [recipe for _, kind in gains for recipe in _by_stage(kind, stages)]
    tally = _measure(source, files, list(dict.fromkeys(recipes)), side.masked, progress)
    if not tally.measured:
        raise DataError(
            f"{source.data.root}: none of the {len(side.masked)} images could be measured: {tally.failed}"
        )
    return RunAnswers(
        run=source.run.name,
        backbone=run.backbone,
        image_size=run.image_size,
        stages=run.stages,
        pooling_stages=pooled,
        training=run.training,
        side=side.words,
        images=ImageTotals(
            defective=len(side.defective), with_mask=len(side.masked), measured=tally.measured
        ),
        rows=tuple(_row(variant, tally, settings.bootstrap) for variant in variants),
        gains=tuple(
            row for taps, kind in gains for row in _gain_rows(taps, kind, stages, tally, settings.bootstrap)
        ),
        notes=tuple(tally.notes),
        seed=run.seed,
        device=source.inspector.network.device.type,
        failed=failures(tally.failed),
    )


def ablate_runs(
    sources: Sequence[Source],
    out: Path,
    settings: AblationSettings,
    execution: Execution = Execution(),
    *,
    maps: Path | None = None,
) -> Found[Answers]:
    """Vary each open choice on each run, and write what they say and how far they differ.

    A measurement that was stopped continues from the maps that are there.

    Args:
        sources: runs on one data set: folds, or runs with another head or input size.
        out: folder to write questions.json, .csv, .md, gains.csv, report.html and effects.svg, .png to.
        settings: what is measured.
        execution: what becomes of results that are there, who is told about progress. Where is computed is the
            sources'.
        maps: folder to keep stage maps in; None: a hidden one beside `out`, until the results are whole.

    Raises:
        LtcamError: runs, data, settings or output that cannot be used.
    """
    if len({source.run.resolve() for source in sources}) < len(sources) or not sources:
        raise SettingsError("RUN: give one run folder or several, each once")
    kept, listener = maps or work_folder(out, _WORK), execution.listener
    with output_folder(out, marker=ABLATION_FILE, overwrite=execution.overwrite) as folder:
        listener.begun("measuring masks")
        parts = [part_of_progress(listener.progress, place, len(sources)) for place in range(len(sources))]
        answers = [
            ablate(source, settings, maps=kept, progress=part)
            for source, part in zip(sources, parts, strict=True)
        ]
        found = _together(sources, answers, settings, execution.command)
        write_answers(
            folder, found, f"{', '.join(each.run.name for each in sources)} on {sources[0].data.root.name}"
        )
    if maps is None:
        shutil.rmtree(kept, ignore_errors=True)
    failed = {each["image"]: each["reason"] for each in found.failed}
    return Found(found, tuple(failed.items()))


def part_of_progress(progress: Progress, place: int, parts: int) -> Progress:
    """Progress of one of several runs, in hundredths of a run, since their numbers of images differ."""
    return lambda done, total: progress(100 * place + round(100 * done / max(total, 1)), 100 * parts)


# ---------------------------------------------------------------------------------- what is varied


def _variants(stages: int, *, pooled: bool) -> list[_Variant]:
    """Every choice varied alone, per method; what is the same map by definition is left out."""
    found: list[_Variant] = []
    for method, kind in BASES.items():
        base = Recipe(kind)
        varied: list[tuple[str, str, Recipe]] = [("base", "paper", base)]
        if kind.percentile is not None:
            varied += [
                ("scope", scope, replace(base, kind=replace(kind, scope=scope)))
                for scope in get_args(Scope)
                if scope != kind.scope
            ]
        if method == "LTGrad-CAM":  # where each position has its weight, both readings are one
            varied.append(("reading", "mask", replace(base, kind=replace(kind, reading="mask"))))
        varied += [
            ("fusion", fusion, replace(base, fusion=fusion)) for fusion in get_args(Fusion) if fusion != "sum"
        ]
        varied += [
            ("stage_scale", scale, replace(base, stage_scale=scale))
            for scale in get_args(StageScale)
            if scale != "none"
        ]
        if pooled:
            varied.append(("tap", "before", replace(base, kind=replace(kind, taps="before"))))
        varied.append(("relu", "none", replace(base, relu=False)))
        varied += [
            ("stages", f"S{stage}", replace(base, stage=stage))
            for stage in range(1, stages + 1)
            if stages > 1
        ]
        found += [_Variant(question, value, method, recipe) for question, value, recipe in varied]
    return found


def _gain_kinds(*, pooled: bool) -> list[tuple[str, Kind]]:
    """(tap, kind) of the truncated maps whose gain over Grad-CAM is looked at."""
    return [
        (taps, Kind("grad-cam", percentile, scope, reading, taps))
        for taps in (("after", "before") if pooled else ("after",))
        for scope in get_args(Scope)
        for reading in get_args(TruncationReading)
        for percentile in (GAIN_PERCENTILES if taps == "after" else (BASE_PERCENTILE,))
    ]


def _by_stage(kind: Kind, stages: int) -> list[Recipe]:
    """A kind's maps and their untruncated ones: of all stages, and of each alone."""
    plain = replace(kind, percentile=None, scope="channel", reading="gradient")
    places = [None, *range(1, stages + 1)] if stages > 1 else [None]
    return [Recipe(each, stage=stage) for each in (kind, plain) for stage in places]


# ---------------------------------------------------------------------------------- image by image


def _measure(
    source: Source,
    files: StageMapFiles,
    recipes: Sequence[Recipe],
    samples: Sequence[Sample],
    progress: Progress,
) -> _Tally:
    kinds = list(dict.fromkeys(recipe.kind for recipe in recipes))
    tally = _Tally(
        {recipe: [] for recipe in recipes}, {kind: [] for kind in kinds}, {kind: [] for kind in kinds}
    )
    for done, batch in enumerate(read_cases(source, samples, tally.failed), start=1):
        for case in batch:
            try:
                _add(tally, files, case)
            except ValueError as error:  # a heatmap that is not finite
                tally.failed[case.name] = str(error)
        progress(done, len(samples))
    return tally


def _add(tally: _Tally, files: StageMapFiles, case: Case) -> None:
    """Add an image, or nothing of it where one of its heatmaps is not finite."""
    kinds = list(tally.shares)
    with noting_warnings(tally.notes):
        maps = files.get(case.resized, kinds)
    size = (case.resized.shape[0], case.resized.shape[1])
    counts = {recipe: _count(recipe.heatmap(maps[recipe.kind], size), case.truth) for recipe in tally.counts}
    for recipe, each in counts.items():
        tally.counts[recipe].append(each)
    for kind in kinds:
        tally.shares[kind].append(shares_of_stages(maps[kind]))
        tally.moves[kind].append(moved(maps[kind], maps[_at_zero(kind, maps)]))
    tally.measured += 1


def _at_zero(kind: Kind, kinds: Container[Kind]) -> Kind:
    """The same kind at percentile 0, which only drops what is not positive; itself where that was not made."""
    zero = replace(kind, percentile=0)
    return zero if kind.percentile is not None and zero in kinds else kind


def _count(heatmap: NDArray[np.float32], truth: NDArray[np.bool_]) -> PixelCounts:
    return count_pixels(otsu(resize_heatmap(heatmap, (truth.shape[0], truth.shape[1]))), truth)


# -------------------------------------------------------------------------------------- summing up


def _row(variant: _Variant, tally: _Tally, bootstrap: int) -> RunAnswer:
    counts = sum(tally.counts[variant.recipe], PixelCounts())
    return RunAnswer(
        question=variant.question,
        value=variant.value,
        method=variant.method,
        **pixel_ratios(counts),
        counts=PixelSums(tp=counts.tp, fp=counts.fp, fn=counts.fn),
        **_against(tally.table(variant.recipe), tally.table(Recipe(BASES[variant.method])), bootstrap),
    )


def _gain_rows(taps: str, kind: Kind, stages: int, tally: _Tally, bootstrap: int) -> list[RunGain]:
    recipes = _by_stage(kind, stages)
    half = len(recipes) // 2
    shares = [np.mean(tally.shares[recipe.kind], axis=0) for recipe in (recipes[0], recipes[half])]
    moves = np.array(tally.moves[kind], np.float64)
    rows = []
    for truncated, plain in zip(recipes[:half], recipes[half:], strict=True):
        place = None if truncated.stage is None else truncated.stage - 1
        rows.append(
            RunGain(
                taps=taps,
                scope=kind.scope,
                reading=kind.reading,
                percentile=kind.percentile,
                stage="all" if truncated.stage is None else f"S{truncated.stage}",
                grad_cam_iou=iou(sum(tally.counts[plain], PixelCounts())),
                iou=iou(sum(tally.counts[truncated], PixelCounts())),
                **_against(tally.table(truncated), tally.table(plain), bootstrap),
                share=1.0 if place is None else float(shares[0][place]),
                grad_cam_share=1.0 if place is None else float(shares[1][place]),
                moved=None if place is None else _known_mean(moves[:, place]),
            )
        )
    return rows


def _known_mean(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None


def _against(table: NDArray[np.float64], other: NDArray[np.float64], bootstrap: int) -> dict[str, Any]:
    """Mean IoU of the images, gains over the other map, and their intervals, the same images drawn for both."""

    def measure(sums: NDArray[np.float64]) -> dict[str, float]:
        def pooled(tp: float, fp: float, fn: float) -> float:
            return tp / (tp + fp + fn) if tp + fp + fn else math.nan

        return {
            "gain": pooled(*sums[:3]) - pooled(*sums[4:7]),
            "mean_image_gain": float(sums[3] - sums[7]) / len(table),
        }

    both = np.hstack([table, other])
    return {
        "mean_image_iou": float(table[:, 3].mean()),
        **measure(both.sum(0)),
        "intervals": pooled_intervals(both, measure, resamples=bootstrap),
    }


def _best_reading(gains: Sequence[TruncationGain]) -> BestReading | None:
    """Scope and reading with the largest mean gain over Grad-CAM, of all stages at the base's percentile."""
    wanted = ("after", "all", BASE_PERCENTILE)
    rows = [row for row in gains if (row.taps, row.stage, row.percentile) == wanted and row.gain is not None]
    if not rows:
        return None
    best = max(rows, key=lambda row: row.gain or 0.0)
    return BestReading(**{name: getattr(best, name) for name in BestReading.model_fields})


def _together(
    sources: Sequence[Source], answers: Sequence[RunAnswers], settings: AblationSettings, command: str
) -> Answers:
    """The answers of all runs, and what they say together."""
    gains = over_runs([answer.gains for answer in answers], TRUNCATION, TruncationGain)
    return Answers(
        schema_version=ABLATION_SCHEMA_VERSION,
        base=Base(percentile=BASE_PERCENTILE, methods=tuple(BASES)),
        rows=over_runs([answer.rows for answer in answers], CHOICE, Answer),
        gains=gains,
        best_reading=_best_reading(gains),
        runs=tuple(answers),
        settings=QuestionSettings(
            runs=tuple(str(source.run) for source in sources),
            data=str(sources[0].data.root),
            positive_activations=settings.positive_activations,
            split=settings.split,
            bootstrap=settings.bootstrap,
        ),
        versions=package_versions(),
        command=command,
    )
