"""The classifier as judge of masks: which contrast it finds in defective images, image labels only."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ltcam.calibration.sharpening import REACH, choose_sharpening, filled_in
from ltcam.runs.inspector import Inspector
from ltcam.runs.run import Run
from ltcam_runtime.settings import MAP, CamSettings, SharpeningSettings, VerdictSettings

SIZE = (96, 128)


class Judge(nn.Module):
    """Knows a defect by pixels that are darker (sign 1) or brighter (sign -1) than 0.5 by more than 0.15."""

    def __init__(self, sign: float):
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1)
        self.relu = nn.ReLU()
        self.pool = nn.AvgPool2d(8)
        with torch.no_grad():
            self.conv.weight.fill_(-sign / 3)
            self.conv.bias.fill_(sign * 0.5 - 0.15)

    def forward(self, images):
        amount = self.pool(self.relu(self.conv(images))).sum((1, 2, 3))
        return torch.stack([torch.zeros_like(amount), 4 * amount - 1], 1)


def inspector(sign, mask_reach=1.0):
    run = Run(
        classes=("ok", "defect"),
        image_size=SIZE,
        mean=(0, 0, 0),
        std=(1, 1, 1),
        backbone="judge",
        stages=("pool",),
        maps={MAP: CamSettings(stages=("pool",))},
        verdict=VerdictSettings(),
        seed=0,
    )
    return Inspector.of(run, Judge(sign), device=torch.device("cpu"))


def write_images(folder, count, depth, decoy=0):
    """Images with a line darker by `depth`, and one of `decoy` that OK images have as well."""
    folder.mkdir()
    paths = []
    for number in range(count):
        rng = np.random.default_rng(number)
        image = rng.normal(128, 2, SIZE)
        for change in (depth, decoy):
            line = np.zeros(SIZE, np.uint8)
            x, y = int(rng.integers(20, 100)), int(rng.integers(20, 70))
            cv2.line(line, (x, y), (x + 15, y + 20), 1, 2)
            image = image - float(change) * line
        grey = image.clip(0, 255).astype(np.uint8)
        paths.append(folder / f"{number}.png")
        Image.fromarray(np.repeat(grey[:, :, None], 3, 2)).save(paths[-1])
    return paths


@pytest.mark.parametrize(("depth", "sign", "expected"), [(70, 1.0, "dark"), (-70, -1.0, "bright")])
def test_the_polarity_of_the_defects_is_found(tmp_path, depth, sign, expected):
    defective = write_images(tmp_path / "defect", 8, depth, decoy=-depth // 2)
    ok = write_images(tmp_path / "ok", 8, 0, decoy=-depth // 2)
    choice = choose_sharpening(inspector(sign), defective, ok)
    assert choice.sharpening.polarity == expected
    assert not choice.mask.fill_holes, "lines have no holes"
    assert choice.mask.reach == REACH
    first = choice.evidence["candidates"][0]
    assert (first["polarity"], first["window"]) == (expected, choice.sharpening.window), (
        "the chosen one is first"
    )
    rows = [row for row in choice.evidence["candidates"] if not row["fill_holes"]]
    by_polarity = {(row["polarity"], row["window"]): row for row in rows}
    chosen = by_polarity[expected, choice.sharpening.window]
    plain = by_polarity["none", SharpeningSettings().window]
    assert plain["area"] == 1
    assert chosen["area"] < 0.6
    assert chosen["drop"] > 0.7
    assert not any(row["polarity"] == "colour" for row in by_polarity.values()), "the images are grey"


def test_it_is_the_same_twice_and_tells_its_progress(tmp_path):
    defective, ok = write_images(tmp_path / "defect", 5, 70), write_images(tmp_path / "ok", 4, 0)
    steps = []
    one = choose_sharpening(inspector(1.0), defective, ok, lambda *step: steps.append(step))
    two = choose_sharpening(inspector(1.0), defective, ok)
    assert one == two
    assert steps == [(number, 10) for number in range(1, 11)]


def test_too_few_images_choose_nothing(tmp_path):
    defective, ok = write_images(tmp_path / "defect", 3, 70), write_images(tmp_path / "ok", 4, 0)
    choice = choose_sharpening(inspector(1.0), defective, ok)
    assert choice.sharpening.polarity == "none"
    assert choice.mask.reach == 1
    assert "too few" in choice.evidence["sentence"]
    assert choose_sharpening(inspector(1.0), ok, []).sharpening.polarity == "none"


def test_a_classifier_that_sees_no_defects_chooses_nothing(tmp_path):
    defective, ok = write_images(tmp_path / "defect", 6, 70), write_images(tmp_path / "ok", 4, 0)
    choice = choose_sharpening(inspector(1.0), ok, defective)
    assert choice.sharpening.polarity == "none"
    assert "does not tell" in choice.evidence["sentence"] or "too few" in choice.evidence["sentence"]


def test_unreadable_images_are_passed_over(tmp_path):
    defective, ok = write_images(tmp_path / "defect", 6, 70), write_images(tmp_path / "ok", 4, 0)
    defective[0].write_bytes(b"no image")
    assert choose_sharpening(inspector(1.0), defective, ok).sharpening.polarity == "dark"


def test_filling_in_removes_a_line_and_leaves_the_rest():
    image = np.full((40, 60, 3), 120, np.uint8)
    image[10:12, 10:50] = 20
    mask = np.zeros((80, 120), bool)
    mask[20:24, 20:100] = True
    filled = filled_in(image, mask)
    assert np.abs(filled.astype(int) - 120).max() <= 3
    untouched = filled_in(image, np.zeros((80, 120), bool))
    assert (untouched == image).all()


def write_discs(folder, count, depth):
    """Images with a disc, darker still at its rim."""
    folder.mkdir()
    paths = []
    for number in range(count):
        rng = np.random.default_rng(number)
        x, y = int(rng.integers(30, 98)), int(rng.integers(30, 66))
        inside, rim = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
        cv2.circle(inside, (x, y), 16, 1, -1)
        cv2.circle(rim, (x, y), 16, 1, 2)
        grey = rng.normal(140, 1, SIZE) - depth * (inside + 0.6 * rim)
        paths.append(folder / f"{number}.png")
        Image.fromarray(np.repeat(grey.clip(0, 255).astype(np.uint8)[:, :, None], 3, 2)).save(paths[-1])
    return paths


@pytest.mark.parametrize(("windows", "filled"), [((0.12,), True), ((0.12, 0.6), False)])
def test_a_broad_defect_is_filled_or_seen_in_wider_surroundings(tmp_path, monkeypatch, windows, filled):
    monkeypatch.setattr("ltcam.calibration.sharpening.WINDOWS", windows)
    defective, ok = write_discs(tmp_path / "defect", 6, 55), write_discs(tmp_path / "ok", 4, 0)
    choice = choose_sharpening(inspector(1.0), defective, ok)
    assert choice.sharpening.polarity != "none"
    assert choice.sharpening.window == windows[-1]
    assert choice.mask.fill_holes is filled
