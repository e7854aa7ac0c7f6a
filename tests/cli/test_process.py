"""What happens to the process of a command, whatever it is told."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.cli.conftest import CommandLine

from ltcam.cli import process as module
from ltcam_runtime.processors import allowed_processors

Call = Callable[..., Any]


def images_of(data: Path, to: Path) -> Path:
    to.mkdir()
    for number in range(3):
        shutil.copy(data / "hole" / f"0{number}.png", to)
    return to


# ------------------------------------------------------------------------------------------- names


def odd_names(folder: Path) -> list[bytes]:
    """Copies of an image under every kind of name that the file system takes."""
    content = next(folder.glob("*.png")).read_bytes()
    found = []
    for name in (
        b"pr\xfcf.png",
        b"new\nline.png",
        b"n" * 251 + b".png",
        b"u\xcc\x88.png",
        b"=cmd|calc!A0.png",
    ):
        try:
            (folder / os.fsdecode(name)).write_bytes(content)
        except OSError:  # a file system that takes text only
            continue
        found.append(name)
    return found


def test_every_command_finishes_whatever_files_are_called(
    ltcam: Call, data: Path, fast: tuple[str, ...], tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(data, photos)
    for label in ("good", "hole"):
        odd_names(photos / label)
    assert ltcam("data", "check", photos, "--page", tmp_path / "page.html").code in (0, 1)
    trained = ltcam("train", photos, "--out", tmp_path / "run", *fast[:-6], "--epochs", "1", *fast[-4:])
    assert trained.code == 0, trained.err
    split = (tmp_path / "run" / "split.csv").read_bytes()
    assert b"pr\\udcfcf.png" in split
    assert json.loads((tmp_path / "run" / "run.json").read_text())["classes"] == ["ok", "hole"]
    words = (tmp_path / "run", photos, "--out", tmp_path / "metrics", "--split", "all", "--bootstrap", "10")
    measured = ltcam("evaluate", *words)
    assert measured.code == 0, measured.err
    table = (tmp_path / "metrics" / "images.csv").read_bytes()
    assert b"pr\\udcfcf.png" in table
    found = ltcam("predict", tmp_path / "run", photos / "hole", "--out", tmp_path / "found")
    assert found.code == 0, found.err
    values = json.loads((tmp_path / "found" / "predictions.json").read_text())
    assert "pr\udcfcf.png" in [image["image"] for image in values["images"]]
    for file in tmp_path.glob("*/*.csv"):
        for cell in re.findall(r"(?:^|,)([^,\n]*)", file.read_text()):
            assert not cell.startswith(("=", "+", "@")), (file, cell)
    for file in (tmp_path / "run").iterdir():
        assert file.stat().st_mode == (tmp_path / "run" / "run.json").stat().st_mode


def test_control_characters_do_not_reach_the_terminal(ltcam: Call, data: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(data, photos)
    (photos / "good" / "\x1b[31mRED\x1b]0;pwned\a.png").write_text("junk")
    (photos / "good" / os.fsdecode(b"\xff.png")).write_text("junk")
    shutil.copy(photos / "good" / "00.png", photos / "good" / "\u202egnp.\x1b.png")
    result = ltcam("data", "check", photos, "--page", tmp_path / "page.html")
    assert result.code == 1
    assert "\x1b" not in result.out + result.err
    assert "\a" not in result.out + result.err
    (result.out + result.err).encode()
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "\\u202egnp.\\x1b.png" in page
    assert not set(page) & set("\x1b\a\u202e")


# ------------------------------------------------------------------------------------------ signals


@pytest.mark.slow
@pytest.mark.parametrize("milliseconds", [150, 250, 400, 800])
def test_interrupted_while_it_starts(
    ltcam: CommandLine, trained: Path, data: Path, tmp_path: Path, milliseconds: int
) -> None:
    """Whatever is imported at that moment; a machine that is too slow is interrupted earlier in its start."""
    running = ltcam.start("predict", trained, data, "--out", tmp_path / "out")
    time.sleep(milliseconds / 1000)
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=120)[1]
    if running.returncode == -signal.SIGINT or "<frozen" in said or "Fatal Python error" in said:
        pytest.skip("interrupted before Python itself was up")
    assert running.returncode in (0, 130)
    assert "Traceback" not in said
    assert "unexpected" not in said
    assert (tmp_path / "out").exists() == (running.returncode == 0)


PROGRAM = """
import os, signal, sys

_, awaited, kind = sys.argv

class Signalled:
    def find_spec(name, *others):
        if name == awaited:
            os.kill(os.getpid(), int(kind))

signal.signal(signal.SIGINT, signal.default_int_handler)
before = set(sys.modules)
{entry}
print(*set(sys.modules) - before, flush=True)
sys.meta_path.insert(0, Signalled)
sys.argv[1:] = ["predict", "run", "images", "--out", "out"]
main()
"""
ENTRIES = {
    "ltcam": "from ltcam.cli.main import run as main",
    "ltcam-run": "from ltcam_runtime.__main__ import main",
}
FIRST_IMPORTS = [
    *(("ltcam", name, 130) for name in ("typing", "rich.console", "ltcam.cli.process")),
    *(("ltcam-run", name, 130) for name in ("ltcam_runtime.cli", "argparse")),
    *(("ltcam", "typer", 143), ("ltcam-run", "pathlib", 143)),
]


@pytest.mark.parametrize(("program", "imported", "code"), FIRST_IMPORTS)
def test_an_interrupt_in_the_first_imports(program: str, imported: str, code: int, tmp_path: Path) -> None:
    words = [sys.executable, "-c", PROGRAM.format(entry=ENTRIES[program]), imported, str(code - 128)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=50, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (code, f"{program}: interrupted; nothing was written\n")
    # Nothing else is imported before a command answers interrupts.
    assert {name for name in done.stdout.split() if not name.startswith("ltcam")} <= {"__future__"}


def test_an_interrupt_in_an_import_waits_for_its_end(tmp_path: Path) -> None:
    """An import answers an exception with one of its own, or is broken for good."""
    (tmp_path / "slow.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(0.2)\nwhole = True\n"
    )
    program = """
import sys, time
from ltcam.cli.process import prepared
sys.path.insert(0, sys.argv[1])
try:
    with prepared():
        import slow
        time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", slow.whole)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.stdout == "interrupted True\n", done.stderr


def said_by(program: str) -> subprocess.CompletedProcess[str]:
    """What a program says in a process of its own, since it signals itself: a late signal would end the tests."""
    head = """
import os, signal, time
import typer
from ltcam.cli import console
from ltcam.cli.process import prepared
from ltcam_runtime.errors import RunError, Terminated

signal.signal(signal.SIGINT, signal.default_int_handler)

def interrupt(kind):
    os.kill(os.getpid(), kind)
    time.sleep(60)
"""
    words = [sys.executable, "-c", head + program]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)


def test_an_interrupt_that_compiled_code_answers_with_an_error() -> None:
    """As safetensors does, which calls torch from Rust."""
    done = said_by("""
for kind in (signal.SIGINT, signal.SIGTERM):
    for answer in (ValueError, MemoryError, RunError):
        @console.command
        def body():
            try:
                interrupt(kind)
            except KeyboardInterrupt:
                raise answer("could not determine the shape of an object") from None
        try:
            with prepared():
                body()
        except typer.Exit as left:
            print(left.exit_code)
""")
    assert done.stdout.split() == ["130"] * 3 + ["143"] * 3
    assert done.stderr.splitlines() == ["ltcam: interrupted"] * 6


def test_an_error_without_an_interrupt_stays_what_it_is() -> None:
    done = said_by("""
@console.command
def body():
    raise RunError("the weights are damaged")

try:
    with prepared():
        interrupt(signal.SIGTERM)
except Terminated:
    print("terminated")
try:
    with prepared():
        body()
except typer.Exit as left:
    print(left.exit_code)
""")
    assert done.stdout.split() == ["terminated", "2"]
    assert done.stderr == "ltcam: the weights are damaged\n"


def test_signals_are_as_before_afterwards() -> None:
    done = said_by("""
before = [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)]
try:
    with prepared():
        interrupt(signal.SIGTERM)
except Terminated:
    print(before == [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)])
""")
    assert done.stdout == "True\n", done.stderr


def test_what_the_parent_ignores_stays_ignored() -> None:
    done = said_by("""
signal.signal(signal.SIGINT, signal.SIG_IGN)
with prepared():
    os.kill(os.getpid(), signal.SIGINT)
print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)
""")
    assert done.stdout == "True\n", done.stderr


# ---------------------------------------------------------------------------------------- environment


def test_threads_that_wait_do_not_spin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "KMP_BLOCKTIME", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    with module.environment_for(str(tmp_path)):
        assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
        assert os.environ["OMP_NUM_THREADS"] == str(allowed_processors())
    assert "OMP_NUM_THREADS" not in os.environ
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with module.environment_for(str(tmp_path)):
        assert os.environ["OMP_NUM_THREADS"] == "7"  # the user's
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_decoders_do_not_warn_without_a_name(ltcam: Call, trained: Path, data: Path, tmp_path: Path) -> None:
    photos = images_of(data, tmp_path / "photos")
    exif = b"Exif\0\0II*\0\xff\xff\xff\xff garbage"
    Image.open(photos / "00.png").convert("RGB").save(photos / "odd.jpg", exif=exif)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = ltcam("predict", trained, photos, "--out", tmp_path / "out")
    assert result.code == 0
    assert not [warning for warning in caught if "EXIF" in str(warning.message)]


# -------------------------------------------------------------------------------------------- locks


def test_two_trainings_with_one_out(
    ltcam: Call, data: Path, fast: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("train", data, "--out", tmp_path / "run", *fast, "--epochs", "1")
    second = []

    def epoch_line(*_: object) -> str:
        second.append(ltcam(*words, "--seed", "0", "--overwrite"))
        return "an epoch"

    monkeypatch.setattr("ltcam.cli.trained.epoch_line", epoch_line)
    first = ltcam(*words, "--seed", "5")
    assert first.code == 0, first.err
    assert [result.code for result in second] == [2]
    assert "another training writes there right now" in second[0].err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["seed"] == 5
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.slow
def test_the_lock_of_a_dead_process_is_none(
    ltcam: CommandLine, training: tuple[Any, ...], tmp_path: Path
) -> None:
    running = ltcam.start(*training)
    ltcam.until(lambda: any(tmp_path.glob(".run.*.lock")), running)
    running.kill()
    running.communicate()
    assert ltcam(*training, "--seed", "0", "--overwrite").code == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["seed"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
