"""The verdict's threshold, from image labels of images that the network was not trained on."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

_CLEAREST = (0.05, 0.95)  # a threshold nearer to 0 or 1 rests on scores that are only rounding apart


def choose_threshold(defective: Sequence[bool], scores: Sequence[float]) -> tuple[float, str]:
    """The score from which an image is judged defective: where F1 is best.

    The cut lies between two neighbouring scores, halfway in log-odds, so that a clean separation is cut in
    its middle and not at its edge; among equally good cuts it is the highest.

    Args:
        defective: whether each image is labelled defective.
        scores: its probability of being defective, 0 to 1.

    Returns:
        The threshold, 0.05 to 0.95, and one sentence of evidence.
    """
    total = sum(defective)
    if total in {0, len(defective)}:
        return 0.5, "0.5, since the validation part has not both OK and defective images"
    if max(scores) <= 0:
        return 0.5, "0.5, since all validation images score 0"
    ordered = sorted(zip(scores, defective, strict=True), reverse=True)
    found = list(accumulate((is_defective for _, is_defective in ordered), initial=0))
    ascending = [score for score, _ in reversed(ordered)]

    def f1(threshold: float) -> float:  # of what will be used, its rounding and limits included
        judged_defective = len(ordered) - bisect_left(ascending, threshold)
        return 2 * found[judged_defective] / (judged_defective + total)

    best_f1, threshold, below, above = max(
        ((f1(_between(*gap)), _between(*gap), *gap) for gap in _gaps(ordered)), key=lambda cut: cut[0]
    )
    return threshold, (
        f"best F1 ({best_f1:.3f}) on {len(ordered)} validation images ({total} defective), "
        f"between the scores {below:.3f} and {above:.3f}"
    )


def _gaps(ordered: Sequence[tuple[float, bool]]) -> Iterator[tuple[float, float]]:
    """Neighbouring different scores (lower, upper), from the top; below the lowest score lies 0."""
    values = [score for score, _ in ordered]
    for above, below in pairwise([*values, 0.0]):
        if below < above:
            yield below, above


def _between(below: float, above: float) -> float:
    middle = _probability((_log_odds(above) + _log_odds(below)) / 2)
    if not below < middle <= above:  # neighbours so close that the middle is rounded away
        middle = above
    return min(max(middle, _CLEAREST[0]), _CLEAREST[1])


def _log_odds(probability: float) -> float:
    clipped = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(clipped / (1 - clipped))


def _probability(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))
