"""Numbers made of counts, each with its interval: what an evaluation is read from, attribute by attribute."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, NamedTuple, Self

from ltcam.evaluation import counts as pixel
from ltcam.evaluation.boundary import (
    TOLERANCES,
    BoundaryCounts,
    CeilingCounts,
    boundary_f1,
    boundary_precision,
    boundary_recall,
    ceiling_iou,
)
from ltcam.evaluation.boxes import BOX_IOUS, BoxCounts, box_precision, box_recall
from ltcam.evaluation.counts import Counts, PixelCounts


class Estimate(NamedTuple):
    """A fraction, 0 to 1, and its 95 % interval; NaN where undefined."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def known(self) -> bool:
        """Whether it is defined."""
        return math.isfinite(self.value)


@dataclass(frozen=True)
class ImageIous(Counts):
    """IoU of single images, to be averaged. They add up.

    Attributes:
        total: sum over the images where it is defined.
        images: how many these are.
    """

    total: float = 0.0
    images: int = 0


@dataclass(frozen=True)
class MaskCounts(Counts):
    """All that is counted of masks, of one image or of many. They add up.

    Attributes:
        pixels: shared, missing and superfluous pixels.
        ious: of single images.
        ceiling: the truth moved inwards and outwards.
        boundary: by tolerance in pixels.
        boxes: by the smallest IoU that counts.
    """

    pixels: PixelCounts
    ious: ImageIous
    ceiling: CeilingCounts
    boundary: Mapping[int, BoundaryCounts]
    boxes: Mapping[float, BoxCounts]

    @classmethod
    def nothing(cls) -> Self:
        """The counts of no image."""
        return cls(
            PixelCounts(),
            ImageIous(),
            CeilingCounts(),
            {tolerance: BoundaryCounts() for tolerance in TOLERANCES},
            {min_iou: BoxCounts() for min_iou in BOX_IOUS},
        )


class Metrics:
    """Estimates, and mappings or other metrics of them. A base of frozen dataclasses."""

    def estimates(self) -> Iterator[Estimate]:
        """All of them, in the order of the fields."""
        return _leaves(self)

    def with_estimates(self, estimates: Iterable[Estimate]) -> Self:
        """The same metrics with other numbers, in the order of `estimates()`."""
        found: Self = _refilled(self, iter(estimates))
        return found

    def as_json(self, part: Callable[[Estimate], Any]) -> dict[str, Any]:
        """One part of every estimate, by the names of the fields; what is None is left out.

        Args:
            part: such as `lambda estimate: estimate.value`.
        """
        found: dict[str, Any] = _parts(self, part)
        return found


def _leaves(value: Any) -> Iterator[Estimate]:
    if isinstance(value, Estimate):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _leaves(each)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _leaves(getattr(value, field.name))


def _refilled(like: Any, source: Iterator[Estimate]) -> Any:
    if isinstance(like, Estimate):
        return next(source)
    if isinstance(like, Mapping):
        return {key: _refilled(each, source) for key, each in like.items()}
    if isinstance(like, Metrics) and is_dataclass(like):
        return type(like)(**{f.name: _refilled(getattr(like, f.name), source) for f in fields(like)})
    return like


def _parts(value: Any, part: Callable[[Estimate], Any]) -> Any:
    if isinstance(value, Estimate):
        return part(value)
    if isinstance(value, Mapping):
        return {str(key): _parts(each, part) for key, each in value.items()}
    assert is_dataclass(value)  # noqa: S101  # metrics hold nothing else
    named = ((field.name, getattr(value, field.name)) for field in fields(value))
    return {name: _parts(each, part) for name, each in named if each is not None}


@dataclass(frozen=True)
class Agreement(Metrics):
    """Precision, recall and F1 of masks that may be off by some pixels."""

    precision: Estimate
    recall: Estimate
    f1: Estimate

    @classmethod
    def of(cls, counts: BoundaryCounts) -> Self:
        """Of counts within one tolerance."""
        return cls(*(Estimate(ratio(counts)) for ratio in (boundary_precision, boundary_recall, boundary_f1)))


@dataclass(frozen=True)
class BoxMetrics(Metrics):
    """Share of the defects found, and of the boxes that are defects."""

    recall: Estimate
    precision: Estimate

    @classmethod
    def of(cls, counts: BoxCounts) -> Self:
        """Of counts with one smallest IoU."""
        return cls(Estimate(box_recall(counts)), Estimate(box_precision(counts)))


@dataclass(frozen=True)
class HeatmapMetrics(Metrics):
    """Of heatmaps at all thresholds; see `ltcam.evaluation.curves`."""

    ap: Estimate
    auroc: Estimate
    pro: Estimate


@dataclass(frozen=True)
class MaskMetrics(Metrics):
    """How good masks are; all ratios are pooled over the images, but the mean of their IoUs.

    Attributes:
        iou: shared pixels / all pixels of truth and prediction.
        precision: share of the marked pixels that are defect.
        recall: share of the defect pixels that are marked.
        f1: 2 PR / (P + R).
        two_class_miou: mean of the IoU of defect and of background.
        mean_image_iou: mean of the images' own IoUs.
        ceiling_2px: what two drawings of the same defects, 2 px apart, would reach.
        boundary: by tolerance in pixels.
        boxes: by the smallest IoU that counts.
    """

    iou: Estimate
    precision: Estimate
    recall: Estimate
    f1: Estimate
    two_class_miou: Estimate
    mean_image_iou: Estimate
    ceiling_2px: Estimate
    boundary: Mapping[int, Agreement]
    boxes: Mapping[float, BoxMetrics]

    @classmethod
    def of(cls, counts: MaskCounts) -> Self:
        """Of counts that were added up, without intervals."""
        pixels = counts.pixels
        return cls(
            Estimate(pixel.iou(pixels)),
            Estimate(pixel.precision(pixels)),
            Estimate(pixel.recall(pixels)),
            Estimate(pixel.f1(pixels)),
            Estimate(pixel.two_class_miou(pixels)),
            Estimate(pixel.ratio(counts.ious.total, counts.ious.images)),
            Estimate(ceiling_iou(counts.ceiling)),
            {tolerance: Agreement.of(each) for tolerance, each in counts.boundary.items()},
            {min_iou: BoxMetrics.of(each) for min_iou, each in counts.boxes.items()},
        )
