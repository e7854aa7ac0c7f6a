"""One small record per image, and their summary: the content of `metrics.json`.

    record = record_image(name, label, prediction, truth)      counts, a kilobyte
    histograms.add(record, heatmap, truth)                     fixed size, whatever the number of images
    metrics = summarise(records, histograms, threshold=...)    plain JSON values

Three populations stand side by side, since papers rarely say which one theirs is:

    defective   masks of the images labelled defective, as drawn, whatever the verdict (the default)
    all         masks of all images, as drawn, whatever the verdict
    gated       masks of all images, emptied where the verdict is OK: what a user of the product sees
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltcam.data.dataset import OK
from ltcam.evaluation import counts as pixel
from ltcam.evaluation.bootstrap import Interval, pooled_intervals, ranking_intervals
from ltcam.evaluation.boundary import (
    TOLERANCES,
    BoundaryCounts,
    CeilingCounts,
    boundary_counts,
    boundary_f1,
    boundary_precision,
    boundary_recall,
    ceiling_counts,
    ceiling_iou,
)
from ltcam.evaluation.boxes import (
    BOX_IOUS,
    Box,
    BoxCounts,
    box_precision,
    box_recall,
    mask_boxes,
    match_boxes,
)
from ltcam.evaluation.counts import AnyMask, PixelCounts, count_pixels
from ltcam.evaluation.curves import ScoreHistogram, pixel_curves, pixel_intervals
from ltcam.evaluation.images import (
    best_f1,
    confusion_matrix,
    count_images,
    image_auroc,
    image_average_precision,
)
from ltcam_runtime.results import Verdict

METRICS_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Prediction:
    """What is measured of one inspected image.

    Attributes:
        mask: (H, W) at the image's own size, **before** the verdict empties it.
        boxes: (x, y, width, height) of the mask's regions, in pixels.
        verdict: `ok`, `unsure` or `defect`; only `ok` empties a mask in the gated population.
        score: probability of being defective, 0 to 1.
        class_scores: score per class; may be empty where there is no classifier.
    """

    mask: AnyMask
    boxes: Sequence[Box]
    verdict: Verdict
    score: float
    class_scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageRecord:
    """What is kept of one image: no arrays.

    Attributes:
        image: its name.
        label: its true class.
        verdict: `ok`, `unsure` or `defect`.
        score: probability of being defective, 0 to 1.
        class_scores: score per class, or empty.
        has_mask: whether a truth mask was given.
        counts: pixels of the mask before the verdict, or None if the truth is unknown (a defective
            image without truth mask). An OK image without truth mask has an empty one.
        boundary: counts per tolerance in pixels; empty where `counts` is None.
        ceiling: the truth's two outlines; zero where `counts` is None.
        boxes: counts per smallest IoU; empty where `counts` is None.
    """

    image: str
    label: str
    verdict: Verdict
    score: float
    class_scores: Mapping[str, float]
    has_mask: bool
    counts: PixelCounts | None
    boundary: Mapping[int, BoundaryCounts]
    ceiling: CeilingCounts
    boxes: Mapping[float, BoxCounts]

    @property
    def defective(self) -> bool:
        """Whether the image's label says defect."""
        return self.label != OK

    @property
    def predicted_class(self) -> str | None:
        """The class of the largest score (the first of equal ones), or None without class scores."""
        scores = self.class_scores
        return max(scores, key=lambda name: scores[name]) if scores else None

    @property
    def gated_counts(self) -> PixelCounts | None:
        """`counts` had the mask been emptied by a verdict of OK."""
        return self.gated().counts

    def gated(self) -> ImageRecord:
        """The record as the verdict leaves it: nothing predicted where it is OK."""
        if self.verdict != "ok" or self.counts is None:
            return self
        return replace(
            self,
            counts=self.counts.emptied(),
            boundary={tolerance: each.emptied() for tolerance, each in self.boundary.items()},
            boxes={min_iou: each.emptied() for min_iou, each in self.boxes.items()},
        )


@dataclass(frozen=True)
class Histograms:
    """Heatmap histograms of the defective and of the OK images; together they are all images."""

    defective: ScoreHistogram
    ok: ScoreHistogram

    def add(self, record: ImageRecord, heatmap: NDArray[Any], truth: AnyMask | None = None) -> None:
        """Count one image's heatmap; an image whose truth is unknown is passed over.

        Args:
            record: of the same image.
            heatmap: (H, W), raw, at the size of the truth; larger is more defective.
            truth: what `record_image` was given.

        Raises:
            ValueError: shapes differ, NaN or Inf in the heatmap, or no mask.
        """
        if record.counts is None:
            return
        true = np.zeros(np.shape(heatmap), np.bool_) if truth is None else truth
        side = self.defective if record.defective else self.ok
        side.add(heatmap, true, record.image)


def make_histograms(seed: int = 0) -> Histograms:
    """Empty histograms; `seed` is that of the bootstrap."""
    return Histograms(ScoreHistogram(seed=seed), ScoreHistogram(seed=seed))


def record_image(image: str, label: str, prediction: Prediction, truth: AnyMask | None = None) -> ImageRecord:
    """Measure one prediction.

    Args:
        image: its name, unique in the evaluation.
        label: its true class; `ok` is the class without defect.
        prediction: what was predicted.
        truth: (H, W) true mask of the prediction's size, or None. Without it the mask of an OK image is
            measured against an empty truth, that of a defective image not at all.

    Raises:
        ValueError: shapes differ, a mask is neither bool nor {0, 1} / {0, 255}, or the score is no number.
    """
    if not math.isfinite(prediction.score):
        raise ValueError(f"{image}: score is {prediction.score!r}; it must be a finite number")
    record = ImageRecord(
        image=image,
        label=label,
        verdict=prediction.verdict,
        score=float(prediction.score),
        class_scores=dict(prediction.class_scores),
        has_mask=truth is not None,
        counts=None,
        boundary={},
        ceiling=CeilingCounts(),
        boxes={},
    )
    if truth is None and record.defective:
        return record
    mask = np.asarray(prediction.mask)
    true = np.zeros(mask.shape, np.bool_) if truth is None else truth
    try:
        return replace(
            record,
            counts=count_pixels(mask, true),
            boundary=boundary_counts(mask, true),
            ceiling=ceiling_counts(true),
            boxes=match_boxes(prediction.boxes, mask_boxes(true)),
        )
    except ValueError as error:
        raise ValueError(f"{image}: {error}") from error


def summarise(
    records: Sequence[ImageRecord],
    histograms: Histograms,
    *,
    threshold: float,
    bootstrap: int = 1000,
    seed: int = 0,
    worst: int = 12,
) -> dict[str, Any]:
    """All metrics of an evaluation as plain JSON values; fractions 0 to 1, None where undefined.

    Args:
        records: one per image, in any order.
        histograms: of the same images.
        threshold: the run's: an image is predicted defective where its score is >= it.
        bootstrap: resamples per interval, >= 1.
        seed: of the resamples.
        worst: how many of the images with the lowest IoU to name.

    Returns:
        `images`, `pixel` (population `defective`), `populations`, `boxes` (population `defective`),
        `image`, `classes` (empty with a single defect class), `confusion` (None without class scores),
        `worst`. Every `intervals` mirrors the numbers beside it with [low, high] of 95 %.

    Raises:
        ValueError: no records.
    """
    if not records:
        raise ValueError("there are no records; evaluate at least one image")
    ordered = sorted(records, key=lambda record: record.image)
    defective = [record for record in ordered if record.defective]
    everywhere = histograms.defective.merged(histograms.ok)
    populations = {
        "defective": _population(defective, histograms.defective, bootstrap, seed),
        "all": _population(ordered, everywhere, bootstrap, seed),
        "gated": _population([record.gated() for record in ordered], None, bootstrap, seed),
    }
    default = populations["defective"]
    summary = {
        "schema_version": METRICS_SCHEMA_VERSION,
        "images": {
            "total": len(ordered),
            "defective": len(defective),
            "ok": len(ordered) - len(defective),
            "with_mask": sum(record.has_mask for record in ordered),
        },
        "pixel": _without_boxes(default),
        "populations": populations,
        "boxes": {**default["boxes"], "intervals": default["intervals"]["boxes"]},
        "image": _image_metrics(ordered, threshold, bootstrap, seed),
        "classes": _classes(defective, threshold),
        "confusion": _confusion(ordered),
        "worst": _worst(defective, worst),
    }
    plain: dict[str, Any] = plain_json(summary)
    return plain


_PIXEL_METRICS: Mapping[str, Callable[[PixelCounts], float]] = {
    "iou": pixel.iou,
    "precision": pixel.precision,
    "recall": pixel.recall,
    "f1": pixel.f1,
    "two_class_miou": pixel.two_class_miou,
}


def _table(records: Sequence[ImageRecord]) -> NDArray[np.float64]:
    """One row of counts per image whose truth is known; `_measure` reads the columns."""
    rows = []
    for record in records:
        if record.counts is None:
            continue
        counts = record.counts
        own_iou = pixel.iou(counts)
        undefined = math.isnan(own_iou)
        row: list[float] = [counts.tp, counts.fp, counts.fn, counts.tn]
        row += [0.0, 0] if undefined else [own_iou, 1]
        row += [record.ceiling.inner, record.ceiling.outer]
        for tolerance in TOLERANCES:
            near = record.boundary[tolerance]
            row += [near.predicted, near.predicted_right, near.true, near.true_found]
        for min_iou in BOX_IOUS:
            boxes = record.boxes[min_iou]
            row += [boxes.matched, boxes.predicted, boxes.true]
        rows.append(row)
    columns = 8 + 4 * len(TOLERANCES) + 3 * len(BOX_IOUS)
    return np.asarray(rows, np.float64).reshape(len(rows), columns)


def _measure(sums: NDArray[np.float64]) -> dict[str, float]:
    """All pooled metrics of summed rows; a slash in a name is a level of the result."""
    # Sums of whole numbers are exact in float64 up to 2^53; the column of IoUs is the only other one.
    values = sums.tolist()
    whole = [int(value) for value in values]
    counts = PixelCounts(*whole[:4])
    metrics = {name: formula(counts) for name, formula in _PIXEL_METRICS.items()}
    metrics["mean_image_iou"] = pixel.ratio(values[4], whole[5])
    metrics["ceiling_2px"] = ceiling_iou(CeilingCounts(*whole[6:8]))
    at = 8
    for tolerance in TOLERANCES:
        near = BoundaryCounts(*whole[at : at + 4])
        metrics[f"boundary/{tolerance}/precision"] = boundary_precision(near)
        metrics[f"boundary/{tolerance}/recall"] = boundary_recall(near)
        metrics[f"boundary/{tolerance}/f1"] = boundary_f1(near)
        at += 4
    for min_iou in BOX_IOUS:
        boxes = BoxCounts(*whole[at : at + 3])
        metrics[f"boxes/{min_iou}/recall"] = box_recall(boxes)
        metrics[f"boxes/{min_iou}/precision"] = box_precision(boxes)
        at += 3
    return metrics


def _population(
    records: Sequence[ImageRecord], histogram: ScoreHistogram | None, bootstrap: int, seed: int
) -> dict[str, Any]:
    table = _table(records)
    metrics = _measure(table.sum(axis=0))
    intervals: dict[str, Interval] = pooled_intervals(table, _measure, resamples=bootstrap, seed=seed)
    if histogram is not None:
        metrics |= pixel_curves(histogram)
        intervals |= pixel_intervals(histogram)
    return {"images": table.shape[0], **_nested(metrics), "intervals": _nested(intervals)}


def _without_boxes(population: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in population.items() if name not in ("boxes", "images")}
    kept["intervals"] = {name: value for name, value in kept["intervals"].items() if name != "boxes"}
    return kept


_IMAGE_METRICS: Mapping[str, Callable[[PixelCounts], float]] = {
    "f1": pixel.f1,
    "precision": pixel.precision,
    "recall": pixel.recall,
    "accuracy": pixel.accuracy,
}


def _image_metrics(
    records: Sequence[ImageRecord], threshold: float, bootstrap: int, seed: int
) -> dict[str, Any]:
    labels = [record.defective for record in records]
    scores = [record.score for record in records]
    counts = count_images(labels, scores, threshold)
    best, best_threshold = best_f1(labels, scores)

    def measure(sums: NDArray[np.float64]) -> dict[str, float]:
        resampled = PixelCounts(*(int(value) for value in sums))
        return {name: formula(resampled) for name, formula in _IMAGE_METRICS.items()}

    each = [count_images([label], [score], threshold) for label, score in zip(labels, scores, strict=True)]
    table = np.array([(one.tp, one.fp, one.fn, one.tn) for one in each], np.float64)
    intervals = ranking_intervals(labels, scores, resamples=bootstrap, seed=seed)
    intervals |= pooled_intervals(table, measure, resamples=bootstrap, seed=seed)
    return {
        "ap": image_average_precision(labels, scores),
        "auroc": image_auroc(labels, scores),
        **{name: formula(counts) for name, formula in _IMAGE_METRICS.items()},
        "threshold": threshold,
        "best_f1": best,
        "best_threshold": best_threshold,
        "counts": {"tp": counts.tp, "fp": counts.fp, "fn": counts.fn, "tn": counts.tn},
        "unsure": sum(record.verdict == "unsure" for record in records),
        "intervals": intervals,
    }


def _classes(defective: Sequence[ImageRecord], threshold: float) -> dict[str, Any]:
    """Per defect class, if there is more than one: pixel ratios, and how many images were found."""
    totals = Counter(record.label for record in defective)
    if len(totals) < 2:
        return {}
    table = {}
    for name in sorted(totals):
        own = [record for record in defective if record.label == name]
        counts = sum((record.counts for record in own if record.counts is not None), PixelCounts())
        named = [record for record in own if record.predicted_class is not None]
        table[name] = {
            "images": len(own),
            "pixel_iou": pixel.iou(counts),
            "pixel_precision": pixel.precision(counts),
            "pixel_recall": pixel.recall(counts),
            "image_recall": pixel.ratio(sum(record.score >= threshold for record in own), len(own)),
            "class_recall": pixel.ratio(sum(record.predicted_class == name for record in named), len(named)),
        }
    return table


def _confusion(records: Sequence[ImageRecord]) -> dict[str, Any] | None:
    predicted = [record.predicted_class for record in records]
    known = [name for name in predicted if name is not None]
    if len(known) < len(predicted):
        return None
    labels = [record.label for record in records]
    found = {*labels, *known, *(name for record in records for name in record.class_scores)}
    classes = [OK, *sorted(found - {OK})]
    return {"classes": classes, "matrix": confusion_matrix(labels, known, classes).tolist()}


def _worst(defective: Sequence[ImageRecord], number: int) -> list[str]:
    """Images with the lowest IoU first, without the verdict; where it is undefined, they are left out."""
    ious = [(pixel.iou(record.counts), record.image) for record in defective if record.counts is not None]
    return [image for value, image in sorted(pair for pair in ious if not math.isnan(pair[0]))[:number]]


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """`{"a/b": 1}` -> `{"a": {"b": 1}}`."""
    result: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split("/")
        level = result
        for part in path:
            level = level.setdefault(part, {})
        level[last] = value
    return result


def plain_json(value: Any) -> Any:
    """Plain JSON: tuples as lists, NaN as None."""
    if isinstance(value, Mapping):
        return {str(name): plain_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
