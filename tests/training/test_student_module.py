from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from tests.training.conftest import Prepares, SettingsOf

from ltcam.models.student import build_student
from ltcam.training.fit import Material, Running, fit
from ltcam.training.student_module import StudentModule, drawing_loss

STATISTICS = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_the_loss_against_its_formula() -> None:
    drawn = torch.tensor([[[2.0, -1.0], [0.5, -3.0]]], dtype=torch.float64)
    share = torch.tensor([[[1.0, 0.0], [0.5, 0.0]]], dtype=torch.float64)
    known = torch.tensor([[[1.0, 1.0], [1.0, 0.0]]], dtype=torch.float64)
    p = [1 / (1 + 2.718281828459045 ** -float(z)) for z in drawn.flatten()][:3]
    t = [1.0, 0.0, 0.5]
    from math import log  # noqa: PLC0415

    cross_entropy = -sum(b * log(a) + (1 - b) * log(1 - a) for a, b in zip(p, t, strict=True)) / 3
    dice = (2 * sum(a * b for a, b in zip(p, t, strict=True)) + 1) / (
        sum(a * a for a in p) + sum(b * b for b in t) + 1
    )
    assert float(drawing_loss(drawn, share, known)) == pytest.approx(cross_entropy + 1 - dice, abs=1e-12)


def test_what_is_not_known_has_no_say() -> None:
    drawn = torch.randn(2, 4, 5, requires_grad=True)
    known = torch.ones(2, 4, 5)
    known[0, 0] = 0
    torch.autograd.backward(drawing_loss(drawn, torch.rand(2, 4, 5), known))
    assert drawn.grad is not None
    assert (drawn.grad[0, 0] == 0).all()
    assert (drawn.grad[1] != 0).all()


def test_nothing_known_is_no_division_by_zero() -> None:
    assert torch.isfinite(drawing_loss(torch.randn(1, 3, 3), torch.rand(1, 3, 3), torch.zeros(1, 3, 3)))


def test_a_student_learns_to_draw_the_square(
    tmp_path: Path, prepared: Prepares, settings_of: SettingsOf
) -> None:
    torch.manual_seed(0)
    images = prepared(16, 16, 1, (48, 48))
    grey = images.images[:, :1].float()
    square = (grey < 60).float()
    square = torch.nn.functional.max_pool2d(square, 3, 1, 1)[:, 0]  # the noise's holes filled
    targets = torch.stack([255 * square, torch.full_like(square, 255)], 1).to(torch.uint8)
    targets[images.labels == 0, 0] = 0
    student = build_student("test_resnet", 2)
    fit(
        student,
        Material(images, STATISTICS, along=[targets], make_module=partial(StudentModule, patches=())),
        settings_of(epochs=10, batch_size=8, augment=False, learning_rate=3e-3),
        tmp_path,
        Running(device="cpu"),
    )
    with torch.no_grad():
        drawn = student.eval().segment((images.images.float() / 255 - 0.5) / 0.25)[1] > 0
    truth = targets[:, 0] > 127
    assert float((drawn & truth).sum() / (drawn | truth).sum()) > 0.7
