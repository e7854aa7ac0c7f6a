from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ltcam.data.dataset import Sample
from ltcam.data.truth import read_marks
from ltcam.jobs.execution import Execution
from ltcam.training.listener import Listener

SIDE_OF_DENT = {0: "train", 1: "train", 2: "train", 3: "test", 4: "test"}


def marks_of(sample: Sample) -> NDArray[np.bool_]:
    marks = read_marks(sample)
    assert marks is not None
    return marks


@pytest.fixture
def sided(tmp_path: Path, make_run: Callable[..., Path]) -> tuple[Path, Path]:
    """A run, and the data it was trained on: five dents with masks and sizes of their own, three to train on."""
    root, rows = tmp_path / "sided", ["path,label,group,split,sha256"]

    def add(name: str, pixels: NDArray[np.uint8], side: str) -> None:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        rows.append(f"{name},{'ok' if name.startswith('good') else 'dent'},{name},{side},{digest}")

    for number in range(8):
        rng = np.random.default_rng(number)
        pixels = rng.integers(100, 200, (44 + number, 64), dtype=np.uint8)
        if number < 5:
            mask = np.zeros_like(pixels)
            pixels[10:30, 20:44], mask[10:30, 20:44] = 20, 255
            add(f"dent/{number}.png", pixels, SIDE_OF_DENT[number])
            (root / "masks/dent").mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(root / f"masks/dent/{number}.png")
        else:
            add(f"good/{number}.png", pixels, "train" if number < 7 else "test")
    return make_run(split="\n".join(rows) + "\n"), root


def executed(progress: Callable[[int, int], None] | None = None, **given: Any) -> Execution:
    """How an experiment is carried out; who is told about progress."""
    return Execution(listener=Listener() if progress is None else Listener(progress=progress), **given)
