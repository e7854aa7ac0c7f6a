"""Pages that need no torch, and the style that all pages of ltcam share."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent


@cache
def resource(name: str) -> str:
    """The text of a file of this package."""
    return (_FOLDER / name).read_text(encoding="utf-8")


def base_style() -> str:
    """The style sheet of every page."""
    return resource("base.css")
