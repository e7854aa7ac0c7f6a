"""Archives end to end: a tiny run, real processes, kills, an object store and a cluster of two nodes on loopback."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ltcam.cluster import reading
from ltcam.cluster.archive import Generation, begin
from ltcam.cluster.judging import difference_hash, judge, read_address
from ltcam.cluster.manifest import read_manifest
from ltcam.cluster.pages import differences_page, drift_page, hits_page
from ltcam.cluster.stores import LocalStore, open_store
from ltcam.jobs.models import load_model
from ltcam_runtime.errors import DataError, OutputError, SettingsError

IMAGES = 40


def ltcam(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ltcam.cli", "archive", *map(str, words)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)


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


def ids(out: Path) -> list[str]:
    return [id_ for part in sorted(out.glob("*/part-*")) for id_ in pq.read_table(part)["id"].to_pylist()]


def test_every_image_is_one_row_and_a_broken_one_says_why(judged: Path, run: Path, manifest: Path) -> None:
    assert sorted(ids(judged)) == sorted(f"P{number}" for number in range(IMAGES))
    with reading.opened(str(judged)) as connection:
        [broken] = reading.query(connection, "error is not null")
        rows = reading.query(connection, "error is null order by id")
    assert broken["id"] == "P7"
    assert broken["verdict"] is None
    inspector = load_model(run, "cpu").inspector
    [expected] = inspector.inspect_batch([read_address(rows[3]["address"])], ["x"])
    assert rows[3]["verdict"] == expected.verdict
    assert rows[3]["score"] == pytest.approx(expected.score, abs=1e-5)
    assert rows[3]["area"] == int(expected.mask.sum())


def test_the_same_command_again_makes_nothing_and_changes_nothing(
    judged: Path, run: Path, manifest: Path
) -> None:
    before = {part: part.stat().st_mtime_ns for part in judged.rglob("*.parquet")}
    done = ltcam(run, manifest, "--out", judged, "--processes", 1, "--shard-size", 16, "--json")
    assert json.loads(done.stdout)["made"] == 0
    assert {part: part.stat().st_mtime_ns for part in judged.rglob("*.parquet")} == before


def test_killed_workers_and_a_killed_driver_leave_every_row_exactly_once(
    judged: Path, run: Path, manifest: Path, tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "ltcam.cli",
        "archive",
        run,
        manifest,
        "--out",
        tmp_path,
        "--shard-size",
        "4",
    ]
    words = [*map(str, command), "--processes", "2"]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True) as driver:
        until(lambda: len(list(tmp_path.rglob("part-*"))) >= 2)
        workers = children(driver.pid)
        os.kill(max(workers), signal.SIGKILL)
        until(lambda: len(list(tmp_path.rglob("part-*"))) >= 4)
        os.killpg(driver.pid, signal.SIGKILL)
    assert ltcam(run, manifest, "--out", tmp_path, "--shard-size", 4, "--processes", 1).returncode == 1
    assert sorted(ids(tmp_path)) == sorted(ids(judged))
    assert all(left.name.endswith(".part") for left in tmp_path.rglob(".*"))


def until(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(fields[1]) == pid and b"spawn_main" in words:
                found.append(int(entry.name))
    return found


def test_two_workers_that_make_one_shard_do_not_double_it(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    assert store.commit("g/part-0", b"first")
    assert not store.commit("g/part-0", b"second")
    assert store.read("g/part-0") == b"first"
    assert store.names("g") == {"g/part-0"}


def test_equal_shards_are_equal_bytes(run: Path, manifest: Path) -> None:
    images = read_manifest(str(manifest)).images[:6]
    model = load_model(run, "cpu")
    once, again = (judge(images, model.inspector.inspect_batch, "m", "s", batch_size=4) for _ in range(2))
    assert once == again


def test_another_model_begins_another_generation(
    judged: Path, make_run: Callable[..., Path], manifest: Path
) -> None:
    other = make_run(seed=1)
    before = {part: part.read_bytes() for part in judged.rglob("*.parquet")}
    assert ltcam(other, manifest, "--out", judged, "--shard-size", 64, "--processes", 1).returncode == 1
    assert all(part.read_bytes() == content for part, content in before.items())
    assert len(list(judged.glob("generation-*"))) == 2
    with pytest.raises(DataError, match="2 generations"), reading.opened(str(judged)):
        pass
    first = next(iter(before)).parent
    [second] = set(judged.glob("generation-*")) - {first}
    page = judged / "diff.html"
    found = ltcam("diff", first, second, "--page", page, "--json")
    assert found.returncode == 0, found.stderr
    result = json.loads(found.stdout)
    assert result["images"] == IMAGES
    assert sum(result["changes"].values()) == len(result["rows"])
    assert "<script" not in page.read_text()
    page.unlink()
    for file in second.iterdir():
        file.unlink()
    second.rmdir()


def test_query_from_the_command_line_with_a_page(judged: Path, tmp_path: Path) -> None:
    page = tmp_path / "hits.html"
    done = ltcam("query", judged, "score >= 0 order by score desc limit 5", "--page", page, "--json")
    rows = json.loads(done.stdout)
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert page.read_text().count("<figure>") == 5
    refused = ltcam("query", judged, "no_such_column = 1")
    assert refused.returncode == 2
    assert "no_such_column" in refused.stderr


@pytest.mark.parametrize(
    "condition",
    [
        "1=1; drop table images",
        "id in (select * from read_csv('/etc/passwd'))",
        "id = (select content from read_text('/etc/hostname'))",
    ],
)
def test_a_query_reads_nothing_but_the_archive(judged: Path, condition: str) -> None:
    with reading.opened(str(judged)) as connection:
        with pytest.raises(SettingsError):
            reading.query(connection, condition)
        assert len(reading.query(connection, "true")) == IMAGES


def test_drift_by_day_and_line(judged: Path) -> None:
    with reading.opened(str(judged)) as connection:
        found = reading.drift(connection)
    assert [(group["day"], group["line"]) for group in found["groups"]] == [
        ("2026-01-01", "0"), ("2026-01-01", "1"), ("2026-01-02", "0"), ("2026-01-02", "1"),
    ]  # fmt: skip
    assert sum(group["images"] for group in found["groups"]) == IMAGES - 1
    assert all(sum(group["counts"]) == group["images"] for group in found["groups"])
    assert "data:image/svg+xml" in drift_page(found, [0.1, 0.9], "x")


def test_names_are_escaped_on_every_page() -> None:
    row = {
        "id": "<script>alert(1)</script>", "address": "/nowhere.png", "verdict": "defect", "score": 0.5, "area": 3,
        "region_count": 1, "error": None, "mask": "", "height": 1, "width": 1, "old_mask": "", "new_mask": "",
        "old_verdict": "ok", "new_verdict": "defect", "why": "<b>",
    }  # fmt: skip
    changed = {"images": 1, "only_old": 0, "only_new": 0, "changes": {"<i>": 1}, "rows": [row]}
    for page in (hits_page([row], "<u>", "x"), differences_page(changed, "<a>", "b")):
        assert "<script>alert" not in page
        assert "&lt;script&gt;" in page


def test_a_damaged_or_missing_shard_is_said(judged: Path) -> None:
    part = sorted(judged.glob("*/part-*"))[1]
    content = part.read_bytes()
    try:
        part.write_bytes(content[:100])
        with pytest.raises(DataError, match="damaged"), reading.opened(str(judged)) as connection:
            reading.query(connection, "true")
        part.unlink()
        with pytest.raises(DataError, match="2 of 3 shards"), reading.opened(str(judged)):
            pass
    finally:
        part.write_bytes(content)


def test_a_generation_that_was_changed_by_hand_is_refused(tmp_path: Path) -> None:
    generation = Generation("m", "s", "x", 3, 2, "here", "run")
    store = LocalStore(tmp_path)
    begin(store, generation)
    begin(store, generation)
    file = tmp_path / generation.name / "generation.json"
    file.write_text(file.read_text().replace('"model": "m"', '"model": "other"'))
    with pytest.raises(DataError, match="changed by hand"):
        begin(store, generation)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,path\n1,a.png\n1,b.png\n", "more than one row"),
        ("id,name\n1,a.png\n", "no column `path`"),
        ("id,path\n1,\n", "row 1 has no path"),
        ("id,path\n", "names no image"),
    ],
)
def test_manifests_that_cannot_be_used(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "m.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=words):
        read_manifest(str(file))


def test_manifests_of_other_kinds(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "sub/b.JPG", ".hidden.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    folder = read_manifest(str(tmp_path))
    assert [image.id for image in folder.images] == ["a.png", "sub/b.JPG"]
    pq.write_table(pa.table({"path": ["a.png", "/abs/c.png", "s3://b/k.png"]}), tmp_path / "m.parquet")
    addresses = {image.address for image in read_manifest(str(tmp_path / "m.parquet")).images}
    assert addresses == {str(tmp_path / "a.png"), "/abs/c.png", "s3://b/k.png"}
    for missing in ("nothing.csv", "nothing.parquet", "nothing"):
        with pytest.raises(DataError):
            read_manifest(str(tmp_path / missing))


def test_near_copies_look_the_same() -> None:
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 9)
    brighter = np.clip(image.astype(int) + 12, 0, 255).astype(np.uint8)
    assert difference_hash(image) == difference_hash(brighter)
    assert difference_hash(image) != difference_hash(image[:, ::-1])


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
        read_manifest("s3://nothing/here")
    done = ltcam(run, manifest, "--out", "s3://nothing/here")
    assert done.returncode == 2
    assert "s3://nothing/here" in done.stderr
