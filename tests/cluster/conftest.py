"""Archives of a tiny run: a manifest of forty images, judged once by the command."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from ltcam.cluster.generations import Task
from ltcam.cluster.maker import OpenMaker

IMAGES = 40


def ltcam(*words: object) -> subprocess.CompletedProcess[str]:
    """`ltcam archive` in a process of its own."""
    command = [sys.executable, "-m", "ltcam.cli", "archive", *map(str, words)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)


def here(opener: OpenMaker) -> Callable[[Sequence[Task]], Iterator[int]]:
    """An engine without processes: shards are made in this one."""

    def engine(tasks: Sequence[Task]) -> Iterator[int]:
        if tasks:
            yield from map(opener(), tasks)

    return engine


def ids(out: Path) -> list[str]:
    """The ids in all shards, in their order."""
    return [id_ for part in sorted(out.glob("*/part-*")) for id_ in pq.read_table(part)["id"].to_pylist()]


@pytest.fixture(scope="module")
def run(make_run: Callable[..., Path]) -> Path:
    return make_run()


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images, one of them broken, over two days and two lines."""
    folder = tmp_path_factory.mktemp("archive")
    rows = []
    for number in range(IMAGES):
        name = f"part {number:02d}.png"
        pixels = np.random.default_rng(number).integers(0, 255, (40, 48, 3), np.uint8)
        if number == 7:
            (folder / name).write_bytes(b"broken")
        else:
            (folder / name).write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        rows.append(
            {
                "id": f"P{number}",
                "path": name,
                "time": f"2026-01-0{1 + number // 20}T10:00",
                "line": number % 2,
            }
        )
    file = folder / "years.csv"
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file


@pytest.fixture(scope="module")
def judged(run: Path, manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("judged")
    done = ltcam(run, manifest, "--out", out, "--processes", 1, "--shard-size", 16, "--json")
    assert done.returncode == 1, done.stderr  # one image is broken
    assert "P7" in done.stderr
    assert json.loads(done.stdout)["made"] == 3
    return out
