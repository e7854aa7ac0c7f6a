"""Where verdicts go beside the answer: a webhook, an MQTT broker, a CSV file.

What is to be delivered is written into the history's outbox in the same transaction as the record. One thread per
sink works its part of the outbox off in order. A sink that is down never holds inspection up; what it missed waits
in the outbox, also over a restart, and is delivered later, in order, each at least once with the same id.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from ltcam.jobs.appending import append_whole, cut_half_line
from ltcam.service.ledger import Finding
from ltcam.service.outbox import Outbox
from ltcam_runtime.errors import SettingsError
from ltcam_runtime.writers.csv import csv_text

if TYPE_CHECKING:
    from paho.mqtt.publish import AuthParameter

_log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds between tries of a sink that is down
_TIMEOUT = 10.0
_AT_ONCE = 50


class Delivers(Protocol):
    """One way to hand texts on."""

    def deliver(self, payloads: Sequence[str]) -> None:
        """Hand all of these on, in order, or raise OSError."""


class Sink:
    """A destination with its thread."""

    def __init__(self, name: str, outbox: Outbox, delivers: Delivers) -> None:
        self.name = name
        self._outbox, self._delivers = outbox, delivers
        self._wake, self._closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"ltcam-sink-{name}", daemon=True)
        self._thread.start()

    def payload(self, finding: Finding) -> str:
        """What is delivered of a finding: JSON."""
        content = finding.content()
        del content["class_scores"]
        return json.dumps(content, sort_keys=True, allow_nan=False)

    def wake(self) -> None:
        """There is something to deliver."""
        self._wake.set()

    def close(self) -> None:
        """Stop after what is under way; what is left stays in the outbox."""
        self._closed.set()
        self._wake.set()
        self._thread.join(_TIMEOUT + 1)

    def _work(self) -> None:
        pause = _FIRST_PAUSE
        while not self._closed.is_set():
            self._wake.clear()
            try:
                while not self._closed.is_set() and self._deliver_some():
                    pause = _FIRST_PAUSE
                self._wake.wait()
            except Exception as problem:  # whatever a destination does, inspection goes on
                _log.warning("sink %s: %s; trying again in %.0f s", self.name, problem, pause)
                self._closed.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _deliver_some(self) -> bool:
        """Deliver what is oldest; False where nothing is left.

        Raises:
            Exception: of the destination; what was not delivered stays first in line.
        """
        waiting = self._outbox.pending(self.name, _AT_ONCE)
        if not waiting:
            return False
        try:
            self._delivers.deliver([payload for _, payload in waiting])
        except Exception as problem:
            self._outbox.undelivered(waiting[0][0], str(problem))
            raise
        self._outbox.delivered([number for number, _ in waiting])
        return True


class Webhook:
    """POSTs JSON arrays of findings; the header `X-Ltcam-Signature` holds their HMAC-SHA256."""

    def __init__(self, url: str, secret: str) -> None:
        """A webhook.

        Args:
            url: http or https.
            secret: shared with the receiver; "" signs nothing.
        """
        self._url, self._secret = url, secret.encode()

    def deliver(self, payloads: Sequence[str]) -> None:
        """POST all of them in one request.

        Raises:
            OSError: no answer of 200 to 299.
        """
        from urllib.error import HTTPError  # noqa: PLC0415  # only where a webhook is used
        from urllib.request import Request, urlopen  # noqa: PLC0415

        body = f"[{','.join(payloads)}]".encode()
        headers = {"Content-Type": "application/json"}
        if self._secret:
            signature = hmac.new(self._secret, body, hashlib.sha256).hexdigest()
            headers["X-Ltcam-Signature"] = f"sha256={signature}"
        request = Request(self._url, body, headers)  # noqa: S310  # the scheme was checked in `parse_sink`
        try:
            with urlopen(request, timeout=_TIMEOUT):  # noqa: S310
                return
        except HTTPError as error:
            raise OSError(f"{self._url} answered {error.code}") from error


class Mqtt:
    """Publishes each finding with QoS 1."""

    def __init__(self, host: str, port: int, topic: str, user: str = "", password: str = "") -> None:
        self._host, self._port, self._topic = host, port, topic
        self._user, self._password = user, password

    def deliver(self, payloads: Sequence[str]) -> None:
        """Publish all of them, in order, each acknowledged by the broker.

        Raises:
            OSError: the broker does not answer or acknowledge.
        """
        from paho.mqtt import MQTTException, publish  # noqa: PLC0415  # only where a broker is used

        auth: AuthParameter | None = None
        if self._user:
            auth = {"username": self._user, "password": self._password}
        try:
            publish.multiple(
                [(self._topic, payload, 1, False) for payload in payloads],
                hostname=self._host,
                port=self._port,
                auth=auth,
            )
        except MQTTException as error:
            raise OSError(f"the MQTT broker {self._host}:{self._port}: {error}") from error


class CsvAppend:
    """Appends a line per finding to a CSV file; begins it with a header. What is half a line there was torn off."""

    _COLUMNS = ("time", "id", "name", "lot", "verdict", "score", "regions", "model_sha256")

    def __init__(self, file: Path) -> None:
        self._file = file

    def deliver(self, payloads: Sequence[str]) -> None:
        """Append all of them, or none, and have the disk confirm it.

        Raises:
            OSError: the file cannot be written.
        """
        with self._file.open("a+b", buffering=0) as stream:
            cut_half_line(stream)
            begun = stream.seek(0, os.SEEK_END) > 0
            rows = [*([] if begun else [self._COLUMNS]), *map(self._row, payloads)]
            append_whole(stream, csv_text(rows).encode())

    def _row(self, payload: str) -> Sequence[str]:
        """The cells of a finding, in one line whatever the image is called, so that half a line can be told."""
        finding = json.loads(payload)
        finding["regions"] = len(finding["regions"])
        return [" ".join(str(finding[column]).splitlines()) for column in self._COLUMNS]


def parse_sink(text: str, secret: str) -> tuple[str, Delivers]:
    """A destination from its URL: `http(s)://...`, `mqtt://[user:password@]host[:port]/topic`, `csv:FILE`.

    Args:
        text: the URL.
        secret: that webhooks are signed with, or "".

    Returns:
        A name that stays the same over restarts, and the destination.

    Raises:
        SettingsError: none of these forms.
    """
    parts = urlsplit(text)
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    if parts.scheme in {"http", "https"} and parts.hostname:
        return f"webhook-{name}", Webhook(text, secret)
    if parts.scheme == "mqtt" and parts.hostname and parts.path.strip("/"):
        topic = unquote(parts.path.lstrip("/"))
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return f"mqtt-{name}", Mqtt(parts.hostname, parts.port or 1883, topic, user, password)
    if parts.scheme == "csv" and text.removeprefix("csv:"):
        return f"csv-{name}", CsvAppend(Path(text.removeprefix("csv:")))
    raise SettingsError(f"sink {text!r}: give http(s)://HOST/PATH, mqtt://HOST[:PORT]/TOPIC or csv:FILE")
