"""Scores that read as probabilities: slope and offset of the logits, by images that were held back.

A network that was trained to the end is sure of everything, and its scores cut OK from defective anywhere.
One slope for all logits makes them as sure as they are right (temperature scaling: Guo et al. 2017, On calibration of
modern neural networks); one offset for all kinds of defect puts the verdict's threshold at 0.5. Both are folded into
the network's own weights, so whoever runs it sees calibrated scores.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_expit, logit

from ltcam.calibration.verdict import choose_verdict
from ltcam.models.backbones import Statistics
from ltcam.models.classifier import Classifier
from ltcam.models.logits import defect_log_odds, scores_of
from ltcam.models.normalisation import normalised
from ltcam.training.images import PreparedImages, usable_for_choices
from ltcam.training.settings import TrainingSettings
from ltcam_runtime.settings import VerdictSettings

_SLOPES = (1e-2, 1.0)  # a network is made less sure, never surer than it was trained to be
_PRIOR = 1.0  # wrong images of each label that every data set is taken to have: none is never proof
_AT_ONCE = 8


def calibrated_verdict(
    classifier: Classifier,
    held_back: PreparedImages,
    logits: NDArray[np.float64],
    settings: TrainingSettings,
    say: Callable[[str], None] = lambda _sentence: None,
) -> VerdictSettings:
    """Calibrate a classifier's logits, and choose the verdict; its threshold reads 0.5 afterwards.

    Args:
        classifier: changed in place where images of both labels were held back.
        held_back: images that it was not trained on; may be none.
        logits: (N, K) that it has for them.
        settings: of the training.
        say: told what a bound on misses took.
    """
    if usable_for_choices(held_back)[0] is None:
        return choose_verdict(held_back, scores_of(logits), settings, say)
    defective = (held_back.labels > 0).numpy()
    slope = slope_of(logits, defective)
    logits = slope * logits
    # Scores are told apart near 0.5, wherever the labels lie: a lot of its own may shift all of them.
    offset = -_middle(defect_log_odds(logits), defective)
    logits[:, 1:] += offset
    threshold = choose_verdict(held_back, scores_of(logits), settings).threshold
    # At 0 everything is judged defective: a cut below all of them does so, and is finite.
    cut = float(logit(threshold) if threshold > 0 else defect_log_odds(logits).min() - 1)
    logits[:, 1:] -= cut
    classifier.rescale(slope, offset - cut)
    final = choose_verdict(held_back, scores_of(logits), settings, say)
    return final.model_copy(update={"threshold": 0.5})


@torch.no_grad()
def logits_of(classifier: Classifier, part: PreparedImages, statistics: Statistics) -> NDArray[np.float64]:
    """Logits (N, K) of prepared images, as verdicts are made of them."""
    classifier.eval()
    batches = torch.split(part.images, _AT_ONCE) if len(part.images) else ()
    found = [classifier.logits(normalised(batch, statistics)).double().numpy() for batch in batches]
    return np.concatenate(found) if found else np.zeros((0, classifier.head.out_features))


def slope_of(logits: NDArray[np.float64], defective: NDArray[np.bool_]) -> float:
    """The slope with which logits (N, K) are as sure as they are right, offset aside.

    Likelihood of the labels, both of them weighing the same, with one image of each on the wrong side added: so
    labels that are told apart without error do not make the network infinitely sure.
    """

    def loss(log_slope: float) -> float:
        odds = defect_log_odds(logits, float(np.exp(log_slope)))
        middle = _middle(odds, defective)
        total = 0.0
        for label in (True, False):
            sign = 1.0 if label else -1.0
            margins = sign * (odds[defective == label] - middle)
            wrong = -np.median(margins)
            total -= float(np.sum(log_expit(margins)) + _PRIOR * log_expit(wrong)) / (len(margins) + _PRIOR)
        return total

    low, high = (float(np.log(slope)) for slope in _SLOPES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x))


def _middle(odds: NDArray[np.float64], defective: NDArray[np.bool_]) -> float:
    """Halfway between the medians of both labels' log-odds."""
    return float(np.median(odds[defective]) + np.median(odds[~defective])) / 2


def reliability(
    scores: NDArray[np.float64], defective: NDArray[np.bool_], bins: int = 10
) -> list[dict[str, float]]:
    """Per bin of scores, how many images it holds, their mean score, and the share that is defective.

    Args:
        scores: (N,) 0 to 1.
        defective: (N,).
        bins: of equal width; empty ones are left out.
    """
    place = np.minimum((scores * bins).astype(int), bins - 1)
    return [
        {
            "images": int((place == each).sum()),
            "score": float(scores[place == each].mean()),
            "defective": float(defective[place == each].mean()),
        }
        for each in np.unique(place)
    ]
