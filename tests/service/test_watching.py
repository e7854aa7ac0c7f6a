"""What `ltcam watch` writes of a file."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.service.conftest import BrightInspector, png

from ltcam.jobs.models import model_of
from ltcam.jobs.watch import JOURNAL, Arrived, opened_journal
from ltcam.service.watching import SEVERAL_PAGES, inspect_and_write
from ltcam_runtime.errors import OutputError
from ltcam_runtime.writers.masks import MaskWriter


def arrived(path: Path, *, spot: bool = True, modified: int = 0) -> Arrived:
    path.write_bytes(png(spot=spot))
    return Arrived(path.name, path, path.stat().st_size, modified)


@contextmanager
def started(out: Path) -> Iterator[Callable[[Arrived], dict[str, Any]]]:
    """What is found of a file by a model that sees what is bright; the journal gets it too."""
    (out.parent / "weights").write_text("bright")
    model = model_of(out, BrightInspector(), ("ok", "spot"), {}, out.parent / "weights")
    with opened_journal(out.parent, out) as journal:
        inspect = inspect_and_write(model, journal)

        def kept(file: Arrived) -> dict[str, Any]:
            line = inspect(file)
            journal.add(file, line)
            return line

        yield kept


def found_after_a_start(out: Path, file: Arrived) -> dict[str, Any]:
    with started(out) as inspect:
        return inspect(file)


def test_a_restart_does_not_give_a_name_again(tmp_path: Path) -> None:
    """`a.png` has its mask in `masks/a.png`; the `a.jpg` that comes after a restart must not take it."""
    out = tmp_path / "out"
    first = found_after_a_start(out, arrived(tmp_path / "a.png"))
    with (out / JOURNAL).open("a") as stream:
        stream.write('{"half a li')
    second = found_after_a_start(out, arrived(tmp_path / "a.jpg", spot=False))
    assert (first["output"], second["output"]) == ("a", "a-jpg")
    assert np.any(cv2.imread(str(out / "masks" / "a.png")))
    assert not np.any(cv2.imread(str(out / "masks" / "a-jpg.png")))
    assert found_after_a_start(out, arrived(tmp_path / "a.png"))["output"] == "a"


@pytest.mark.parametrize("restarted", [False, True])
def test_a_file_that_comes_again_keeps_what_it_had(tmp_path: Path, restarted: bool) -> None:
    out = tmp_path / "out"
    came = ((5, True), (7, False), (9, True))
    if restarted:
        outputs = [
            found_after_a_start(out, arrived(tmp_path / "a.png", spot=spot, modified=time))["output"]
            for time, spot in came
        ]
    else:
        with started(out) as inspect:
            outputs = [
                inspect(arrived(tmp_path / "a.png", spot=spot, modified=time))["output"]
                for time, spot in came
            ]
    assert outputs == ["a", "a-7", "a-9"]
    marked = [np.any(cv2.imread(str(out / "masks" / f"{name}.png"))) for name in outputs]
    assert marked == [True, False, True]
    again = arrived(tmp_path / "a.png", spot=False, modified=7)  # a crash between results and line
    assert found_after_a_start(out, again)["output"] == "a-7"


def test_a_line_names_the_model_and_pages_that_nobody_looked_at(tmp_path: Path) -> None:
    pages = [Image.new("L", (8, 8), value) for value in (40, 90)]
    pages[0].save(tmp_path / "c.tif", save_all=True, append_images=pages[1:])
    with started(tmp_path / "out") as inspect:
        assert inspect(arrived(tmp_path / "a.png"))["model"] == hashlib.sha256(b"bright").hexdigest()
        assert "note" not in inspect(arrived(tmp_path / "b.png"))
        line = inspect(Arrived("c.tif", tmp_path / "c.tif", 1, 1))
    assert line["note"] == SEVERAL_PAGES


def test_a_full_disk_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(MaskWriter, "add", full)
    with pytest.raises(OutputError, match="out cannot be written: the disk is full"):
        found_after_a_start(tmp_path / "out", arrived(tmp_path / "a.png"))
