"""The service killed at random moments under load: what was answered is in the history, whole, its chain valid."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.service.conftest import png

from ltcam.service.history import open_history
from ltcam.service.pictures import sweep
from ltcam_runtime.images import read_image
from ltcam_runtime.mask_reading import read_mask

pytestmark = pytest.mark.slow

KILLS = 50
CLIENTS = 6

_TEMPLATE = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.service.conftest import BrightInspector
from ltcam.jobs.models import model_of
from ltcam.service.serving import ServeSettings, serve
state, database = Path(sys.argv[2]), sys.argv[3]
load = lambda path: model_of(path, BrightInspector(), ("ok", "spot"), {}, state / "weights")
for _ in sys.stdin:
    pid = os.fork()
    if not pid:
        settings = ServeSettings(model=state, state=state, port=0, database=database)
        serve(settings, load, lambda address: print(os.getpid(), address, flush=True))
        os._exit(0)
    os.waitpid(pid, 0)
"""
"""Imports once, then starts a service for every line that it reads."""


def answers(port: int, seed: int, answered: list[str]) -> None:
    """Ask for inspections until the service is gone."""
    number = 0
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        while True:
            number += 1
            connection.request(
                "POST", "/v1/inspections", png(spot=number % 2 == 0, seed=seed * 1000 + number)
            )
            answer = connection.getresponse()
            found = json.loads(answer.read())
            if answer.status == 201:
                answered.append(found["id"])
    except (OSError, http.client.HTTPException, ValueError):
        return


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_was_answered_is_there_after_kill_9(
    kind: str,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
    tmp_path: Path,
) -> None:
    database = "" if kind == "sqlite" else request.getfixturevalue("postgresql")()
    (tmp_path / "weights").write_text("bright")
    chance = random.Random(0)
    answered: list[str] = []
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", _TEMPLATE, root, str(tmp_path), database]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as template:
        assert template.stdin is not None
        assert template.stdout is not None
        for kill in range(KILLS):
            template.stdin.write("\n")
            template.stdin.flush()
            pid, address = template.stdout.readline().split()
            port = int(address.rstrip("/").rpartition(":")[2])
            threads = [
                threading.Thread(target=answers, args=(port, CLIENTS * kill + client, answered))
                for client in range(CLIENTS)
            ]
            for thread in threads:
                thread.start()
            enough, end = len(answered) + chance.randrange(1, 20), time.monotonic() + 120
            while len(answered) < enough:
                assert time.monotonic() < end, "no answers"
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.05))
            os.kill(int(pid), signal.SIGKILL)
            for thread in threads:
                thread.join()
    history = open_history(database or f"sqlite:///{tmp_path}/history.db", tmp_path / "pictures")
    sweep(history.database, history.pictures)
    records = {record.finding.id: record.finding for record in history.records()}
    assert len(answered) > KILLS
    assert set(answered) <= set(records)
    assert history.verify() == (len(records), None)
    for id_, finding in records.items():
        assert (
            hashlib.sha256(history.pictures.file(id_, "image").read_bytes()).hexdigest()
            == finding.image_sha256
        )
        assert read_mask(history.pictures.file(id_, "mask")).shape == (finding.height, finding.width)
        assert read_image(history.pictures.file(id_, "heatmap")).shape[:2] == (finding.height, finding.width)
    names = {file.name.partition(".")[0] for file in history.pictures.folder.glob("*/*")}
    assert names == set(records)
    record_property("answered", len(answered))
    record_property("records", len(records))
