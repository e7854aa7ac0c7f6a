from __future__ import annotations

import asyncio
import errno
import io
import pathlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from tests.service.conftest import BrightInspector, decoded, eventually, png

from ltcam.runs.memory import BoundedMemory
from ltcam.service import intake
from ltcam.service.batching import Budget
from ltcam.service.history import History, Review
from ltcam.service.intake import Intake, write_png
from ltcam.service.pictures import hash_of_mask, sweep
from ltcam.service.served import Served
from ltcam_runtime.errors import OutputError


def inspect(client: TestClient, name: str = "part.png", **parameters: str) -> dict[str, object]:
    answer = client.post("/v1/inspections", params={"name": name, **parameters}, content=png())
    assert answer.status_code == 201, answer.text
    found: dict[str, object] = answer.json()
    return found


def test_an_image_is_inspected_kept_and_found_again(client: TestClient, history: History) -> None:
    found = inspect(client, lot="L7")
    assert (found["verdict"], found["score"], found["lot"], found["sequence"]) == ("defect", 0.9, "L7", 1)
    assert found["regions"][0]["box"] == [6, 4, 8, 5]  # type: ignore[index]
    again = client.get(f"/v1/inspections/{found['id']}").json()
    assert again == found
    assert client.get("/v1/inspections").json() == {"items": [found], "before": None}
    assert history.verify() == (1, None)


def test_memory_is_looked_after_behind_every_batch(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[BoundedMemory] = []

    def after_batch(memory: BoundedMemory) -> None:
        looked.append(memory)

    monkeypatch.setattr(BoundedMemory, "after_batch", after_batch)
    for _ in range(3):
        assert client.post("/v1/inspections", content=png()).status_code == 201
    assert len(looked) == 3
    assert len(set(map(id, looked))) == 1


def test_a_form_and_raw_bytes_give_the_same(client: TestClient) -> None:
    raw = inspect(client)
    form = client.post("/v1/inspections", files={"image": ("../../x/part.png", png())}).json()
    assert form["name"] == "../../x/part.png"  # kept as text, never a path
    for field in ("verdict", "score", "regions", "height", "width"):
        assert form[field] == raw[field]


def test_pictures(client: TestClient) -> None:
    found = inspect(client)
    pictures = {
        what: decoded(client.get(link).content)
        for what, link in found["links"].items()  # type: ignore[attr-defined]
    }
    original = decoded(png())
    assert np.array_equal(pictures["image"], original)
    assert np.array_equal(pictures["mask"] > 0, original[..., 0] > 200)
    assert pictures["heatmap"].shape == (24, 32)
    assert pictures["heatmap"].max() == 255
    assert pictures["overlay"].ndim == 3
    assert client.get(f"/v1/inspections/{found['id']}/painted").status_code == 404


def test_a_jpeg_is_shown_as_png_and_kept_as_it_came(client: TestClient, history: History) -> None:
    content = cv2.imencode(".jpg", np.full((20, 20, 3), 90, np.uint8))[1].tobytes()
    found = client.post("/v1/inspections", content=content, headers={"content-type": "image/jpeg"}).json()
    assert history.pictures.file(found["id"], "image").read_bytes() == content
    assert client.get(found["links"]["image"]).content.startswith(b"\x89PNG")


def pages() -> bytes:
    written = io.BytesIO()
    first, *others = (Image.new("L", (8, 8), value) for value in (40, 90, 120))
    first.save(written, "TIFF", save_all=True, append_images=others)
    return written.getvalue()


def test_curl_may_call_a_body_what_it_calls_all_of_them(client: TestClient) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = client.post("/v1/inspections", params={"name": "p.png"}, content=png(), headers=headers)
    assert (answer.status_code, answer.json()["verdict"]) == (201, "defect")


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        ({"content": pages()}, 400, "several pages"),
        ({"content": b"junk"}, 400, "not an image"),
        ({"content": b""}, 400, "empty"),
        ({"content": png()[:60]}, 400, ""),
        ({"content": png(1100, 1000)}, 400, "pixels"),
        ({"content": png(), "headers": {"content-type": "text/html"}}, 415, "text/html"),
        ({"files": {"picture": ("a.png", png())}}, 400, "image"),
        ({"data": {"image": "text"}, "files": {"other": b"x"}}, 400, "image"),
        ({"content": b"--", "headers": {"content-type": "multipart/form-data"}}, 400, ""),
        ({"content": b"\x00" * 50, "headers": {"content-type": "multipart/form-data; boundary=x"}}, 400, ""),
        ({"content": png(), "params": {"name": "x" * 300}}, 422, "255"),
    ],
)
def test_what_cannot_be_inspected_is_refused_and_leaves_nothing(
    client: TestClient, history: History, request_: dict[str, object], status: int, words: str
) -> None:
    answer = client.post("/v1/inspections", **request_)  # type: ignore[arg-type]
    assert answer.status_code == status, answer.text
    assert words in answer.text
    assert [file for file in history.pictures.folder.rglob("*") if file.is_file()] == []
    assert inspect(client)["sequence"] == 1


@pytest.mark.parametrize("name", ["<script>.png", "a\x00b", "名前.png", "=cmd", "\u202egpj.exe"])
def test_any_name_is_kept(client: TestClient, name: str) -> None:
    found = inspect(client, name=name)
    assert found["name"] == name.replace("\x00", "\\x00")


def test_reviews_and_painted_masks(client: TestClient, history: History) -> None:
    found = inspect(client)
    url = f"/v1/inspections/{found['id']}"
    said = client.post(
        f"{url}/reviews", json={"decision": "missed", "kind": "dent", "reviewer": "J", "note": "x"}
    )
    assert said.json()["review"]["decision"] == "missed"
    painted = np.zeros((24, 32), np.uint8)
    painted[3:8, 5:9] = 255
    content = cv2.imencode(".png", painted)[1].tobytes()
    review = client.put(f"{url}/painted", content=content).json()["review"]
    assert (review["decision"], review["kind"], review["painted"]) == ("missed", "dent", True)
    back = decoded(client.get(f"{url}/painted").content)
    assert np.array_equal(back, painted)
    assert history.verify() == (1, None)  # what people say changes no record


def test_a_decision_keeps_what_was_painted_meanwhile(client: TestClient, history: History) -> None:
    found = inspect(client)
    url = f"/v1/inspections/{found['id']}"
    client.put(f"{url}/painted", content=cv2.imencode(".png", np.full((24, 32), 255, np.uint8))[1].tobytes())
    before = history.reviewed()[0][1]
    assert client.post(f"{url}/reviews", json={"decision": "confirmed"}).json()["review"]["painted"]
    history.review(replace(before, painted_sha256=""))
    assert history.reviewed()[0][1].painted_sha256 == before.painted_sha256 != ""


def test_twelve_bits_are_shown_as_the_network_sees_them(client: TestClient, served: Served) -> None:
    served.model.settings["white"] = 4095
    levels = np.linspace(0, 4095, 24 * 32).reshape(24, 32).astype(np.uint16)
    content = cv2.imencode(".png", levels)[1].tobytes()
    found = client.post("/v1/inspections", content=content).json()
    image, overlay = (client.get(found["links"][what]).content for what in ("image", "overlay"))
    assert image[24] == 8, "bits that every browser shows"
    assert np.abs(decoded(image)[..., 0] - levels / 4095 * 255).max() < 1
    assert decoded(overlay).mean() > 100


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"junk", 415), (png(8, 8), 400), (png(200, 200), 400), (b"\x89PNG\r\n\x1a\n", 400)],
)
def test_a_painted_mask_must_fit(client: TestClient, content: bytes, status: int) -> None:
    found = inspect(client)
    assert client.put(f"/v1/inspections/{found['id']}/painted", content=content).status_code == status
    assert client.get(f"/v1/inspections/{found['id']}").json()["review"] is None


def test_pages_and_filters(client: TestClient) -> None:
    for number in range(5):
        inspect(client, f"{number}.png", lot=str(number % 2))
    page = client.get("/v1/inspections", params={"limit": 2}).json()
    assert [item["name"] for item in page["items"]] == ["4.png", "3.png"]
    rest = client.get("/v1/inspections", params={"limit": 9, "before": page["before"]}).json()
    assert [item["name"] for item in rest["items"]] == ["2.png", "1.png", "0.png"]
    odd = client.get("/v1/inspections", params={"lot": "1"}).json()["items"]
    assert [item["name"] for item in odd] == ["3.png", "1.png"]
    late = client.get("/v1/inspections", params={"since": "9999-12-31T23:59:59-23:59"})
    assert (late.status_code, late.json()["items"]) == (200, [])
    assert client.get("/v1/inspections", params={"limt": 3}).status_code == 422


def test_too_many_at_once_are_turned_away_with_a_time(
    make_client: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    plain = BrightInspector.inspect_images

    def slow(self: BrightInspector, images: Sequence[object], names: Sequence[str]) -> list[object]:
        go_on.wait(20)
        return plain(self, images, names)  # type: ignore[arg-type, return-value]

    monkeypatch.setattr(BrightInspector, "inspect_images", slow)
    client = make_client(budget=Budget(batch_size=1, gather_seconds=0, most_waiting=2))
    answers: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(client.post("/v1/inspections", content=png()).status_code)
        )
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    eventually(lambda: len(answers) >= 8)
    refused = client.post("/v1/inspections", content=png())
    assert (refused.status_code, int(refused.headers["retry-after"]) >= 1) == (503, True)
    assert client.get("/readyz").status_code == 503
    go_on.set()
    for thread in threads:
        thread.join()
    assert sorted(set(answers)) == [201, 503]
    assert client.get("/v1/inspections").json()["items"][0]["sequence"] == answers.count(201)
    assert client.get("/readyz").status_code == 200


def test_the_model_can_be_rolled_back(client: TestClient, served: Served) -> None:
    assert client.get("/v1/model").json()["name"] == "first"
    assert client.post("/v1/model/rollback").status_code == 409
    served.promote(served.model.path.parent / "second")
    assert inspect(client)["model_sha256"] == client.get("/v1/model").json()["sha256"]
    back = client.post("/v1/model/rollback").json()
    assert (back["name"], back["can_roll_back"]) == ("first", False)


def test_figures_for_prometheus(client: TestClient) -> None:
    inspect(client)
    text = client.get("/metrics").text
    assert 'ltcam_inspections_total{verdict="defect"} 1.0' in text
    assert "ltcam_network_images_total 1.0" in text


def test_an_unknown_id_is_no_fault(client: TestClient) -> None:
    assert client.get(f"/v1/inspections/{'0' * 32}").status_code == 404
    assert client.get("/v1/inspections/../../etc/passwd").status_code == 404
    assert client.get("/v1/inspections/xyz").status_code == 422


@pytest.mark.parametrize(
    ("method", "address", "known"),
    [("POST", "/v1/inspections", "name, lot"), ("GET", "/v1/inspections", "verdict, since, until, lot")],
)
def test_a_misspelt_parameter_is_named_with_the_known_ones(
    client: TestClient, method: str, address: str, known: str
) -> None:
    answer = client.request(method, address, params={"lott": "L7"}, content=png())
    assert answer.status_code == 422
    assert f"lott is unknown here; there are {known}" in answer.json()["detail"][0]["msg"]
    assert client.get("/v1/inspections").json()["items"] == []


def test_a_full_disk_is_said_in_a_sentence(
    client: TestClient, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Intake, "receive", full)
    answer = client.post("/v1/inspections", content=png())
    assert answer.status_code == 500
    assert answer.json()["detail"].startswith("the image could not be kept: the disk is full; make room")


def test_a_full_disk_is_said_of_a_painted_mask_too(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = inspect(client)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for call in ("write_bytes", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(pathlib.Path, call, full)
            answer = client.put(f"/v1/inspections/{found['id']}/painted", content=png())
        assert answer.status_code == 500
        assert "cannot be written: the disk is full; make room" in answer.json()["detail"]
    assert client.get(f"/v1/inspections/{found['id']}").json()["review"] is None


@pytest.mark.parametrize(
    ("owner", "call"), [(BrightInspector, "inspect_images"), (intake, "write_png"), (intake, "finding_of")]
)
def test_what_could_not_be_inspected_or_kept_leaves_nothing(
    client: TestClient, history: History, monkeypatch: pytest.MonkeyPatch, owner: object, call: str
) -> None:
    """On a full disk, images that nobody will ever ask for would fill it further."""

    def failing(*_: object) -> None:
        raise OutputError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(owner, call, failing)
        assert client.post("/v1/inspections", content=png()).status_code == 500
    assert [file for file in history.pictures.folder.rglob("*") if file.is_file()] == []
    assert inspect(client)["sequence"] == 1


def test_a_crash_while_a_mask_is_painted_over_leaves_the_one_before(
    client: TestClient, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"/v1/inspections/{client.post('/v1/inspections', content=png()).json()['id']}"
    first, second = (np.full((24, 32), value, np.uint8) for value in (255, 0))
    assert client.put(f"{url}/painted", content=cv2.imencode(".png", first)[1].tobytes()).status_code == 200

    def locked(*_: object) -> None:
        raise OutputError("the history cannot be written: database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(History, "review", locked)
        answer = client.put(f"{url}/painted", content=cv2.imencode(".png", second)[1].tobytes())
    assert answer.status_code == 500
    assert history.verify() == (1, None)
    assert np.array_equal(decoded(client.get(f"{url}/painted").content), first)
    assert sweep(history.database, history.pictures) == 1
    assert np.array_equal(decoded(client.get(f"{url}/painted").content), first)


def test_a_mask_that_an_earlier_version_painted_is_still_read(client: TestClient, history: History) -> None:
    id_ = client.post("/v1/inspections", content=png()).json()["id"]
    mask = np.ones((24, 32), bool)
    write_png(history.pictures.file(id_, "painted"), mask.astype(np.uint8) * 255)
    history.review(Review(id_, datetime.now(UTC), "missed", painted_sha256=hash_of_mask(mask)))
    assert sweep(history.database, history.pictures) == 0
    assert history.verify() == (1, None)
    assert decoded(client.get(f"/v1/inspections/{id_}/painted").content).all()


@pytest.mark.parametrize(
    ("method", "way"), [("POST", "/v1/inspections"), ("PUT", "/v1/inspections/{}/painted")]
)
def test_a_sender_that_breaks_off_is_no_fault_of_the_service(
    client: TestClient, method: str, way: str
) -> None:
    id_ = client.post("/v1/inspections", content=png()).json()["id"]
    came = iter([{"type": "http.request", "body": b"abc", "more_body": True}, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(came)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": way.format(id_), "raw_path": way.format(id_).encode(), "query_string": b"", "root_path": "",
        "headers": [(b"host", b"127.0.0.1"), (b"content-length", b"999")],
        "client": ("127.0.0.1", 9), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    asyncio.run(client.app(scope, receive, send))  # type: ignore[arg-type]  # an error would be raised here
    assert sent[0]["status"] == 400
