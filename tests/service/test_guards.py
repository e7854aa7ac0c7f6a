from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient
from tests.service.conftest import png

from ltcam.service.app import Access
from ltcam.service.guards import Guards, Limits, host_name, is_loopback

Make = Callable[..., TestClient]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200), ("localhost", 200), ("[::1]:80", 200), ("LOCALHOST:9", 200),
        ("evil.example", 400), ("127.0.0.1.evil.example", 400), ("localhost@evil.example", 400), ("", 400),
        ("localhost:99999", 400), ("[::1", 400), ("localhost/x", 400), ("a b", 400),
    ],
)  # fmt: skip
def test_only_this_machine_may_be_named_as_host(client: TestClient, host: str, status: int) -> None:
    assert client.get("/v1/model", headers={"host": host}).status_code == status


def test_another_name_can_be_allowed(make_client: Make) -> None:
    client = make_client(Access(token="t", hosts=frozenset({"line1.plant"})))
    headers = {"host": "line1.plant:8000", "authorization": "Bearer t"}
    assert client.get("/v1/model", headers=headers).status_code == 200
    assert client.get("/v1/model", headers={**headers, "host": "line2.plant"}).status_code == 400


@given(st.text(max_size=40))
def test_any_host_header_is_told_or_refused(host: str) -> None:
    name = host_name(host)
    assert name is None or set(name).isdisjoint("/@?# \t")


def test_loopback() -> None:
    assert all(is_loopback(name) for name in ("localhost", "127.0.0.1", "127.8.9.1", "::1"))
    assert not any(is_loopback(name) for name in ("10.0.0.1", "0.0.0.0", "example", "localhost.example", ""))


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_another_sites_page_cannot_act_here(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/v1/inspections", content=png(), headers=headers).status_code == 403
    assert client.get("/v1/inspections").json()["items"] == []


def test_its_own_page_can(client: TestClient) -> None:
    headers = {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}
    assert client.post("/v1/inspections", content=png(), headers=headers).status_code == 201


@pytest.mark.parametrize("path", ["/v1/model", "/v1/inspections", "/metrics", "/openapi.json", "/"])
def test_a_token_is_asked_for_everywhere(make_client: Make, path: str) -> None:
    client = make_client(Access(token="good"))
    assert client.get(path).status_code == 401
    assert client.get(path, headers={"authorization": "Bearer bad"}).status_code == 401
    assert client.get(path, headers={b"authorization": "Bearer göod".encode("latin-1")}).status_code == 401
    assert client.get(path, headers={"authorization": "Bearer good"}).status_code in {200, 404}
    assert client.get(path, headers={"cookie": "ltcam_token=good"}).status_code in {200, 404}


def test_health_needs_no_token(make_client: Make) -> None:
    client = make_client(Access(token="good"))
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 200


def test_a_body_has_a_limit_whether_its_length_is_told_or_not(make_client: Make) -> None:
    client = make_client(Access(limits=Limits(most_bytes=5000)))
    assert client.post("/v1/inspections", content=b"x" * 6000).status_code == 413
    assert client.post("/v1/inspections", content=iter([b"x" * 3000] * 3)).status_code == 413
    assert client.post("/v1/inspections", files={"image": b"x" * 6000}).status_code == 413
    assert (
        client.post("/v1/inspections", headers={"content-length": "9" * 30}, content=b"x").status_code == 400
    )


def test_every_answer_tells_browsers_what_they_may_do(client: TestClient) -> None:
    for answer in (
        client.get("/v1/model"),
        client.get("/nothing"),
        client.get("/v1/model", headers={"host": "evil"}),
    ):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


async def _answers(limits: Limits, *, body: bool, together: int) -> list[int]:
    go_on = asyncio.Event()

    async def app(_scope: object, receive: Callable[..., object], send: Callable[..., object]) -> None:
        await receive()  # type: ignore[misc]
        await go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[misc]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[misc]

    guards = Guards(app, token="", hosts=frozenset(), limits=limits)
    statuses: list[int] = []

    async def receive() -> dict[str, object]:
        if not body:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])  # type: ignore[arg-type]

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", b"localhost")]}
    tasks = [asyncio.create_task(guards(dict(scope), receive, send)) for _ in range(together)]  # type: ignore[arg-type]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(*tasks)
    return statuses


def test_requests_under_way_have_a_limit() -> None:
    assert sorted(asyncio.run(_answers(Limits(most_requests=2), body=True, together=5))) == [
        200,
        200,
        503,
        503,
        503,
    ]


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    with pytest.raises(HTTPException) as caught:  # which the application answers
        asyncio.run(_answers(Limits(body_seconds=0.01), body=False, together=1))
    assert caught.value.status_code == 408


@pytest.mark.parametrize(
    "body", [b"\xff\xd8\xff\xe0 no text", b'{"\\ud800": 1}', b'{"decision": "\\ud800"}', b"[", b"null", b""]
)
@pytest.mark.parametrize(
    "path",
    ["trainings", "model/promote", f"inspections/{'0' * 32}/reviews", f"inspections/{'0' * 32}/preview"],
)
@pytest.mark.parametrize(
    "kind", ["application/json", "application/octet-stream", "multipart/form-data; boundary=b"]
)
def test_a_body_that_is_no_json_is_the_senders_fault(
    client: TestClient, path: str, body: bytes, kind: str
) -> None:
    answer = client.post(f"/v1/{path}", content=body, headers={"Content-Type": kind})
    assert answer.status_code in {400, 422}
    assert answer.json()["detail"]
