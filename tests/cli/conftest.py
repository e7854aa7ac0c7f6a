"""A tiny data set, a tiny run, and two ways to call the command line: in this process, and as a process."""

from __future__ import annotations

import io
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ltcam.cli.main import run as main
from ltcam_runtime.folders import FILES_FILE

SIZE = (64, 96)
FAST = (
    *("--backbone", "test_resnet", "--weights", "random", "--image-size", "64x96", "--epochs", "3"),
    *("--precision", "float32", "--memory-format", "contiguous"),  # the same on every machine
)


@dataclass(frozen=True)
class Result:
    """Exit code and what was printed."""

    code: int
    out: str
    err: str


Call = Callable[..., Result]


def left_in(folder: Path) -> list[str]:
    """Names of what is there, but for the list of files that a folder of results keeps."""
    return sorted(path.name for path in folder.iterdir() if path.name != FILES_FILE)


def call(*arguments: object) -> Result:
    """The command line in this process: what a process would do, without seconds of imports."""
    out, err = io.StringIO(), io.StringIO()
    threads = torch.get_num_threads()
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
    finally:
        torch.set_num_threads(threads)
    return Result(int(left.value.code or 0), out.getvalue(), err.getvalue())


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def start(*arguments: object, before: Sequence[str] = ()) -> subprocess.Popen[str]:
    """The command line as a process; `before` are words that start it."""
    command = [*before, sys.executable, "-m", "ltcam.cli", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=heeding_interrupts,  # noqa: PLW1509  # one call of the system, safe beside threads
    )


def heeding_interrupts() -> None:
    """Tests may run in the background of a script, where SIGINT is ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """As at a terminal, in this process too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def wait_for(there: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 240) -> None:
    """Until something is there; the process must still run then."""
    end = time.monotonic() + seconds
    while not there():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            pytest.fail(f"ended or too slow before it was time: {process.communicate()}")
        time.sleep(0.01)


class CommandLine:
    """`ltcam`, called in this process, or started as a process and watched."""

    __call__ = staticmethod(call)
    start = staticmethod(start)
    until = staticmethod(wait_for)


@pytest.fixture(scope="session")
def ltcam() -> CommandLine:
    return CommandLine()


@pytest.fixture
def refuses(tmp_path: Path) -> Callable[..., Result]:
    """Call a command that is refused in a sentence and leaves nothing."""

    def refused(said: str, *words: object) -> Result:
        before = left_in(tmp_path)
        result = call(*words, "--out", tmp_path / "out")
        assert result.code == 2
        assert said in result.err
        assert "unexpected" not in result.err
        assert "Traceback" not in result.err
        assert left_in(tmp_path) == before
        return result

    return refused


@pytest.fixture
def training(data: Path, tmp_path: Path) -> tuple[Any, ...]:
    """The words of a training of a few seconds into the folder `run`."""
    return ("train", data, "--out", tmp_path / "run", *FAST)


@pytest.fixture(scope="session")
def fast() -> tuple[str, ...]:
    """Options of a training of a few seconds."""
    return FAST


def paint(seed: int, *, hole: bool = False) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A noisy grey picture and its mask, both (64, 96); with a dark square if asked for."""
    rng = np.random.default_rng(seed)
    picture = rng.normal(150, 20, SIZE).clip(0, 255).astype(np.uint8)
    mask = np.zeros(SIZE, np.uint8)
    if hole:
        top, left = int(rng.integers(4, 40)), int(rng.integers(4, 70))
        picture[top : top + 18, left : left + 18] //= 6
        mask[top : top + 18, left : left + 18] = 255
    return picture, mask


def write_picture(path: Path, seed: int, *, hole: bool = False, mask: Path | None = None) -> Path:
    picture, truth = paint(seed, hole=hole)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).convert("RGB").save(path)
    if mask is not None:
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(truth).save(mask)
    return path


@pytest.fixture(scope="session")
def picture() -> Callable[..., Path]:
    return write_picture


def write_dataset(root: Path, ok: int, hole: int) -> Path:
    for number in range(ok):
        write_picture(root / "good" / f"{number:02}.png", number)
    for number in range(hole):
        name = f"hole/{number:02}.png"
        write_picture(root / name, 100 + number, hole=True, mask=root / "masks" / name)
    return root


@pytest.fixture(scope="session")
def dataset_of() -> Callable[..., Path]:
    """Write a data set of so many OK and defective images, with masks."""
    return write_dataset


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 images in plain folders, enough defective ones for a validation part. Not to be changed."""
    return write_dataset(tmp_path_factory.mktemp("data") / "set", ok=20, hole=16)


@pytest.fixture(scope="session")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder. Not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "run"
    result = call("train", data, "--out", out, *FAST)
    assert result.code == 0, result.err
    return out


@pytest.fixture(scope="session")
def quick(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of `ltcam quick`. Not to be changed."""
    out = tmp_path_factory.mktemp("quick") / "run"
    words = ("--backbone", "test_resnet", "--weights", "random", "--image-size", "64x96")
    result = call("quick", data, "--out", out, *words)
    assert result.code == 0, result.err
    return out


@pytest.fixture
def run_copy(trained: Path, tmp_path: Path) -> Path:
    """A run folder to damage."""
    return Path(shutil.copytree(trained, tmp_path / "run-copy"))


def png_header(width: int, height: int) -> bytes:
    """A PNG file that announces a size, with hardly any data behind it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100)))


@dataclass(frozen=True)
class Zoo:
    """Files of every awkward kind in one folder.

    Attributes:
        root: the folder.
        sizes: upright (height, width) of those that can be read, by name.
        broken: what the reason of each of the others must say, by name.
    """

    root: Path
    sizes: dict[str, tuple[int, int]]
    broken: dict[str, str]


HOSTILE = (
    "<script>alert(1)<script>.png",
    "=cmd|' C calc'!A0.png",
    "two words & more;$(touch x).png",
    "größe 测试 🔩.png",
    "-rf.png",
    "dots..png",
    "line\nbreak.png",
    "escape\x1b[31m.png",
    "con.png",
)


def awkward(root: Path) -> Zoo:
    root.mkdir(parents=True)
    grey, _ = paint(1, hole=True)
    rgb = Image.fromarray(grey).convert("RGB")
    rgb.save(root / "rgb.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(root / "sixteen.png")
    rgb.quantize(32).save(root / "palette.png")
    rgb.convert("CMYK").save(root / "cmyk.jpg")
    alpha = rgb.convert("RGBA")
    alpha.putalpha(Image.fromarray(255 - grey))
    alpha.save(root / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, to be turned by a quarter
    rgb.save(root / "rotated.jpg", exif=exif)
    rgb.resize((1, 1)).save(root / "pixel.png")
    height, width = SIZE
    sizes = dict.fromkeys(("rgb.png", "sixteen.png", "palette.png", "cmyk.jpg", "alpha.png"), SIZE)
    sizes |= {"rotated.jpg": (width, height), "pixel.png": (1, 1)}
    for number, name in enumerate(HOSTILE):
        write_picture(root / name, 200 + number, hole=True)
        sizes[name] = SIZE
    rgb.save(root / "whole.jpg", quality=95)
    content = (root / "whole.jpg").read_bytes()
    (root / "whole.jpg").unlink()
    (root / "truncated.jpg").write_bytes(content[: len(content) // 2])
    (root / "text.png").write_text("no picture")
    (root / "empty.png").write_bytes(b"")
    (root / "huge.png").write_bytes(png_header(40_000, 40_000))
    broken = {
        "truncated.jpg": "cut short",
        "text.png": "not an image file",
        "empty.png": "empty",
        "huge.png": "40000 x 40000",
    }
    return Zoo(root, sizes, broken)


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return awkward(tmp_path_factory.mktemp("zoo") / "images")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a small tmpfs, given mount options such as `size=64k` or `ro`."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if os.geteuid() != 0 or shutil.which("mount") is None:
            pytest.skip("only root can mount a small disk")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"mounting a small disk is refused here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)
