"""The verdict's threshold, from image labels of images that the network was not trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence

_CLEAREST = (0.05, 0.95)  # a threshold nearer to 0 or 1 rests on scores that are only rounding apart


def choose_threshold(defective: Sequence[bool], scores: Sequence[float]) -> tuple[float, str]:
    """The score from which an image is judged defective: where F1 is best.

    Among equally good cuts the one between the two neighbouring scores, halfway in log-odds, so that a
    clean separation is cut in its middle and not at its edge.

    Args:
        defective: whether each image is labelled defective.
        scores: its probability of being defective, 0 to 1.

    Returns:
        The threshold, 0.05 to 0.95, and one sentence of evidence.
    """
    ordered = sorted(zip(scores, defective, strict=True), reverse=True)
    total = sum(defective)
    if total in {0, len(ordered)}:
        return 0.5, "0.5, since the validation part has not both OK and defective images"
    best_f1, best_cut, found = -1.0, 0, 0
    for cut, (_, is_defective) in enumerate(ordered, start=1):
        found += is_defective
        f1 = 2 * found / (cut + total)
        ends_a_tie = cut == len(ordered) or ordered[cut][0] < ordered[cut - 1][0]
        if ends_a_tie and f1 > best_f1:
            best_f1, best_cut = f1, cut
    above = ordered[best_cut - 1][0]
    below = ordered[best_cut][0] if best_cut < len(ordered) else 0.0
    middle = _probability((_log_odds(above) + _log_odds(below)) / 2)
    threshold = min(max(middle, _CLEAREST[0]), _CLEAREST[1])
    return threshold, (
        f"best F1 ({best_f1:.3f}) on {len(ordered)} validation images ({total} defective), "
        f"halfway between the scores {below:.3f} and {above:.3f}"
    )


def _log_odds(probability: float) -> float:
    clipped = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(clipped / (1 - clipped))


def _probability(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))
