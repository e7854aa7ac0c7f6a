"""Files of any kind: why one cannot be read, and the hash of what is in it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ltcam_runtime.errors import InputError


def why_not_read(error: OSError) -> str:
    """What to say behind the name of a file whose reading failed."""
    return f"cannot be read ({error.strerror or error})"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        InputError: the file cannot be read, or is none whose bytes end: a pipe, a device.
    """
    if path.exists() and not path.is_file():
        raise InputError(path, "this is not a regular file")
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(path, why_not_read(error)) from None
