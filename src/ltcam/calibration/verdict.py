"""From which score on an image is judged defective: chosen on images that were held back, by their labels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ltcam.calibration.thresholds import choose_threshold, guaranteed_threshold
from ltcam.models.classifier import Classifier
from ltcam.training.images import PreparedImages, usable_for_choices
from ltcam.training.seeding import normalised
from ltcam.training.settings import TrainingSettings
from ltcam_runtime.settings import VerdictSettings

_ROUNDING = 1e-6  # more than float32 changes an image's score from one pass to another


def choose_verdict(
    classifier: Classifier,
    held_back: PreparedImages,
    settings: TrainingSettings,
    statistics: tuple[tuple[float, float, float], tuple[float, float, float]],
    say: Callable[[str], None] = lambda _sentence: None,
) -> VerdictSettings:
    """The verdict's threshold, lowered as far as `max_miss` takes, and how it was found.

    Args:
        classifier: as trained.
        held_back: images it was not trained on; may be none.
        settings: of the training.
        statistics: mean and standard deviation per channel, of values 0 to 1.
        say: told what a bound on misses took.
    """
    defective = [bool(label) for label in held_back.labels > 0]
    scores: list[float] = []
    threshold, evidence = 0.5, "0.5, since no OK and defective images were held back to choose it on"
    if defective:
        scores = _scores(classifier, held_back.images, settings.batch_size, statistics)
    if usable_for_choices(held_back)[0] is not None:
        threshold, evidence = choose_threshold(defective, scores)
    if settings.max_miss is not None:
        threshold, evidence = _bounded(
            threshold, evidence, defective, scores, settings.max_miss, settings.confidence
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


@torch.no_grad()
def _scores(
    classifier: Classifier,
    images: Tensor,
    batch_size: int,
    statistics: tuple[tuple[float, float, float], tuple[float, float, float]],
) -> list[float]:
    classifier.eval()
    scores: list[float] = []
    for batch in torch.split(images, batch_size):
        logits = classifier.logits(normalised(batch, statistics))
        scores += (1 - logits.double().softmax(1)[:, 0]).tolist()
    return scores
