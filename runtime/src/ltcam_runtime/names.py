"""Names of the files that are written for an image."""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256
from pathlib import PurePosixPath

from ltcam_runtime.images import IMAGE_SUFFIXES

_MAX_BYTES = 150
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def output_name(image_id: str) -> str:
    """A safe relative path, without suffix, that stays readable: `kos01/Part5.jpg` -> `kos01/Part5`.

    It never leaves the folder it is put into, names nothing hidden, and works on every common file
    system. Where a name had to be cut, the end of it is a digest of the whole. Different images may
    get the same name (`a.jpg`, `a.png`): `OutputNames` tells them apart.

    Args:
        image_id: name of an image, with forward slashes; anything is allowed.
    """
    text = unicodedata.normalize("NFC", image_id.replace("\\", "/"))
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not parts:
        return "image"
    *folders, last = parts
    # A folder without dots can never have the name of a file, which always gets a suffix.
    names = [_safe(part.replace(".", "_")) for part in folders]
    return "/".join([*names, _safe(_without_suffix(last))])


class OutputNames:
    """Gives every image its own output name; the same image always gets the same one."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def keep(self, image_id: str, name: str) -> None:
        """Remember a name that was given before, so that no other image gets it."""
        self._owners[name.casefold()] = image_id

    def __call__(self, image_id: str) -> str:
        """The image's name: `a`, for a second image of that name `a-png`, then `a-png-2` and so on."""
        base = output_name(image_id)
        suffix = PurePosixPath(image_id).suffix.lstrip(".").lower()
        longer = f"{base}-{suffix}" if suffix.isascii() and suffix.isalnum() and len(suffix) < 8 else base
        number = 0
        while True:
            number += 1
            name = base if number == 1 else longer if number == 2 and longer != base else f"{longer}-{number}"
            # Some file systems do not tell upper from lower case.
            if self._owners.setdefault(name.casefold(), image_id) == image_id:
                return name


def _without_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and stem and f".{suffix.lower()}" in IMAGE_SUFFIXES else name


def _safe(part: str) -> str:
    text = "".join(letter if letter.isalnum() or letter in "-_+=,@()[] ." else "_" for letter in part)
    text = text.strip(" ").rstrip(".")
    if text.startswith((".", "-", "~")) or not text or _RESERVED.fullmatch(text):
        text = f"_{text.lstrip('.')}"
    encoded = text.encode()
    if len(encoded) <= _MAX_BYTES:
        return text
    digest = sha256(part.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{encoded[: _MAX_BYTES - 9].decode(errors='ignore').rstrip(' .')}-{digest}"
