"""What `ltcam watch` writes of a file."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.service.conftest import BrightInspector, png

from ltcam.jobs.watch import JOURNAL, Arrived
from ltcam.service.watching import inspect_and_write
from ltcam_runtime.errors import OutputError
from ltcam_runtime.writers.masks import MaskWriter


def arrived(path: Path, *, spot: bool = True) -> Arrived:
    path.write_bytes(png(spot=spot))
    return Arrived(path.name, path, 0, 0)


def test_a_restart_does_not_give_a_name_again(tmp_path: Path) -> None:
    """`a.png` has its mask in `masks/a.png`; the `a.jpg` that comes after a restart must not take it."""
    out = tmp_path / "out"
    first = inspect_and_write(BrightInspector(), out)(arrived(tmp_path / "a.png"))
    (out / JOURNAL).write_text(f"{json.dumps(first)}\n" + '{"half a li')
    second = inspect_and_write(BrightInspector(), out)(arrived(tmp_path / "a.jpg", spot=False))
    assert (first["output"], second["output"]) == ("a", "a-jpg")
    assert np.any(cv2.imread(str(out / "masks" / "a.png")))
    assert not np.any(cv2.imread(str(out / "masks" / "a-jpg.png")))
    assert inspect_and_write(BrightInspector(), out)(arrived(tmp_path / "a.png"))["output"] == "a"


def test_a_full_disk_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(MaskWriter, "add", full)
    with pytest.raises(OutputError, match="out cannot be written: the disk is full"):
        inspect_and_write(BrightInspector(), tmp_path / "out")(arrived(tmp_path / "a.png"))
