"""A student is a classifier to whoever wants one, and draws besides."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ltcam.cam import CAM, log_odds
from ltcam.models.classifier import build_classifier
from ltcam.models.student import STUDENT, Student, build_student, student_of
from ltcam_runtime.errors import SettingsError


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(3, 3, 48, 72, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet", "vgg11", "mobilenetv3_small_050"])
def test_the_logits_are_the_classifiers_and_the_map_is_of_the_images_size(
    backbone: str, images: Tensor
) -> None:
    torch.manual_seed(1)
    classifier = build_classifier(backbone, 3).eval()
    with torch.no_grad():
        expected = classifier(images)
        student = student_of(classifier).eval()
        logits, drawn = student.segment(images)
    assert torch.allclose(logits, expected, atol=1e-5)
    assert torch.allclose(student(images), expected, atol=1e-5)
    assert drawn.shape == (3, 48, 72)
    assert torch.isfinite(drawn).all()


def test_an_image_is_drawn_the_same_whatever_is_beside_it(images: Tensor) -> None:
    student = build_student("test_resnet", 2).eval()
    with torch.no_grad():
        together = student.segment(images)[1]
        alone = torch.cat([student.segment(image[None])[1] for image in images])
    assert torch.allclose(together, alone, atol=1e-5)


def test_an_untrained_student_draws_next_to_nothing(images: Tensor) -> None:
    with torch.no_grad():
        assert build_student("test_resnet", 2).eval().segment(images)[1].sigmoid().mean() < 0.2


def test_sides_that_no_stage_divides(images: Tensor) -> None:
    with torch.no_grad():
        drawn = build_student("test_resnet", 2).eval().segment(images[:, :, :37, :51])[1]
    assert drawn.shape == (3, 37, 51)


def test_its_map_is_a_method_that_leaves_the_model_alone(images: Tensor) -> None:
    student = build_student("test_resnet", 2).train()
    found = CAM(STUDENT).explain(student, images, log_odds([1]))
    assert found.heatmaps.shape == (3, 48, 72)
    assert 0 <= float(found.heatmaps.min()) <= float(found.heatmaps.max()) <= 1
    with torch.no_grad():
        logits, drawn = student.eval().segment(images)
    assert torch.allclose(found.heatmaps, drawn.sigmoid(), atol=1e-6)
    assert torch.allclose(found.scores, logits[:, 1] - logits[:, 0], atol=1e-5)
    student.train()
    CAM(STUDENT)(student, images)
    assert all(module.training for module in student.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in student.parameters())


def test_class_activation_maps_of_a_student_are_those_of_its_classifier(images: Tensor) -> None:
    classifier = build_classifier("test_resnet", 2).eval()
    cam = CAM("layer-cam")
    expected = cam(classifier, images, 1)
    assert torch.allclose(cam(student_of(classifier), images, 1), expected, atol=1e-6)


def test_a_trunk_that_does_not_tell_its_stages_is_refused() -> None:
    trunk: Any = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    trunk.num_features = 4
    with pytest.raises(SettingsError, match="Sequential cannot be a student"):
        Student(trunk, 2)
