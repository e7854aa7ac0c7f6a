"""Words of messages and pages: how many of what, the first of them, names that may hold anything; lists of words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_ONE = {
    "files that are no images": "file that is no image",
    "links to folders, which are not followed: copy the folder, or give it by itself": (
        "link to a folder, which is not followed: copy the folder, or give it by itself"
    ),
    "links that lead out of the folder or to nothing: copy the files": (
        "link that leads out of the folder or to nothing: copy the file"
    ),
    "pipes, devices or sockets": "pipe, device or socket",
    "folders that may not be listed: check their permissions": "folder that may not be listed: check its permissions",
    "archives: unpack them": "archive: unpack it",
    "images of a format that is not read: save them as PNG": "image of a format that is not read: save it as PNG",
    "images by their content, but their names end otherwise: rename them": (
        "image by its content, but its name ends otherwise: rename it"
    ),
    "masks of other images": "mask of another image",
    "files with several pages or frames, of which the first is inspected: save the others as files": (
        "file with several pages or frames, of which the first is inspected: save the others as files"
    ),
}
_VERBS = {"are": "is", "do": "does", "have": "has", "fit": "fits"}
_ENDLESS = re.compile(r"\S{2000,}")
_UNUSUAL = re.compile(r"[^ -~\n]")


def counted(count: int, things: str) -> str:
    """`2 files that are no images`, `1 file that is no image`.

    Args:
        count: how many.
        things: what, in the plural.
    """
    if count != 1:
        return f"{count:,} {things}"
    noun, that, clause = things.partition(" that ")
    verb, space, rest = clause.partition(" ")
    one = re.sub(r"(\w*[^\Ws])s\b", r"\1", noun, count=1) + that + _VERBS.get(verb, verb) + space + rest
    return f"1 {_ONE.get(things, one)}"


def first_few(items: Sequence[str], shown: int = 5) -> str:
    """The first items with commas, and how many more there are."""
    more = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(items[:shown]) + more


def word_set(text: str) -> frozenset[str]:
    """The words of a text, as a list of words is written."""
    return frozenset(text.split())


def said(text: str) -> str:
    """A message as a terminal shows it: without what could steer it, and of a word without end its ends."""
    return printable(_ENDLESS.sub(lambda word: f"{word[0][:300]}...{word[0][-100:]}", text))


def printable(text: str) -> str:
    """Text without what could steer a terminal, or turn a page's text around: file names may hold anything.

    Letters, signs and spaces of any language, and ends of lines, stay; of what is left the code is shown.
    """
    return _UNUSUAL.sub(_visible, text)


def _visible(found: re.Match[str]) -> str:
    letter = found[0]
    if letter.isprintable() or unicodedata.category(letter) == "Zs":
        return letter
    return letter.encode("unicode_escape").decode()
