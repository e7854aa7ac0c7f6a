from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from ltcam.jobs.watch import JOURNAL, Arrived, InspectsFile, Pace, Watched, files_of, opened_journal, watch
from ltcam_runtime.errors import DataError, InputError, OutputError
from ltcam_runtime.searching import LINK


def inspect(arrived: Arrived) -> dict[str, Any]:
    if b"bad" in arrived.path.read_bytes():
        raise InputError(arrived.path, "not an image")
    return {"image": arrived.name, "verdict": "ok"}


def watched(
    folder: Path, out: Path, inspect: InspectsFile, tell: Callable[[dict[str, Any]], None], pace: Pace
) -> Watched:
    with opened_journal(folder, out) as journal:
        return watch(folder, journal, inspect, tell, pace)


def run(
    folder: Path, out: Path, enough: int, then: Callable[[int], None] = lambda _count: None, looks: int = 40
) -> list[dict[str, Any]]:
    """Watch until so many lines came, or nothing came for many looks."""
    stop, lines = threading.Event(), list[dict[str, Any]]()
    timer = threading.Timer(looks * 0.05, stop.set)
    timer.start()

    def tell(line: dict[str, Any]) -> None:
        lines.append(line)
        then(len(lines))
        if len(lines) >= enough:
            stop.set()

    watched(folder, out, inspect, tell, Pace(stop, 0.01))
    timer.cancel()
    return lines


def put(folder: Path, name: str, content: bytes = b"image") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def test_each_file_once_and_over_restarts(tmp_path: Path) -> None:
    folder, out = tmp_path / "camera", tmp_path / "out"
    for name in ("b.png", "a.png", "lot 2/c.JPG"):
        put(folder, name)
    put(folder, "notes.txt")
    put(folder, ".hidden.png")
    first = run(folder, out, enough=3)
    assert {line["image"] for line in first} == {"a.png", "b.png", "lot 2/c.JPG"}
    put(folder, "d.png")
    second = run(folder, out, enough=1)
    assert [line["image"] for line in second] == ["d.png"]
    journal = [json.loads(line) for line in (out / JOURNAL).read_text().splitlines()]
    assert sorted(line["image"] for line in journal) == ["a.png", "b.png", "d.png", "lot 2/c.JPG"]


def test_a_file_that_is_written_again_is_inspected_again(tmp_path: Path) -> None:
    folder = tmp_path / "camera"
    file = put(folder, "a.png")
    assert len(run(folder, tmp_path / "out", enough=1)) == 1
    file.write_bytes(b"another image")
    os.utime(file, ns=(1, 1))
    assert len(run(folder, tmp_path / "out", enough=1)) == 1


def test_a_file_that_still_grows_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "camera"
    file = put(folder, "slow.png", b"bad")
    growing = threading.Event()

    def grow() -> None:
        for number in range(200):
            if growing.wait(0.002):
                return
            os.utime(file, ns=(number, number))
        file.write_bytes(b"whole")

    thread = threading.Thread(target=grow)
    thread.start()
    lines = run(folder, tmp_path / "out", enough=1, looks=100)
    growing.set()
    thread.join()
    assert lines[-1].get("verdict") == "ok" or "error" in lines[-1]
    assert len(lines) <= 2


def test_a_bad_file_is_a_line_and_the_others_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "camera"
    put(folder, "1.png", b"bad")
    put(folder, "2.png")
    lines = {line["image"]: line for line in run(folder, tmp_path / "out", enough=2)}
    assert lines["1.png"]["error"] == "not an image"
    assert lines["2.png"]["verdict"] == "ok"


def test_a_file_whose_writer_pauses_is_no_bad_file(tmp_path: Path) -> None:
    """It was the same at two looks, cannot be read yet, and is one line in the end."""
    folder, out = tmp_path / "camera", tmp_path / "out"
    file = put(folder, "a.png", b"bad")
    stop, lines, tries = threading.Event(), list[dict[str, Any]](), list[str]()

    def goes_on(arrived: Arrived) -> dict[str, Any]:
        tries.append(arrived.name)
        try:
            return inspect(arrived)
        except InputError:
            file.write_bytes(b"all of it")
            raise

    def tell(line: dict[str, Any]) -> None:
        lines.append(line)
        stop.set()

    ended = watched(folder, out, goes_on, tell, Pace(stop, 0.01))
    assert tries == ["a.png", "a.png"]
    assert lines == [{"image": "a.png", "verdict": "ok"}]
    assert ended.failed == ()


def test_a_link_that_leads_nowhere_is_told_once_and_inspected_when_it_leads_somewhere(tmp_path: Path) -> None:
    folder, out = tmp_path / "camera", tmp_path / "out"
    folder.mkdir()
    (folder / "a.png").symlink_to(folder / ".store" / "1.png")

    def then(count: int) -> None:
        put(*((folder, "b.png") if count == 1 else (folder / ".store", "1.png")))

    lines = run(folder, out, enough=3, then=then, looks=400)
    assert lines == [
        {"image": "a.png", "error": "it is a link that leads nowhere"},
        {"image": "b.png", "verdict": "ok"},
        {"image": "a.png", "verdict": "ok"},
    ]
    journal = [json.loads(line)["image"] for line in (out / JOURNAL).read_text().splitlines()]
    assert journal == ["b.png", "a.png"]


def test_a_link_that_leads_out_of_the_folder_is_told_and_not_followed(tmp_path: Path) -> None:
    folder, out = tmp_path / "camera", tmp_path / "out"
    put(tmp_path, "elsewhere.png")
    folder.mkdir()
    (folder / "a.png").symlink_to(tmp_path / "elsewhere.png")

    def then(_: int) -> None:
        put(folder, "b.png")

    lines = run(folder, out, enough=2, then=then, looks=400)
    assert lines == [
        {"image": "a.png", "error": LINK},
        {"image": "b.png", "verdict": "ok"},
    ]


def test_a_file_without_permission_is_told_and_inspected_when_it_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(Whoever runs the tests may be one who is allowed everything.)"""
    put(tmp_path / "camera", "a.png")
    allowed = threading.Event()
    monkeypatch.setattr(os, "access", lambda _path, _mode: allowed.is_set())
    lines = run(tmp_path / "camera", tmp_path / "out", enough=2, then=lambda _: allowed.set(), looks=400)
    assert lines == [
        {"image": "a.png", "error": "no permission to read it"},
        {"image": "a.png", "verdict": "ok"},
    ]


def test_a_folder_without_permission_is_told_and_counts_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "camera", "lot 2/a.png")
    stop, lines, scandir = threading.Event(), list[dict[str, Any]](), os.scandir

    def closed(path: str) -> Any:
        if str(path).endswith("lot 2"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    def tell(line: dict[str, Any]) -> None:
        lines.append(line)
        stop.set()

    monkeypatch.setattr(os, "scandir", closed)
    ended = watched(tmp_path / "camera", tmp_path / "out", inspect, tell, Pace(stop, 0.01))
    assert lines == [{"image": "lot 2/", "error": "no permission to read it"}]
    assert ended.failed == (("lot 2/", "no permission to read it"),)


def test_half_a_line_at_the_end_of_the_journal_is_a_crash_and_no_damage(tmp_path: Path) -> None:
    folder, out = tmp_path / "camera", tmp_path / "out"
    put(folder, "a.png")
    put(folder, "b.png")
    run(folder, out, enough=2)
    journal = out / JOURNAL
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    journal.write_bytes(lines[0] + lines[1][:20])
    again = run(folder, out, enough=1)
    assert [line["image"] for line in again] == [json.loads(lines[1])["image"]]
    assert len(journal.read_text().splitlines()) == 2


def test_a_disk_that_fills_within_a_line_loses_and_doubles_nothing(
    tmp_path: Path, full_at: Callable[[int], AbstractContextManager[None]]
) -> None:
    """The system takes a part of the line, and says so in a number only."""
    folder, out = tmp_path / "camera", tmp_path / "out"
    put(folder, "a.png")
    run(folder, out, enough=1)
    journal, told = out / JOURNAL, list[dict[str, Any]]()
    before = journal.read_bytes()
    put(folder, "b.png")
    with (
        full_at(len(before) + 20),
        pytest.raises(OutputError, match=r"inspections\.jsonl cannot be written"),
    ):
        watched(folder, out, inspect, told.append, Pace(threading.Event(), 0.01))
    assert told == []
    assert journal.read_bytes() == before
    assert [line["image"] for line in run(folder, out, enough=1)] == ["b.png"]
    assert [json.loads(line)["image"] for line in journal.read_text().splitlines()] == ["a.png", "b.png"]


def test_one_watch_at_a_time_in_a_folder(tmp_path: Path) -> None:
    folder, out = tmp_path / "camera", tmp_path / "out"
    put(folder, "a.png")
    run(folder, out, enough=1)
    before = (out / JOURNAL).read_bytes()
    with (
        opened_journal(folder, out),
        pytest.raises(OutputError, match=r"out: another watch writes into this folder; give another `out`"),
        opened_journal(folder, out),
    ):
        pass
    assert (out / JOURNAL).read_bytes() == before
    with opened_journal(folder, out) as journal:
        assert files_of(folder, out)[0][0] in journal


def test_a_damaged_journal_is_not_passed_over(tmp_path: Path) -> None:
    put(tmp_path / "camera", "a.png")
    put(tmp_path / "out", JOURNAL, b"no json\n")
    with pytest.raises(OutputError, match="damaged"):
        run(tmp_path / "camera", tmp_path / "out", enough=1)


def test_results_inside_the_folder_are_no_images_of_the_camera(tmp_path: Path) -> None:
    put(tmp_path, f"out/{JOURNAL}", b"")
    put(tmp_path, "a.png")
    put(tmp_path, "out/masks/a.png")
    assert [line["image"] for line in run(tmp_path, tmp_path / "out", enough=2, looks=6)] == ["a.png"]


def test_results_inside_the_folder_by_another_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a.png")
    put(tmp_path, "out/masks/a.png")
    monkeypatch.chdir(tmp_path)
    for folder, out in ((Path(), tmp_path / "out"), (tmp_path, Path("out"))):
        assert [arrived.name for arrived in files_of(folder, out)[0]] == ["a.png"]
    (tmp_path / "link").symlink_to(tmp_path)
    assert [arrived.name for arrived in files_of(tmp_path, tmp_path / "link" / "out")[0]] == ["a.png"]


def test_results_into_the_folder_that_is_watched_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own masks would be images, and theirs, and so on."""
    put(tmp_path, "a.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="is the folder that is watched"):
        run(Path(), tmp_path, enough=1, looks=6)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_results_among_files_of_others_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "camera", "a.png")
    precious = put(tmp_path / "out", "masks/a.png", b"precious")
    with pytest.raises(OutputError, match=r"out holds files of others, and no inspections\.jsonl"):
        run(tmp_path / "camera", tmp_path / "out", enough=1, looks=6)
    assert precious.read_bytes() == b"precious"
    assert len(run(tmp_path / "camera", tmp_path / "new", enough=1)) == 1


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        run(tmp_path / "nothing", tmp_path / "out", enough=1)
