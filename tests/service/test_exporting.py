"""What leaves the history comes back through the layouts of data sets, pixel for pixel."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient
from tests.service.conftest import png

from ltcam.data.layouts import read_dataset
from ltcam.data.truth import read_truth
from ltcam.service.exporting import Annotations

SPOT = np.zeros((24, 32), bool)
SPOT[4:9, 6:14] = True
PAINTED = np.zeros((24, 32), bool)
PAINTED[10:20, 3:5] = PAINTED[15, 3:25] = True


def inspect(client: TestClient, name: str, *, spot: bool = True) -> str:
    found = client.post("/v1/inspections", params={"name": name}, content=png(spot=spot)).json()
    return str(found["id"])


def say(client: TestClient, id_: str, decision: str, kind: str = "") -> None:
    client.post(f"/v1/inspections/{id_}/reviews", json={"decision": decision, "kind": kind})


def paint(client: TestClient, id_: str, mask: np.ndarray) -> None:
    content = cv2.imencode(".png", mask.astype(np.uint8) * 255)[1].tobytes()
    assert client.put(f"/v1/inspections/{id_}/painted", content=content).status_code == 200


def unpacked(client: TestClient, folder: Path, **query: Any) -> Path:
    answer = client.get("/v1/export", params=query)
    assert answer.status_code == 200
    zipfile.ZipFile(io.BytesIO(answer.content)).extractall(folder)
    return folder


def masks_of(folder: Path) -> dict[str, tuple[str, np.ndarray]]:
    """Label and mask of every image by the end of its name."""
    found = {}
    for sample in read_dataset(folder).samples:
        truth = read_truth(sample, SPOT.shape)
        name = Path(sample.id).name.partition("-")[2]
        found[name] = (sample.label, np.zeros_like(SPOT) if truth is None else truth)
    return found


def test_a_table(client: TestClient) -> None:
    inspect(client, "=evil()")
    client.post("/v1/inspections", content=png(spot=False))
    rows = list(csv.DictReader(io.StringIO(client.get("/v1/export").text)))
    assert [row["verdict"] for row in rows] == ["ok", "defect"]
    assert rows[1]["name"] == "'=evil()"
    nothing = client.get("/v1/export", params={"text": "nowhere"}).text
    assert nothing.startswith("sequence,")


@pytest.mark.parametrize("form", get_args(Annotations))
def test_what_people_said_comes_back(client: TestClient, tmp_path: Path, form: str) -> None:
    say(client, inspect(client, "sub/found.png"), "confirmed", "stain")
    say(client, inspect(client, "alarm.png"), "false_alarm")
    missed = inspect(client, "../missed", spot=False)
    paint(client, missed, PAINTED)
    say(client, missed, "missed", "scratch & co")
    say(client, inspect(client, "unpainted.png", spot=False), "missed", "scratch & co")
    say(client, inspect(client, "fine.png", spot=False), "ok")
    read = masks_of(unpacked(client, tmp_path / "out", format=form))
    expected = {
        "found.png": ("stain", SPOT),
        "alarm.png": ("ok", np.zeros_like(SPOT)),
        "missed.png": ("scratch & co", PAINTED),
        "fine.png": ("ok", np.zeros_like(SPOT)),
    }  # and not the one of which nobody knows where its defect is
    assert {name: label for name, (label, _) in read.items()} == {
        n: label for n, (label, _) in expected.items()
    }
    for name, (_, mask) in expected.items():
        assert np.array_equal(read[name][1], mask), name


def test_what_nobody_judged_leaves_as_it_was_found(client: TestClient, tmp_path: Path) -> None:
    for number, spot in enumerate((True, False)):
        inspect(client, f"{number}.png", spot=spot)
    read = masks_of(unpacked(client, tmp_path / "out", format="coco"))
    assert {name: label for name, (label, _) in read.items()} == {"0.png": "spot", "1.png": "ok"}
    assert np.array_equal(read["0.png"][1], SPOT)
    only = unpacked(client, tmp_path / "only", format="label-studio", verdict="defect")
    assert [file.name for file in (only / "images").iterdir()] == ["000001-0.png"]
    assert '"predictions"' in (only / "tasks.json").read_text()


def test_images_that_are_gone_are_left_out(client: TestClient, history: Any, tmp_path: Path) -> None:
    gone = inspect(client, "gone.png")
    inspect(client, "there.png")
    history.pictures.file(gone, "image").unlink()
    folder = unpacked(client, tmp_path / "out", format="yolo")
    assert [file.name for file in (folder / "images").iterdir()] == ["000002-there.png"]
