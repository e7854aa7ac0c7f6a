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
    verdict = VerdictSettings(threshold=threshold, evidence=evidence)
    if settings.max_miss is not None:
        verdict = _bounded(verdict, defective, scores, settings.max_miss, settings.confidence)
        say(f"verdict threshold {verdict.threshold:.4g}: {verdict.evidence}")
    return verdict


def _bounded(
    verdict: VerdictSettings,
    defective: Sequence[bool],
    scores: Sequence[float],
    max_miss: float,
    confidence: float,
) -> VerdictSettings:
    """The verdict or, where its threshold is lower, one by the highest that keeps to `max_miss`; and why."""
    threshold, evidence = verdict.threshold, verdict.evidence
    bound, promise, _ = guaranteed_threshold(
        [score for score, is_defective in zip(scores, defective, strict=True) if is_defective],
        max_miss,
        confidence,
    )
    if bound is None:
        return verdict.model_copy(update={"evidence": f"WARNING: {promise}; without a guarantee: {evidence}"})
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
    return VerdictSettings(threshold=bounded, evidence="; ".join(words))
