"""Pixel counts of masks, and the ratios made of them.

All ratios are *pooled*: the counts of all images are added first and divided once. With foreground
counts only this is what papers print as IoU, precision, recall and (micro-)F1, and it makes
F1 = 2PR / (P + R) and IoU = F1 / (2 - F1) hold exactly. Averages over images obey neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

BoolMask = NDArray[np.bool_]
AnyMask = NDArray[Any]
"""A mask as users have them: bool, or numbers from {0, 1} or {0, 255}."""


@dataclass(frozen=True)
class Counts:
    """Numbers of one image or of many. They add up field by field, also by `sum`.

    Fields of a subclass are numbers, other counts, or mappings of counts that have the same keys in all images.
    """

    def __add__(self, other: Self) -> Self:
        mine, others = self.numbers(), other.numbers()
        return self.of_numbers(one + two for one, two in zip(mine, others, strict=True))

    def __radd__(self, other: int) -> Self:
        # sum() starts with 0.
        if other != 0:
            return NotImplemented
        return self

    def numbers(self) -> list[float]:
        """All numbers in the order of the fields, one level: what a table of images is made of."""
        return [number for field in fields(self) for number in _numbers(getattr(self, field.name))]

    def of_numbers(self, numbers: Iterable[float]) -> Self:
        """Counts of the same kind with these numbers, in the order of `numbers()`."""
        source = iter(numbers)
        return type(self)(
            **{field.name: _filled(getattr(self, field.name), source) for field in fields(self)}
        )


def _numbers(value: Any) -> list[float]:
    if isinstance(value, Mapping):
        return [number for each in value.values() for number in _numbers(each)]
    return value.numbers() if isinstance(value, Counts) else [value]


def _filled(like: Any, source: Iterator[float]) -> Any:
    if isinstance(like, Mapping):
        return {key: _filled(each, source) for key, each in like.items()}
    if isinstance(like, Counts):
        return type(like)(
            **{field.name: _filled(getattr(like, field.name), source) for field in fields(like)}
        )
    # Sums of whole numbers are exact in float64 up to 2^53.
    return type(like)(next(source))


@dataclass(frozen=True)
class PixelCounts(Counts):
    """How prediction and truth agree, counted in pixels (or in images, for verdicts). Counts add up.

    Attributes:
        tp: defect in both.
        fp: defect in the prediction only.
        fn: defect in the truth only.
        tn: defect in neither.
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    @property
    def total(self) -> int:
        """Number of pixels counted."""
        return self.tp + self.fp + self.fn + self.tn

    def emptied(self) -> PixelCounts:
        """The counts had the prediction been empty: what a verdict of OK makes of a mask."""
        return PixelCounts(0, 0, self.tp + self.fn, self.fp + self.tn)


def as_mask(values: AnyMask, name: str) -> BoolMask:
    """A mask of any usual kind as bool.

    Args:
        values: bool, or numbers that are all in {0, 1} or all in {0, 255}; any shape.
        name: what to call it in an error.

    Raises:
        ValueError: other values, or no pixels at all.
    """
    values = np.asarray(values)
    if values.size == 0:
        raise ValueError(f"{name} has no pixels (shape {values.shape}); give a mask of the image's size")
    if values.dtype == np.bool_:
        return values
    top = values.max()
    if top not in (0, 1, 255) or np.count_nonzero((values != 0) & (values != top)):
        found = np.unique(values)
        listed = ", ".join(str(value) for value in found[:6]) + (", ..." if found.size > 6 else "")
        raise ValueError(
            f"{name} is neither bool nor made of {{0, 1}} or {{0, 255}}: found {listed}; threshold it first"
        )
    mask: BoolMask = values != 0
    return mask


def mask_pair(prediction: AnyMask, truth: AnyMask) -> tuple[BoolMask, BoolMask]:
    """Prediction and truth as bool masks of one shape.

    Raises:
        ValueError: shapes differ, or a mask is not one (see `as_mask`).
    """
    predicted, true = as_mask(prediction, "prediction"), as_mask(truth, "truth")
    if predicted.shape != true.shape:
        raise ValueError(
            f"prediction has shape {predicted.shape}, truth {true.shape}; "
            "both must be (height, width) of the same image"
        )
    return predicted, true


def count_pixels(prediction: AnyMask, truth: AnyMask) -> PixelCounts:
    """Counts of one mask against its truth.

    Args:
        prediction: (H, W); bool, {0, 1} or {0, 255}.
        truth: the same shape and kinds.

    Raises:
        ValueError: shapes differ, or a mask is not one.
    """
    predicted, true = mask_pair(prediction, truth)
    tp = int(np.count_nonzero(predicted & true))
    fp = int(np.count_nonzero(predicted)) - tp
    fn = int(np.count_nonzero(true)) - tp
    return PixelCounts(tp, fp, fn, true.size - tp - fp - fn)


def ratio(numerator: float, denominator: float) -> float:
    """Numerator / denominator, NaN where that is 0/0."""
    return numerator / denominator if denominator else math.nan


def iou(counts: PixelCounts) -> float:
    """TP / (TP + FP + FN), 0 to 1; NaN if nothing is defect in either."""
    return ratio(counts.tp, counts.tp + counts.fp + counts.fn)


def precision(counts: PixelCounts) -> float:
    """TP / (TP + FP), 0 to 1; NaN if nothing was predicted."""
    return ratio(counts.tp, counts.tp + counts.fp)


def recall(counts: PixelCounts) -> float:
    """TP / (TP + FN), 0 to 1; NaN if the truth is empty."""
    return ratio(counts.tp, counts.tp + counts.fn)


def f1(counts: PixelCounts) -> float:
    """2 TP / (2 TP + FP + FN), 0 to 1; NaN if nothing is defect in either."""
    return ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


PIXEL_RATIOS: Mapping[str, Callable[[PixelCounts], float]] = {
    "iou": iou,
    "precision": precision,
    "recall": recall,
    "f1": f1,
}
"""The four numbers that every table of masks has, by their names in files."""


def pixel_ratios(counts: PixelCounts) -> dict[str, float]:
    """IoU, precision, recall and F1; NaN where undefined."""
    return {name: formula(counts) for name, formula in PIXEL_RATIOS.items()}


def ratios_of_sums(sums: NDArray[np.float64]) -> dict[str, float]:
    """The same of (tp, fp, fn, tn), as resampling adds them up."""
    return pixel_ratios(PixelCounts(*(int(value) for value in sums)))


def background_iou(counts: PixelCounts) -> float:
    """TN / (TN + FP + FN): IoU of the class "no defect"; NaN if everything is defect in both."""
    return ratio(counts.tn, counts.tn + counts.fp + counts.fn)


def two_class_miou(counts: PixelCounts) -> float:
    """Mean of the IoU of defect and of background; NaN if either is undefined.

    Close to 0.5 + IoU / 2 wherever defects are small: compare it with nothing but itself.
    """
    return (iou(counts) + background_iou(counts)) / 2


def accuracy(counts: PixelCounts) -> float:
    """(TP + TN) / all, 0 to 1; NaN if nothing was counted."""
    return ratio(counts.tp + counts.tn, counts.total)
