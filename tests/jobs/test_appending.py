"""Whole lines at the end of a file, or none."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from ltcam.jobs.appending import append_whole, whole_lines

FullAt = Callable[[int], AbstractContextManager[None]]


def test_a_part_that_was_taken_is_given_back(tmp_path: Path, full_at: FullAt) -> None:
    file = tmp_path / "lines"
    with file.open("a+b", buffering=0) as stream:
        append_whole(stream, b"first\n")
        with full_at(8), pytest.raises(OSError, match="File too large"):
            append_whole(stream, b"second\n")
        assert file.read_bytes() == b"first\n"
        append_whole(stream, b"third\n")
    assert file.read_bytes() == b"first\nthird\n"


def test_a_line_that_the_disk_does_not_confirm_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError("Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    with (tmp_path / "lines").open("a+b", buffering=0) as stream:
        with pytest.raises(OSError, match="Input/output"):
            append_whole(stream, b"first\n")
        assert stream.seek(0, os.SEEK_END) == 0


@pytest.mark.parametrize(
    ("content", "left"),
    [(b"", b""), (b"one\n", b"one\n"), (b"one\ntw", b"one\n"), (b"on", b""), (b"\n\n", b"\n\n")],
)
def test_half_a_line_is_cut_off(tmp_path: Path, content: bytes, left: bytes) -> None:
    file = tmp_path / "lines"
    file.write_bytes(content)
    with file.open("a+b", buffering=0) as stream:
        assert whole_lines(stream) == left.splitlines()
    assert file.read_bytes() == left
