from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from ltcam.data.dataset import Dataset, Sample, make_dataset

Paint = Callable[..., Path]


@pytest.fixture
def paint(tmp_path: Path) -> Paint:
    """Write a picture of noise below tmp_path; another seed makes another picture."""

    def write(name: str, seed: int = 0, size: tuple[int, int] = (48, 64)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        assert cv2.imwrite(str(path), rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        return path

    return write


@pytest.fixture
def mark(tmp_path: Path) -> Paint:
    """Write a mask below tmp_path, with a square of `value` unless that is 0."""

    def write(name: str, value: int = 255, size: tuple[int, int] = (48, 64)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = np.zeros(size, dtype=np.uint8)
        mask[10:14, 20:26] = value
        assert cv2.imwrite(str(path), mask)
        return path

    return write


@pytest.fixture
def dataset_of() -> Callable[..., Dataset]:
    """A data set without files from (group, label[, split]) tuples."""

    def make(*rows: tuple[str, ...], layout: str = "folders") -> Dataset:
        samples = []
        for index, (group, label, *split) in enumerate(rows):
            name = f"{group}/{index:04}.png"
            side = split[0] if split else None
            samples.append(Sample(name, Path("/nowhere") / name, label, group, side))  # type: ignore[arg-type]
        return make_dataset(Path("/nowhere"), layout, samples)

    return make


@pytest.fixture
def ksdd_folder() -> Path:
    folder = os.environ.get("LTCAM_KSDD")
    if not folder or not Path(folder).is_dir():
        pytest.skip("LTCAM_KSDD does not name the KolektorSDD folder")
    return Path(folder)
