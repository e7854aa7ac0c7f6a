from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import Tensor, nn

from ltcam.calibration.scores import calibrated_verdict, logits_of, reliability, slope_of
from ltcam.models.seeded import SeededClassifier
from ltcam.training.images import PreparedImages
from ltcam.training.settings import TrainingSettings
from ltcam_runtime.settings import VerdictSettings

STATISTICS = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class Mean(nn.Module):
    """An image's mean grey is its only feature."""

    num_features = 1

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.map(images)
        return found.mean((1, 2, 3))[:, None]


def a_classifier(slope: float) -> SeededClassifier:
    """Log-odds of the two kinds of defect: `slope` x (grey - 0.8) each."""
    found = SeededClassifier(Mean(), 3, ("trunk.map",), [3])
    with torch.no_grad():
        found.head.weight.copy_(torch.tensor([[0.0], [slope], [slope]]))
        found.head.bias.copy_(torch.tensor([0.0, -0.8 * slope, -0.8 * slope]))
    return found.eval()


def verdict_of(
    classifier: SeededClassifier, part: PreparedImages, settings: TrainingSettings | None = None
) -> VerdictSettings:
    logits = logits_of(classifier, part, STATISTICS)
    return calibrated_verdict(classifier, part, logits, settings or TrainingSettings())


def held_back(ok: list[int], defective: list[int]) -> PreparedImages:
    greys = torch.tensor([*ok, *defective], dtype=torch.uint8)
    labels = torch.tensor([0] * len(ok) + [1 + i % 2 for i in range(len(defective))])
    samples = tuple(range(len(greys)))
    return PreparedImages(greys.view(-1, 1, 1, 1).expand(-1, 3, 4, 4).contiguous(), labels, samples, ())  # type: ignore[arg-type]


def scores_by(classifier: SeededClassifier, images: Tensor) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = (1 - classifier(images.float() / 255).double().softmax(1)[:, 0]).numpy()
        return found


def test_the_threshold_reads_one_half_and_cuts_where_it_did() -> None:
    part = held_back([20, 40, 60, 80, 140, 90], [110, 150, 200, 220, 115, 240])
    classifier = a_classifier(60.0)  # its own 0.5 would lie above most defects, and it is sure of everything
    order = np.argsort(scores_by(classifier, part.images), kind="stable")
    verdict = verdict_of(classifier, part)
    after = scores_by(classifier, part.images)
    assert verdict.threshold == 0.5
    assert np.array_equal(np.argsort(after, kind="stable"), order)
    assert ((after >= 0.5) == (part.images[:, 0, 0, 0].numpy() > 100)).all()  # in the gap of 90 to 110
    assert after.min() > 0.01
    assert after.max() < 0.995


def test_a_bound_on_misses_that_only_a_score_of_nothing_keeps() -> None:
    classifier, part = a_classifier(3000.0), held_back([199] * 60, [250] * 60 + [0])
    verdict_of(classifier, part, TrainingSettings(max_miss=0.05))
    assert (scores_by(classifier, part.images) >= 0.5).all()


@pytest.mark.parametrize("shift", [-0.7, -0.35, 0.35, 0.7])
def test_a_lot_that_shifts_all_scores_is_told_apart(shift: float) -> None:
    greys = np.array([30, 32, 34, 36] * 10 + [60, 62, 64, 66] * 3) + 100
    part = held_back(greys[:40].tolist(), greys[40:].tolist())
    classifier = a_classifier(60.0)
    with torch.no_grad():
        classifier.head.bias[1:] += 60 * shift
    verdict = verdict_of(classifier, part)
    after = scores_by(classifier, part.images)
    assert ((after >= 0.5) == (greys > 150)).all()
    assert "F1 (1.000" in verdict.evidence


def test_without_both_labels_nothing_is_changed() -> None:
    classifier, part = a_classifier(10.0), held_back([20, 40], [])
    before = scores_by(classifier, part.images)
    assert verdict_of(classifier, part).threshold == 0.5
    assert np.array_equal(scores_by(classifier, part.images), before)


def test_the_slope_is_what_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 3, 20_000)
    truth = rng.random(20_000) < expit(odds)
    logits = np.stack([np.zeros_like(odds), 5 * odds], 1)  # five times as sure as it may be
    assert slope_of(logits, truth) == pytest.approx(0.2, rel=0.15)


def test_labels_told_apart_without_error_do_not_make_sure() -> None:
    odds = np.concatenate([np.linspace(-30, -20, 10), np.linspace(20, 30, 10)])
    slope = slope_of(np.stack([np.zeros_like(odds), odds], 1), odds > 0)
    assert 0.02 < slope < 0.4


def test_reliability_by_bins() -> None:
    rows = reliability(np.array([0.05, 0.07, 0.95, 1.0]), np.array([False, True, True, True]))
    assert rows == [
        {"images": 2, "score": pytest.approx(0.06), "defective": 0.5},
        {"images": 2, "score": pytest.approx(0.975), "defective": 1.0},
    ]
