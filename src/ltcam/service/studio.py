"""The studio's files, kept in memory, and signing in where a token is asked for."""

from __future__ import annotations

import hashlib
import hmac
import mimetypes
from importlib import resources
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response

from ltcam.service.guards import TOKEN_COOKIE

_SIGN_IN = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>ltcam studio</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/static/studio.css"></head>
<body><main class="page"><h1>ltcam studio</h1><form class="card" method="post" action="/signin">
<label>Token <input name="token" type="password" autocomplete="current-password" required></label>
<p><button class="main">Sign in</button></p>{problem}</form></main></body></html>"""


def studio_router(token: str) -> APIRouter:
    """Routes of the studio: its page, its files, and signing in.

    Args:
        token: that the service asks for; "" where it asks for none.
    """
    router = APIRouter(include_in_schema=False)
    files = _files()

    @router.get("/")
    def page(request: Request) -> Response:
        return _answer(request, *files["index.html"])

    @router.get("/static/{name}")
    def file(request: Request, name: str) -> Response:
        if name not in files:
            return Response(status_code=404)
        return _answer(request, *files[name])

    @router.get("/signin")
    def sign_in_page() -> Response:
        return Response(_SIGN_IN.format(problem=""), media_type="text/html")

    @router.post("/signin")
    def sign_in(given: Annotated[str, Form(alias="token", max_length=1000)]) -> Response:
        if not hmac.compare_digest(given.encode(), token.encode()):
            problem = '<p role="alert">This is not the token.</p>'
            return Response(_SIGN_IN.format(problem=problem), 401, media_type="text/html")
        answer = Response(status_code=303, headers={"Location": "/"})
        answer.set_cookie(TOKEN_COOKIE, given, httponly=True, samesite="strict", max_age=12 * 3600)
        return answer

    return router


def _files() -> dict[str, tuple[bytes, str, str]]:
    """Name to content, media type and entity tag."""
    found = {}
    for file in resources.files("ltcam.service").joinpath("static").iterdir():
        content = file.read_bytes()
        kind = "text/javascript" if file.name.endswith(".js") else mimetypes.guess_type(file.name)[0] or ""
        found[file.name] = (content, kind, f'"{hashlib.sha256(content).hexdigest()[:16]}"')
    return found


def _answer(request: Request, content: bytes, kind: str, tag: str) -> Response:
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)
