"""A load balancer hears of what would make the next image a fault."""

from __future__ import annotations

import os
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from starlette.testclient import TestClient

from ltcam.service import readiness
from ltcam.service.history import History


def not_ready(client: TestClient) -> str:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    return str(answer.json()["detail"])


def files_below(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in folder.rglob("*")}


def test_ready_and_asking_writes_nothing(client: TestClient, tmp_path: Path) -> None:
    assert client.get("/readyz").json() == {"status": "ready"}
    before = files_below(tmp_path)
    assert client.get("/readyz").status_code == 200
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("full", ["pictures", "database"])
def test_a_disk_that_is_nearly_full(
    client: TestClient, history: History, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    folders = {"pictures": history.pictures.folder, "database": history.database.folder}
    usage = namedtuple("usage", "free")
    left = dict.fromkeys(folders.values(), readiness.LEAST_FREE)
    monkeypatch.setattr(readiness, "disk_usage", lambda folder: usage(left[folder]))
    assert client.get("/readyz").status_code == 200
    left[folders[full]] -= 1
    assert not_ready(client) == "less than 256 MiB are free for the history"


def test_a_folder_that_is_gone_or_read_only(
    client: TestClient, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda folder, _mode: folder != history.pictures.folder)
        assert not_ready(client) == "a folder of the history cannot be written to"
    history.pictures.folder.rmdir()
    assert not_ready(client) == "a folder of the history is not there"


def test_a_database_that_only_reads(client: TestClient, history: History) -> None:
    def read_only(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA query_only=ON")

    event.listen(history.database.engine, "connect", read_only)
    history.database.engine.dispose()
    assert client.get("/v1/inspections").status_code == 200
    assert not_ready(client) == "the history's database takes no record"
