from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
from typing import Any

import pytest

from ltcam.training.memory import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_glibc_takes_the_setting() -> None:
    # in a process of its own: it cannot be taken back
    code = "from ltcam.training.memory import keep_freed_memory as k; assert k() is True"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: Any) -> None:
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert keep_freed_memory() is False
