"""From which score on an image is judged defective: chosen on images that were held back, by their labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ltcam.calibration.thresholds import choose_threshold, guaranteed_threshold
from ltcam.training.images import PreparedImages, usable_for_choices
from ltcam.training.settings import TrainingSettings
from ltcam_runtime.settings import VerdictSettings

_ROUNDING = 1e-6  # more than float32 changes an image's score from one pass to another


def choose_verdict(
    held_back: PreparedImages,
    scores: Sequence[float],
    settings: TrainingSettings,
    say: Callable[[str], None] = lambda _sentence: None,
) -> VerdictSettings:
    """The verdict's threshold, lowered as far as `max_miss` takes, and how it was found.

    Args:
        held_back: images that the classifier was not trained on; may be none.
        scores: probability of each of being defective, 0 to 1.
        settings: of the training.
        say: told what a bound on misses took.
    """
    defective = [bool(label) for label in held_back.labels > 0]
    threshold, evidence = 0.5, "0.5, since no OK and defective images were held back to choose it on"
    if usable_for_choices(held_back)[0] is not None:
        threshold, evidence = choose_threshold(defective, list(scores))
    if settings.max_miss is not None:
        threshold, evidence = _bounded(
            threshold, evidence, defective, list(scores), settings.max_miss, settings.confidence
        )
        say(f"verdict threshold {threshold:.4g}: {evidence}")
    return VerdictSettings(threshold=threshold, evidence=evidence)


def _bounded(
    threshold: float,
    evidence: str,
    defective: list[bool],
    scores: list[float],
    max_miss: float,
    confidence: float,
) -> tuple[float, str]:
    """The threshold or, where it is lower, the highest one that keeps to `max_miss`; and why."""
    bound, promise, _ = guaranteed_threshold(
        [score for score, is_defective in zip(scores, defective, strict=True) if is_defective],
        max_miss,
        confidence,
    )
    if bound is None:
        return threshold, f"WARNING: {promise}; without a guarantee: {evidence}"
    bounded = min(threshold, max(bound - _ROUNDING, 0.0))
    alarms = [
        score >= bounded for score, is_defective in zip(scores, defective, strict=True) if not is_defective
    ]
    words = [
        promise,
        f"lowered from {threshold:.4g} ({evidence})" if bounded < threshold else f"not lowered: {evidence}",
    ]
    if alarms:  # both kinds were held back, so they chose the epoch
        words += [
            f"{sum(alarms)} of {len(alarms)} OK validation images are judged defective too",
            "caveat: the same images chose the epoch, and strictly the guarantee needs images that chose nothing",
        ]
    return bounded, "; ".join(words)
