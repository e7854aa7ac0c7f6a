"""What `ltcam serve` opens before it listens."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import uvicorn
from starlette.testclient import TestClient
from tests.service.conftest import BrightInspector, png

from ltcam.jobs.models import Model, model_of
from ltcam.service.served import Served
from ltcam.service.serving import ServeSettings, forgetting, opened, serve
from ltcam_runtime.errors import OutputError, SettingsError, Terminated


def load(path: Path) -> Model:
    return model_of(path, BrightInspector(), ("ok", "spot"), {}, path / "weights")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "weights").write_text("bright")
    return tmp_path / "run"


def test_examples_fill_an_empty_history_once(run: Path, tmp_path: Path) -> None:
    for number in range(5):
        file = tmp_path / "photos" / ("spot" if number % 2 else "good") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(spot=bool(number % 2), seed=number))
    (tmp_path / "photos" / "good" / "broken.png").write_bytes(b"no image")
    settings = ServeSettings(run, tmp_path / "state", examples=tmp_path / "photos")
    for _ in range(2):
        with opened(settings, load) as app, TestClient(app, base_url="http://127.0.0.1") as client:
            items = client.get("/v1/inspections").json()["items"]
        assert sorted(item["name"] for item in items) == [
            "good/0.png", "good/2.png", "good/4.png", "spot/1.png", "spot/3.png",
        ]  # fmt: skip


def test_one_service_at_a_time_in_a_folder(run: Path, tmp_path: Path) -> None:
    settings = ServeSettings(run, tmp_path / "state")
    with opened(settings, load), pytest.raises(OutputError, match="another service"), opened(settings, load):
        pass


def test_a_data_root_that_is_not_there(run: Path, tmp_path: Path) -> None:
    settings = ServeSettings(run, tmp_path / "state", data_root=tmp_path / "nowhere")
    with pytest.raises(SettingsError, match=r"`data_root` .*nowhere"), opened(settings, load):
        pass


def test_another_model_than_the_one_named_is_said(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "better").mkdir()
    (tmp_path / "better" / "weights").write_text("new")
    settings = ServeSettings(run, tmp_path / "state")
    with opened(settings, load):
        pass
    assert not caplog.records
    Served(load, tmp_path / "state" / "models.json", run).promote(tmp_path / "better")
    with opened(settings, load):
        pass
    assert "inspecting with better, which was promoted, and not with run" in caplog.text


def test_pictures_are_removed_again_after_an_error() -> None:
    again = threading.Event()

    calls: list[datetime] = []

    def locked(before: datetime) -> None:
        calls.append(before)
        if len(calls) > 1:
            again.set()
        raise OutputError("the history cannot be written: database is locked")

    with forgetting(locked, timedelta(days=1), pause=0.01):
        assert again.wait(10)


@pytest.mark.parametrize("token", ["", "short"])
def test_strangers_only_with_a_token(run: Path, tmp_path: Path, token: str) -> None:
    settings = ServeSettings(run, tmp_path / "state", host="0.0.0.0", token=token)
    with pytest.raises(SettingsError, match=r"LTCAM_TOKEN"), opened(settings, load):
        pass


def test_a_service_that_is_ended_says_what_is_kept(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: object) -> None:
        raise Terminated

    monkeypatch.setattr(uvicorn.Server, "run", ended)
    with pytest.raises(Terminated, match=r"every inspection that was answered is kept in .*state"):
        serve(ServeSettings(run, tmp_path / "state"), load, lambda _address: None)


def test_an_error_of_a_running_service_is_not_blamed_on_its_folder(run: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(ConnectionError, match="of another matter"),
        opened(ServeSettings(run, tmp_path / "state"), load),
    ):
        raise ConnectionError("of another matter")
    with opened(ServeSettings(run, tmp_path / "state"), load):
        pass
