"""What every request passes before anything else sees it: host, origin, token, sizes, time, number under way.

`docs/security.md` lists what each of these is against, with the test that shows it.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN_COOKIE = "ltcam_token"  # noqa: S105  # its name, not its value

_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_OPEN_PATHS = {"/healthz", "/readyz", "/signin", "/static/studio.css"}

_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        b"font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


@dataclass(frozen=True)
class Limits:
    """What a request may cost.

    Attributes:
        most_bytes: of a request's body.
        most_requests: under way at once; more are answered 503.
        body_seconds: for a whole body to arrive.
    """

    most_bytes: int = 32 * 2**20
    most_requests: int = 256
    body_seconds: float = 30.0


class _RefusedError(Exception):
    def __init__(self, status: int, detail: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


class Guards:
    """ASGI middleware: refuses what must not get in, limits the rest, adds the headers that browsers obey."""

    def __init__(self, app: Asgi, *, token: str, hosts: frozenset[str], limits: Limits) -> None:
        """Guards around an application.

        Args:
            app: the application.
            token: that every request must carry; "" asks for none.
            hosts: names and addresses that the Host header may hold, beside loopback's; empty admits any, for a
                service that listens elsewhere and asks for a token.
            limits: of a request.
        """
        self._app, self._token, self._hosts, self._limits = app, token.encode(), hosts, limits
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            headers = _headers(scope)
            self._check(scope, headers)
            if self._under_way >= self._limits.most_requests:
                raise _RefusedError(503, "too many requests are under way", (b"retry-after", b"1"))
            self._under_way += 1
            try:
                await self._app(scope, _Body(receive, self._limits), answer)
            finally:
                self._under_way -= 1
        except _RefusedError as refused:
            await _refuse(answer, refused)

    def _check(self, scope: Scope, headers: dict[str, str]) -> None:
        host = headers.get("host", "")
        if not self._admits(host):
            raise _RefusedError(400, "the Host header names another machine; add it with --allow-host")
        self._check_length(headers)
        if scope["method"] not in _SAFE_METHODS:
            self._check_origin(headers, host)
        if self._token and scope["path"] not in _OPEN_PATHS and not self._knows(_token_of(headers)):
            if "text/html" in headers.get("accept", "") and scope["method"] == "GET":
                raise _RefusedError(303, "sign in first", (b"location", b"/signin"))
            raise _RefusedError(
                401, "a token is needed: Authorization: Bearer TOKEN", (b"www-authenticate", b"Bearer")
            )

    def _admits(self, host: str) -> bool:
        name = host_name(host)
        if name is None:
            return False
        return not self._hosts or name in self._hosts or is_loopback(name)

    def _check_length(self, headers: dict[str, str]) -> None:
        length = headers.get("content-length")
        if length is None:
            return
        if not (length.isascii() and length.isdecimal() and len(length) < 19):
            raise _RefusedError(400, "the Content-Length header is no number")
        if int(length) > self._limits.most_bytes:
            raise _RefusedError(413, f"more than {self._limits.most_bytes} bytes")

    def _check_origin(self, headers: dict[str, str], host: str) -> None:
        """Another site's page must not act here with the browser of somebody who is signed in."""
        origin = headers.get("origin")
        if headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
            raise _RefusedError(403, "a request from another site")
        if origin is not None and _netloc(origin) != host.lower():
            raise _RefusedError(403, "a request from another origin")

    def _knows(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token)


class _Body:
    """The body of a request as it arrives, within its limits; beyond them an error that the application answers."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive, self._limits = receive, limits
        self._got, self._until = 0, asyncio.get_running_loop().time() + limits.body_seconds
        self._whole = False

    async def __call__(self) -> Message:
        if self._whole:  # what comes now is only the end of the connection, however long that takes
            return await self._receive()
        left = self._until - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, left))
        except TimeoutError:
            raise HTTPException(408, f"the body took longer than {self._limits.body_seconds:g} s") from None
        self._got += len(message.get("body", b""))
        if self._got > self._limits.most_bytes:
            raise HTTPException(413, f"more than {self._limits.most_bytes} bytes")
        self._whole = not message.get("more_body", False)
        return message


class _Answer:
    """Sends an answer with the headers that every answer has."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name for name, _ in message["headers"]}
            more = [(name, value) for name, value in _HEADERS if name not in given]
            if b"cache-control" not in given:
                more.append((b"cache-control", b"no-store"))
            message = {**message, "headers": [*message["headers"], *more]}
        await self._send(message)


async def _refuse(answer: _Answer, refused: _RefusedError) -> None:
    body = json.dumps({"detail": refused.detail}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *refused.headers,
    ]
    await answer({"type": "http.response.start", "status": refused.status, "headers": headers})
    await answer({"type": "http.response.body", "body": body})


def host_name(host: str) -> str | None:
    """The name or address in a Host header, in lower case and without port and brackets; None where it is none."""
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname, parts.port
    except ValueError:
        return None
    plain = name is not None and parts.netloc == host and parts.username is None
    return name if plain and name and all(letter.isalnum() or letter in ".-:_" for letter in name) else None


def is_loopback(name: str) -> bool:
    """Whether a name or address can only mean this machine."""
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _headers(scope: Scope) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name = raw.decode("latin-1").lower()
        if name in found and name in {
            "host",
            "content-length",
            "authorization",
            "origin",
            "transfer-encoding",
        }:
            raise _RefusedError(400, f"the header {name} is given twice")
        found[name] = value.decode("latin-1")
    return found


def _token_of(headers: dict[str, str]) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(TOKEN_COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie is not None else ""


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
