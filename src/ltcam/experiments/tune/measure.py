"""Which delta: the job behind `ltcam tune`.

Pooled IoU against delta on the training and the test side, as in the paper's figures 8 and 9, and delta chosen
twice: with the training side's true masks, as the paper does, and by rules that see image labels only. The two
never meet: judging an image for the rules gets no mask.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ltcam.data.dataset import Dataset, Sample
from ltcam.data.duplicates import file_sha256
from ltcam.data.fingerprint import content_hashes, fingerprint
from ltcam.data.layouts import read_dataset
from ltcam.evaluation.bootstrap import pooled_intervals
from ltcam.evaluation.counts import PixelCounts, count_pixels
from ltcam.evaluation.evaluate import plain_json
from ltcam.experiments.cases import (
    METRICS,
    Found,
    Progress,
    make_case,
    metrics_of,
    metrics_of_sums,
    noting_warnings,
    of_each_kind,
)
from ltcam.experiments.journal import Journal, open_journal
from ltcam.experiments.tune.judging import judge_image
from ltcam.experiments.tune.page import curve_figure, tune_markdown, tune_page
from ltcam.experiments.tune.percentile_maps import DeltaMaps, heatmaps_by_delta
from ltcam.experiments.tune.rules import RULE, RULES, best
from ltcam.inspector import Inspector
from ltcam.measuring import choose_samples
from ltcam.reports.drawing import save_figure
from ltcam.runs import RUN_FILE, WEIGHTS_FILE, package_versions
from ltcam.sharpening_choice import MOST_OK, defect_scores
from ltcam.training.memory import keep_freed_memory
from ltcam_runtime.errors import DataError, InputError, SettingsError
from ltcam_runtime.folders import output_folder
from ltcam_runtime.images import resize_heatmap
from ltcam_runtime.masks import otsu
from ltcam_runtime.reading import read_batches

TUNE_FILE = "tune.json"
TUNE_SCHEMA_VERSION = 1
SIDES = ("train", "test")
ORACLE = "train_masks"
"""Name of the choice that uses true masks."""

_WORK = "tuning"


@dataclass
class _Work:
    """What is done with, and what went wrong; the numbers are in the journal."""

    inspector: Inspector
    maps: DeltaMaps
    journal: Journal
    progress: Progress
    total: int
    failed: dict[str, str] = field(default_factory=dict)
    done: int = 0

    def advance(self) -> None:
        self.done += 1
        self.progress(self.done, self.total)


@dataclass(frozen=True)
class _Images:
    """Which images are looked at, for what.

    Attributes:
        words: which the sides are.
        defective: how many images of each side are.
        measured: those with a mask, by side.
        judged: defective training images that the rules see.
        normal: OK training images that say which score is normal.
    """

    words: Mapping[str, str]
    defective: Mapping[str, int]
    measured: Mapping[str, tuple[Sample, ...]]
    judged: tuple[Sample, ...]
    normal: tuple[Sample, ...]


def tune_run(  # noqa: PLR0913  # the options of a command
    run: Path,
    data: Path,
    out: Path,
    *,
    layout: str | None = None,
    maps: DeltaMaps | None = None,
    train_images: int | None = None,
    rule_images: int = 16,
    device: str = "auto",
    bootstrap: int = 1000,
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda _done, _total: None,
) -> Found:
    """Measure the masks of both sides at every delta, and choose delta with and without true masks.

    Args:
        run: run folder.
        data: the data set it was trained on, or one with sides of its own.
        out: folder to write tune.json, tune.csv, tune.md, report.html, curves.svg and curves.png to.
        layout: of the data; None finds it out.
        maps: which maps and deltas.
        train_images: masks of the training side to measure, at most, drawn by the run's seed; None takes all.
        rule_images: defective training images, at most, that the label-free rules look at.
        device: `auto`, `cpu` or `cuda`.
        bootstrap: resamples of the intervals.
        resume: go on with a tuning that was stopped.
        overwrite: replace existing results, and unfinished ones.
        command: kept in the results.
        progress: called with (done, total).

    Raises:
        LtcamError: run, data, settings or output that cannot be used.
    """
    keep_freed_memory()
    maps = maps or DeltaMaps()
    _check_deltas(maps.deltas)
    dataset = read_dataset(data, layout, one_class=True)
    inspector = Inspector.load(run, device=device)
    images = _choose_images(dataset, run, inspector.run.seed, train_images, rule_images)
    settings = {
        **plain_json(asdict(maps)),
        "train_images": train_images,
        "rule_images": rule_images,
        "stages": list(inspector.run.stages),
        "image_size": list(inspector.run.image_size),
        "layout": dataset.layout,
        "device": inspector.device.type,
    }
    begun = {**settings, "run": _run_hash(run), "data": fingerprint(dataset, content_hashes(dataset))}
    total = sum(map(len, images.measured.values())) + len(images.judged)
    with (
        open_journal(out, _WORK, begun, resume=resume, overwrite=overwrite) as journal,
        output_folder(out, marker=TUNE_FILE, overwrite=overwrite) as folder,
    ):
        work = _Work(inspector, maps, journal, progress, total)
        for side in SIDES:
            _measure(work, side, images.measured[side])
        normal_score = _judge(work, images)
        tuning: dict[str, Any] = plain_json(
            {
                "schema_version": TUNE_SCHEMA_VERSION,
                "backbone": inspector.run.backbone,
                "sides": {side: _side(journal, side, images) for side in SIDES},
                "rule": RULE,
                "rules": [
                    {"name": rule.name, "title": rule.title, "sentence": rule.sentence} for rule in RULES
                ],
                "judged": {
                    "images": sum(key.startswith("rule/") for key in journal),
                    "normal_score": normal_score,
                },
                "methods": [_method(journal, maps, method, bootstrap) for method in maps.methods],
                "notes": of_each_kind(note for value in journal.values() for note in value["notes"]),
                "settings": {"run": str(run), "data": str(data), **settings, "bootstrap": bootstrap},
                "seed": inspector.run.seed,
                "versions": package_versions(),
                "command": command,
                "failed": [{"image": name, "reason": reason} for name, reason in work.failed.items()],
            }
        )
        _write(folder, tuning, title=f"{run.name} on {data.name}")
    return Found(tuning, tuple(work.failed.items()))


def _check_deltas(deltas: Sequence[int]) -> None:
    if not deltas or list(deltas) != sorted(set(deltas)) or not 0 <= deltas[0] <= deltas[-1] <= 100:
        shown = ",".join(map(str, deltas))
        raise SettingsError(f"--deltas {shown}: give rising whole numbers from 0 to 100, such as 0,50,90")


def _choose_images(
    dataset: Dataset, run: Path, seed: int, train_images: int | None, rule_images: int
) -> _Images:
    sides, words = {}, {}
    for side in SIDES:
        try:
            samples, words[side] = choose_samples(dataset, run, side)
        except DataError:
            raise DataError(
                f"{dataset.root}: there is no {side} side; delta is chosen on images of the run's training side "
                "and measured on others: give the data set that the run was trained on"
            ) from None
        sides[side] = samples
    defective = {side: [s for s in sides[side] if s.defective] for side in SIDES}
    masked = {side: [s for s in defective[side] if s.mask is not None] for side in SIDES}
    for side in SIDES:
        if not masked[side]:
            raise DataError(
                f"{dataset.root}: no defective image of the {words[side]} has a mask to measure with"
            )
    return _Images(
        words=words,
        defective={side: len(defective[side]) for side in SIDES},
        measured={"train": _some(masked["train"], train_images, seed), "test": tuple(masked["test"])},
        judged=_some(defective["train"], rule_images, seed),
        normal=_some([s for s in sides["train"] if not s.defective], MOST_OK, seed),
    )


def _some(samples: Sequence[Sample], most: int | None, seed: int) -> tuple[Sample, ...]:
    """At most so many, drawn at random, in their own order."""
    if most is None or len(samples) <= most:
        return tuple(samples)
    drawn = np.random.default_rng(seed).choice(len(samples), most, replace=False)
    return tuple(samples[index] for index in sorted(drawn))


def _run_hash(run: Path) -> str:
    return file_sha256(run / RUN_FILE) + file_sha256(run / WEIGHTS_FILE)


# ---------------------------------------------------------------------------------- image by image


def _each(
    work: _Work, side: str, samples: Sequence[Sample], take: Callable[[Sample, Any], dict[str, Any]]
) -> None:
    """Have each image's part of the work in the journal; what cannot be used is listed."""
    left = []
    for sample in samples:
        if f"{side}/{sample.id}" in work.journal:
            work.advance()
        else:
            left.append(sample)
    files = ((sample.id, sample.path) for sample in left)
    batches = read_batches(files, work.inspector.run.image_size, 1)
    for sample, (item,) in zip(left, batches, strict=True):
        notes: dict[str, None] = {}
        try:
            with noting_warnings(notes):
                taken = take(sample, item)
        except InputError as error:
            work.failed.setdefault(sample.id, error.reason)
        except ValueError as error:  # a heatmap that is not finite
            work.failed.setdefault(sample.id, str(error))
        else:
            work.journal.add(f"{side}/{sample.id}", {**taken, "notes": list(notes)})
        work.advance()


def _measure(work: _Work, side: str, samples: Sequence[Sample]) -> None:
    """Pixel counts of each image's masks: by method, one [tp, fp, fn, tn] per percentile."""

    def take(sample: Sample, item: Any) -> dict[str, Any]:
        case = make_case(sample, item)
        counts: dict[str, list[list[int]]] = {method: [] for method in work.maps.methods}
        for method, _, heatmap in heatmaps_by_delta(work.inspector, work.maps, case.shrunk):
            found = count_pixels(otsu(resize_heatmap(heatmap, case.truth.shape)), case.truth)
            counts[method].append([found.tp, found.fp, found.fn, found.tn])
        return {"counts": counts}

    _each(work, side, samples, take)


def _judge(work: _Work, images: _Images) -> float | None:
    """Judge the images that the rules see; the score that is normal, or None if nothing says so."""
    if not images.judged or not images.normal:
        return None
    files = ((sample.id, sample.path) for sample in images.normal)
    read = (item.resized for batch in read_batches(files, work.inspector.run.image_size, 1) for item in batch)
    normal = [shrunk for shrunk in read if shrunk is not None]
    if not normal:
        return None
    score = float(np.median(defect_scores(work.inspector, normal)))

    def take(sample: Sample, item: Any) -> dict[str, Any]:
        if item.resized is None:
            raise InputError(sample.path, item.reason)
        return {"judged": plain_json(judge_image(work.inspector, work.maps, item.resized, score))}

    _each(work, "rule", images.judged, take)
    return score


# -------------------------------------------------------------------------------------- summing up


def _entries(journal: Journal, side: str) -> list[dict[str, Any]]:
    """In the order of the images' names, so that a resumed tuning adds up in the same order."""
    return [journal[key] for key in sorted(journal) if key.startswith(f"{side}/")]


def _side(journal: Journal, side: str, images: _Images) -> dict[str, Any]:
    measured = len(_entries(journal, side))
    if not measured:
        raise DataError(
            f"none of the {len(images.measured[side])} masks of the {images.words[side]} could be used"
        )
    return {
        "side": images.words[side],
        "defective": images.defective[side],
        "chosen": len(images.measured[side]),
        "measured": measured,
    }


def _method(journal: Journal, maps: DeltaMaps, method: str, bootstrap: int) -> dict[str, Any]:
    tables = {
        side: np.array([entry["counts"][method] for entry in _entries(journal, side)], np.float64)
        for side in SIDES
    }
    curve: list[dict[str, Any]] = [
        {"delta": delta, **{side: _measured(tables[side][:, place], bootstrap) for side in SIDES}}
        for place, delta in enumerate(maps.percentiles)
    ]
    untruncated, *truncated = curve
    iou = {side: [point[side]["iou"] for point in truncated] for side in SIDES}
    top = best(maps.deltas, iou["test"])
    values = _rule_values(journal, maps, method)
    choices: list[dict[str, Any]] = [
        _choice(ORACLE, best(maps.deltas, iou["train"]), maps.deltas, iou["test"]),
        *(_choice(name, best(maps.deltas, each), maps.deltas, iou["test"]) for name, each in values.items()),
    ]
    oracle = choices[0]["test_iou"]
    for choice in choices:
        known = choice["test_iou"] is not None and oracle is not None
        choice["behind_train_masks"] = oracle - choice["test_iou"] if known else None
    return {
        "method": method,
        "untruncated": untruncated,
        "curve": truncated,
        "rule_values": values,
        "best_on_test": {"delta": top, "iou": _at(maps.deltas, iou["test"], top)},
        "choices": choices,
    }


def _measured(table: np.ndarray[Any, np.dtype[np.float64]], bootstrap: int) -> dict[str, Any]:
    total = PixelCounts(*(int(value) for value in table.sum(0)))
    return {
        **metrics_of(total),
        "intervals": pooled_intervals(table, metrics_of_sums, resamples=bootstrap),
        "counts": {"tp": total.tp, "fp": total.fp, "fn": total.fn},
    }


def _rule_values(journal: Journal, maps: DeltaMaps, method: str) -> dict[str, list[float]]:
    """Of each rule, one value per delta."""
    found = [entry["judged"][method] for entry in _entries(journal, "rule")]
    if not found:
        return {rule.name: [math.nan] * len(maps.deltas) for rule in RULES}
    judgements = {
        # the first percentile is the untruncated map, which is no delta to be chosen
        name: np.array([each[name] for each in found], np.float64)[:, 1:]
        for name in found[0]
    }
    return {rule.name: rule.values(judgements) for rule in RULES}


def _choice(
    rule: str, delta: int | None, deltas: Sequence[int], test_iou: Sequence[float | None]
) -> dict[str, Any]:
    return {
        "rule": rule,
        "uses_pixel_labels": rule == ORACLE,
        "delta": delta,
        "test_iou": _at(deltas, test_iou, delta),
    }


def _at(deltas: Sequence[int], values: Sequence[float | None], delta: int | None) -> float | None:
    return None if delta is None else values[list(deltas).index(delta)]


# ----------------------------------------------------------------------------------------- writing


def _write(folder: Path, tuning: Mapping[str, Any], *, title: str) -> None:
    text = json.dumps(tuning, indent=2, allow_nan=False) + "\n"
    (folder / TUNE_FILE).write_text(text, encoding="utf-8")
    (folder / "tune.csv").write_text(_csv(tuning["methods"]), encoding="utf-8")
    (folder / "tune.md").write_text(tune_markdown(tuning), encoding="utf-8")
    (folder / "report.html").write_text(tune_page(tuning, title=title), encoding="utf-8")
    save_figure(curve_figure(tuning), folder, "curves")


def _csv(methods: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    bounds = [f"{name}{end}" for name in METRICS for end in ("", "_low", "_high")]
    writer.writerow(["method", "delta", "side", *bounds, "tp", "fp", "fn"])
    for method in methods:
        for point in (method["untruncated"], *method["curve"]):
            for side in SIDES:
                found = point[side]
                values = [v for name in METRICS for v in (found[name], *found["intervals"][name])]
                delta = "none" if point["delta"] is None else point["delta"]
                shown = ["" if value is None else f"{value:.6f}" for value in values]
                writer.writerow([method["method"], delta, side, *shown, *found["counts"].values()])
    return text.getvalue()
