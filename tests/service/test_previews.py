"""Previews by a real network: what other settings would find, and nothing of it kept."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient
from tests.service.conftest import decoded as pixels_of
from tests.service.conftest import png

from ltcam.jobs.models import load_model
from ltcam.service.app import Access, create_app
from ltcam.service.batching import Budget
from ltcam.service.history import History
from ltcam.service.intake import Intake
from ltcam.service.served import Served
from ltcam.service.trainings import Trainings
from ltcam_runtime.images import read_image
from ltcam_runtime.masks import quantise
from ltcam_runtime.settings import Overrides


@pytest.fixture(scope="module")
def run(make_run: Callable[..., Path]) -> Path:
    return make_run()


@pytest.fixture
def real(run: Path, history: History, tmp_path: Path) -> Iterator[TestClient]:
    served = Served(lambda path: load_model(path, "cpu"), tmp_path / "models.json", run)
    intake = Intake(served, history, {}, Budget(gather_seconds=0), 10**6)
    trainings = Trainings(tmp_path / "state", None)
    app = create_app(served, history, intake, trainings, Access())
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def id_(real: TestClient) -> str:
    found: str = real.post("/v1/inspections", content=png(60, 80)).json()["id"]
    return found


def decoded(answer: dict[str, Any], what: str) -> NDArray[np.uint8]:
    return pixels_of(base64.b64decode(answer[what]))


def kept(client: TestClient, id_: str, what: str) -> NDArray[np.uint8]:
    return pixels_of(client.get(f"/v1/inspections/{id_}/{what}").content)


def test_without_changes_it_is_what_was_inspected(real: TestClient, id_: str, history: History) -> None:
    answer = real.post(f"/v1/inspections/{id_}/preview", json={}).json()
    record = real.get(f"/v1/inspections/{id_}").json()
    assert (answer["verdict"], answer["regions"]) == (record["verdict"], record["regions"])
    for what in ("mask", "heatmap"):
        assert np.array_equal(decoded(answer, what), kept(real, id_, what))
    assert history.verify() == (1, None)


@pytest.mark.parametrize(
    "asked",
    [
        {"method": "grad-cam", "stages": "1"},
        {"fusion": "sum", "percentile": 80},
        {"sharpen": "bright", "window": 0.25},
        {"threshold": 0.9, "min_area_px": 3},
    ],
)
def test_it_is_what_the_run_finds_with_these_settings(
    real: TestClient, run: Path, id_: str, asked: dict[str, Any], history: History
) -> None:
    answer = real.post(f"/v1/inspections/{id_}/preview", json=asked)
    assert answer.status_code == 200, answer.text
    file = history.pictures.file(id_, "image")
    inspector = load_model(run, "cpu").inspector.overridden(Overrides(**asked))
    [expected] = inspector.inspect_batch([read_image(file)], ["x"])
    assert answer.json()["verdict"] == expected.verdict
    assert np.array_equal(decoded(answer.json(), "mask") > 0, expected.mask)
    assert np.array_equal(decoded(answer.json(), "heatmap"), quantise(expected.heatmap))


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"method": "no-cam"}, "no-cam"),
        ({"method": "score-cam"}, "score-cam"),  # thousands of passes: not beside the line
        ({"stages": "99"}, "99"),
        ({"window": 7}, "window"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_what_cannot_be_asked_is_named(real: TestClient, id_: str, asked: dict[str, Any], named: str) -> None:
    answer = real.post(f"/v1/inspections/{id_}/preview", json=asked)
    assert answer.status_code == 400
    assert named in answer.json()["detail"]


def test_an_image_that_is_gone(real: TestClient, id_: str, history: History) -> None:
    history.pictures.file(id_, "image").unlink()
    assert real.post(f"/v1/inspections/{id_}/preview", json={}).status_code == 404
    assert real.post(f"/v1/inspections/{'0' * 32}/preview", json={}).status_code == 404


def test_the_runs_own_page_is_shown_and_nothing_in_it_executed(real: TestClient) -> None:
    model = real.get("/v1/model").json()
    assert {"layer-cam", "grad-cam"} <= set(model["methods"])
    assert len(model["stages"]) > 1
    assert model["settings"]["maps"]
    page = real.get(model["report"])
    assert page.text == "<html></html>"
    assert page.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
