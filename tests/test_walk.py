"""The README and the guides, typed in line by line, in the order printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ltcam.synth import SynthesisSettings, synthesise

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/first-five-minutes.md", "docs/tutorial.md")
_NOT_TYPED = {"serve", "watch", "archive"}  # they go on until they are stopped, or need what nobody has here
_SMALL = ("--epochs", "1", "--image-size", "64x64")


def lines_of(page: str) -> list[list[str]]:
    """The words of each `ltcam` line of a page's bash blocks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("ltcam ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_leads_from_images_to_masks(page: str) -> None:
    commands = [words[0] for words in lines_of(page)]
    assert commands.index("train") < commands.index("evaluate")
    assert "predict" in commands


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_lines_work_in_the_order_printed(page: str, tmp_path: Path) -> None:
    synthesise(
        tmp_path / "photos", SynthesisSettings(surfaces=("ceramic",), images_per_surface=36, size=(96, 96))
    )
    (tmp_path / "new-photos").symlink_to(tmp_path / "photos" / "good")
    paths = [str(ROOT / "src"), str(ROOT / "runtime" / "src")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "2"}
    for words in (line for line in lines_of(page) if line[0] not in _NOT_TYPED):
        small: tuple[str, ...] = _SMALL if words[0] in ("train", "distill") else ()
        if words[:2] == ["data", "synth"]:
            small = ("--images", "24", "--image-size", "96x96", "--surfaces", "ceramic")
        done = subprocess.run(
            [sys.executable, "-m", "ltcam.cli", *words, *small],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, (words, done.stderr[-2000:])
        assert "Traceback" not in done.stderr
