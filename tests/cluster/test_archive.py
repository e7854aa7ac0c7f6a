"""Archives of a tiny run: rows, generations, questions, pages. Kills and clusters are in test_kills.py."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cluster.conftest import IMAGES, here, ids
from typer.testing import CliRunner

from ltcam.cli.archive import app
from ltcam.cluster import reading
from ltcam.cluster.archiving import ArchiveSettings, archive
from ltcam.cluster.generations import Generation, begin
from ltcam.cluster.judging import difference_hash, judge, read_address
from ltcam.cluster.manifest import read_archive_manifest
from ltcam.cluster.pages import differences_page, drift_figure, drift_page, hits_page
from ltcam.cluster.stores import LocalStore
from ltcam.jobs.models import load_model
from ltcam.runs.folder import scores_held_back
from ltcam_runtime.errors import DataError, SettingsError
from ltcam_runtime.searching import LINK


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
    assert rows[3]["look"] == difference_hash(read_address(rows[3]["address"]))


def test_the_same_command_again_makes_nothing_and_changes_nothing(
    judged: Path, run: Path, manifest: Path
) -> None:
    before = {part: part.stat().st_mtime_ns for part in judged.rglob("*.parquet")}
    done = archive(run, str(manifest), str(judged), ArchiveSettings(here, shard_size=16))
    assert (done.found, done.made) == (3, 0)
    assert {part: part.stat().st_mtime_ns for part in judged.rglob("*.parquet")} == before


def test_what_is_interrupted_says_what_is_kept(run: Path, manifest: Path, tmp_path: Path) -> None:
    def stopped(*_: object) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"finished shards are kept in .*; the same command goes on"):
        archive(run, str(manifest), str(tmp_path / "out"), ArchiveSettings(stopped))


def test_results_are_not_mixed_with_files_of_others(run: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    assert cv2.imwrite(str(photos / "a.png"), np.zeros((40, 48, 3), np.uint8))
    words = ["judge", str(run), str(photos), "--processes", "1", "--out"]
    refused = CliRunner().invoke(app, [*words, str(photos)])
    assert refused.exit_code == 2
    assert "photos holds files of others, and no archive" in " ".join(refused.stderr.split())
    assert "give another --out" in " ".join(refused.stderr.split())
    assert [file.name for file in photos.iterdir()] == ["a.png"]
    (tmp_path / "empty").mkdir()
    for out in ("empty", "new"):
        archive(run, str(photos), str(tmp_path / out), ArchiveSettings(here))
    (tmp_path / "new" / "page.html").write_text("beside it")
    assert archive(run, str(photos), str(tmp_path / "new"), ArchiveSettings(here)).found == 1


def test_two_workers_that_make_one_shard_do_not_double_it(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    assert store.commit("g/part-0", b"first")
    assert not store.commit("g/part-0", b"second")
    assert store.read("g/part-0") == b"first"
    assert store.names("g") == {"g/part-0"}


def test_equal_shards_are_equal_bytes(run: Path, manifest: Path) -> None:
    images = read_archive_manifest(str(manifest)).images[:6]
    model = load_model(run, "cpu")
    once, again = (judge(images, model, batch_size=4) for _ in range(2))
    assert once == again


def test_another_model_begins_another_generation(
    judged: Path, make_run: Callable[..., Path], manifest: Path
) -> None:
    other = make_run(seed=1)
    before = {part: part.read_bytes() for part in judged.rglob("*.parquet")}
    done = archive(other, str(manifest), str(judged), ArchiveSettings(here, shard_size=64))
    assert (done.found, done.made) == (0, 1)
    assert all(part.read_bytes() == content for part, content in before.items())
    assert len(list(judged.glob("generation-*"))) == 2
    with pytest.raises(DataError, match="2 generations"), reading.opened(str(judged)):
        pass
    first = next(iter(before)).parent
    [second] = set(judged.glob("generation-*")) - {first}
    page = judged / "diff.html"
    found = CliRunner().invoke(app, ["diff", str(first), str(second), "--page", str(page), "--json"])
    assert found.exit_code == 0, found.stderr
    result = json.loads(found.stdout)
    assert result["images"] == IMAGES
    assert sum(result["changes"].values()) == len(result["rows"])
    assert "<script" not in page.read_text()
    page.unlink()
    for file in second.iterdir():
        file.unlink()
    second.rmdir()


def test_a_page_of_what_it_came_to(judged: Path, run: Path, manifest: Path, tmp_path: Path) -> None:
    page = tmp_path / "judged.html"
    words = [
        "judge",
        str(run),
        str(manifest),
        "--out",
        str(judged),
        "--shard-size",
        "16",
        "--page",
        str(page),
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1  # one image is broken
    with reading.opened(str(judged)) as connection:
        counts = reading.verdicts(connection)
        doubtful = reading.query(connection, "verdict <> 'ok'")
    assert (sum(counts.values()), counts["unreadable"]) == (IMAGES, 1)
    text = page.read_text()
    assert all(
        f'<td>{verdict}</td><td class="number">{count}</td>' in text for verdict, count in counts.items()
    )
    assert text.count("<figure ") == len(doubtful) > 0


def test_query_from_the_command_line_with_a_page(judged: Path, tmp_path: Path) -> None:
    page = tmp_path / "hits.html"
    asked = ["query", str(judged), "score >= 0 order by score desc limit 5", "--page", str(page), "--json"]
    done = CliRunner().invoke(app, asked)
    rows = json.loads(done.stdout)
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert page.read_text().count("<figure ") == 5
    refused = CliRunner().invoke(app, ["query", str(judged), "no_such_column = 1"])
    assert refused.exit_code == 2
    assert "no_such_column" in refused.stderr


def test_masks_of_a_query_are_pictures(judged: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks"
    asked = ["query", str(judged), "verdict = 'defect' or error is not null order by id", "--masks", str(out)]
    assert CliRunner().invoke(app, asked).exit_code == 0
    with reading.opened(str(judged)) as connection:
        rows = reading.query(connection, "verdict = 'defect' order by id")
    with (out / "masks.csv").open(encoding="utf-8", newline="") as text:
        listed = list(csv.DictReader(text))
    assert [each["id"] for each in listed] == [row["id"] for row in rows]
    for each, row in zip(listed, rows, strict=True):
        mask = cv2.imread(str(out / each["file"]), cv2.IMREAD_UNCHANGED)
        assert mask is not None
        assert mask.shape == (row["height"], row["width"])
        assert int((mask == 255).sum()) == int((mask > 0).sum()) == row["area"]
    again = CliRunner().invoke(app, asked)
    assert again.exit_code == 2
    assert CliRunner().invoke(app, [*asked, "--overwrite"]).exit_code == 0


def test_copies_and_unusual_parts_are_questions(judged: Path) -> None:
    with reading.opened(str(judged)) as connection:
        copies = reading.query(
            connection, "look in (select look from images group by look having count(*) > 1) order by look"
        )
        unusual = reading.query(connection, "verdict = 'ok' order by score desc limit 5")
    assert all(sum(other["look"] == row["look"] for other in copies) > 1 for row in copies)
    assert [row["score"] for row in unusual] == sorted((row["score"] for row in unusual), reverse=True)


def test_drift_is_held_against_what_the_training_held_back(
    judged: Path, run: Path, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    page = tmp_path / "drift.html"
    asked = ["drift", str(judged), "--page", str(page)]
    assert CliRunner().invoke(app, asked).exit_code == 0
    alone = page.read_text()
    refused = CliRunner().invoke(app, asked)
    assert (refused.exit_code, "drift.html exists; give --overwrite" in refused.stderr) == (2, True)
    asked.append("--overwrite")
    assert CliRunner().invoke(app, asked).exit_code == 0
    assert page.read_text() == alone
    kept = make_run(evidence={"validation": {"scores": {"ok": [0.1, 0.2], "dent": [0.9]}}})
    assert CliRunner().invoke(app, [*asked, "--run", str(kept)]).exit_code == 0
    assert "what the training held back (3 images)" in page.read_text()
    assert "The first row" not in alone
    with reading.opened(str(judged)) as connection:
        figure = drift_figure(reading.drift(connection), scores_held_back(kept))
    assert figure.axes[0].get_yticklabels()[0].get_text() == "held back"
    refused = CliRunner().invoke(app, [*asked, "--run", str(run)])
    assert refused.exit_code == 2
    assert "keeps no scores" in refused.stderr


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


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("verdict='defect' limit 1; select 5", "`;` begins another statement"),
        ("1=1; drop view images; create view images as select 1", "`;` begins another statement"),
        ("true union all by name select 5 as five", "it changes the columns"),
        ("id = $1", "write the value itself"),
        ("no_such_column = 1", "no_such_column.*; the columns are id, address, time, line, verdict, score"),
        ("regexp_matches(id, '(')", "missing .*; the columns are id"),
        ("score = 'high'", "Conversion Error"),
        ("score >", "Parser Error"),
    ],
)
def test_a_query_takes_one_condition_and_says_what_is_wrong_with_it(
    judged: Path, condition: str, words: str
) -> None:
    with reading.opened(str(judged)) as connection:
        with pytest.raises(SettingsError, match=words):
            reading.query(connection, condition)
        assert len(reading.query(connection, "true")) == IMAGES
    refused = CliRunner().invoke(app, ["query", str(judged), condition])
    assert (refused.exit_code, "fault in ltcam" in refused.stderr) == (2, False)


def test_a_semicolon_between_quotes_or_at_the_end_is_no_statement(judged: Path) -> None:
    with reading.opened(str(judged)) as connection:
        assert len(reading.query(connection, "id <> 'a;b' -- all; of them")) == IMAGES
        assert len(reading.query(connection, "id = 'P3';")) == 1


def test_drift_by_day_and_line(judged: Path) -> None:
    with reading.opened(str(judged)) as connection:
        found = reading.drift(connection)
    assert [(group.day, group.line) for group in found.groups] == [
        ("2026-01-01", "0"), ("2026-01-01", "1"), ("2026-01-02", "0"), ("2026-01-02", "1"),
    ]  # fmt: skip
    assert sum(group.images for group in found.groups) == IMAGES - 1
    assert all(sum(group.counts) == group.images for group in found.groups)
    assert "data:image/svg+xml" in drift_page(found, [0.1, 0.9], "x")


@pytest.mark.parametrize(
    ("time", "day"),
    [
        ("2026-01-02T08:00:00+01:00", "2026-01-02"),
        ("2026/01/02 08:00", "2026-01-02"),
        ("20260102T080000", "2026-01-02"),
        ("2/1/2026 8:00 PM", "2/1/2026"),
        ("2/1/2026", "2/1/2026"),
        ("2-1-2026", "2-1-2026"),
        ("3 Jan 2026 08:00", "2026-01-03"),
        ("2026-1-2 8:00", "2026-01-02"),
        ("20260102080000", "2026-01-02"),
        ("20260102080000.123", "2026-01-02"),
        ("20260102_0800", "2026-01-02"),
        ("20260102", "2026-01-02"),
        ("02.01.2026 08:00", "2026-01-02"),
        ("31.1.2026", "2026-01-31"),
        ("1.31.2026", "1.31.2026"),
        ("2.1.26", "2.1.26"),
        ("31.01.26", "31.01.26"),
        ("02.01.26 08.30", "02.01.26"),
        ("02.01.26, 8:30:15", "02.01.26"),
        ("2026:01:02 08:00:00", "2026-01-02"),
        ("Sat Jan  3 08:00:00 2026", "2026-01-03"),
        ("Sat Jan 13 08:00:00 CET 2026", "2026-01-13"),
        ("3. März 2026, 8 Uhr", "2026-03-03"),
        ("1-OKT-2026", "2026-10-01"),
        ("1 \u017fep 2026", "2026-09-01"),
        ("Jan 3, 2026 8:00 AM", "2026-01-03"),
        ("Sat, 03 Jan 2026 08:00:00 GMT", "2026-01-03"),
        ("", ""),
    ],
)
def test_the_day_of_a_time_has_no_hours(time: str, day: str) -> None:
    assert reading.day_of(time) == day


@pytest.mark.parametrize(
    "time",
    [
        "monday",
        "08:00:01",
        "8:00 PM",
        "12.30.45",
        "8.30.15",
        "8.10.15",
        "08.10.15.250",
        "2026:13:45 08:00:00",
        "12:01:26",
        "1767340800",
        "1767340800000",
        "shift 3",
        "2026-13-45",
        "40/40/2026",
        "NaT",
        "12345678",
        "Batch 12 2026",
        "Jan 40, 2026",
        "2026",
        "2026010212345",
    ],
)
def test_a_time_without_a_date_is_no_day(time: str) -> None:
    assert reading.day_of(time) == ""


def test_days_in_several_spellings_are_one_and_in_their_order(
    run: Path, manifest: Path, tmp_path: Path
) -> None:
    times = [
        "1 Feb 2026",
        "2/1/2026",
        "2026-01-30 08:00",
        "20260203",
        "31.1.2026",
        "30.01.2026",
        "",
        "10.2.26",
    ]
    rows = [f"P{n},{manifest.parent}/part {n + 10}.png,{time}" for n, time in enumerate(times)]
    (tmp_path / "m.csv").write_text("\n".join(["id,path,time", *rows]))
    archive(run, str(tmp_path / "m.csv"), str(tmp_path / "judged"), ArchiveSettings(here))
    with reading.opened(str(tmp_path / "judged")) as connection:
        found = reading.drift(connection)
    assert [(group.day, group.images) for group in found.groups] == [
        ("", 1), ("2026-01-30", 2), ("2026-01-31", 1), ("2026-02-01", 1), ("2026-02-03", 1),
        ("10.2.26", 1), ("2/1/2026", 1),
    ]  # fmt: skip


def test_drift_says_which_times_hold_no_date(run: Path, manifest: Path, tmp_path: Path) -> None:
    rows = [f"P{number},{manifest.parent}/part {number:02d}.png,{time},L1" for number, time in
            enumerate(["2026-01-02 08:00", "08:00:01", "", "<b>"])]  # fmt: skip
    (tmp_path / "m.csv").write_text("\n".join(["id,path,time,line", *rows]))
    out, page = str(tmp_path / "judged"), tmp_path / "drift.html"
    archive(run, str(tmp_path / "m.csv"), out, ArchiveSettings(here))
    done = CliRunner().invoke(app, ["drift", out, "--json", "--page", str(page)])
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(group["day"], group["images"]) for group in found["groups"]] == [("", 3), ("2026-01-02", 1)]
    assert found["undated"] == 2
    words = "2 images with a time that holds no date, such as 08:00:01: write days as 2026-01-31"
    assert words in " ".join(done.stderr.split())
    assert words in page.read_text()


@pytest.mark.parametrize(
    ("groups", "undated", "said", "row"),
    [
        ([("", "")], 0, True, "All its images stand in one row."),
        ([("", "L1"), ("", "L2")], 0, True, "A row is all that is of a line."),
        ([("", "")], 1, False, ""),
        ([("", ""), ("", "L2")], 1, False, ""),
        ([("", ""), ("2026-01-01", "")], 0, False, ""),
        ([], 0, False, ""),
    ],
)
def test_a_page_says_that_there_are_no_days_where_there_are_none(
    groups: list[tuple[str, str]], undated: int, said: bool, row: str
) -> None:
    made = tuple(reading.DriftGroup(day, line, 1, (1,), 0.0) for day, line in groups)
    page = drift_page(reading.Drift((0, 1), made, undated, "8:00" if undated else ""), [0.5], "x")
    assert ("The archive knows no days" in page) == said
    assert row in page
    assert ("All its images stand in one row" in page) == (row[:3] == "All")


def test_a_group_without_day_and_line_is_all_only_where_it_is() -> None:
    nothing, something = (
        reading.DriftGroup(day, line, 1, (1,), 0.0) for day, line in (("", ""), ("2026-01-01", "L1"))
    )
    assert reading.Drift((0, 1), (nothing,)).name(nothing) == "all"
    both = reading.Drift((0, 1), (nothing, something))
    assert [both.name(group) for group in both.groups] == ["neither day nor line", "2026-01-01 L1"]


def test_what_of_a_folder_is_left_out_is_said(run: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    assert cv2.imwrite(str(photos / "a.png"), np.zeros((40, 48, 3), np.uint8))
    for name in ("b.heic", "c.heic"):
        (photos / name).write_bytes(b"x")
    for number in range(22):
        (photos / f"broken{number}.png").write_bytes(b"")
    done = CliRunner().invoke(app, ["judge", str(run), str(photos), "--out", str(tmp_path / "judged here")])
    assert (
        f"left out: 2 images of a format that is not read: save them as PNG ({photos / 'b.heic'}, ...)"
        in done.stderr
    )
    (hint,) = [line for line in done.stderr.splitlines() if line.startswith("... and 2 more: ")]
    told = shlex.split(hint.removeprefix("... and 2 more: "))
    listed = CliRunner().invoke(app, [*told[2:], "--json"])
    assert told[:2] == ["ltcam", "archive"]
    assert len(json.loads(listed.stdout)) == 22, "the line that is told works as it stands"


def test_names_are_escaped_on_every_page() -> None:
    row = {
        "id": "<script>alert(1)</script>", "address": "/nowhere.png", "verdict": "defect", "score": 0.5, "area": 3,
        "region_count": 1, "error": None, "mask": "", "height": 1, "width": 1,
    }  # fmt: skip
    one = reading.Difference(
        str(row["id"]), "/nowhere.png", "ok", "defect", 0.1, 0.5, 0, 3, "", "", 1, 1, "<b>"
    )
    changed = reading.Differences(1, 0, 0, {"<i>": 1}, (one,))
    for page in (hits_page([row], "<u>", "x"), differences_page(changed, "<a>", "b")):
        assert "<script>alert" not in page
        assert "&lt;script&gt;" in page


def test_pictures_of_twelve_bits_are_as_bright_as_they_were_judged(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "a.png"), np.full((8, 8), 3000, np.uint16))
    row = {
        "id": "a", "address": str(tmp_path / "a.png"), "verdict": "ok", "score": 0.5, "area": 0,
        "region_count": 0, "error": None, "mask": "", "height": 8, "width": 8,
    }  # fmt: skip
    for white, grey in ((4095, 187), (None, 12)):
        content = base64.b64decode(
            re.findall(r"data:image/\w+;base64,([^\"]+)", hits_page([row], "", "", white))[0]
        )
        shown = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert shown is not None
        assert abs(int(shown.mean()) - grey) < 4


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
        ("file,image\na.png,b.png\n", "file and image may each be the column path"),
        ("path,Path\na.png,b.png\n", "path twice in the first row"),
        ("id,path\n1,\n2,\n", "names no image; row 2 has no path"),
        ("id,path\n1\n", "names no image; row 2 has no path"),
        ("id,path\n", "names no image"),
    ],
)
def test_manifests_that_cannot_be_used(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "m.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=words):
        read_archive_manifest(str(file))


def test_a_row_that_names_no_image_stops_no_other(run: Path, tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "a.png"), np.zeros((40, 48, 3), np.uint8))
    rows = "id,path,line\nA,a.png,1\nB,,1\n,,\n,  ,2\nE,e.png,1,2,3\nF," + "x\\" + "y" * 300 + ".png,1\n"
    (tmp_path / "m.csv").write_text(rows)
    out = tmp_path / "judged"
    done = CliRunner().invoke(app, ["judge", str(run), str(tmp_path / "m.csv"), "--out", str(out), "--json"])
    assert done.exit_code == 1, done.stderr
    assert "failed: B: row 3 has no path" in done.stderr
    said = " ".join(done.stderr.split())
    assert f"failed: {tmp_path / 'm.csv'}, row 5 has no path" in said
    assert "row 5: row 5" not in said
    assert "failed: E: row 6: 5 values for 3 columns" in done.stderr
    assert json.loads(done.stdout)["failed"] == 4
    with reading.opened(str(out)) as connection:
        failed = reading.query(connection, "error is not null order by id")
        judged = reading.query(connection, "error is null")
    assert [row["id"] for row in judged] == ["A"]
    assert [(row["id"], row["line"]) for row in failed] == [
        ("B", "1"),
        ("E", "1"),
        ("F", "1"),
        ("row 5", "2"),
    ]
    assert "row 3 has no path" in hits_page(failed, "", "")


def test_a_row_of_parquet_that_names_no_image_stops_no_other(tmp_path: Path) -> None:
    table = pa.table({"path": ["a.png", None, "b.png"], "id": [None, None, "B"]})
    pq.write_table(table, tmp_path / "m.parquet")
    images = read_archive_manifest(str(tmp_path / "m.parquet")).images
    assert [(image.id, image.fault) for image in images] == [
        ("B", ""), ("a.png", ""), ("row 2", "row 2 has no path"),
    ]  # fmt: skip


def test_a_row_with_too_many_values_keeps_those_that_fit(tmp_path: Path) -> None:
    rows = "path,time,line,id\na.png,8:00,L1,A\nb.png,8:01,L2,B,x\nc.png,8:02,L3,,x\n"
    (tmp_path / "m.csv").write_text(rows)
    found = read_archive_manifest(str(tmp_path / "m.csv")).images
    assert [(image.id, image.address, image.time, image.line) for image in found if image.fault] == [
        ("B", "", "8:01", "L2"), ("row 4", "", "8:02", "L3"),
    ]  # fmt: skip


def test_a_link_that_was_refused_is_no_picture_of_a_page(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for file in (folder / "a.png", tmp_path / "elsewhere.png"):
        assert cv2.imwrite(str(file), np.zeros((40, 48, 3), np.uint8))
    (folder / "out.png").symlink_to(tmp_path / "elsewhere.png")
    old, new = str(tmp_path / "old"), str(tmp_path / "new")
    archive(run, str(folder), new, ArchiveSettings(here))
    (folder / "out.png").unlink()
    (tmp_path / "elsewhere.png").rename(folder / "out.png")
    archive(run, str(folder), old, ArchiveSettings(here))
    (folder / "out.png").rename(tmp_path / "elsewhere.png")
    (folder / "out.png").symlink_to(tmp_path / "elsewhere.png")
    with reading.opened(old) as before, reading.opened(new) as after:
        rows = reading.query(after, "true order by id")
        changed = reading.differences(before, after)
    assert [(row["address"], bool(row["error"])) for row in rows] == [
        (f"{folder}/a.png", False), (f"{folder}/out.png", True),
    ]  # fmt: skip
    assert hits_page(rows, "", "").count("data:image") == 1
    assert [row.id for row in changed.rows] == ["out.png"]
    assert "data:image" not in differences_page(changed, "", "")


def test_the_hash_of_a_folder_with_a_dangling_link_stays(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "gone.png").symlink_to("nowhere")
    found = read_archive_manifest(str(tmp_path))
    assert [image.address for image in found.images] == [f"{tmp_path}/a.png", f"{tmp_path}/gone.png"]
    rows = "".join(f"('{name}', '{tmp_path}/{name}', '', '')\n" for name in ("a.png", "gone.png"))
    text = f"ltcam archive manifest 1\n{rows}"
    assert found.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_the_hash_of_a_manifest_without_faults_stays(tmp_path: Path) -> None:
    """Archives that were begun by an earlier version are gone on with."""
    (tmp_path / "m.csv").write_text("id,path,time,line\nA,/a.png,2026-01-01,L1\n")
    row = b"ltcam archive manifest 1\n('A', '/a.png', '2026-01-01', 'L1')\n"
    assert read_archive_manifest(str(tmp_path / "m.csv")).sha256 == hashlib.sha256(row).hexdigest()


@pytest.mark.parametrize(
    "content",
    [
        b"path,time,line\na.png,monday,3\nsub/b.png,,\n",
        b"\xef\xbb\xbfsep=;\r\nFilename;Timestamp;Station\r\na.png;monday;3\r\nsub\\b.png;;\r\n",
        "# exported\nImage Path\tdate\tline\na.png\tmonday\t3\nsub/b.png\t\t\n".encode("utf-16"),
    ],
)
@pytest.mark.parametrize("name", ["m.csv", "M.CSV", "m.tsv", "m.txt"])
def test_dialects_of_manifests_are_those_of_trainings(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    first, second = read_archive_manifest(str(tmp_path / name)).images
    assert (first.address, first.time, first.line) == (str(tmp_path / "a.png"), "monday", "3")
    assert (second.address, second.time, second.line) == (str(tmp_path / "sub/b.png"), "", "")


def test_columns_of_parquet_that_are_called_alike(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["a.png"], "Path": ["b.png"]}), tmp_path / "m.parquet")
    with pytest.raises(DataError, match="path twice in the first row"):
        read_archive_manifest(str(tmp_path / "m.parquet"))


def test_manifests_of_other_kinds(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "sub/b.JPG", ".hidden.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    folder = read_archive_manifest(str(tmp_path))
    assert [image.id for image in folder.images] == ["a.png", "sub/b.JPG"]
    for name in ("masks/a.png", "masks/sub/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"a mask is no image to be judged")
    assert read_archive_manifest(str(tmp_path)).images == folder.images
    (tmp_path / "sub" / "gone.png").symlink_to("nowhere")
    (tmp_path / "sub" / "out.png").symlink_to("/dev/null")
    more = read_archive_manifest(str(tmp_path))
    assert [image.id for image in more.images] == ["a.png", "sub/b.JPG", "sub/gone.png", "sub/out.png"]
    assert [image.fault for image in more.images] == ["", "", LINK, LINK]
    pq.write_table(pa.table({"file_path": ["a.png", "/abs/c.png", "s3://b/k.png"]}), tmp_path / "m.parquet")
    addresses = {image.address for image in read_archive_manifest(str(tmp_path / "m.parquet")).images}
    assert addresses == {str(tmp_path / "a.png"), "/abs/c.png", "s3://b/k.png"}
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "endless.csv").symlink_to("/dev/zero")
    for missing in ("nothing.csv", "nothing.parquet", "nothing", "pipe.csv", "endless.csv"):
        with pytest.raises(DataError):
            read_archive_manifest(str(tmp_path / missing))


def test_a_manifest_that_is_not_there_is_said(run: Path, tmp_path: Path) -> None:
    for name in ("nowhere.csv", "nowhere.parquet"):
        words = ["judge", str(run), str(tmp_path / name), "--out", str(tmp_path / "judged")]
        refused = CliRunner().invoke(app, words)
        assert refused.exit_code == 2
        said = " ".join(refused.stderr.split())
        assert f"{name}: there is no such file; check the path" in said
        assert "Errno" not in said


def test_near_copies_look_the_same() -> None:
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 9).astype(np.uint8)
    brighter = np.clip(image.astype(int) + 12, 0, 255).astype(np.uint8)
    assert difference_hash(image) == difference_hash(brighter)
    assert difference_hash(image) != difference_hash(image[:, ::-1])
