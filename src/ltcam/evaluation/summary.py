"""The summary of an evaluation: typed, and as the content of `metrics.json`.

Three populations stand side by side, since papers rarely say which one theirs is:

    defective   masks of the images labelled defective, as drawn, whatever the verdict (the default)
    all         masks of all images, as drawn, whatever the verdict
    gated       masks of all images, emptied where the verdict is OK: what a user of the product sees
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltcam.data.dataset import OK
from ltcam.evaluation import counts as pixel
from ltcam.evaluation.binomial import exact_interval
from ltcam.evaluation.bootstrap import pooled_intervals, ranking_intervals
from ltcam.evaluation.counts import PixelCounts
from ltcam.evaluation.curves import ScoreHistogram, pixel_curves, pixel_intervals
from ltcam.evaluation.decisions import Costs, Decisions, summarise_decisions
from ltcam.evaluation.evaluate import Histograms, ImageRecord, plain_json
from ltcam.evaluation.hits import HitCounts
from ltcam.evaluation.images import (
    best_f1,
    confusion_matrix,
    count_images,
    image_auroc,
    image_average_precision,
)
from ltcam.evaluation.metrics import Estimate, HeatmapMetrics, MaskCounts, MaskMetrics, Metrics

METRICS_SCHEMA_VERSION = 1

_UNKNOWN = Estimate(math.nan)


@dataclass(frozen=True)
class Population:
    """Masks of some of the images.

    Attributes:
        images: those whose true mask is known.
        masks: how good the masks are.
        heatmaps: how good the heatmaps are; None where the verdict has emptied masks.
    """

    images: int
    masks: MaskMetrics
    heatmaps: HeatmapMetrics | None


@dataclass(frozen=True)
class HitMetrics(Metrics):
    """Where the highest pixel of the heatmap lies, in images with a defect and a true mask.

    Attributes:
        hit_8px: share of images where it is within 8 px of the true mask.
        hit_inside: share where it is inside.
    """

    hit_8px: Estimate
    hit_inside: Estimate


@dataclass(frozen=True)
class VerdictMetrics(Metrics):
    """How well whole images are judged; the last four at the run's threshold."""

    ap: Estimate
    auroc: Estimate
    f1: Estimate
    precision: Estimate
    recall: Estimate
    accuracy: Estimate


@dataclass(frozen=True)
class Verdicts:
    """Verdicts on whole images.

    Attributes:
        metrics: how well they agree with the labels.
        threshold: the run's.
        best_f1: largest F1 that any threshold reaches on these images; NaN where undefined.
        best_threshold: the highest threshold that reaches it.
        counts: of images.
        unsure: images with that verdict.
    """

    metrics: VerdictMetrics
    threshold: float
    best_f1: float
    best_threshold: float
    counts: PixelCounts
    unsure: int


@dataclass(frozen=True)
class KindMetrics(Metrics):
    """One kind of defect.

    Attributes:
        pixel_iou: pooled over its images; likewise precision and recall.
        pixel_precision: see there.
        pixel_recall: see there.
        image_recall: share of its images that are judged defective.
        class_recall: share that is judged defective and whose likeliest kind is the true one.
        hit_8px: as in `HitMetrics`; likewise `hit_inside`.
        hit_inside: see there.
    """

    pixel_iou: Estimate
    pixel_precision: Estimate
    pixel_recall: Estimate
    image_recall: Estimate
    class_recall: Estimate
    hit_8px: Estimate
    hit_inside: Estimate


@dataclass(frozen=True)
class ImageTotals:
    """How many images there are."""

    total: int
    defective: int
    ok: int
    with_mask: int


@dataclass(frozen=True)
class Evaluation:
    """All that is measured.

    Attributes:
        images: how many.
        populations: by name: `defective`, `all`, `gated`.
        hits: of the heatmaps of defective images.
        verdicts: on whole images.
        decisions: what the verdicts came to, and would at other thresholds.
        kinds: by kind of defect, with its number of images; empty where there is only one.
        confusion: classes, and how often each was taken for each; None without class scores.
        worst: images with the lowest IoU first.
    """

    images: ImageTotals
    populations: Mapping[str, Population]
    hits: HitMetrics
    verdicts: Verdicts
    decisions: Decisions
    kinds: Mapping[str, tuple[int, KindMetrics]]
    confusion: tuple[tuple[str, ...], NDArray[np.int64]] | None
    worst: tuple[str, ...]

    @property
    def masks(self) -> MaskMetrics:
        """Of the images labelled defective, whatever the verdict."""
        return self.populations["defective"].masks

    def mean_over_kinds(self, number: Callable[[KindMetrics], Estimate]) -> float:
        """Mean over the kinds of defect, each weighing the same; NaN without kinds, or where one is undefined.

        Args:
            number: such as `lambda kind: kind.pixel_iou`.
        """
        values = [number(kind).value for _, kind in self.kinds.values()]
        return sum(values) / len(values) if values else math.nan

    def to_json(self) -> dict[str, Any]:
        """The content of `metrics.json`: fractions 0 to 1, None where undefined.

        Every `intervals` mirrors the numbers beside it with [low, high] of 95 %.
        """
        populations = {name: _population_json(each) for name, each in self.populations.items()}
        default = populations["defective"]
        intervals = dict(default["intervals"])
        box_intervals = intervals.pop("boxes")
        verdicts = self.verdicts
        kinds: dict[str, Any] = {
            name: {"images": images, **_json(kind)} for name, (images, kind) in self.kinds.items()
        }
        means = {each.name: self.mean_over_kinds(attrgetter(each.name)) for each in fields(KindMetrics)}
        plain: dict[str, Any] = plain_json(
            {
                "schema_version": METRICS_SCHEMA_VERSION,
                "images": vars(self.images),
                "pixel": {
                    **{name: each for name, each in default.items() if name not in ("boxes", "images")},
                    "intervals": intervals,
                },
                "populations": populations,
                "boxes": {**default["boxes"], "intervals": box_intervals},
                "hits": _json(self.hits),
                "image": {
                    **_json(verdicts.metrics),
                    "threshold": verdicts.threshold,
                    "best_f1": verdicts.best_f1,
                    "best_threshold": verdicts.best_threshold,
                    "counts": vars(verdicts.counts),
                    "unsure": verdicts.unsure,
                },
                "decisions": self.decisions.to_json(),
                "classes": kinds,
                "mean_over_kinds": means if kinds else None,
                "confusion": self.confusion
                and {"classes": self.confusion[0], "matrix": self.confusion[1].tolist()},
                "worst": self.worst,
            }
        )
        return plain


def _json(*metrics: Metrics) -> dict[str, Any]:
    values = {name: each for one in metrics for name, each in one.as_json(lambda e: e.value).items()}
    bounds = {name: each for one in metrics for name, each in one.as_json(lambda e: [e.low, e.high]).items()}
    return {**values, "intervals": bounds}


def _population_json(population: Population) -> dict[str, Any]:
    metrics = [population.masks, *([population.heatmaps] if population.heatmaps else [])]
    return {"images": population.images, **_json(*metrics)}


@dataclass(frozen=True)
class SummarySettings:
    """How records are summed up.

    Attributes:
        threshold: the run's: an image is predicted defective where its score is >= it.
        bootstrap: resamples per interval, >= 1. Shares of whole images have exact binomial bounds instead.
        seed: of the resamples.
        worst: how many of the images with the lowest IoU to name.
        costs: what mistakes cost; None leaves costs out.
    """

    threshold: float
    bootstrap: int = 1000
    seed: int = 0
    worst: int = 12
    costs: Costs | None = None


def summarise(
    records: Sequence[ImageRecord], histograms: Histograms, settings: SummarySettings
) -> Evaluation:
    """All metrics of an evaluation.

    Args:
        records: one per image, in any order.
        histograms: of the same images.
        settings: how.

    Raises:
        ValueError: no records.
    """
    if not records:
        raise ValueError("there are no records; evaluate at least one image")
    ordered = sorted(records, key=lambda record: record.image)
    defective = [record for record in ordered if record.defective]
    bootstrap, seed = settings.bootstrap, settings.seed
    everywhere = histograms.defective.merged(histograms.ok)
    return Evaluation(
        images=ImageTotals(
            total=len(ordered),
            defective=len(defective),
            ok=len(ordered) - len(defective),
            with_mask=sum(record.has_mask for record in ordered),
        ),
        populations={
            "defective": _population(defective, histograms.defective, bootstrap, seed),
            "all": _population(ordered, everywhere, bootstrap, seed),
            "gated": _population([record.gated() for record in ordered], None, bootstrap, seed),
        },
        hits=_hits(defective),
        verdicts=_verdicts(ordered, settings.threshold, bootstrap, seed),
        decisions=summarise_decisions(ordered, settings.threshold, settings.costs),
        kinds=_kinds(defective, settings.threshold),
        confusion=_confusion(ordered),
        worst=_worst(defective, settings.worst),
    )


def _population(
    records: Sequence[ImageRecord], histogram: ScoreHistogram | None, bootstrap: int, seed: int
) -> Population:
    counts = [record.counts for record in records if record.counts is not None]
    nothing = MaskCounts.nothing()
    columns = len(nothing.numbers())
    table = np.array([each.numbers() for each in counts], np.float64).reshape(len(counts), columns)

    def measure(sums: NDArray[np.float64]) -> dict[str, float]:
        found = MaskMetrics.of(nothing.of_numbers(sums.tolist()))
        return {str(place): each.value for place, each in enumerate(found.estimates())}

    intervals = pooled_intervals(table, measure, resamples=bootstrap, seed=seed)
    metrics = MaskMetrics.of(sum(counts, nothing))
    bounded = metrics.with_estimates(
        Estimate(each.value, *intervals[str(place)]) for place, each in enumerate(metrics.estimates())
    )
    return Population(len(counts), bounded, None if histogram is None else _heatmaps(histogram))


def _heatmaps(histogram: ScoreHistogram) -> HeatmapMetrics:
    values, intervals = pixel_curves(histogram), pixel_intervals(histogram)
    return HeatmapMetrics(**{name: Estimate(value, *intervals[name]) for name, value in values.items()})


def _share(hits: int, trials: int) -> Estimate:
    return Estimate(pixel.ratio(hits, trials), *exact_interval(hits, trials))


def _hits(records: Sequence[ImageRecord]) -> HitMetrics:
    counts = sum((record.hits for record in records), HitCounts())
    return HitMetrics(_share(counts.near, counts.images), _share(counts.inside, counts.images))


def _verdicts(records: Sequence[ImageRecord], threshold: float, bootstrap: int, seed: int) -> Verdicts:
    labels = [record.defective for record in records]
    scores = [record.score for record in records]
    counts = count_images(labels, scores, threshold)
    best, best_threshold = best_f1(labels, scores)
    intervals = ranking_intervals(labels, scores, resamples=bootstrap, seed=seed)
    wrong = counts.fp + counts.fn
    # F1 = 2 q / (1 + q) rises with q, the share of right ones among all that are defective or judged so.
    judged = _share(counts.tp, counts.tp + wrong)
    # Of defective images alone, whatever is judged defective is right: that says nothing.
    both = len({*labels}) == 2
    metrics = VerdictMetrics(
        ap=Estimate(image_average_precision(labels, scores), *intervals["ap"]),
        auroc=Estimate(image_auroc(labels, scores), *intervals["auroc"]),
        f1=Estimate(pixel.f1(counts), *(2 * q / (1 + q) for q in judged[1:])) if both else _UNKNOWN,
        precision=_share(counts.tp, counts.tp + counts.fp) if both else _UNKNOWN,
        recall=_share(counts.tp, counts.tp + counts.fn),
        accuracy=_share(counts.tp + counts.tn, counts.total),
    )
    unsure = sum(record.verdict == "unsure" for record in records)
    return Verdicts(metrics, threshold, best, best_threshold, counts, unsure)


def _kinds(defective: Sequence[ImageRecord], threshold: float) -> dict[str, tuple[int, KindMetrics]]:
    """Per kind of defect, if there is more than one."""
    names = sorted({record.label for record in defective})
    if len(names) < 2:
        return {}
    found = {}
    for name in names:
        own = [record for record in defective if record.label == name]
        pixels = sum((record.counts.pixels for record in own if record.counts is not None), PixelCounts())
        named = [record for record in own if record.predicted_class is not None]
        right = sum(record.predicted_class == name and record.score >= threshold for record in named)
        hits = _hits(own)
        found[name] = (
            len(own),
            KindMetrics(
                pixel_iou=Estimate(pixel.iou(pixels)),
                pixel_precision=Estimate(pixel.precision(pixels)),
                pixel_recall=Estimate(pixel.recall(pixels)),
                image_recall=_share(sum(record.score >= threshold for record in own), len(own)),
                class_recall=_share(right, len(named)),
                hit_8px=hits.hit_8px,
                hit_inside=hits.hit_inside,
            ),
        )
    return found


def _confusion(records: Sequence[ImageRecord]) -> tuple[tuple[str, ...], NDArray[np.int64]] | None:
    predicted = [record.predicted_class for record in records]
    known = [name for name in predicted if name is not None]
    if len(known) < len(predicted):
        return None
    labels = [record.label for record in records]
    found = {*labels, *known, *(name for record in records for name in record.class_scores)}
    classes = (OK, *sorted(found - {OK}))
    return classes, confusion_matrix(labels, known, classes)


def _worst(defective: Sequence[ImageRecord], number: int) -> tuple[str, ...]:
    """Images with the lowest IoU first, without the verdict; where it is undefined, they are left out."""
    known = [(pixel.iou(each.counts.pixels), each.image) for each in defective if each.counts is not None]
    return tuple(image for value, image in sorted(pair for pair in known if not math.isnan(pair[0]))[:number])
