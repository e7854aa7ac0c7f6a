"""Images of cameras of 12 and 16 bits: a run reads all of them on the scale that it was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltcam.data.opened import OpenData
from ltcam.jobs import training
from ltcam.jobs.models import load_model
from ltcam.jobs.watch import Arrived, opened_journal
from ltcam.runs.inspector import Inspector
from ltcam.service.watching import inspect_and_write
from ltcam.training.settings import TrainingSettings
from ltcam_runtime.images import read_image


def write(path: Path, number: int, *, hole: bool, gain: int = 1) -> None:
    rng = np.random.default_rng(number)
    values = rng.normal(2500, 120, (64, 96))
    if hole:
        top, left = int(rng.integers(4, 40)), int(rng.integers(4, 70))
        values[top : top + 18, left : left + 18] /= 5
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((values.clip(0, 4095) * gain).astype(np.uint16)).save(path)


def train(root: Path, gain: int) -> Path:
    for number in range(14):
        write(root / "data" / "good" / f"{number}.png", number, hole=False, gain=gain)
        write(root / "data" / "hole" / f"{number}.png", 100 + number, hole=True, gain=gain)
    settings = TrainingSettings(backbone="test_resnet", weights="random", image_size=(64, 96))
    training.quick(OpenData.open(root / "data", one_class=False), root / "run", settings)
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("twelve"), 1)


def test_a_frame_without_light_stays_dark_where_the_training_had_all_sixteen_bits(tmp_path: Path) -> None:
    root = train(tmp_path, 16)
    inspector = Inspector.load(root / "run")
    assert inspector.run.white == load_model(root / "run", "cpu").white == 65535
    file = tmp_path / "dark.png"
    Image.fromarray(np.random.default_rng(0).integers(90, 250, (64, 96)).astype(np.uint16)).save(file)
    black = inspector.inspect(read_image(file, white=65535))
    assert inspector.inspect(file).score == black.score != inspector.inspect(read_image(file)).score


def test_every_way_to_an_image_is_on_the_same_scale(run: Path, tmp_path: Path) -> None:
    inspector = Inspector.load(run / "run")
    assert inspector.run.white == inspector.settings.white == 4095
    file = run / "data" / "hole" / "3.png"
    pixels = read_image(file, white=4095)
    assert pixels.max() > 128
    expected = inspector.inspect(pixels).score
    assert inspector.inspect(file).score == expected
    assert inspector.inspect(file.read_bytes()).score == expected
    assert inspector.inspect(Image.open(file)).score == expected
    (item,) = inspector.inspect_files([("3.png", file)])
    assert item.inspection is not None
    assert item.inspection.score == expected
    model = load_model(run / "run", "cpu")
    with opened_journal(run / "data", tmp_path / "out") as journal:
        found = inspect_and_write(model, journal)(Arrived("3.png", file, 0, 0))
    assert found["score"] == pytest.approx(expected, abs=1e-6)
