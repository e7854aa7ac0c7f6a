import errno
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from ltcam_runtime import folders
from ltcam_runtime.errors import InputError, OutputError
from ltcam_runtime.folders import FILES_FILE, check_output_folder, output_folder, write_file


def contents(folder: Path) -> list[str]:
    """All but the list of files."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != FILES_FILE)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != FILES_FILE)


def results(folder: Path, text: str = "old") -> Path:
    folder.mkdir(parents=True)
    (folder / "predictions.json").write_text(text)
    (folder / "masks").mkdir()
    (folder / "masks" / "a.png").write_text(text)
    return folder


def write_new(path: Path, *, overwrite: bool = False) -> None:
    with output_folder(path, marker="predictions.json", overwrite=overwrite) as folder:
        (folder / "predictions.json").write_text("new")


# -------------------------------------------------------------------------------- output_folder


def test_the_folder_appears_whole_and_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "out"
    with output_folder(target, marker="predictions.json") as folder:
        (folder / "predictions.json").write_text("x")
        (folder / "masks").mkdir()
        (folder / "masks" / "a.png").write_bytes(b"1")
        assert not target.exists()
        assert folder.parent == target.parent
        assert folder.name.startswith(".")
        assert str(os.getpid()) in folder.name
    assert contents(target) == ["masks", "masks/a.png", "predictions.json"]
    assert names(target.parent) == ["out"]
    mask = os.umask(0)
    os.umask(mask)
    assert target.stat().st_mode & 0o777 == 0o777 & ~mask


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_new(tmp_path / "out")
    assert contents(tmp_path) == ["out", "out/predictions.json"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3), InputError("a", "b")])
@pytest.mark.parametrize("overwrite", [False, True])
def test_after_an_exception_everything_is_as_before(
    tmp_path: Path, error: BaseException, overwrite: bool
) -> None:
    target = tmp_path / "out"
    if overwrite:
        results(target)
    before = contents(tmp_path)
    with (  # noqa: PT012
        pytest.raises(type(error)) as caught,
        output_folder(target, marker="predictions.json", overwrite=overwrite) as folder,
    ):
        (folder / "predictions.json").write_text("new")
        raise error
    assert caught.value is error
    assert contents(tmp_path) == before
    if overwrite:
        assert (target / "predictions.json").read_text() == "old"


def test_results_are_replaced_only_when_asked(tmp_path: Path) -> None:
    target = results(tmp_path / "out")
    with pytest.raises(OutputError, match="`overwrite=True`"):
        write_new(target)
    assert (target / "predictions.json").read_text() == "old"
    write_new(target, overwrite=True)
    assert contents(tmp_path) == ["out", "out/predictions.json"]
    assert (target / "predictions.json").read_text() == "new"


def write_all(folder: Path) -> None:
    (folder / "masks").mkdir()
    (folder / "masks" / "b.png").write_text("new")
    (folder / "predictions.json").write_text("new")


def listed(folder: Path) -> Path:
    """Results as they are written."""
    with output_folder(folder, marker="predictions.json") as inside:
        (inside / "predictions.json").write_text("old")
        (inside / "masks").mkdir()
        (inside / "masks" / "a.png").write_text("old")
    return folder


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("with_list", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        *(
            "notes.txt",
            "photos/deep/a.png",
            "empty/",
            "masks/thesis.tex",
            "masks/deep/er/",
            "link",
            "masks/link",
        ),
        *("masks/later.png", "weights.csv", ".hidden", "masks/.hidden"),
    ],
)
def test_a_folder_with_something_of_somebody_elses_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_place: bool, with_list: bool, name: str
) -> None:
    target = listed(tmp_path / "out") if with_list else results(tmp_path / "out")
    place = target / name
    place.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith("/"):
        place.mkdir()
    elif name.endswith("link"):
        place.symlink_to(tmp_path)
    else:
        place.write_text("mine")
        os.utime(place, (2**31, 2**31))  # younger than the results
    before = sorted(path.relative_to(target) for path in target.rglob("*"))
    if in_place:
        monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == target)
    with pytest.raises(OutputError, match=re.escape(f"not written with its results ({name})")):
        write_new(target, overwrite=True)
    assert sorted(path.relative_to(target) for path in target.rglob("*")) == before
    assert (target / "predictions.json").read_text() == "old"
    assert names(tmp_path) == ["out"]
    if place.is_dir() and not place.is_symlink():
        place.rmdir()
    else:
        place.unlink()
    for folder in [parent for parent in place.parents if target in parent.parents]:
        if folder != target / "masks":
            folder.rmdir()
    write_new(target, overwrite=True)
    assert contents(target) == ["predictions.json"]


def test_with_a_list_the_times_of_files_say_nothing(tmp_path: Path) -> None:
    target = listed(tmp_path / "out")
    for path in target.rglob("*"):
        os.utime(path, (2**31, 2**31))  # copied without their times
    (target / "masks" / "mine.png").write_text("mine")
    os.utime(target / "masks" / "mine.png", (1, 1))
    with pytest.raises(OutputError, match=r"\(masks/mine.png\)"):
        write_new(target, overwrite=True)
    (target / "masks" / "mine.png").unlink()
    write_new(target, overwrite=True)
    assert contents(target) == ["predictions.json"]


@pytest.mark.parametrize("text", ["", "[]", '{"files": 3}', '{"files": [1, {}]}', "[" * 100_000])
def test_a_list_that_is_none_gives_nobodys_files_away(tmp_path: Path, text: str) -> None:
    target = listed(tmp_path / "out")
    (target / FILES_FILE).write_text(text)
    (target / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"notes\.txt"):
        write_new(target, overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_results_are_kept_where_somebody_else_puts_a_file_in_their_place(
    tmp_path: Path, overwrite: bool
) -> None:
    target = tmp_path / "out"
    with (  # noqa: PT012
        pytest.raises(OutputError, match=r"a file of that name\); the results are in"),
        output_folder(target, marker="predictions.json", overwrite=overwrite) as folder,
    ):
        (folder / "predictions.json").write_text("hours of work")
        target.write_text("mine")
    [kept] = tmp_path.glob("out-*")
    assert (kept / "predictions.json").read_text() == "hours of work"
    assert target.read_text() == "mine"


def test_a_list_that_is_no_regular_file_is_none(tmp_path: Path) -> None:
    target = listed(tmp_path / "out")
    (target / FILES_FILE).unlink()
    os.mkfifo(target / FILES_FILE)
    with pytest.raises(OutputError, match="not written with its results"):
        write_new(target, overwrite=True)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("name", ["precious/a.txt", "masks/b.png", "masks/new.png", "empty/"])
def test_what_others_make_meanwhile_is_theirs_and_the_results_are_kept_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_place: bool, name: str
) -> None:
    target = listed(tmp_path / "out")
    if in_place:
        monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == target)
    with (  # noqa: PT012
        pytest.raises(OutputError, match=r"filled by somebody else .*the results are in"),
        output_folder(target, marker="predictions.json", overwrite=True) as folder,
    ):
        write_all(folder)
        if name.endswith("/"):
            (target / name).mkdir()
        else:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_text("mine")
    kept = (target if in_place else tmp_path) / f"out-{os.getpid()}"
    assert (kept / "predictions.json").read_text() == "new"
    assert (target / "predictions.json").read_text() == "old"
    assert name.endswith("/") or (target / name).read_text() == "mine"


@pytest.mark.parametrize("in_place", [False, True])
def test_nothing_was_there_when_overwrite_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_place: bool
) -> None:
    """What is there at the end is somebody else's."""
    target = tmp_path / "out"
    if in_place:
        target.mkdir()
        monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == target)
    with (  # noqa: PT012
        pytest.raises(OutputError, match="results are in"),
        output_folder(target, marker="predictions.json", overwrite=True) as folder,
    ):
        write_all(folder)
        (target / "precious").mkdir(parents=True)
    assert "precious" in names(target)
    assert ((target if in_place else tmp_path) / f"out-{os.getpid()}" / "predictions.json").is_file()


def test_of_two_machines_that_replace_the_same_results_the_second_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may share a disk, and know nothing of each other's processes."""
    target = listed(tmp_path / "out")
    with output_folder(target, marker="predictions.json", overwrite=True) as folder:
        write_all(folder)
        monkeypatch.setattr("socket.gethostname", lambda: "other")
        write_new(target, overwrite=True)
    assert contents(target) == ["masks", "masks/b.png", "predictions.json"]


def test_whatever_a_file_is_called_it_is_on_the_list(tmp_path: Path) -> None:
    target = tmp_path / "out"
    odd = [os.fsdecode(b"\xff.png"), "new\nline", "=cmd", "ü", "deep/er/[a]*.png"]
    with output_folder(target, marker="predictions.json") as folder:
        (folder / "predictions.json").write_text("x")
        (folder / "deep" / "er").mkdir(parents=True)
        for name in odd:
            (folder / name).write_text("x")
        (folder / "link").symlink_to("ü")
    write_new(target, overwrite=True)
    assert contents(target) == ["predictions.json"]


def test_one_of_several_markers_is_enough(tmp_path: Path) -> None:
    target = results(tmp_path / "out")
    with output_folder(target, marker=("run.json", "predictions.json"), overwrite=True):
        pass
    assert contents(target) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_somebody_elses_is_never_replaced(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years")
    with pytest.raises(OutputError, match=r"no predictions\.json"):
        write_new(tmp_path / "home", overwrite=overwrite)
    (tmp_path / "home" / "predictions.json").mkdir()  # a folder of that name is no marker
    with pytest.raises(OutputError, match="not replaced"):
        write_new(tmp_path / "home", overwrite=overwrite)
    assert (tmp_path / "home" / "thesis.tex").read_text() == "years"


def test_a_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="is a file"):
        write_new(tmp_path / "out", overwrite=True)
    with pytest.raises(OutputError, match="a file, not a folder"):
        write_new(tmp_path / "out" / "below", overwrite=True)
    assert contents(tmp_path) == ["out"]


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    results(tmp_path / "disk" / "real")
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "real")
    write_new(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out").is_symlink()
    assert contents(tmp_path / "disk") == ["real", "real/predictions.json"]


@pytest.mark.parametrize("fails", [False, True])
def test_the_current_folder_is_filled_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    target = results(tmp_path / "out")
    monkeypatch.chdir(target)
    inode = target.stat().st_ino
    if fails:
        with pytest.raises(RuntimeError), output_folder(".", marker="predictions.json", overwrite=True):
            raise RuntimeError
        assert contents(target) == ["masks", "masks/a.png", "predictions.json"]
    else:
        write_new(Path(), overwrite=True)
        assert contents(target) == ["predictions.json"]
    assert target.stat().st_ino == inode
    assert names(tmp_path) == ["out"]


def test_a_mount_point_is_filled_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    target.mkdir()
    inode = target.stat().st_ino
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == target)
    write_new(target)
    assert target.stat().st_ino == inode
    assert contents(tmp_path) == ["out", "out/predictions.json"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "no permission"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "input/output"),
    ],
)
def test_errors_of_the_disk_are_explained(tmp_path: Path, code: int, words: str) -> None:
    with pytest.raises(OutputError, match=words) as caught, output_folder(tmp_path / "out", marker="m"):
        raise OSError(code, os.strerror(code))
    assert str(tmp_path / "out") in str(caught.value)
    assert contents(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_really_full_device(tmp_path: Path) -> None:
    with (  # noqa: PT012
        pytest.raises(OutputError, match="disk is full"),
        output_folder(tmp_path / "out", marker="m") as folder,
    ):
        (folder / "a").symlink_to("/dev/full")
        with (folder / "a").open("wb") as stream:
            stream.write(bytes(100_000))
    assert contents(tmp_path) == []


def test_a_full_disk_that_another_library_reports(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="disk is full"), output_folder(tmp_path / "out", marker="m"):
        raise RuntimeError('I/O error: Os { code: 28, message: "No space left on device" }')


def test_errors_about_other_files_are_let_through(tmp_path: Path) -> None:
    for error in (FileNotFoundError, PermissionError):
        with pytest.raises(error), output_folder(tmp_path / "out", marker="m"):
            raise error(errno.EACCES, "no", str(tmp_path / "weights"))
    with pytest.raises(BrokenPipeError), output_folder(tmp_path / "out", marker="m"):
        raise BrokenPipeError(errno.EPIPE, "closed")
    with pytest.raises(OutputError), output_folder(tmp_path / "out", marker="m") as folder:
        (folder / "missing" / "a").write_text("x")
    assert contents(tmp_path) == []


def test_no_permission_is_said_up_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)  # root may write everywhere, so modes would not do
    with pytest.raises(OutputError, match="no permission"), output_folder(tmp_path / "out", marker="m"):
        raise AssertionError("the body must not run")


def test_an_unwritable_parent_of_a_writable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    target.mkdir()
    mkdir = Path.mkdir

    def only_below(self: Path, *args: Any, **options: Any) -> None:
        if not self.is_relative_to(target) and not self.exists():
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        mkdir(self, *args, **options)

    monkeypatch.setattr(Path, "mkdir", only_below)
    write_new(target)
    assert contents(tmp_path) == ["out", "out/predictions.json"]


def test_results_survive_a_target_filled_in_the_meantime(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with (  # noqa: PT012
        pytest.raises(OutputError, match=f"results are in .*out-{os.getpid()}"),
        output_folder(target, marker="m") as folder,
    ):
        (folder / "m").write_text("hours of work")
        target.mkdir()
        (target / "other").write_text("theirs")
    assert (target / "other").read_text() == "theirs"
    assert (tmp_path / f"out-{os.getpid()}" / "m").read_text() == "hours of work"


def test_the_old_folder_comes_back_when_the_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = results(tmp_path / "out")
    rename = Path.rename

    def fail_for_new(self: Path, to: Path) -> Path:
        if self.suffix == ".tmp":
            raise OSError(errno.EIO, "broken")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", fail_for_new)
    with pytest.raises(OutputError, match="input/output"):
        write_new(target, overwrite=True)
    assert contents(tmp_path) == ["out", "out/masks", "out/masks/a.png", "out/predictions.json"]
    assert (target / "predictions.json").read_text() == "old"


def test_many_files_are_flushed_too(tmp_path: Path) -> None:
    with output_folder(tmp_path / "out", marker="m") as folder:
        for index in range(folders._FSYNC_EACH + 5):
            (folder / str(index)).write_text("x")
    assert len(contents(tmp_path / "out")) == folders._FSYNC_EACH + 5


# ------------------------------------------------------------------------------------ kill -9

KILLED = """
    import os, signal, sys
    from pathlib import Path
    from ltcam_runtime.folders import output_folder
    with output_folder(sys.argv[1], marker="predictions.json", overwrite=True) as folder:
        (folder / "half").write_text("x")
        os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_run(target: Path) -> None:
    source = str(Path(folders.__file__).parents[1])
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(target)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": source}, check=False)
    assert done.returncode == -signal.SIGKILL


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    target = results(tmp_path / "out")
    killed_run(target)
    killed_run(tmp_path / "other")
    assert (target / "predictions.json").read_text() == "old"
    left = [name for name in names(tmp_path) if name.startswith(".out")]
    assert len(left) == 1
    alive = tmp_path / left[0].replace(left[0].split("-")[-2], str(os.getppid()))
    alive.mkdir()
    write_new(target, overwrite=True)
    hidden = [name for name in names(tmp_path) if name.startswith(".")]
    assert len(hidden) == 2  # the one of a living process, and the one of another target
    assert alive.name in hidden
    assert (target / "predictions.json").read_text() == "new"


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    target = tmp_path / "out"
    name = folders._temporary_name(target, "old").replace(f"-{os.getpid()}-", f"-{int(dead.stdout)}-")
    results(tmp_path / name)
    with pytest.raises(OutputError, match="already holds results"):
        write_new(target)
    assert (target / "masks" / "a.png").read_text() == "old"


# --------------------------------------------------------------------------------- write_file


def test_write_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_file(path, "ä\r\n\n")
    assert path.read_bytes() == "ä\r\n\n".encode()
    write_file(str(path), b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert names(path.parent) == ["a.txt"]


def test_write_file_keeps_the_old_one_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="disk is full"):
        write_file(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_file_that_need_not_be_durable_is_whole_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwanted(*_: object) -> None:
        raise AssertionError("the disk was asked to confirm")

    monkeypatch.setattr(os, "fsync", unwanted)
    write_file(tmp_path / "a", "old", durable=False)
    monkeypatch.setattr(Path, "replace", unwanted)
    with pytest.raises(AssertionError):
        write_file(tmp_path / "a", "new", durable=False)
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_write_file_refuses_a_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        write_file(tmp_path, "x")
    (tmp_path / "a").write_text("x")
    with pytest.raises(OutputError, match="not a folder"):
        write_file(tmp_path / "a" / "b", "x")


def test_write_file_replaces_no_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(OutputError, match="not a regular file"):
            write_file(tmp_path / name, "x")
    assert (tmp_path / "pipe").is_fifo()


def test_a_second_writer_is_refused_before_its_work(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with output_folder(target, marker="predictions.json") as folder:
        for overwrite in (False, True):
            with (
                pytest.raises(OutputError, match=f"being written by another process .*{os.getpid()}.*; wait"),
                output_folder(target, marker="predictions.json", overwrite=overwrite),
            ):
                pytest.fail("both work")
        with pytest.raises(OutputError, match="being written by another process"):
            check_output_folder(target, marker="predictions.json")
        write_new(tmp_path / "other")
        (folder / "predictions.json").write_text("new")
    write_new(target, overwrite=True)
    assert contents(tmp_path) == ["other", "other/predictions.json", "out", "out/predictions.json"]


@pytest.mark.skipif(os.name == "nt", reason="there are no locks of folders")
def test_what_a_dead_process_left_under_a_number_that_lives_again_refuses_nobody(tmp_path: Path) -> None:
    target = tmp_path / "out"
    (tmp_path / folders._temporary_name(target, "tmp")).mkdir()
    write_new(target)
    assert (target / "predictions.json").read_text() == "new"
