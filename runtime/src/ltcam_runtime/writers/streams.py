"""One JSON object with several long arrays, written item by item."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any


class JsonArrays:
    """Writes `{**head, first: [...], second: [...], ...}` without keeping the items.

    The first array goes straight to the file, the others to temporary files on the same disk until the
    end.
    """

    def __init__(self, path: Path, head: Mapping[str, Any], arrays: Sequence[str]) -> None:
        """Begin the file.

        Args:
            path: the file.
            head: the object's other members, as JSON values.
            arrays: names of the arrays, in the order of the file.

        Raises:
            ValueError: NaN or infinite numbers in `head`.
            TypeError: `head` holds something that JSON has no form for.
        """
        members = "".join(f"{dumps(name)}: {dumps(value)},\n" for name, value in head.items())
        self._stream = path.open("w", **_ENCODING)
        self._stream.write(f"{{\n{members}")
        self._parts: dict[str, IO[str]] = {name: _scratch(path.parent) for name in arrays[1:]}
        self._counts = dict.fromkeys(arrays, 0)
        self._first = arrays[0]
        self._stream.write(f"{dumps(self._first)}: [")

    def append(self, array: str, item: Mapping[str, Any]) -> None:
        """Add one item to one of the arrays."""
        text = dumps(item)
        stream = self._stream if array == self._first else self._parts[array]
        stream.write(f",\n{text}" if self._counts[array] else f"\n{text}")
        self._counts[array] += 1

    def close(self) -> None:
        """End the file and put the other arrays into it."""
        try:
            self._stream.write("\n]")
            for name, part in self._parts.items():
                self._stream.write(f",\n{dumps(name)}: [")
                part.seek(0)
                shutil.copyfileobj(part, self._stream)
                self._stream.write("\n]")
            self._stream.write("\n}\n")
        finally:
            for part in self._parts.values():
                part.close()
            self._stream.close()


def _scratch(folder: Path) -> IO[str]:
    stream: IO[str] = tempfile.TemporaryFile("w+", dir=folder, **_ENCODING)  # noqa: SIM115 - closed with the arrays
    return stream


def dumps(value: Any) -> str:
    """JSON text in one line. NaN and infinity, which JSON does not have, raise ValueError."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


# A lone surrogate, from a file name that is no valid text, becomes the JSON escape that means it.
_ENCODING: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": "\n"}
