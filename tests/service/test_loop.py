"""The loop closes: a run trained on wrong labels, its inspections reviewed, the reviews imported, a better run."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from ltcam.data.layouts import read_dataset
from ltcam.jobs.import_reviews import import_reviews
from ltcam.jobs.models import load_model
from ltcam.jobs.training import train
from ltcam.service.app import Access, create_app
from ltcam.service.batching import Budget
from ltcam.service.history import open_history
from ltcam.service.intake import Intake
from ltcam.service.opening import reviewed_images
from ltcam.service.served import Served
from ltcam.service.trainings import Trainings
from ltcam.training.settings import TrainingSettings

pytestmark = pytest.mark.slow

SETTINGS = TrainingSettings(
    backbone="test_resnet", weights="random", image_size=(64, 64), epochs=12, batch_size=8, augment=False,
    precision="float32", memory_format="contiguous", learning_rate=3e-3,
)  # fmt: skip
PARTS, HELD_OUT, WRONG = 60, 40, 12


def part(number: int) -> tuple[NDArray[np.uint8], bool]:
    """A noisy grey part; every second one has a dark square."""
    chance = np.random.default_rng(number)
    image = chance.integers(110, 190, (64, 64, 3), np.uint8)
    if number % 2:
        x, y = chance.integers(4, 40, 2)
        image[y : y + 18, x : x + 18] = 10
    return image, bool(number % 2)


def encoded(image: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def log_loss(run: Path) -> float:
    """On parts that no run has seen, by their true state."""
    found = []
    inspector = load_model(run, "cpu").inspector
    for number in range(1000, 1000 + HELD_OUT):
        image, defective = part(number)
        [inspection] = inspector.inspect_batch([image], [str(number)])
        score = float(np.clip(inspection.score, 1e-6, 1 - 1e-6))
        found.append(-np.log(score if defective else 1 - score))
    return float(np.mean(found))


def test_what_a_person_says_makes_the_next_run_better(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for number in range(PARTS):
        image, defective = part(number)
        wrong = defective and number < 2 * WRONG  # planted: a defect among the good ones
        file = photos / ("dent" if defective and not wrong else "good") / f"{number:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(image))
    first = train(photos, tmp_path / "first", SETTINGS).folder

    history = open_history(f"sqlite:///{tmp_path}/history.db", tmp_path / "pictures")
    served = Served(lambda path: load_model(path, "cpu"), tmp_path / "models.json", first)
    intake = Intake(served, history, {}, Budget(gather_seconds=0), 10**6)
    app = create_app(served, history, intake, Trainings(tmp_path / "state", None), Access())
    with TestClient(app, base_url="http://127.0.0.1") as client:
        for number in range(PARTS):
            image, defective = part(number)
            found = client.post("/v1/inspections", content=encoded(image)).json()
            called = found["verdict"] == "defect"
            said = {(True, True): "confirmed", (False, True): "missed", (True, False): "false_alarm"}
            decision = said.get((called, defective), "ok")
            answer = client.post(
                f"/v1/inspections/{found['id']}/reviews", json={"decision": decision, "kind": "dent"}
            )
            assert answer.status_code == 201

    history = open_history(f"sqlite:///{tmp_path}/history.db", tmp_path / "pictures")
    done = import_reviews(reviewed_images(history), read_dataset(photos))
    history.database.close()
    assert {(before, after) for _, before, after in done.corrected} == {("ok", "dent")}
    assert (len(done.corrected), done.agreed, done.added) == (WRONG, PARTS - WRONG, 0)

    second = train(done.manifest, tmp_path / "second", SETTINGS).folder
    assert log_loss(second) < 0.5 * log_loss(first)
