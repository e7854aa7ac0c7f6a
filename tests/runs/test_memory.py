from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
from typing import Any

import pytest

from ltcam.runs import memory
from ltcam.runs.memory import BoundedMemory, give_back_freed_memory, keep_freed_memory

GIVEN_BACK = """
import numpy as np
from ltcam.runs.memory import give_back_freed_memory, keep_freed_memory, resident_memory
keep_freed_memory()
pairs = [(np.ones(2**20, np.uint8), bytearray(4096)) for _ in range(200)]
held = resident_memory()
small = [each for _, each in pairs]  # stay between what is freed
del pairs
kept = resident_memory()
assert give_back_freed_memory()
assert kept > held - 2**24, (held, kept)
assert resident_memory() < kept - 150 * 2**20, (kept, resident_memory())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_glibc_takes_the_setting() -> None:
    # in a process of its own: it cannot be taken back
    code = "from ltcam.runs.memory import keep_freed_memory as k; assert k() is True"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_what_is_kept_is_given_back_when_asked() -> None:
    subprocess.run([sys.executable, "-c", GIVEN_BACK], check=True)


def test_a_process_that_grows_beyond_what_its_batches_need_gives_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resident, given_back = [100], []

    def give_back() -> None:
        given_back.append(resident[0])
        resident[0] = 40

    monkeypatch.setattr(memory, "resident_memory", lambda: resident[0])
    monkeypatch.setattr(memory, "give_back_freed_memory", give_back)
    bounded = BoundedMemory()

    def batches(count: int, held: int) -> list[int]:
        for _ in range(count):
            resident[0] = held
            bounded.after_batch()
        return given_back

    assert batches(1, 30) == []
    assert batches(500, 100) == []  # what it took while it warmed up is what it needs
    assert batches(500, 103) == []
    assert batches(1, 110) == [110]
    assert batches(127, 110) == [110]  # it may take what it needs again
    assert batches(500, 110) == [110]  # and if that is more, then that is what it needs
    assert batches(1, 120) == [110, 120]


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: Any) -> None:
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert keep_freed_memory() is False
    assert give_back_freed_memory() is False
