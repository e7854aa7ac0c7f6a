"""Archives in real processes: killed workers, a killed driver, a lost node, an object store. Slow."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.cluster.conftest import IMAGES, here, ids, ltcam

from ltcam.cluster import reading
from ltcam.cluster.archiving import ArchiveSettings, archive
from ltcam.cluster.manifest import read_archive_manifest
from ltcam.cluster.stores import open_store
from ltcam_runtime.errors import DataError, OutputError

pytestmark = pytest.mark.slow

MANY = 1200
SHARD = 25


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,200 images of 24 kinds."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(MANY):
        pixels = np.random.default_rng(number % 24).integers(0, 255, (24, 32, 3), np.uint8)
        file = folder / f"{number % 7}" / f"part {number:04d}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return folder


@pytest.fixture(scope="module")
def expected(many: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every shard as it comes without any trouble."""
    out = tmp_path_factory.mktemp("expected")
    done = archive(run, str(many), str(out), ArchiveSettings(here, shard_size=SHARD))
    assert done.made == MANY // SHARD
    assert len(set(ids(out))) == len(ids(out)) == MANY
    return shards(out)


def shards(out: Path) -> dict[str, bytes]:
    return {part.name: part.read_bytes() for part in out.glob("*/part-*")}


def started(run: Path, images: Path, out: Path, *words: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ltcam.cli", "archive", run, images, "--out", out, "--shard-size", SHARD]
    return subprocess.Popen(
        [*map(str, command), *map(str, words)], stderr=subprocess.DEVNULL, start_new_session=True
    )


def test_killed_workers_and_a_killed_driver_leave_every_row_exactly_once(
    run: Path, many: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    driver = started(run, many, tmp_path, "--processes", 2)
    until(lambda: len(shards(tmp_path)) >= 2, driver)
    os.kill(max(workers_of(driver.pid)), signal.SIGKILL)
    until(lambda: len(shards(tmp_path)) >= 6, driver)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    assert len(shards(tmp_path)) < len(expected)
    assert ltcam(run, many, "--out", tmp_path, "--shard-size", SHARD, "--processes", 1).returncode == 0
    assert shards(tmp_path) == expected


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"it ended with {process.returncode}"
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def workers_of(parent: int, words: bytes = b"spawn_main") -> list[int]:
    """Processes with these words in their command line, of one parent, or of any where it is 0."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if parent in {0, int(fields[1])} and words in line:
                found.append(int(entry.name))
    return found


def one_at_work(driver: subprocess.Popen[bytes]) -> int:
    """A worker of the cluster as soon as one has work: between two shards it goes by another name."""
    seen: list[int] = []

    def found() -> bool:
        seen.extend(workers_of(0, b"ray::_work_on"))
        return bool(seen)

    until(found, driver)
    return seen[0]


# ---------------------------------------------------------------------------------------------- a cluster of two nodes


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with a processor each on two loopback addresses; only who has the token may talk to them."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")  # read once, when ray is imported
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster  # noqa: PLC0415

        small = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
        made: Any = Cluster(initialize_head=True, head_node_args={**small, "node_ip_address": "127.0.0.2"})
        made.other = made.add_node(**small, node_ip_address="127.0.0.3")
        yield made
        made.shutdown()


def test_a_cluster_that_loses_a_worker_a_node_and_the_driver(
    cluster: Any, run: Path, many: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    words = ("--engine", "ray", "--address", cluster.address)
    driver = started(run, many, tmp_path, *words)
    until(lambda: len(shards(tmp_path)) >= 2, driver)
    os.kill(one_at_work(driver), signal.SIGKILL)
    until(lambda: len(shards(tmp_path)) >= 8, driver)
    cluster.remove_node(cluster.other, allow_graceful=False)
    until(lambda: len(shards(tmp_path)) >= 14, driver)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    assert len(shards(tmp_path)) < len(expected)
    done = ltcam(run, many, "--out", tmp_path, "--shard-size", SHARD, *words)
    assert done.returncode == 0, done.stderr
    assert len(set(ids(tmp_path))) == len(ids(tmp_path)) == MANY
    assert shards(tmp_path) == expected


def test_a_cluster_asks_for_its_token(
    cluster: Any, run: Path, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (run, many, "--out", tmp_path, "--engine", "ray", "--address", cluster.address)
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    without = ltcam(*words)
    assert without.returncode == 2
    assert "RAY_AUTH_TOKEN" in without.stderr
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong" * 10)
    wrong = ltcam(*words)
    assert wrong.returncode == 2
    assert cluster.address in wrong.stderr
    assert shards(tmp_path) == {}


# -------------------------------------------------------------------------------------------------- object store


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ALLOW_HTTP": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    pytest.importorskip("boto3").client("s3").create_bucket(Bucket="plant")
    yield "s3://plant/years"
    server.stop()


def test_images_and_results_in_an_object_store(bucket: str, run: Path, manifest: Path) -> None:
    images = open_store(f"{bucket}/images")
    for file in manifest.parent.glob("*.png"):
        assert images.commit(file.name, file.read_bytes())
    assert not images.commit("part 00.png", b"again")
    done = ltcam(run, f"{bucket}/images", "--out", f"{bucket}/judged", "--shard-size", 16, "--processes", 1)
    assert done.returncode == 1, done.stderr
    again = ltcam(
        run, f"{bucket}/images", "--out", f"{bucket}/judged", "--shard-size", 16, "--processes", 1, "--json"
    )
    assert json.loads(again.stdout)["made"] == 0
    with reading.opened(f"{bucket}/judged") as connection:
        assert len(reading.query(connection, "true")) == IMAGES
    content = io.BytesIO(open_store(f"{bucket}/images").read("part 00.png")).getvalue()
    assert content == (manifest.parent / "part 00.png").read_bytes()


def test_a_bucket_that_is_not_there(bucket: str, run: Path, manifest: Path) -> None:
    with pytest.raises((DataError, OutputError)):
        read_archive_manifest("s3://nothing/here")
    done = ltcam(run, manifest, "--out", "s3://nothing/here")
    assert done.returncode == 2
    assert "s3://nothing/here" in done.stderr
