from __future__ import annotations

import csv
import hashlib
import hmac
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.service.conftest import eventually, png

from ltcam.service import sinks
from ltcam.service.history import History
from ltcam.service.outbox import Outbox
from ltcam.service.sinks import CsvAppend, Mqtt, Sink, Webhook, parse_sink
from ltcam_runtime.errors import SettingsError


class Flaky:
    """Remembers what it was given; fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.had = failures, list[str]()

    def deliver(self, payloads: Sequence[str]) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("down")
        self.had += payloads


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "_FIRST_PAUSE", 0.01)


def test_a_sink_that_is_down_gets_all_of_it_later_in_order(
    make_client: Callable[..., TestClient], history: History
) -> None:
    destination = Flaky(failures=3)
    sink = Sink("flaky", Outbox(history.database), destination)
    client = make_client(sinks={"flaky": sink})
    names = [f"{number}.png" for number in range(6)]
    for name in names:
        assert client.post("/v1/inspections", params={"name": name}, content=png()).status_code == 201
    eventually(lambda: len(destination.had) == 6)
    assert [json.loads(text)["name"] for text in destination.had] == names
    eventually(lambda: Outbox(history.database).waiting() == {})
    sink.close()


def test_what_was_missed_is_delivered_after_a_restart(
    make_client: Callable[..., TestClient], history: History
) -> None:
    down = Sink("line", Outbox(history.database), Flaky(failures=10**9))
    client = make_client(sinks={"line": down})
    client.post("/v1/inspections", content=png())
    eventually(lambda: Outbox(history.database).waiting() == {"line": 1})
    down.close()
    destination = Flaky()
    up = Sink("line", Outbox(history.database), destination)
    eventually(lambda: len(destination.had) == 1)
    up.close()


@contextmanager
def web_server(status: int) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    had: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            had.append((dict(self.headers), body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", had
    server.shutdown()
    server.server_close()


def test_a_webhook_is_signed() -> None:
    with web_server(204) as (url, had):
        Webhook(url, "key").deliver(['{"id":"1"}', '{"id":"2"}'])
    [(headers, body)] = had
    assert json.loads(body) == [{"id": "1"}, {"id": "2"}]
    assert headers["X-Ltcam-Signature"] == f"sha256={hmac.new(b'key', body, hashlib.sha256).hexdigest()}"


def test_a_webhook_that_answers_an_error_has_not_got_it() -> None:
    with web_server(500) as (url, _), pytest.raises(OSError, match="500"):
        Webhook(url, "").deliver(["{}"])


@contextmanager
def broker() -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """As much of MQTT 3.1.1 as a publisher with QoS 1 needs."""
    had: list[tuple[str, str]] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rwb") as stream:
            while kind := stream.read(1):
                size, shift = 0, 0
                while True:
                    byte = stream.read(1)[0]
                    size |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        break
                packet = stream.read(size)
                if kind[0] >> 4 == 1:
                    stream.write(b"\x20\x02\x00\x00")
                elif kind[0] >> 4 == 3:
                    (length,) = struct.unpack(">H", packet[:2])
                    had.append((packet[2 : 2 + length].decode(), packet[4 + length :].decode()))
                    stream.write(b"\x40\x02" + packet[2 + length : 4 + length])
                stream.flush()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1], had
    listener.close()


def test_mqtt() -> None:
    with broker() as (port, had):
        Mqtt("127.0.0.1", port, "line/1").deliver(["a", "b", "c"])
        eventually(lambda: len(had) == 3)
    assert had == [("line/1", "a"), ("line/1", "b"), ("line/1", "c")]


def test_a_broker_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(OSError):  # noqa: PT011  # the system's own words
        Mqtt("127.0.0.1", port, "x").deliver(["a"])


def found(name: str) -> str:
    """What a sink gets of an image."""
    values = {"time": "t", "id": "i", "lot": "", "verdict": "ok", "score": 0.1}
    return json.dumps({**values, "name": name, "regions": [1], "model_sha256": "m"})


def names_in(file: Path) -> list[str]:
    with file.open(newline="") as stream:
        return [row["name"] for row in csv.DictReader(stream, strict=True)]


def test_csv_grows_by_lines_and_has_one_header(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.csv"
    for name in ("a.png", "=cmd()", "two\nlines"):
        CsvAppend(file).deliver([found(name)])
    assert names_in(file) == ["a.png", "'=cmd()", "two lines"]
    assert [line.split(",")[6] for line in file.read_text().splitlines()] == ["regions", "1", "1", "1"]


def test_a_disk_that_fills_within_rows_of_csv_glues_none(
    tmp_path: Path, full_at: Callable[[int], AbstractContextManager[None]]
) -> None:
    file = tmp_path / "verdicts.csv"
    sink = CsvAppend(file)
    sink.deliver([found("a.png")])
    before = file.read_bytes()
    with full_at(len(before) + 30), pytest.raises(OSError, match="File too large"):
        sink.deliver([found("b.png"), found("c.png")])
    assert file.read_bytes() == before
    sink.deliver([found("b.png"), found("c.png")])
    assert names_in(file) == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize(("kept", "then"), [(-5, ["a.png", "b.png"]), (3, ["b.png"])])
def test_half_a_row_that_a_crash_left_is_cut_off(tmp_path: Path, kept: int, then: list[str]) -> None:
    """Of the row that is delivered again, or of the header."""
    file = tmp_path / "verdicts.csv"
    CsvAppend(file).deliver([found("a.png"), found("b.png")])
    file.write_bytes(file.read_bytes()[:kept])
    CsvAppend(file).deliver([found("b.png")])
    assert names_in(file) == then


def test_destinations_from_their_text(tmp_path: Path) -> None:
    assert isinstance(parse_sink("https://mes.plant/x", "k")[1], Webhook)
    assert isinstance(parse_sink("mqtt://user:p%40ss@broker:1884/line/1", "")[1], Mqtt)
    assert isinstance(parse_sink(f"csv:{tmp_path}/a.csv", "")[1], CsvAppend)
    assert parse_sink("csv:a", "")[0] == parse_sink("csv:a", "")[0] != parse_sink("csv:b", "")[0]
    for text in ("ftp://x/y", "mqtt://host", "csv:", "file:///etc/passwd", "http://", ""):
        with pytest.raises(SettingsError, match="give http"):
            parse_sink(text, "")
