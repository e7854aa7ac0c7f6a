"""One small record per image, and histograms of the heatmaps: what an evaluation is summed up from.

record = record_image(name, label, prediction, truth)      counts, a kilobyte
histograms.add(record, heatmap, truth)                     fixed size, whatever the number of images
evaluation = summarise(records, histograms, SummarySettings(threshold=...))
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltcam.data.dataset import OK
from ltcam.evaluation.boundary import boundary_counts, ceiling_counts
from ltcam.evaluation.boxes import Box, mask_boxes, match_boxes
from ltcam.evaluation.counts import AnyMask, PixelCounts, count_pixels, iou
from ltcam.evaluation.curves import ScoreHistogram
from ltcam.evaluation.hits import HitCounts, count_hit
from ltcam.evaluation.metrics import ImageIous, MaskCounts
from ltcam_runtime.results import Verdict


@dataclass(frozen=True)
class Prediction:
    """What is measured of one inspected image.

    Attributes:
        mask: (H, W) at the image's own size, **before** the verdict empties it.
        boxes: (x, y, width, height) of the mask's regions, in pixels.
        verdict: `ok`, `unsure` or `defect`; only `ok` empties a mask in the gated population.
        score: probability of being defective, 0 to 1.
        class_scores: score per class; may be empty where there is no classifier.
        heatmap: (H, W), raw; None where hits are not to be counted.
    """

    mask: AnyMask
    boxes: Sequence[Box]
    verdict: Verdict
    score: float
    class_scores: Mapping[str, float] = field(default_factory=dict)
    heatmap: NDArray[Any] | None = None


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
        counts: of the mask before the verdict, or None if the truth is unknown (a defective image without truth
            mask). An OK image without truth mask has an empty one.
        hits: where the peak of a defective image's heatmap lies; zero where nobody knows.
    """

    image: str
    label: str
    verdict: Verdict
    score: float
    class_scores: Mapping[str, float]
    has_mask: bool
    counts: MaskCounts | None
    hits: HitCounts

    @property
    def defective(self) -> bool:
        """Whether the image's label says defect."""
        return self.label != OK

    @property
    def predicted_class(self) -> str | None:
        """OK as the verdict is, else the likeliest kind of defect (the first of equal ones); None without class scores.

        Among many kinds OK can be the single likeliest class of an image that is judged defective.
        """
        kinds = {name: score for name, score in self.class_scores.items() if name != OK}
        if not self.class_scores:
            return None
        return OK if self.verdict == "ok" or not kinds else max(kinds, key=lambda name: kinds[name])

    def gated(self) -> ImageRecord:
        """The record as the verdict leaves it: nothing predicted where it is OK."""
        if self.verdict != "ok" or self.counts is None:
            return self
        pixels = self.counts.pixels.emptied()
        emptied = replace(
            self.counts,
            pixels=pixels,
            ious=_own_iou(pixels),
            boundary={tolerance: each.emptied() for tolerance, each in self.counts.boundary.items()},
            boxes={min_iou: each.emptied() for min_iou, each in self.counts.boxes.items()},
        )
        return replace(self, counts=emptied)


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
        hits=HitCounts(),
    )
    if truth is None and record.defective:
        return record
    mask = np.asarray(prediction.mask)
    true = np.zeros(mask.shape, np.bool_) if truth is None else truth
    try:
        pixels = count_pixels(mask, true)
        counts = MaskCounts(
            pixels,
            _own_iou(pixels),
            ceiling_counts(true),
            boundary_counts(mask, true),
            match_boxes(prediction.boxes, mask_boxes(true)),
        )
        hits = HitCounts()
        if record.defective and prediction.heatmap is not None:
            hits = count_hit(prediction.heatmap, true)
    except ValueError as error:
        raise ValueError(f"{image}: {error}") from error
    return replace(record, counts=counts, hits=hits)


def _own_iou(counts: PixelCounts) -> ImageIous:
    value = iou(counts)
    return ImageIous() if math.isnan(value) else ImageIous(value, 1)


def plain_json(value: Any) -> Any:
    """Plain JSON: tuples as lists, NaN as None."""
    if isinstance(value, Mapping):
        return {str(name): plain_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
