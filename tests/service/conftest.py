"""A service around an inspector that needs no network: what is bright is a defect."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
import sqlalchemy as sa
import uvicorn
from numpy.typing import NDArray
from starlette.testclient import TestClient

from ltcam.jobs.models import About, Model, model_of
from ltcam.service.app import Access, create_app
from ltcam.service.batching import Budget
from ltcam.service.history import History, open_history
from ltcam.service.intake import Intake
from ltcam.service.ledger import Finding
from ltcam.service.served import Served
from ltcam.service.sinks import Sink
from ltcam.service.trainings import Trainings
from ltcam_runtime.regions import find_regions
from ltcam_runtime.results import Inspection
from ltcam_runtime.settings import Overrides


def decoded(content: bytes) -> NDArray[np.uint8]:
    """Pixels of an image file as they are stored; blue first."""
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), -1)
    assert pixels is not None
    return np.asarray(pixels, np.uint8)


def eventually(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait until something holds; it fails the test when the time is up."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"it did not happen within {seconds:g} s")
        time.sleep(0.005)


class BrightInspector:
    """Pixels above 200, or another level, are the defect; the score is 0.9 where there are any, else 0.1."""

    def __init__(self, level: float = 200) -> None:
        self.level = level

    def overridden(self, overrides: Overrides) -> BrightInspector:
        return BrightInspector(50 if overrides.sharpen == "bright" else self.level)

    def inspect_batch(self, images: Sequence[NDArray[np.uint8]], names: Sequence[str]) -> list[Inspection]:
        return [self._inspect(image, name) for image, name in zip(images, names, strict=True)]

    def inspect_images(self, images: Sequence[NDArray[np.uint8]], names: Sequence[str]) -> list[Inspection]:
        return self.inspect_batch(images, names)

    def _inspect(self, image: NDArray[np.uint8], name: str) -> Inspection:
        mask = image[..., 0] > self.level
        heatmap = image[..., 0].astype(np.float32)
        score = 0.9 if mask.any() else 0.1
        return Inspection(
            image=name,
            size=mask.shape,
            verdict="defect" if mask.any() else "ok",
            score=score,
            class_scores={"ok": 1 - score, "spot": score},
            heatmap=heatmap,
            mask=mask,
            regions=find_regions(mask, heatmap, "spot"),
        )


def png(height: int = 24, width: int = 32, spot: bool = True, seed: int = 0) -> bytes:
    """A noisy grey image, with a bright spot or without."""
    image = np.random.default_rng(seed).integers(60, 120, (height, width, 3), dtype=np.uint8)
    if spot:
        image[4:9, 6:14] = 255
    return cv2.imencode(".png", image)[1].tobytes()


START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def finding(number: int = 0, **fields: object) -> Finding:
    values = {
        "id": f"{number:032x}", "time": START + timedelta(minutes=number), "name": f"part {number}.png", "lot": "",
        "height": 4, "width": 6, "verdict": "ok", "score": 0.1 + 0.2, "class_scores": {"ok": 0.7, "spot": 0.1 + 0.2},
        "regions": (), "image_sha256": "a" * 64, "mask_sha256": "b" * 64, "model_sha256": "c" * 64,
        "settings_sha256": "d" * 64,
    }  # fmt: skip
    return Finding(**{**values, **fields})  # type: ignore[arg-type]


@pytest.fixture
def database(tmp_path: Path) -> str:
    """URL of an empty database; a test file that asks for `any_database` says so itself."""
    return f"sqlite:///{tmp_path}/history.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def any_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/history.db"
    made: str = request.getfixturevalue("postgresql")()
    return made


@pytest.fixture
def history(database: str, tmp_path: Path) -> Iterator[History]:
    opened = open_history(database, tmp_path / "pictures")
    yield opened
    opened.database.close()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Callable[[], str]]:
    """Makes empty databases on a server of Debian's package, which an ordinary user runs on a socket of its own."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL server here; Debian's package `postgresql` has one")
    programs, owner = found[-1].parent, "postgres" if os.getuid() == 0 else ""
    with tempfile.TemporaryDirectory(prefix="ltcam-pg-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        if owner:  # the server refuses to be run by root
            shutil.chown(folder, owner)

        def run(program: str, *words: str) -> None:
            before = ["runuser", "-u", owner, "--"] if owner else []
            command = [*before, str(programs / program), "-D", f"{folder}/data", *words]
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

        run("initdb", "-A", "trust", "-U", "ltcam", "--no-sync", "-E", "UTF8", "--locale=C")
        run(
            "pg_ctl",
            "-w",
            "-l",
            f"{folder}/log",
            "-o",
            f"-k {folder} -c listen_addresses='' -c fsync=off",
            "start",
        )
        server, count = f"postgresql+psycopg://ltcam@/{{}}?host={folder}", itertools.count()

        def empty() -> str:
            name = f"history{next(count)}"
            engine = sa.create_engine(server.format("postgres"), isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.execute(sa.text(f"create database {name}"))
            engine.dispose()
            return server.format(name)

        try:
            yield empty
        finally:
            run("pg_ctl", "-m", "immediate", "stop")


@pytest.fixture
def served(tmp_path: Path) -> Served:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(name)

    def load(path: Path) -> Model:
        about = About(("layer-cam", "grad-cam"), ("one", "two"))
        model = model_of(path, BrightInspector(), ("ok", "spot"), {"run": path.name}, path / "weights")
        return replace(model, about=about)

    return Served(load, tmp_path / "models.json", tmp_path / "first")


WORKER = """
import json, os, pathlib, sys, time
data, run, folder = map(pathlib.Path, sys.argv[1:4])
(folder / "process.json").write_text(json.dumps({"pid": os.getpid()}))
(folder / "progress.json").write_text(json.dumps({"stage": "epoch", "done": 1, "total": 2, "left": "0:01"}))
for epoch in range(2):
    place = folder / "epochs" / str(epoch)
    place.mkdir(parents=True, exist_ok=True)
    (place / "0.jpg").write_bytes(bytes.fromhex(PICTURE))
    shown = [{"image": "<b>.png", "label": "dent", "score": 0.3 + 0.6 * epoch, "held_back": True}]
    (place / "about.json").write_text(json.dumps({"epoch": epoch + 1, "ap": 0.5 + 0.4 * epoch, "pictures": shown}))
while not (data / "go").exists():
    time.sleep(0.01)
run.mkdir()
(run / "weights").write_text("new")
(folder / "outcome.json").write_text(json.dumps({"state": "done", "message": ""}))
"""
"""A training that shows two epochs and waits for a file."""

PICTURE = cv2.imencode(".jpg", np.full((8, 8, 3), 90, np.uint8))[1].tobytes().hex()


@pytest.fixture
def trainings(tmp_path: Path) -> Trainings:
    (tmp_path / "photos" / "parts").mkdir(parents=True)

    def command(data: Path, run: Path, folder: Path, resume: bool) -> list[str]:
        return [sys.executable, "-c", f"PICTURE = {PICTURE!r}\n{WORKER}", str(data), str(run), str(folder)]

    return Trainings(tmp_path / "state", tmp_path / "photos", command)


@pytest.fixture
def make_client(
    served: Served, history: History, trainings: Trainings
) -> Iterator[Callable[..., TestClient]]:
    """A client of the service; access, budget and sinks can be given."""
    opened: list[TestClient] = []

    def make(
        access: Access | None = None,
        budget: Budget | None = None,
        sinks: dict[str, Sink] | None = None,
        base_url: str = "http://127.0.0.1:8000",
    ) -> TestClient:
        intake = Intake(served, history, sinks or {}, budget or Budget(gather_seconds=0), 10**6)
        client = TestClient(
            create_app(served, history, intake, trainings, access or Access()), base_url=base_url
        )
        client.__enter__()
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(make_client: Callable[..., TestClient]) -> TestClient:
    return make_client()


@pytest.fixture
def address(served: Served, history: History, trainings: Trainings) -> Iterator[str]:
    intake = Intake(served, history, {}, Budget(gather_seconds=0), 10**6)
    config = uvicorn.Config(
        create_app(served, history, intake, trainings, Access()), port=0, log_level="error"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    eventually(lambda: server.started or not thread.is_alive())
    assert server.started, "the server ended before it listened"
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()
