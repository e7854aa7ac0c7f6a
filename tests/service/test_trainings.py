from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.service.conftest import eventually, png

from ltcam.service.history import History
from ltcam.service.trainings import Trainings
from ltcam_runtime.errors import DataError, SettingsError


def test_one_training_at_a_time_from_start_to_run(trainings: Trainings, tmp_path: Path) -> None:
    begun = trainings.start("parts")
    assert begun.state == "running"
    with pytest.raises(SettingsError, match="is running"):
        trainings.start("parts")
    eventually(lambda: trainings.get(begun.id).total)
    assert trainings.get(begun.id).stage == "epoch"
    (tmp_path / "photos" / "parts" / "go").touch()
    eventually(lambda: trainings.get(begun.id).state == "done")
    assert trainings.run(begun.run).is_dir()


def test_cancel_and_resume(trainings: Trainings, tmp_path: Path) -> None:
    begun = trainings.start("parts")
    eventually(lambda: trainings.get(begun.id).total)
    assert trainings.cancel(begun.id).state == "cancelled"
    assert trainings.resume(begun.id).state == "running"
    (tmp_path / "photos" / "parts" / "go").touch()
    eventually(lambda: trainings.get(begun.id).state == "done")
    with pytest.raises(SettingsError, match="done"):
        trainings.resume(begun.id)


def test_a_service_that_starts_again_finds_it(trainings: Trainings, tmp_path: Path) -> None:
    begun = trainings.start("parts")
    eventually(lambda: trainings.get(begun.id).total)
    again = Trainings(tmp_path / "state", tmp_path / "photos")
    assert again.get(begun.id).state == "running"
    assert again.cancel(begun.id).state == "cancelled"
    assert trainings.get(begun.id).state == "cancelled"


def test_one_that_ends_just_before_it_is_cancelled(
    trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = trainings.start("parts")
    eventually(lambda: trainings.get(begun.id).total)
    kill = os.killpg

    def ended(group: int, number: int) -> None:
        kill(group, signal.SIGKILL)
        trainings._children[begun.id].wait()
        kill(group, number)

    monkeypatch.setattr(os, "killpg", ended)
    assert trainings.cancel(begun.id).state == "cancelled"


def test_a_process_that_was_killed_is_interrupted(trainings: Trainings, tmp_path: Path) -> None:
    begun = trainings.start("parts")
    eventually(lambda: trainings.get(begun.id).total)
    os.kill(trainings._children[begun.id].pid, signal.SIGKILL)
    eventually(lambda: trainings.get(begun.id).state == "interrupted")
    assert trainings.all()[0].run == begun.run
    with pytest.raises(DataError):
        trainings.run(begun.run)


@pytest.mark.parametrize("name", ["..", "../photos", "/etc", "", ".", "nothing"])
def test_only_names_of_the_listing_are_folders(trainings: Trainings, name: str) -> None:
    with pytest.raises(DataError):
        trainings.start(name)


def test_from_the_studio(client: TestClient, tmp_path: Path) -> None:
    assert client.get("/v1/datasets").json() == {"names": ["parts"]}
    begun = client.post("/v1/trainings", json={"dataset": "parts"}).json()
    assert client.post("/v1/trainings", json={"dataset": "parts"}).status_code == 409
    assert client.post("/v1/model/promote", json={"run": begun["run"]}).status_code == 404
    (tmp_path / "photos" / "parts" / "go").touch()
    eventually(lambda: client.get("/v1/trainings").json()["items"][0]["state"] == "done")
    assert client.post("/v1/model/promote", json={"run": begun["run"]}).json()["name"] == begun["run"]
    assert client.post("/v1/trainings", json={"dataset": "../.."}).status_code == 404
    assert client.post("/v1/model/promote", json={"run": "../first"}).status_code == 404
    assert client.post("/v1/model/rollback").json()["name"] == "first"


def test_runs_are_compared_on_the_images_that_are_still_kept(
    client: TestClient, trainings: Trainings, history: History, tmp_path: Path
) -> None:
    begun = trainings.start("parts")
    (tmp_path / "photos" / "parts" / "go").touch()
    eventually(lambda: trainings.get(begun.id).state == "done")
    for name in ("a.png", "b.png", "c.png"):
        found = client.post("/v1/inspections", params={"name": name}, content=png()).json()
        if name == "b.png":
            history.pictures.file(found["id"], "image").unlink()
    answer = client.post(f"/v1/runs/{begun.run}/compare")
    assert answer.status_code == 200
    assert [item["name"] for item in answer.json()["items"]] == ["c.png", "a.png"]


def test_what_it_would_mark_after_each_epoch(
    client: TestClient, trainings: Trainings, tmp_path: Path
) -> None:
    begun = trainings.start("parts")
    eventually(lambda: trainings.get(begun.id).total)
    (tmp_path / "photos" / "parts" / "go").touch()
    eventually(lambda: trainings.get(begun.id).state == "done")
    assert trainings.get(begun.id).epochs == 2
    items = client.get(f"/v1/trainings/{begun.id}/epochs").json()["items"]
    assert [(item["epoch"], item["ap"]) for item in items] == [(1, 0.5), (2, 0.9)]
    [shown] = items[1]["pictures"]
    picture = client.get(shown["picture"])
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
    place = f"/v1/trainings/{begun.id}/epochs"
    assert client.get(f"{place}/3/0").status_code == client.get(f"{place}/1/1").status_code == 404
    assert client.get("/v1/trainings/0123456789abcdef/epochs").status_code == 404
    assert client.get(f"{place}/1/..%2f..%2fjob.json").status_code in {404, 422}


def test_a_crash_behind_the_start_of_the_process_leaves_a_training_that_is_seen(
    trainings: Trainings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ltcam.service.trainings.subprocess.Popen", crash)
    with pytest.raises(KeyboardInterrupt):
        trainings.start("parts")
    [left] = Trainings(tmp_path / "state", tmp_path / "photos").all()
    assert (left.dataset, left.state) == ("parts", "interrupted")


def test_a_crash_right_behind_the_start_of_the_process_leaves_a_training_that_runs(
    trainings: Trainings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = subprocess.Popen
    children: list[subprocess.Popen[bytes]] = []

    def start_and_crash(*words: Any, **settings: Any) -> None:
        children.append(start(*words, **settings))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("ltcam.service.trainings.subprocess.Popen", start_and_crash)
        with pytest.raises(KeyboardInterrupt):
            trainings.start("parts")
    try:
        again = Trainings(tmp_path / "state", tmp_path / "photos")
        [found] = again.all()
        assert found.state == "running"
        with pytest.raises(SettingsError, match="is running"):
            again.start("parts")
        assert again.cancel(found.id).state == "cancelled"
        assert children[0].wait(60) < 0, "ended by a signal"
    finally:
        children[0].kill()
        children[0].wait()


def test_one_that_has_not_said_which_process_it_is_cannot_be_cancelled_yet(tmp_path: Path) -> None:
    (tmp_path / "photos" / "parts").mkdir(parents=True)

    def command(data: Path, _run: Path, _folder: Path, _resume: bool) -> list[str]:
        waits = "import pathlib, sys, time\nwhile not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)"
        return [sys.executable, "-c", waits, str(data / "go")]

    begun = Trainings(tmp_path / "state", tmp_path / "photos", command).start("parts")
    again = Trainings(tmp_path / "state", tmp_path / "photos")
    with pytest.raises(SettingsError, match="a little later"):
        again.cancel(begun.id, patience=0)
    (tmp_path / "photos" / "parts" / "go").touch()
    eventually(lambda: again.get(begun.id).state == "interrupted")
    assert again.cancel(begun.id).state == "cancelled"
