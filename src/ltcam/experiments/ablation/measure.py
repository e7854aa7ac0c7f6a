"""The questions that the paper leaves open, answered by measurement: the job behind `ltcam questions`.

Each choice is varied alone against the paper's base setting: delta 50 of each channel, in the gradient (eq. 9),
stages tapped behind their pooling, each cut at 0, all of them added up raw, Otsu. Head and input size are
properties of a run; runs are measured one by one and stand side by side.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ltcam.cam.fusion import Fusion, StageScale
from ltcam.cam.truncation import Reading, Scope
from ltcam.data.dataset import Sample
from ltcam.data.layouts import read_dataset
from ltcam.evaluation.bootstrap import pooled_intervals
from ltcam.evaluation.counts import PixelCounts, count_pixels, iou
from ltcam.evaluation.evaluate import plain_json
from ltcam.experiments.ablation.figure import effects_figure
from ltcam.experiments.ablation.page import questions_markdown, questions_page
from ltcam.experiments.ablation.stage_maps import Kind, Recipe, StageMapFiles, moved, shares_of_stages
from ltcam.experiments.cases import METRICS, Found, Progress, make_case, metrics_of, noting_warnings
from ltcam.experiments.journal import work_folder
from ltcam.inspector import Inspector
from ltcam.measuring import choose_samples
from ltcam.reports.drawing import save_figure
from ltcam.runs import package_versions
from ltcam.training.memory import keep_freed_memory
from ltcam_runtime.errors import DataError, InputError, SettingsError
from ltcam_runtime.folders import output_folder
from ltcam_runtime.images import resize_heatmap
from ltcam_runtime.masks import otsu
from ltcam_runtime.reading import read_batches

QUESTIONS_FILE = "questions.json"
QUESTIONS_SCHEMA_VERSION = 1

BASE_DELTA = 50
GAIN_DELTAS = (0, BASE_DELTA, 90)
"""Deltas at which the gain over Grad-CAM is looked at: 0 only drops what is not positive."""

BASES: Mapping[str, Kind] = {
    "Grad-CAM": Kind("grad-cam"),
    "LTGrad-CAM": Kind("grad-cam", BASE_DELTA),
    "LTLayerCAM": Kind("layer-cam", BASE_DELTA),
}

_WORK = "questions"


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

    def table(self, recipe: Recipe) -> NDArray[np.float64]:
        """(N, 4): tp, fp, fn and IoU of each image."""
        return np.array(
            [(each.tp, each.fp, each.fn, iou(each)) for each in self.counts[recipe]], np.float64
        ).reshape(-1, 4)


def ask(  # noqa: PLR0913  # the options of a command
    run: Path,
    data: Path,
    *,
    work: Path,
    layout: str | None = None,
    split: str = "auto",
    positive_activations: bool = False,
    device: str = "auto",
    bootstrap: int = 1000,
    progress: Progress = lambda _done, _total: None,
) -> Mapping[str, Any]:
    """Vary each open choice alone, on the defective images of one run that have a mask.

    Masks are used for this measurement and for nothing else.

    Args:
        run: run folder.
        data: data set.
        work: folder of stage maps: those that are there are used, others are added. May be shared by runs.
        layout: of the data; None finds it out.
        split: as for `ltcam.measuring.choose_samples`.
        positive_activations: use only the positive part of activations.
        device: `auto`, `cpu` or `cuda`.
        bootstrap: resamples of the intervals.
        progress: called with (done, total).

    Returns:
        As JSON values: `rows`, one per method, question and value; `gains`, of LTGrad-CAM over Grad-CAM by
        scope, reading, delta and stage; what was measured; `failed`.

    Raises:
        LtcamError: run, data or settings that cannot be used.
    """
    keep_freed_memory()
    dataset = read_dataset(data, layout, one_class=True)
    samples, side = choose_samples(dataset, run, split)
    defective = [sample for sample in samples if sample.defective]
    masked = [sample for sample in defective if sample.mask is not None]
    if not masked:
        raise DataError(
            f"{data}: none of the {len(defective)} defective images ({side}) has a mask, so there is nothing to "
            "measure; add masks, or try --split all"
        )
    inspector = Inspector.load(run, device=device)
    files = StageMapFiles.of(run, inspector, work, positive_activations=positive_activations)
    stages = len(inspector.run.stages)
    pooled = files.layers("before") != files.layers("after")
    variants = _variants(stages, pooled=pooled)
    gains = _gain_kinds(pooled=pooled)
    recipes = [variant.recipe for variant in variants]
    recipes += [recipe for _, kind in gains for recipe in _by_stage(kind, stages)]
    tally = _measure(files, list(dict.fromkeys(recipes)), masked, progress)
    measured = len(next(iter(tally.counts.values())))
    if not measured:
        raise DataError(f"{data}: none of the {len(masked)} images could be measured: {tally.failed}")
    settings = inspector.run
    found: dict[str, Any] = plain_json(
        {
            "run": run.name,
            "backbone": settings.backbone,
            "image_size": settings.image_size,
            "stages": settings.stages,
            "pooling_stages": pooled,
            "training": settings.training,
            "side": side,
            "images": {"defective": len(defective), "with_mask": len(masked), "measured": measured},
            "rows": [_row(variant, tally, bootstrap) for variant in variants],
            "gains": [
                row for taps, kind in gains for row in _gain_rows(taps, kind, stages, tally, bootstrap)
            ],
            "notes": list(tally.notes),
            "seed": settings.seed,
            "device": inspector.device.type,
            "failed": [{"image": name, "reason": reason} for name, reason in tally.failed.items()],
        }
    )
    return found


def ask_runs(  # noqa: PLR0913  # the options of a command
    runs: Sequence[Path],
    data: Path,
    out: Path,
    *,
    maps: Path | None = None,
    layout: str | None = None,
    split: str = "auto",
    positive_activations: bool = False,
    device: str = "auto",
    bootstrap: int = 1000,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda _done, _total: None,
) -> Found:
    """Ask each run, and write what they say and how far they differ.

    Args:
        runs: run folders: folds, or runs with another head or input size.
        data: data set of all of them.
        out: folder to write questions.json, .csv, .md, report.html and effects.svg, .png to.
        maps: folder to keep stage maps in; None: a hidden one beside `out`, until the results are whole. A
            measurement that was stopped goes on from the maps that are there.
        layout: as for `ask`, and so are `split`, `positive_activations`, `device` and `bootstrap`.
        split: see there.
        positive_activations: see there.
        device: see there.
        bootstrap: see there.
        overwrite: replace existing results.
        command: kept in the results.
        progress: called with (done, total) over the images of all runs.

    Raises:
        LtcamError: runs, data, settings or output that cannot be used.
    """
    if len({run.resolve() for run in runs}) < len(runs) or not runs:
        raise SettingsError("RUN: give one run folder or several, each once")
    work = maps or work_folder(out, _WORK)
    with output_folder(out, marker=QUESTIONS_FILE, overwrite=overwrite) as folder:
        answers = [
            ask(
                run,
                data,
                work=work,
                layout=layout,
                split=split,
                positive_activations=positive_activations,
                device=device,
                bootstrap=bootstrap,
                progress=_part(progress, place, len(runs)),
            )
            for place, run in enumerate(runs)
        ]
        questions: dict[str, Any] = plain_json(
            {
                "schema_version": QUESTIONS_SCHEMA_VERSION,
                "base": {"delta": BASE_DELTA, "methods": list(BASES)},
                "rows": over_runs([answer["rows"] for answer in answers], ("question", "value", "method")),
                "gains": over_runs(
                    [answer["gains"] for answer in answers], ("taps", "scope", "reading", "delta", "stage")
                ),
                "best_reading": _best_reading(answers),
                "runs": answers,
                "settings": {
                    "runs": [str(run) for run in runs],
                    "data": str(data),
                    "positive_activations": positive_activations,
                    "split": split,
                    "bootstrap": bootstrap,
                },
                "versions": package_versions(),
                "command": command,
            }
        )
        _write(folder, questions, title=f"{', '.join(run.name for run in runs)} on {data.name}")
    if maps is None:
        _remove(work)
    failed = {each["image"]: each["reason"] for answer in answers for each in answer["failed"]}
    return Found(questions, tuple(failed.items()))


def _part(progress: Progress, place: int, parts: int) -> Progress:
    """Progress of one of several runs, in hundredths of a run, since their numbers of images differ."""
    return lambda done, total: progress(100 * place + round(100 * done / max(total, 1)), 100 * parts)


def _remove(folder: Path) -> None:
    for file in folder.glob("*.npz"):
        file.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


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
        (taps, Kind("grad-cam", delta, scope, reading, taps))
        for taps in (("after", "before") if pooled else ("after",))
        for scope in get_args(Scope)
        for reading in get_args(Reading)
        for delta in (GAIN_DELTAS if taps == "after" else (BASE_DELTA,))
    ]


def _by_stage(kind: Kind, stages: int) -> list[Recipe]:
    """A kind's maps and their untruncated ones: of all stages, and of each alone."""
    plain = replace(kind, percentile=None, scope="channel", reading="gradient")
    places = [None, *range(1, stages + 1)] if stages > 1 else [None]
    return [Recipe(each, stage=stage) for each in (kind, plain) for stage in places]


# ---------------------------------------------------------------------------------- image by image


def _measure(
    files: StageMapFiles, recipes: Sequence[Recipe], samples: Sequence[Sample], progress: Progress
) -> _Tally:
    kinds = list(dict.fromkeys(recipe.kind for recipe in recipes))
    tally = _Tally(
        {recipe: [] for recipe in recipes}, {kind: [] for kind in kinds}, {kind: [] for kind in kinds}
    )
    read = read_batches(((sample.id, sample.path) for sample in samples), files.inspector.run.image_size, 1)
    for done, (sample, (item,)) in enumerate(zip(samples, read, strict=True), start=1):
        try:
            case = make_case(sample, item)
            with noting_warnings(tally.notes):
                maps = files.get(case.shrunk, kinds)
            size = (case.shrunk.shape[0], case.shrunk.shape[1])
            counts = [_count(recipe.heatmap(maps[recipe.kind], size), case.truth) for recipe in recipes]
        except InputError as error:
            tally.failed[sample.id] = error.reason
        except ValueError as error:  # a heatmap that is not finite
            tally.failed[sample.id] = str(error)
        else:
            for recipe, each in zip(recipes, counts, strict=True):
                tally.counts[recipe].append(each)
            for kind in kinds:
                tally.shares[kind].append(shares_of_stages(maps[kind]))
                tally.moves[kind].append(moved(maps[kind], maps[_at_zero(kind, maps)]))
        progress(done, len(samples))
    return tally


def _at_zero(kind: Kind, kinds: Container[Kind]) -> Kind:
    """The same kind at delta 0, which only drops what is not positive; itself where that was not made."""
    zero = replace(kind, percentile=0)
    return zero if kind.percentile is not None and zero in kinds else kind


def _count(heatmap: NDArray[np.float32], truth: NDArray[np.bool_]) -> PixelCounts:
    return count_pixels(otsu(resize_heatmap(heatmap, (truth.shape[0], truth.shape[1]))), truth)


# -------------------------------------------------------------------------------------- summing up


def _row(variant: _Variant, tally: _Tally, bootstrap: int) -> dict[str, Any]:
    counts = sum(tally.counts[variant.recipe], PixelCounts())
    return {
        "question": variant.question,
        "value": variant.value,
        "method": variant.method,
        **metrics_of(counts),
        "counts": {"tp": counts.tp, "fp": counts.fp, "fn": counts.fn},
        **_against(tally.table(variant.recipe), tally.table(Recipe(BASES[variant.method])), bootstrap),
    }


def _gain_rows(taps: str, kind: Kind, stages: int, tally: _Tally, bootstrap: int) -> list[dict[str, Any]]:
    recipes = _by_stage(kind, stages)
    half = len(recipes) // 2
    shares = [np.mean(tally.shares[recipe.kind], axis=0) for recipe in (recipes[0], recipes[half])]
    moves = np.array(tally.moves[kind], np.float64)
    rows = []
    for truncated, plain in zip(recipes[:half], recipes[half:], strict=True):
        place = None if truncated.stage is None else truncated.stage - 1
        rows.append(
            {
                "taps": taps,
                "scope": kind.scope,
                "reading": kind.reading,
                "delta": kind.percentile,
                "stage": "all" if truncated.stage is None else f"S{truncated.stage}",
                "grad_cam_iou": iou(sum(tally.counts[plain], PixelCounts())),
                "iou": iou(sum(tally.counts[truncated], PixelCounts())),
                **_against(tally.table(truncated), tally.table(plain), bootstrap),
                "share": 1.0 if place is None else float(shares[0][place]),
                "grad_cam_share": 1.0 if place is None else float(shares[1][place]),
                "moved": None if place is None else _known_mean(moves[:, place]),
            }
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


def over_runs(tables: Sequence[Sequence[Mapping[str, Any]]], names: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of several runs, each number as its mean over the runs and its spread.

    Args:
        tables: rows of each run.
        names: of the columns that say which row it is.

    Returns:
        One row per row of any run, in their order: `names`, `runs`, the means of all other numbers under their own
        name, and under `spread` their standard deviation over the runs (n - 1), lowest and highest; None of one run.
    """
    found: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for table in tables:
        for row in table:
            found.setdefault(tuple(row[name] for name in names), []).append(row)
    return [_mean_row(dict(zip(names, key, strict=True)), rows) for key, rows in found.items()]


def _mean_row(which: dict[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    columns = [
        name
        for name, value in rows[0].items()
        if name not in which and (value is None or isinstance(value, int | float))
    ]
    values = {name: [row[name] for row in rows if row[name] is not None] for name in columns}
    return {
        **which,
        "runs": len(rows),
        **{name: float(np.mean(each)) if each else None for name, each in values.items()},
        "intervals": rows[0]["intervals"] if len(rows) == 1 else None,
        "spread": {
            name: {"sd": float(np.std(each, ddof=1)), "low": min(each), "high": max(each)}
            if len(each) > 1
            else None
            for name, each in values.items()
        },
    }


def _best_reading(answers: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Scope and reading with the largest mean gain over Grad-CAM, of all stages at the base's delta."""
    rows = over_runs(
        [
            [
                row
                for row in answer["gains"]
                if row["taps"] == "after" and row["stage"] == "all" and row["delta"] == BASE_DELTA
            ]
            for answer in answers
        ],
        ("scope", "reading"),
    )
    known = [row for row in rows if row["gain"] is not None]
    if not known:
        return None
    best = max(known, key=lambda row: row["gain"])
    return {name: best[name] for name in ("scope", "reading", "grad_cam_iou", "iou", "gain", "intervals")}


# ----------------------------------------------------------------------------------------- writing


def _write(folder: Path, questions: Mapping[str, Any], *, title: str) -> None:
    text = json.dumps(questions, indent=2, allow_nan=False) + "\n"
    (folder / QUESTIONS_FILE).write_text(text, encoding="utf-8")
    (folder / "questions.csv").write_text(_csv(questions["runs"]), encoding="utf-8")
    (folder / "gains.csv").write_text(_gains_csv(questions["runs"]), encoding="utf-8")
    (folder / "questions.md").write_text(questions_markdown(questions), encoding="utf-8")
    (folder / "report.html").write_text(questions_page(questions, title=title), encoding="utf-8")
    save_figure(effects_figure(questions), folder, "effects")


def _csv(answers: Sequence[Mapping[str, Any]]) -> str:
    """A line per run and row."""
    names = [*METRICS, "mean_image_iou", "gain", "mean_image_gain"]
    bounds = [f"{name}_{end}" for name in ("gain", "mean_image_gain") for end in ("low", "high")]
    lines: list[list[Any]] = [["run", "question", "value", "method", *names, *bounds, "tp", "fp", "fn"]]
    for answer in answers:
        for row in answer["rows"]:
            ends = [each for name in ("gain", "mean_image_gain") for each in row["intervals"][name]]
            numbers = [_number(value) for value in (*(row[name] for name in names), *ends)]
            which = [row[name] for name in ("question", "value", "method")]
            lines.append([answer["run"], *which, *numbers, *row["counts"].values()])
    return _lines(lines)


def _gains_csv(answers: Sequence[Mapping[str, Any]]) -> str:
    which = ("taps", "scope", "reading", "delta", "stage")
    names = ("grad_cam_iou", "iou", "gain", "mean_image_gain", "grad_cam_share", "share", "moved")
    lines: list[list[Any]] = [["run", *which, *names, "gain_low", "gain_high"]]
    for answer in answers:
        for row in answer["gains"]:
            numbers = [*(row[name] for name in names), *row["intervals"]["gain"]]
            lines.append([answer["run"], *(row[name] for name in which), *map(_number, numbers)])
    return _lines(lines)


def _lines(lines: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"
