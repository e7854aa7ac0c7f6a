"""Cost of an archive by its size, and what its engines get through beside `predict`.

    python benchmarks/archive_scale.py RUN [--sizes 1000,10000,100000] [--processes 2] [--beside 4000] [--out FILE]

Synthetic images of 64 x 64 (twenty-four files, named many times over by a manifest), a small network, the local engine.
The start (imports, loading the network) is measured with one image for each process and taken off, since it does not
grow. Sizes run in turn, twice; the better of both counts. It is processor time that is counted, since others may use
the machine. Throughput is of `--beside` files in a folder: `predict`, the local engine and Ray in turn, by the clock,
each without its start. Writes docs/results/archive-scale.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
from common import parser_of, write_result

START = ("--shard-size", 1)
"""Of an archive of one image for each process: one shard of them would start one process only."""


@dataclass(frozen=True)
class Measured:
    """A command that ran.

    Attributes:
        seconds: wall.
        cpu_seconds: of it and its processes.
        driver_mib: most resident memory of the first process.
    """

    seconds: float
    cpu_seconds: float
    driver_mib: float


def run(*words: object) -> Measured:
    """Run `ltcam` with these words; it must end well."""
    command = [sys.executable, "-m", "ltcam.cli", *map(str, words)]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    most = [0]

    def watch() -> None:
        pages = os.sysconf("SC_PAGE_SIZE")
        while process.poll() is None:
            try:
                most[0] = max(most[0], int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * pages)
            except (OSError, IndexError):
                return
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, said = process.communicate()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{command}: {process.returncode}: {said}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(time.perf_counter() - started, cpu, most[0] / 2**20)


def write_images(folder: Path) -> list[Path]:
    """Twenty-four noisy images, some with a dark square."""
    files = []
    for seed in range(24):
        image = np.random.default_rng(seed).integers(100, 160, (64, 64, 3), np.uint8)
        if seed % 6 == 0:
            image[20:36, 20:36] = 10
        files.append(folder / f"{seed}.png")
        files[-1].write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return files


def write_manifest(file: Path, images: list[Path], count: int) -> Path:
    """A manifest of `count` rows over these images."""
    rows = [f"P{number},{images[number % len(images)]}" for number in range(count)]
    file.write_text("id,path\n" + "\n".join(rows) + "\n")
    return file


def write_folder(folder: Path, images: list[Path], count: int) -> Path:
    """A folder of `count` files that are these images."""
    folder.mkdir()
    for number in range(count):
        (folder / f"P{number}.png").hardlink_to(images[number % len(images)])
    return folder


def rates(given: argparse.Namespace, place: Path, images: list[Path]) -> dict[str, float]:
    """Images per second of each way to judge a folder, its start aside; the better of several rounds."""
    few, many = (write_folder(place / f"{count}", images, count) for count in (given.processes, given.beside))
    archive = ("archive", given.run, "--processes", given.processes)
    ways = {
        "predict": ("predict", given.run, "--threads", given.processes, "--save", "none"),
        "local": archive,
        "ray": (*archive, "--engine", "ray"),
    }
    seconds: dict[tuple[str, Path], list[float]] = {}
    for number in range(given.rounds):
        for name, (command, run_folder, *options) in ways.items():
            for folder in (few, many):
                small = START if folder == few and name != "predict" else ()
                out = place / f"{name}-{folder.name}-{number}"
                found = run(command, run_folder, folder, "--out", out, *options, *small)
                seconds.setdefault((name, folder), []).append(found.seconds)
    return {name: given.beside / (min(seconds[name, many]) - min(seconds[name, few])) for name in ways}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--beside", type=int, default=4000, help="files that engines and predict get; 0: none"
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("docs/results/archive-scale.json"))
    given = parser.parse_args()
    sizes = [int(size) for size in given.sizes.split(",")]
    sides: dict[str, list[Measured]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        images = write_images(folder)
        manifests = {
            size: write_manifest(folder / f"{size}.csv", images, size) for size in (given.processes, *sizes)
        }
        for number in range(given.rounds):
            for size, manifest in manifests.items():
                out = folder / f"archive-{size}-{number}"
                words = ("archive", given.run, manifest, "--out", out, "--processes", given.processes)
                small = START if size == given.processes else ()
                sides.setdefault(f"local {size}", []).append(run(*words, *small))
        found = rates(given, folder, images) if given.beside else {}
        stored = sum(file.stat().st_size for file in (folder / f"archive-{sizes[-1]}-0").rglob("*.parquet"))
    best = {name: min(found, key=lambda one: one.cpu_seconds) for name, found in sides.items()}
    start = best[f"local {given.processes}"].cpu_seconds
    per_image = {size: 1000 * (best[f"local {size}"].cpu_seconds - start) / size for size in sizes}
    result = {
        "image_size": [64, 64],
        "processes": given.processes,
        "cpu_ms_per_image": {str(size): round(value, 3) for size, value in per_image.items()},
        "cost_of_the_largest_against_the_smallest": round(per_image[sizes[-1]] / per_image[sizes[0]], 3),
        "driver_mib": {str(size): round(best[f"local {size}"].driver_mib, 1) for size in sizes},
        "throughput_beside_predict": {
            name: round(found[name] / found["predict"], 3) for name in found if name != "predict"
        },
        "bytes_per_image": round(stored / sizes[-1], 1),
        "start_cpu_seconds": round(start, 2),
        "machine": {
            "processor": platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "load_average_of_15_minutes": round(os.getloadavg()[2], 1),
        },
        "versions": {name: version(name) for name in ("ltcam", "torch", "pyarrow", "numpy")},
    }
    write_result(given.out, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
