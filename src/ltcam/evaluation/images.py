"""How well whole images are judged: scores against labels, and predicted classes against labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ltcam.evaluation import curves
from ltcam.evaluation.counts import PixelCounts, f1


# scikit-learn gives the same two numbers (the tests hold them against it), of one list of scores. These also take a
# thousand redraws at once, for intervals; its loop takes hundreds of times as long.
def image_auroc(defective: Sequence[bool], scores: Sequence[float]) -> float:
    """Probability that a defective image scores higher than an OK one, ties one half.

    Args:
        defective: per image whether its label says defect.
        scores: per image, larger is more defective; finite.

    Returns:
        0 to 1; NaN if only one kind of image is there.

    Raises:
        ValueError: lengths differ, or a score is NaN or Inf.
    """
    return float(curves.auroc(*counts_per_score(defective, scores)))


def image_average_precision(defective: Sequence[bool], scores: Sequence[float]) -> float:
    """Average precision (no interpolation) of finding defective images. As for `image_auroc`."""
    return float(curves.average_precision(*counts_per_score(defective, scores)))


def count_images(defective: Sequence[bool], scores: Sequence[float], threshold: float) -> PixelCounts:
    """The four counts, of images: predicted defective where score >= threshold.

    Raises:
        ValueError: lengths differ, or a score is NaN or Inf.
    """
    labels, values = _checked(defective, scores)
    predicted = values >= threshold
    return PixelCounts(
        tp=int(np.count_nonzero(predicted & labels)),
        fp=int(np.count_nonzero(predicted & ~labels)),
        fn=int(np.count_nonzero(~predicted & labels)),
        tn=int(np.count_nonzero(~predicted & ~labels)),
    )


def best_f1(defective: Sequence[bool], scores: Sequence[float]) -> tuple[float, float]:
    """Largest image F1 over all thresholds, and the highest threshold that reaches it.

    Chosen on the images it is measured on, so an upper limit, not an estimate.

    Returns:
        (F1, threshold); (NaN, NaN) if only one kind of image is there.
    """
    labels, values = _checked(defective, scores)
    if labels.all() or not labels.any():
        return math.nan, math.nan
    thresholds = np.unique(values)[::-1]
    positives, negatives = counts_per_score(defective, scores)
    true, false = positives.cumsum(), negatives.cumsum()
    values_f1 = [
        f1(PixelCounts(int(tp), int(fp), int(true[-1] - tp))) for tp, fp in zip(true, false, strict=True)
    ]
    best = int(np.argmax(values_f1))
    return values_f1[best], float(thresholds[best])


def confusion_matrix(
    labels: Sequence[str], predicted: Sequence[str], classes: Sequence[str]
) -> NDArray[np.int64]:
    """How often each class was taken for each.

    Args:
        labels: true class per image.
        predicted: predicted class per image.
        classes: all classes, in the order of rows and columns.

    Returns:
        (K, K) counts; rows are true classes, columns predicted ones.

    Raises:
        ValueError: lengths differ, or a class is not among `classes`.
    """
    if len(labels) != len(predicted):
        raise ValueError(f"{len(labels)} labels but {len(predicted)} predicted classes; give one per image")
    unknown = sorted({*labels, *predicted} - set(classes))
    if unknown:
        raise ValueError(f"class {unknown[0]!r} is not among {', '.join(classes)}")
    index = {name: position for position, name in enumerate(classes)}
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    for label, guess in zip(labels, predicted, strict=True):
        matrix[index[label], index[guess]] += 1
    return matrix


def counts_per_score(
    defective: Sequence[bool], scores: Sequence[float]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Defective and OK images per distinct score, highest score first: what the curves are made of."""
    labels, values = _checked(defective, scores)
    distinct, index = np.unique(-values, return_inverse=True)
    positives = np.bincount(index[labels], minlength=distinct.size)
    negatives = np.bincount(index[~labels], minlength=distinct.size)
    return positives.astype(np.int64), negatives.astype(np.int64)


def _checked(
    defective: Sequence[bool], scores: Sequence[float]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    labels, values = np.asarray(defective, np.bool_), np.asarray(scores, np.float64)
    if labels.shape != values.shape or labels.ndim != 1:
        raise ValueError(f"{labels.size} labels but {values.size} scores; give one of each per image")
    if not np.isfinite(values).all():
        raise ValueError(f"score of image {int(np.argmin(np.isfinite(values)))} is not finite")
    return labels, values
