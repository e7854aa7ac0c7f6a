"""Training steps beside other programs: waiting threads that spin, as libraries have it, and that sleep, as here.

Each side is a process of its own, in turns; beside each runs one process per processor that does nothing but count.

python benchmarks/waiting_threads.py [--backbone tf_efficientnet_lite0] [--rounds 3] [--out FILE.json]
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from common import parser_of, write_result

from ltcam_runtime.processors import allowed_processors

STEP = """
import sys, time, torch
from ltcam.models.classifier import build_classifier
model = build_classifier(sys.argv[1], 2).train()
images = torch.zeros(4, 3, 256, 256)
model(images).sum().backward()
started = time.perf_counter()
for _ in range(4):
    model(images).sum().backward()
print((time.perf_counter() - started) / 4)
"""
POLICIES = {
    "spinning": {"OMP_WAIT_POLICY": "ACTIVE"},
    "default": {},
    "sleeping": {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"},
}


def seconds(backbone: str, policy: dict[str, str], processors: int, *, busy: bool) -> float:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "KMP_"))}
    environment |= policy | {"OMP_NUM_THREADS": str(processors)}
    counting = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(counting) for _ in range(processors if busy else 0)]
    try:
        command = [sys.executable, "-W", "ignore", "-c", STEP, backbone]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return float(done.stdout)
    finally:
        for other in others:
            other.kill()
            other.wait()


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    processors = allowed_processors()
    times: dict[str, list[float]] = {f"{name}, {load}": [] for load in ("quiet", "busy") for name in POLICIES}
    for _ in range(options.rounds):
        for key, found in times.items():
            name, load = key.split(", ")
            found.append(seconds(options.backbone, POLICIES[name], processors, busy=load == "busy"))
    result = {
        "backbone": options.backbone,
        "processors": processors,
        "load_before": round(os.getloadavg()[0], 2),
        "machine": platform.machine(),
        "versions": {name: version(name) for name in ("ltcam", "torch")}
        | {"python": platform.python_version()},
        "seconds_per_step": {key: [round(value, 3) for value in found] for key, found in times.items()},
    }
    for key, found in times.items():
        print(
            f"{key:<18} median {statistics.median(found):.3f} s a step, {min(found):.3f} to {max(found):.3f}"
        )
    for load in ("quiet", "busy"):
        ratio = statistics.median(times[f"spinning, {load}"]) / statistics.median(times[f"sleeping, {load}"])
        print(f"spinning / sleeping, {load}: {ratio:.2f}")
    if options.out:
        write_result(options.out, result)


if __name__ == "__main__":
    main()
