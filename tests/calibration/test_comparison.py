"""Whether a student keeps up with its teacher: a classifier that is made up, and masks that are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ltcam.calibration.comparison import TeacherComparison, compare
from ltcam.calibration.looks import Learned
from ltcam.runs.inspector import Inspector
from ltcam.runs.network import TorchNetwork
from ltcam.runs.run import Run
from ltcam_runtime.errors import DataError
from ltcam_runtime.settings import MAP, CamSettings, MaskSettings

SIZE = (64, 96)


class Dark(nn.Module):
    """Knows `spot` by pixels darker than 0.35."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1)
        self.relu = nn.ReLU()
        nn.init.constant_(self.conv.weight, -1 / 3)
        nn.init.constant_(self.conv.bias, 0.35)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        amount = self.relu(self.conv(images)).sum((2, 3))
        return torch.cat([torch.zeros(len(amount), 1), amount - 1], 1)

    logits = forward


@pytest.fixture
def inspector() -> Inspector:
    run = Run(
        classes=("ok", "spot"),
        image_size=SIZE,
        mean=(0, 0, 0),
        std=(1, 1, 1),
        backbone="dark",
        stages=("relu",),
        maps={MAP: CamSettings(stages=("relu",))},
        seed=0,
    )
    return Inspector.of(run, Dark(), device=torch.device("cpu"))  # type: ignore[arg-type]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, list[Path]]:
    rng = np.random.default_rng(0)
    found: dict[str, list[Path]] = {"ok": [], "spot": []}
    for number in range(6):
        pixels = rng.normal(128, 4, (*SIZE, 3)).clip(0, 255).astype(np.uint8)
        for name, paths in found.items():
            if name == "spot":
                cv2.circle(pixels, (20 + 8 * number, 30), 6, (20, 20, 20), -1)
            paths.append(tmp_path / f"{name}-{number}.png")
            Image.fromarray(pixels).save(paths[-1])
    return found


def judged(teacher: Inspector, student: Inspector, files: dict[str, list[Path]]) -> TeacherComparison:
    judge = TorchNetwork.of(teacher.run, teacher.network.classifier, torch.device("cpu"))
    return compare(judge, teacher, student, Learned({"spot": files["spot"]}, files["ok"]))


def cut(inspector: Inspector, mask: MaskSettings) -> Inspector:
    default = inspector.settings.default.model_copy(update={"mask": mask})
    return replace(inspector, settings=inspector.settings.model_copy(update={"default": default}))


def test_who_draws_the_same_keeps_up(inspector: Inspector, files: dict[str, list[Path]]) -> None:
    found = judged(inspector, inspector, files)
    assert found.images == 6
    assert found.gain == 0
    assert found.keeps_up


def test_who_draws_nothing_does_not(inspector: Inspector, files: dict[str, list[Path]]) -> None:
    nothing = cut(inspector, MaskSettings(min_area_px=SIZE[0] * SIZE[1]))
    assert not judged(inspector, nothing, files).keeps_up
    assert judged(nothing, inspector, files).keeps_up


def test_without_a_defect_that_is_told_apart_nothing_is_compared(
    inspector: Inspector, files: dict[str, list[Path]]
) -> None:
    with pytest.raises(DataError, match="no defective image"):
        judged(inspector, inspector, {"ok": files["ok"], "spot": files["ok"]})
