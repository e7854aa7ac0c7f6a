"""Which percentile, the paper's delta: the job behind `ltcam tune`.

Pooled IoU against the percentile on the training and the test side, as in the paper's figures 8 and 9, and the
percentile chosen twice: with the training side's true masks, as the paper does, and by rules that see image labels
only. The two never meet: judging an image for the rules gets no mask.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ltcam.calibration.looks import MOST_OK
from ltcam.data.dataset import Sample
from ltcam.evaluation.bootstrap import pooled_intervals
from ltcam.evaluation.counts import PixelCounts, count_pixels, ratios_of_sums
from ltcam.evaluation.evaluate import plain_json
from ltcam.experiments.cases import Case, noting_warnings, of_each_kind, read_cases
from ltcam.experiments.journal import Journal, journalled
from ltcam.experiments.opened import Side, Source
from ltcam.experiments.pages import nan_for_none
from ltcam.experiments.results import (
    Found,
    PixelSums,
    Values,
    bounded,
    failures,
    with_bounds,
    write_csv,
    write_json,
)
from ltcam.experiments.tune.judging import judge_image
from ltcam.experiments.tune.page import curve_figure, tune_markdown, tune_page
from ltcam.experiments.tune.percentile_maps import PercentileMaps, heatmaps_by_percentile
from ltcam.experiments.tune.rules import RULE, RULES, best
from ltcam.experiments.tune.tuning import (
    SIDES,
    BestOnTest,
    Choice,
    CurvePoint,
    Judged,
    SideRatios,
    SideTotals,
    TunedMethod,
    TunedRule,
    Tuning,
    TuningSettings,
)
from ltcam.jobs.execution import Execution
from ltcam.reports.drawing import save_figure
from ltcam.runs.folder import package_versions
from ltcam.training.listener import Listener
from ltcam_runtime.errors import DataError
from ltcam_runtime.folders import write_file
from ltcam_runtime.masks import otsu
from ltcam_runtime.reading import read_batches
from ltcam_runtime.resizing import resize_heatmap

TUNE_FILE = "tune.json"
TUNE_SCHEMA_VERSION = 1
ORACLE = "train_masks"
"""Name of the choice that uses true masks."""

_JOURNAL = "tuning"


@dataclass(frozen=True)
class TuneSettings:
    """What is tuned, on how much.

    Attributes:
        maps: which maps and percentiles.
        train_images: masks of the training side to measure, at most, drawn by the run's seed; None takes all.
        rule_images: defective training images, at most, that the label-free rules look at.
        bootstrap: resamples of the intervals.
    """

    maps: PercentileMaps = field(default_factory=PercentileMaps)
    train_images: int | None = None
    rule_images: int = 16
    bootstrap: int = 1000


@dataclass(frozen=True)
class _Images:
    """Which images are looked at, for what.

    Attributes:
        sides: all of each side.
        measured: those with a mask, by side.
        judged: defective training images that the rules see.
        normal: OK training images that say which score is normal.
    """

    sides: Mapping[str, Side]
    measured: Mapping[str, tuple[Sample, ...]]
    judged: tuple[Sample, ...]
    normal: tuple[Sample, ...]

    @property
    def total(self) -> int:
        return sum(map(len, self.measured.values())) + len(self.judged)


class _Entry(Values):
    """What the journal holds of one image.

    Attributes:
        counts: by method, the pixels of each of its masks; of images that are measured.
        judged: by method and judgement, likewise; of images that the rules see.
        notes: what was warned of.
    """

    counts: dict[str, tuple[tuple[int, int, int, int], ...]] = Field(default_factory=dict)
    judged: dict[str, dict[str, tuple[float | None, ...]]] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass
class _Tuning:
    """What is worked with, and what went wrong; the numbers are in the journal."""

    source: Source
    maps: PercentileMaps
    journal: Journal
    advance: Callable[[], None]
    failed: dict[str, str] = field(default_factory=dict)

    def entries(self, side: str) -> list[_Entry]:
        """In the order of the images' names, so that a resumed tuning adds up in the same order."""
        keys = (key for key in sorted(self.journal) if key.startswith(f"{side}/"))
        return [_Entry.model_validate(self.journal[key]) for key in keys]

    def left(self, side: str, samples: Sequence[Sample]) -> list[Sample]:
        """The samples that the journal does not hold yet; those that it holds are counted as done."""
        found = [sample for sample in samples if f"{side}/{sample.id}" not in self.journal]
        for _ in range(len(samples) - len(found)):
            self.advance()
        return found

    def keep(self, side: str, name: str, make: Callable[[], _Entry]) -> None:
        """Have an image's part of the work in the journal; what cannot be used is listed."""
        notes: dict[str, None] = {}
        try:
            with noting_warnings(notes):
                made = make()
        except ValueError as error:  # a heatmap that is not finite
            self.failed.setdefault(name, str(error))
        else:
            self.journal.add(f"{side}/{name}", made.to_json() | {"notes": list(notes)})


def tune_run(
    source: Source, out: Path, settings: TuneSettings, execution: Execution = Execution()
) -> Found[Tuning]:
    """Measure the masks of both sides at every percentile, and choose it with and without true masks.

    Args:
        source: a run, and the data set it was trained on, or one with sides of its own.
        out: folder to write tune.json, tune.csv, tune.md, report.html, curves.svg and curves.png to.
        settings: what is tuned.
        execution: what becomes of work and results that are there, who is told about progress. Where is computed is
            the source's.

    Raises:
        LtcamError: run, data, settings or output that cannot be used.
    """
    images = _choose_images(source, settings)
    begun = {
        **plain_json(_options(source, settings)),
        "run": "".join(source.run_hashes),
        "data": source.data.fingerprint,
    }
    with journalled(out, TUNE_FILE, _JOURNAL, begun, execution) as (journal, folder):
        execution.listener.begun("measuring masks")
        tuned = _Tuning(source, settings.maps, journal, _counter(execution.listener, images.total))
        for side in SIDES:
            _measure(tuned, side, images.measured[side])
        normal_score = _judge(tuned, images)
        tuning = _summed_up(tuned, settings, images, normal_score, execution.command)
        _write(folder, tuning, source.title)
    return Found(tuning, tuple(tuned.failed.items()), tuning.notes)


def _options(source: Source, settings: TuneSettings) -> dict[str, Any]:
    """What the masks depend on, by the names of `TuningSettings`."""
    run = source.inspector.run
    return {
        **asdict(settings.maps),
        "train_images": settings.train_images,
        "rule_images": settings.rule_images,
        "stages": run.stages,
        "image_size": run.image_size,
        "layout": source.data.dataset.layout,
        "device": source.inspector.network.device.type,
    }


def _counter(listener: Listener, total: int) -> Callable[[], None]:
    """Progress by one image at each call."""
    numbers = iter(range(1, total + 1))
    return lambda: listener.progress(next(numbers), total)


def _choose_images(source: Source, settings: TuneSettings) -> _Images:
    seed, sides = source.inspector.run.seed, {}
    for name in SIDES:
        try:
            sides[name] = source.side(name)
        except DataError:
            raise DataError(
                f"{source.data.root}: there is no {name} side; a percentile is chosen on images of the run's training "
                "side and measured on others: give the data set that the run was trained on"
            ) from None
        sides[name].must_have_masks(source.data.root, elsewhere=False)
    train = sides["train"]
    return _Images(
        sides=sides,
        measured={
            "train": _some(train.masked, settings.train_images, seed),
            "test": sides["test"].masked,
        },
        judged=_some(train.defective, settings.rule_images, seed),
        normal=_some([sample for sample in train.samples if not sample.defective], MOST_OK, seed),
    )


def _some(samples: Sequence[Sample], most: int | None, seed: int) -> tuple[Sample, ...]:
    """At most so many, drawn at random, in their own order."""
    if most is None or len(samples) <= most:
        return tuple(samples)
    drawn = np.random.default_rng(seed).choice(len(samples), most, replace=False)
    return tuple(samples[index] for index in sorted(drawn))


# ---------------------------------------------------------------------------------- image by image


def _measure(tuned: _Tuning, side: str, samples: Sequence[Sample]) -> None:
    """Pixel counts of each image's masks: by method, one [tp, fp, fn, tn] per percentile."""
    unread: dict[str, str] = {}
    for batch in read_cases(tuned.source, tuned.left(side, samples), unread):
        for case in batch:
            tuned.keep(side, case.name, partial(_counts, tuned, case))
        tuned.advance()
    tuned.failed.update(unread)


def _counts(tuned: _Tuning, case: Case) -> _Entry:
    counts: dict[str, list[list[float]]] = {method: [] for method in tuned.maps.methods}
    size = (case.truth.shape[0], case.truth.shape[1])
    for method, _, heatmap in heatmaps_by_percentile(tuned.source.inspector, tuned.maps, case.resized):
        counts[method].append(count_pixels(otsu(resize_heatmap(heatmap, size)), case.truth).numbers())
    return _Entry.model_validate({"counts": counts})


def _judge(tuned: _Tuning, images: _Images) -> float | None:
    """Judge the images that the rules see; the score that is normal, or None if nothing says so."""
    if not images.judged or not images.normal:
        return None
    normal = [resized for _, resized, _ in _resized(tuned.source, images.normal) if resized is not None]
    if not normal:
        return None
    score = float(np.median(tuned.source.inspector.network.defect_scores(normal)))
    for sample, resized, reason in _resized(tuned.source, tuned.left("rule", images.judged)):
        if resized is None:
            tuned.failed.setdefault(sample.id, reason)
        else:
            tuned.keep("rule", sample.id, partial(_judged, tuned, resized, score))
        tuned.advance()
    return score


def _judged(tuned: _Tuning, resized: NDArray[np.uint8], normal_score: float) -> _Entry:
    return _Entry.model_validate(
        {"judged": judge_image(tuned.source.inspector, tuned.maps, resized, normal_score)}
    )


def _resized(
    source: Source, samples: Sequence[Sample]
) -> Iterator[tuple[Sample, NDArray[np.uint8] | None, str]]:
    """Images at the network's size, without their masks; or why one cannot be read."""
    files = ((sample.id, sample.path) for sample in samples)
    batches = read_batches(files, source.inspector.run.image_size, 1, source.inspector.run.white)
    for sample, (item,) in zip(samples, batches, strict=True):
        yield sample, item.resized, item.reason


# -------------------------------------------------------------------------------------- summing up


def _summed_up(
    tuned: _Tuning, settings: TuneSettings, images: _Images, normal_score: float | None, command: str
) -> Tuning:
    """What the journal says."""
    source, maps = tuned.source, tuned.maps
    entries = [_Entry.model_validate(value) for value in tuned.journal.values()]
    return Tuning(
        schema_version=TUNE_SCHEMA_VERSION,
        backbone=source.inspector.run.backbone,
        sides={side: _side(tuned, side, images) for side in SIDES},
        rule=RULE,
        rules=tuple(TunedRule(name=rule.name, title=rule.title, sentence=rule.sentence) for rule in RULES),
        judged=Judged(images=len(tuned.entries("rule")), normal_score=normal_score),
        methods=tuple(_method(tuned, method, settings.bootstrap) for method in maps.methods),
        notes=tuple(of_each_kind(note for entry in entries for note in entry.notes)),
        settings=TuningSettings(
            run=str(source.run),
            data=str(source.data.root),
            **_options(source, settings),
            bootstrap=settings.bootstrap,
        ),
        seed=source.inspector.run.seed,
        versions=package_versions(),
        command=command,
        failed=failures(tuned.failed),
    )


def _side(tuned: _Tuning, name: str, images: _Images) -> SideTotals:
    measured, side = len(tuned.entries(name)), images.sides[name]
    if not measured:
        raise DataError(f"none of the {len(images.measured[name])} masks of the {side.words} could be used")
    return SideTotals(
        side=side.words,
        defective=len(side.defective),
        chosen=len(images.measured[name]),
        measured=measured,
    )


def _method(tuned: _Tuning, method: str, bootstrap: int) -> TunedMethod:
    tables = {
        side: np.array([entry.counts[method] for entry in tuned.entries(side)], np.float64) for side in SIDES
    }
    untruncated, *curve = [
        CurvePoint(
            percentile=percentile, **{side: _measured(tables[side][:, place], bootstrap) for side in SIDES}
        )
        for place, percentile in enumerate(tuned.maps.made_at)
    ]
    percentiles = tuned.maps.percentiles
    test_iou = {percentile: point.test.iou for percentile, point in zip(percentiles, curve, strict=True)}
    values = _rule_values(tuned, method)
    candidates: dict[str, Sequence[float | None]] = {ORACLE: [point.train.iou for point in curve], **values}
    chosen = {rule: best(percentiles, each) for rule, each in candidates.items()}
    top = best(percentiles, list(test_iou.values()))
    return TunedMethod(
        method=method,
        untruncated=untruncated,
        curve=tuple(curve),
        rule_values=values,
        best_on_test=BestOnTest(percentile=top, iou=None if top is None else test_iou[top]),
        choices=_choices(chosen, test_iou),
    )


def _measured(table: NDArray[np.float64], bootstrap: int) -> SideRatios:
    total = PixelCounts(*(int(value) for value in table.sum(0)))
    return SideRatios(
        **ratios_of_sums(table.sum(0)),
        intervals=pooled_intervals(table, ratios_of_sums, resamples=bootstrap),
        counts=PixelSums(tp=total.tp, fp=total.fp, fn=total.fn),
    )


def _rule_values(tuned: _Tuning, method: str) -> dict[str, list[float]]:
    """Of each rule, one value per percentile."""
    found = [entry.judged[method] for entry in tuned.entries("rule")]
    if not found:
        return {rule.name: [math.nan] * len(tuned.maps.percentiles) for rule in RULES}
    judgements = {
        # The first map is the untruncated one, which has no percentile to be chosen.
        name: np.array([each[name] for each in found], np.float64)[:, 1:]
        for name in found[0]
    }
    return {rule.name: rule.values(judgements) for rule in RULES}


def _choices(chosen: Mapping[str, int | None], test_iou: Mapping[int, float | None]) -> tuple[Choice, ...]:
    """What each rule chose, and how far it falls behind true masks."""
    reached = {
        rule: nan_for_none(None if percentile is None else test_iou[percentile])
        for rule, percentile in chosen.items()
    }
    return tuple(
        Choice(
            rule=rule,
            uses_pixel_labels=rule == ORACLE,
            percentile=percentile,
            test_iou=reached[rule],
            behind_train_masks=reached[ORACLE] - reached[rule],
        )
        for rule, percentile in chosen.items()
    )


# ----------------------------------------------------------------------------------------- writing


def _write(folder: Path, tuning: Tuning, title: str) -> None:
    write_json(folder / TUNE_FILE, tuning.to_json())
    _write_csv(folder / "tune.csv", tuning.methods)
    write_file(folder / "tune.md", tune_markdown(tuning))
    write_file(folder / "report.html", tune_page(tuning, title=title))
    save_figure(curve_figure(tuning), folder, "curves")


def _write_csv(file: Path, methods: Iterable[TunedMethod]) -> None:
    lines = [
        [
            method.method,
            "none" if point.percentile is None else point.percentile,
            side,
            *bounded(measured),
            *dict(measured.counts).values(),
        ]
        for method in methods
        for point in (method.untruncated, *method.curve)
        for side, measured in zip(SIDES, (point.train, point.test), strict=True)
    ]
    write_csv(file, ["method", "percentile", "side", *with_bounds(), "tp", "fp", "fn"], lines)
