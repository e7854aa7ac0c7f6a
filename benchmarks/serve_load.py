"""Load on the inspection service: 32 clients for a minute, held against the bare batched network in the same run.

    python benchmarks/serve_load.py RUN [--seconds 60] [--clients 32] [--soak] [--out FILE]

The bare network inspects the same images in batches of the same size, shared among the same threads, in this process,
before and after the service does; the ratio is of images per second. Writes docs/results/serve-load.json. `--soak`
loads it for an hour instead, watches the memory of the server's process, and writes docs/results/serve-soak.json.
"""

from __future__ import annotations

import http.client
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from common import parser_of, write_result
from numpy.typing import NDArray

from ltcam.jobs.models import load_model
from ltcam.runs.inspector import Inspector
from ltcam.service.opening import open_kept_history

BATCH = 16
SIDE = 256


def images(count: int = 24) -> list[bytes]:
    """JPEGs of 256 x 256: smooth noise, some with a scratch."""
    made = []
    for seed in range(count):
        random = np.random.default_rng(seed)
        image = cv2.GaussianBlur(random.normal(120, 60, (SIDE, SIDE, 3)), (0, 0), 3)
        if seed % 12 == 0:
            cv2.line(image, (30, 40 + seed), (200, 180), (30, 30, 30), 3)
        made.append(cv2.imencode(".jpg", np.clip(image, 0, 255).astype(np.uint8))[1].tobytes())
    return made


def decoded(content: bytes) -> NDArray[np.uint8]:
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return pixels[..., ::-1].astype(np.uint8)


def bare(run: Path, contents: list[bytes], seconds: float) -> float:
    """Images per second of the run's inspector in batches, decoding included."""
    inspector = load_model(run, "cpu").inspector
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        picked = [contents[(count + place) % len(contents)] for place in range(BATCH)]
        pixels = [decoded(content) for content in picked]
        inspector.inspect_images(pixels, ["x"] * BATCH)
        count += BATCH
    return count / (time.perf_counter() - started)


class Server:
    """`ltcam serve` in a process of its own."""

    def __init__(self, run: Path, state: Path, database: str = "") -> None:
        words = [sys.executable, "-m", "ltcam.cli", "serve", str(run), "--state", str(state), "--port", "0"]
        words += ["--batch-size", str(BATCH), *(["--database", database] if database else [])]
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if "listening at" in line:
                self.port = int(line.strip().rstrip("/").rpartition(":")[2])
                break
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def memory(self) -> int:
        """Resident bytes of the server."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(2)
        return self.process.wait(60)


def client(
    port: int, contents: list[bytes], until: float, found: list[tuple[float, int]], answered: list[str]
) -> None:
    """Ask for one inspection after the other; no answer within a minute counts as one of status 0."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    number = threading.get_ident()
    while time.perf_counter() < until:
        number += 1
        started = time.perf_counter()
        try:
            connection.request(
                "POST", "/v1/inspections", contents[number % len(contents)], {"Content-Type": "image/jpeg"}
            )
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            found.append((time.perf_counter() - started, 0))
            continue
        found.append((time.perf_counter() - started, answer.status))
        if answer.status == 201:
            answered.append(json.loads(body)["id"])


def load(
    server: Server, contents: list[bytes], clients: int, seconds: float
) -> tuple[list[tuple[float, int]], list[str]]:
    """All clients at once."""
    found: list[tuple[float, int]] = []
    answered: list[str] = []
    until = time.perf_counter() + seconds
    threads = [
        threading.Thread(target=client, args=(server.port, contents, until, found, answered))
        for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found, answered


def in_history(state: Path, answered: list[str]) -> tuple[int, bool]:
    """How many of the answered inspections are in the history, and whether its chain holds."""
    history = open_kept_history(state, "")
    known = {record.finding.id for record in history.records()}
    return len(set(answered) & known), history.verify()[1] is None


def versions() -> dict[str, str]:
    """Of what the figures depend on."""
    return {name: version(name) for name in ("ltcam", "torch", "fastapi", "uvicorn", "SQLAlchemy")}


def network_of(run: Path) -> dict[str, Any]:
    """What is loaded: a run whose maps need gradients is another thing than one whose maps are drawn."""
    network = Inspector.load(run, device="cpu").network
    return {"image_size": list(network.image_size), "maps": list(network.maps)}


def loaded(run: Path, clients: int, seconds: float) -> dict[str, Any]:
    """A minute or so under load, between two of the bare network."""
    contents = images()
    before = bare(run, contents, seconds / 3)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(run, Path(folder))
        load(server, contents, clients, 3)  # warm
        found, answered = load(server, contents, clients, seconds)
        kept = stopped(server, Path(folder), answered)
    network = (before + bare(run, contents, seconds / 3)) / 2
    times = np.array([each for each, _ in found])
    return {
        "network": network_of(run),
        "clients": clients,
        "seconds": seconds,
        "image_size": [SIDE, SIDE],
        "batch_size": BATCH,
        "errors": sum(status != 201 for _, status in found),
        **kept,
        "throughput_share_of_bare_network": round(len(found) / seconds / network, 3),
        "p95_in_batches": round(float(np.percentile(times, 95)) / (BATCH / network), 2),
    }


def soaked(run: Path, clients: int, minutes: int) -> dict[str, Any]:
    """Minutes under load, and what the server's memory does meanwhile."""
    contents, answered, errors, memory = images(), list[str](), 0, list[int]()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(run, Path(folder))
        for _ in range(minutes):
            found, more = load(server, contents, clients, 60)
            answered += more
            errors += sum(status != 201 for _, status in found)
            memory.append(server.memory())
        kept = stopped(server, Path(folder), answered)
    return {
        "network": network_of(run),
        "clients": clients,
        "minutes": minutes,
        "errors": errors,
        **kept,
        "memory_mib_after_5_minutes": memory[4] >> 20,
        "memory_mib_at_the_end": memory[-1] >> 20,
        "memory_mib_by_minute": [each >> 20 for each in memory],
        "memory_growth": round(memory[-1] / memory[4] - 1, 4),
    }


def stopped(server: Server, state: Path, answered: list[str]) -> dict[str, Any]:
    """What is left when the server has ended: nothing that was answered may be lost."""
    code = server.stop()
    kept, holds = in_history(state, answered)
    return {"answered": len(answered), "lost": len(answered) - kept, "chain_holds": holds, "exit_code": code}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--soak", action="store_true", help="an hour, with the server's memory")
    parser.add_argument("--minutes", type=int, default=60, help="of --soak, at least 5")
    parser.add_argument(
        "--out", type=Path, help="default: serve-load.json or serve-soak.json in docs/results"
    )
    given = parser.parse_args()
    if given.minutes < 5:
        parser.error("--minutes: at least 5, since memory is compared with that after 5 minutes")
    if given.soak:
        result = soaked(given.run, given.clients, given.minutes)
        bars = {"memory_growth": "< 0.05", "errors": "0", "lost": "0"}
    else:
        result = loaded(given.run, given.clients, given.seconds)
        bars = {
            "throughput_share_of_bare_network": ">= 0.8",
            "p95_in_batches": "< 3",
            "errors": "0",
            "lost": "0",
        }
    result["machine"] = {
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average_of_15_minutes": round(os.getloadavg()[2], 1),
    }
    result["versions"] = versions()
    name = "serve-soak.json" if given.soak else "serve-load.json"
    write_result(given.out or Path("docs/results") / name, result)
    for name, bar in bars.items():
        print(f"{name:<36} {result[name]!s:>8}   bar {bar}")


if __name__ == "__main__":
    main()
