from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ltcam.models.normalisation import normalised
from ltcam.models.seeded import SeededClassifier
from ltcam.training.images import PreparedImages
from ltcam.training.seeding import Asked, add_peaks, verdicts_by_peaks

STATISTICS = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class Trunk(nn.Module):
    """Red is a map, and its mean is the only feature."""

    num_features = 1

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.map(images[:, :1]).mean((2, 3))
        return logits


def a_classifier(slope: float) -> SeededClassifier:
    """Its head sees the mean of red, which a pixel hardly moves; its one seed map is red itself."""
    found = SeededClassifier(Trunk(), 2, ("trunk.map",), [1])
    with torch.no_grad():
        found.head.weight.copy_(torch.tensor([[0.0], [slope]]))
        found.head.bias.zero_()
        found.get_parameter("seed.convolutions.0.weight").fill_(1.0)
    return found.eval()


def part(means: list[float], points: list[float], labels: list[int]) -> PreparedImages:
    """Images of 16 x 16, flat in red, with one pixel that is brighter."""
    images = torch.zeros(len(means), 3, 16, 16, dtype=torch.uint8)
    for image, mean, point in zip(images, means, points, strict=True):
        image[0] = round(255 * mean)
        image[0, 5, 7] = round(255 * point)
    return PreparedImages(images, torch.tensor(labels, dtype=torch.int64), tuple(range(len(means))), ())  # type: ignore[arg-type]


LABELS = [0] * 6 + [1] * 4
POINTS = [0.3, 0.31, 0.32, 0.3, 0.33, 0.3, 0.9, 0.95, 0.9, 0.97]
MUDDLED = [0.1, 0.2, 0.15, 0.28, 0.22, 0.12, 0.14, 0.3, 0.21, 0.25]  # means that hardly tell the labels apart


def scores(classifier: SeededClassifier, images: PreparedImages) -> np.ndarray:
    with torch.no_grad():
        logits = classifier(normalised(images.images, STATISTICS))
    found: np.ndarray = (logits[:, 1] - logits[:, 0]).numpy()
    return found


def peaks_added(classifier: SeededClassifier, images: PreparedImages) -> float:
    asked = Asked(classifier, images, STATISTICS)
    return add_peaks(asked, asked)


def test_peaks_tell_what_a_mean_cannot() -> None:
    images, classifier = part(MUDDLED, POINTS, LABELS), a_classifier(10.0)
    share = peaks_added(classifier, images)
    found, defective = scores(classifier, images), np.array(LABELS) == 1
    assert share > 0
    assert found[defective].min() > found[~defective].max()


def test_peaks_that_tell_nothing_are_left_out() -> None:
    means = [0.1, 0.12, 0.11, 0.1, 0.13, 0.1, 0.5, 0.6, 0.5, 0.7]
    misleading = [0.99, 0.75, 0.99, 0.72, 0.99, 0.73, 0.75, 0.99, 0.74, 0.76]
    images, classifier = part(means, misleading, LABELS), a_classifier(0.5)
    peaks_added(classifier, images)
    found, defective = scores(classifier, images), np.array(LABELS) == 1
    assert found[defective].min() > found[~defective].max()


@pytest.mark.parametrize("labels", [[0] * 10, [1] * 10])
def test_labels_of_one_kind_choose_nothing(labels: list[int]) -> None:
    images, classifier = part(MUDDLED, POINTS, labels), a_classifier(10.0)
    assert peaks_added(classifier, images) == 0
    assert not classifier.peaks.weight.any()


def test_gradients_explain_the_head_alone() -> None:
    images, classifier = part(MUDDLED, POINTS, LABELS), a_classifier(10.0)
    peaks_added(classifier, images)
    pixels = normalised(images.images, STATISTICS).requires_grad_()
    logits = classifier(pixels)
    (logits[:, 1] - logits[:, 0]).sum().backward()
    assert pixels.grad is not None
    red = pixels.grad[:, 0]
    assert torch.allclose(red, red[:, :1, :1].expand_as(red)), "the peak's pixel has no gradient of its own"


@pytest.mark.parametrize("slope", [10.0, 0.0])
def test_logits_are_those_of_the_classifier_whatever_its_weights_become(slope: float) -> None:
    images, classifier = part(MUDDLED, POINTS, LABELS), a_classifier(slope)
    asked = Asked(classifier, images, STATISTICS)
    assert asked.peaks.shape == (10, 1)
    (verdicts_by_peaks if slope == 0 else add_peaks)(asked, asked)
    assert classifier.has_peaks
    with torch.no_grad():
        expected = classifier.logits(normalised(images.images, STATISTICS)).double()
    assert torch.allclose(asked.logits(), expected, atol=1e-6)


def test_images_are_looked_at_once() -> None:
    images, classifier = part(MUDDLED, POINTS, LABELS), a_classifier(10.0)
    seen: list[int] = []
    classifier.trunk.register_forward_pre_hook(lambda _module, inputs: seen.append(len(inputs[0])))
    asked = Asked(classifier, images, STATISTICS)
    add_peaks(asked, asked)
    asked.logits()
    assert sum(count for count in seen if count > 1) == 10, "single ones find out the memory format"


def test_kinds_are_told_by_all_peaks_together() -> None:
    """The first kind's map is as high at defects of the second kind, whose own map the first one leaves cold."""
    classifier = SeededClassifier(Trunk(), 4, ("trunk.map",), [1])
    labels = [0] * 6 + [1] * 6 + [2] * 6
    images = part([0.1] * 18, [0.2] * 18, labels)
    asked = Asked(classifier, images, STATISTICS)
    noise = torch.linspace(-0.1, 0.1, 18)
    first, second = (torch.tensor([0.5] * 6 + high) + noise for high in ([3.0] * 12, [0.5] * 6 + [2.0] * 6))
    vars(asked)["_seen"] = torch.zeros(18, 1), torch.stack([first, second, torch.zeros(18)], 1)
    verdicts_by_peaks(asked, Asked(classifier, part([], [], []), STATISTICS))
    logits = asked.logits()
    assert logits.argmax(1).tolist() == labels
    assert logits.softmax(1)[:, 3].max() < 1e-6, "there is no image of the third kind"
