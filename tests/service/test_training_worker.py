"""A real training in a process of its own, as the studio starts it: cancelled, resumed, promoted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.service.conftest import eventually

from ltcam.jobs.models import load_model
from ltcam.service.served import Served
from ltcam.service.trainings import Trainings, worker_command

TINY = {
    "backbone": "test_resnet", "weights": "random", "image_size": [64, 64], "epochs": 2, "batch_size": 8,
    "precision": "float32", "memory_format": "contiguous", "augment": False,
}  # fmt: skip


WAITS = """
import sys, time
from ltcam.service import training_worker as worker

seen = worker.Epochs.seen

def seen_and_waits(self, epoch, shown):
    seen(self, epoch, shown)
    time.sleep(600)

worker.Epochs.seen = seen_and_waits
sys.exit(worker.main())
"""
"""A training that waits after its first epoch, so that it has not ended before it is cancelled, however slow all is."""


def tiny_command(data: Path, run: Path, folder: Path, resume: bool) -> Sequence[str]:
    return [*worker_command(data, run, folder, resume), "--settings", json.dumps(TINY)]


def waiting_command(data: Path, run: Path, folder: Path, resume: bool) -> Sequence[str]:
    """Waits unless it is gone on with."""
    python, *_, settings, values = tiny_command(data, run, folder, resume)
    waits = [python, "-c", WAITS, str(data), str(run), str(folder), settings, values]
    return tiny_command(data, run, folder, resume) if resume else waits


def write_parts(folder: Path, count: int = 16) -> None:
    """Noisy grey parts, half of them with a dark square."""
    for number in range(count):
        noise = np.random.default_rng(number)
        image = noise.integers(120, 180, (64, 64, 3), np.uint8)
        if number % 2:
            x, y = noise.integers(4, 40, 2)
            image[y : y + 16, x : x + 16] = 10
        file = folder / ("dent" if number % 2 else "ok") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(cv2.imencode(".png", image)[1].tobytes())


@pytest.fixture
def real(tmp_path: Path) -> Trainings:
    write_parts(tmp_path / "photos" / "parts")
    return Trainings(tmp_path / "state", tmp_path / "photos", tiny_command)


def ended(trainings: Trainings, id_: str) -> str:
    eventually(lambda: trainings.get(id_).state != "running", 240)
    found = trainings.get(id_)
    return found.state if found.state == "done" else f"{found.state}: {found.message}"


@pytest.mark.slow
def test_a_training_is_cancelled_resumed_and_promoted(
    real: Trainings, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    real = Trainings(tmp_path / "state", tmp_path / "photos", waiting_command)
    begun = real.start("parts")
    eventually(lambda: list((tmp_path / "state").rglob("epochs/0/about.json")), 240)
    assert real.cancel(begun.id).state == "cancelled"
    assert not real.runs.joinpath(begun.run).exists()
    assert real.resume(begun.id).state == "running"
    assert ended(real, begun.id) == "done"
    run = real.run(begun.run)
    assert load_model(run, "cpu").classes == ("ok", "dent")
    first = make_run()
    served = Served(lambda path: load_model(path, "cpu"), tmp_path / "models.json", first)
    assert served.promote(run).name == begun.run
    assert served.roll_back().name == first.name


@pytest.mark.slow
def test_a_folder_that_cannot_be_trained_on_says_why(real: Trainings, tmp_path: Path) -> None:
    folder = tmp_path / "photos" / "empty"
    folder.mkdir()
    begun = real.start("empty")
    outcome = ended(real, begun.id)
    assert outcome.startswith("failed")
    assert "fault in ltcam" not in outcome
    assert "empty" in outcome
    assert list(real.runs.iterdir()) == []


def test_who_was_started_in_the_background_of_a_script_is_cancelled_all_the_same(tmp_path: Path) -> None:
    words = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as shells hand it to what runs behind `&`
from ltcam.service import training_worker as worker

def waits(given):
    print("begun", flush=True)
    time.sleep(600)

worker._train = waits
sys.exit(worker.main())
"""
    folders = [tmp_path / name for name in ("data", "run", "job")]
    folders[2].mkdir()
    with subprocess.Popen([sys.executable, "-c", words, *folders], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 2
    assert json.loads((folders[2] / "outcome.json").read_text())["state"] == "cancelled"
