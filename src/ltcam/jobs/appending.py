"""Files that grow by whole lines: journals, tables. What a full disk or a crash tears off is cut away again."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import IO


def append_whole(stream: IO[bytes], content: bytes) -> None:
    """Put bytes at the end of a file, all of them or none, and have the disk confirm it.

    Args:
        stream: of the file, open for writing without a buffer, which would write the rest later.
        content: whole lines.

    Raises:
        OSError: the disk is full or the like; the file ends where it ended before.
    """
    end = stream.seek(0, os.SEEK_END)
    rest = memoryview(content)
    try:
        while rest:
            rest = rest[stream.write(rest) :]  # a disk that fills takes a part before it refuses
        os.fsync(stream.fileno())
    except BaseException:
        with suppress(OSError):  # `cut_half_line` does it at the next start
            stream.truncate(end)
        raise


def cut_half_line(stream: IO[bytes]) -> None:
    """Cut off what a crash left behind the last line feed.

    Args:
        stream: of the file, open for reading and writing.

    Raises:
        OSError: it cannot be read or changed.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - 1))
    if stream.read(1) in {b"", b"\n"}:
        return
    stream.seek(0)
    stream.truncate(stream.read().rfind(b"\n") + 1)


def whole_lines(stream: IO[bytes]) -> list[bytes]:
    """The lines of a file, without their line feeds; what a crash left behind the last one is cut off.

    Args:
        stream: as for `cut_half_line`.

    Raises:
        OSError: it cannot be read or changed.
    """
    cut_half_line(stream)
    stream.seek(0)
    return stream.read().split(b"\n")[:-1]
