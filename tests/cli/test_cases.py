"""Every small input that once broke the product gives what its README expects.

The inputs stand in `tests/cases`. Where a folder `shared/cases` lies in or beside the repository, or `LTCAM_CASES`
names one, the originals there are taken too, and each of them needs a test here.
"""

from __future__ import annotations

import csv
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
import warnings
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.cli.conftest import CommandLine

from ltcam.data.layouts import read_dataset
from ltcam.data.truth import read_truth
from ltcam_runtime.images import read_image
from ltcam_runtime.mask_reading import load_mask

Call = Callable[..., Any]

REPOSITORY = Path(__file__).resolve().parents[2]
COPIES = REPOSITORY / "tests" / "cases"
ORIGINALS = [
    Path(place)
    for place in (
        os.environ.get("LTCAM_CASES", "/nowhere"),
        REPOSITORY / "shared" / "cases",
        REPOSITORY.parent / "shared" / "cases",
    )
    if Path(place).is_dir()
]


@pytest.fixture(
    scope="module",
    params=[
        "copies",
        pytest.param(
            "originals",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(
                    not ORIGINALS, reason="there is no folder shared/cases, and LTCAM_CASES names none"
                ),
            ],
        ),
    ],
)
def cases(request: pytest.FixtureRequest) -> Path:
    return COPIES if request.param == "copies" else ORIGINALS[0]


@pytest.fixture
def case(request: pytest.FixtureRequest, cases: Path, tmp_path: Path) -> Path:
    """A copy of the case that the test is named after, to work in."""
    name = request.node.originalname.removeprefix("test_")
    [folder] = [entry for entry in cases.iterdir() if entry.name.lower() == name]
    return Path(shutil.copytree(folder, tmp_path / folder.name))


@pytest.fixture
def check(ltcam: Call, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def checked(folder: Path, *words: object, code: int = 0) -> dict[str, Any]:
        result = ltcam("data", "check", folder, "--json", *words)
        assert result.code == code, result.out + result.err
        values: dict[str, Any] = json.loads(result.out)
        files = values["files"]
        taken = files["images"] + files["masks"] + files["lists"]
        assert taken + len(files["left_out"]) == files["there"]
        return values

    return checked


@pytest.fixture
def script(
    ltcam: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[str]]:
    """Run a case's program as `python PROGRAM WORDS` would, and give its lines."""

    def run(program: Path, *words: object) -> list[str]:
        for name in ("common",):
            sys.modules.pop(name, None)
        monkeypatch.setattr(sys, "argv", [str(program), *map(str, words)])
        monkeypatch.setattr(sys, "path", list(sys.path))
        with warnings.catch_warnings():
            runpy.run_path(str(program), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run


def counts(values: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """(images, masks) by class."""
    return {entry["name"]: (entry["images"], entry["masks"]) for entry in values["classes"]}


def titles(values: dict[str, Any]) -> str:
    return json.dumps(values["findings"]) if "findings" in values else json.dumps(values)


# ------------------------------------------------------------------------------------ masks and labels


def test_every_case_has_a_test(cases: Path) -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    names = {entry.stem.lower() for entry in cases.iterdir()} - {"__pycache__", "readme", "common"}
    assert names <= tested


def test_bh01(case: Path, check: Any) -> None:
    assert counts(check(case / "photos")) == {"ok": (12, 0), "scratch": (10, 10)}


def test_bh01b(case: Path, check: Any) -> None:
    values = check(case / "photos")
    assert counts(values) == {"ok": (12, 0), "scratch": (10, 10)}
    assert values["groups"] == 3


def test_bh01c(case: Path, check: Any) -> None:
    values = check(case / "photos")
    assert counts(values) == {"ok": (8, 0), "scratch": (8, 8)}
    assert values["groups"] == 16


def test_bh02(case: Path, check: Any, ltcam: Call, trained: Path) -> None:
    photos = case / "photos"
    before = counts(check(photos))
    assert (
        ltcam("predict", trained, photos, "--out", photos / "results", "--save", "heatmaps,overlays").code
        == 0
    )
    values = check(photos)
    assert counts(values) == before == {"ok": (6, 0), "scratch": (14, 0)}
    assert {entry["reason"] for entry in values["files"]["left_out"]} == {"results of ltcam"}


def test_bh06(case: Path, check: Any, script: Any, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    script(case / "make.py", photos)
    names = [path.name for path in (photos / "masks").rglob("*.png")]
    assert names
    assert not any(unicodedata.is_normalized("NFC", name) for name in names)
    assert counts(check(photos)) == {"ok": (8, 0), "scratch": (8, 8)}
    values = check(photos / "list.csv")
    assert counts(values) == {"ok": (8, 0), "scratch": (8, 0)}
    assert values["unreadable"] == []


def test_bh07(case: Path, check: Any) -> None:
    assert counts(check(case / "photos")) == {"ok": (12, 0), "Scratch": (10, 0)}


def test_bh09(case: Path, check: Any) -> None:
    assert len(check(case / "photos")["soft_masks"]) == 6
    drawn = []
    for sample in read_dataset(case / "photos").samples:
        if isinstance(sample.mask, Path):
            grey = cv2.imread(str(sample.mask), cv2.IMREAD_GRAYSCALE)
            assert grey is not None
            truth = read_truth(sample, grey.shape)
            assert truth is not None
            union = truth | (grey > 127)
            drawn.append((truth & (grey > 127)).sum() / union.sum())
    assert len(drawn) == 6
    assert min(drawn) == 1.0


def test_bh11(case: Path, check: Any) -> None:
    assert counts(check(case / "photos")) == {"ok": (8, 0), "scratch": (8, 0)}


def test_bh12(case: Path, check: Any, ltcam: Call) -> None:
    values = check(case / "photos")
    assert counts(values) == {"ok": (6, 0), "scratch": (6, 0)}
    assert len(values["files"]["left_out"]) == 12
    said = ltcam("data", "check", case / "photos").out
    assert "12 images outside the class folders" in said


def test_bh12b(case: Path, check: Any) -> None:
    assert counts(check(case / "photos")) == {"ok": (6, 0), "mask": (6, 0), "scratch": (6, 0)}


LISTS = {
    "bool": {"ok": 1, "True": 1},
    "float": {"ok": 1, "1.0": 1},
    "noneok": {"ok": 1, "defect": 1},
    "label00": {"ok": 1, "01": 1},
    "label0num": {"ok": 1, "1": 1, "2": 1},
    "quoted_newline": {"ok": 1, "ng": 1},
    "crlf_semicolon_bom": {"ok": 1, "NG": 1},
    "upper": {"ok": 1, "Scratch": 2},
}
PLAIN = (
    *("plain", "cr", "comma dec", "emptylines", "header comment", "index col", "mask nan", "okspace", "sep"),
    *("tab", "trailing"),
)
REFUSED = {"dot": "row 3", "dupcase": "row 3", "winabs": "absolute"}
WITH_ERRORS = {
    "semipath": "there is no such file",
    "utf16": "no defective image",
    "splitnames": "the training side has no defective image",
}


def test_bh13(case: Path, check: Any, ltcam: Call) -> None:
    tested = {*LISTS, *PLAIN, *REFUSED, *WITH_ERRORS}
    assert {path.stem for path in case.glob("*.csv")} == tested
    for name, expected in {**LISTS, **{name: {"ok": 1, "ng": 1} for name in PLAIN}}.items():
        found = counts(check(case / f"{name}.csv"))
        assert {label: images for label, (images, _) in found.items()} == expected, name
    for name, words in REFUSED.items():
        result = ltcam("data", "check", case / f"{name}.csv")
        assert (result.code, words in result.err) == (2, True), name
    for name, words in WITH_ERRORS.items():
        result = ltcam("data", "check", case / f"{name}.csv")
        assert (result.code, words in result.out) == (1, True), name


def test_bh27(case: Path, check: Any) -> None:
    values = check(case / "photos")
    assert counts(values) == {"ok": (3, 0), "scratch": (3, 3)}
    assert values["masks_unreadable"] == []


# ----------------------------------------------------------------------------------- files and pixels


def test_bh04(case: Path, ltcam: Call, script: Any, tmp_path: Path) -> None:
    photos, run = tmp_path / "photos", tmp_path / "r"
    script(case / "make.py", photos)
    small = ("--weights", "random", "--epochs", "1", "--image-size", "32x32", "--batch-size", "8")
    result = ltcam("train", photos, "--out", run, "--backbone", "resnet10t", *small)
    assert result.code == 0, result.err
    assert "pr\\udcfcf.png" in (run / "split.csv").read_text()
    result = ltcam("evaluate", run, photos, "--split", "all", "--out", tmp_path / "m", "--bootstrap", "10")
    assert result.code == 0, result.err
    assert (tmp_path / "m" / "metrics.json").is_file()


def test_bh14(case: Path, cases: Path, ltcam: Call, trained: Path, tmp_path: Path) -> None:
    result = ltcam("predict", trained, cases / "BH09" / "photos", "--out", tmp_path / "p", "--json")
    assert result.code == 0, result.err
    values = json.loads(result.out)
    assert values["inspected"] == 12
    assert [(entry["count"], entry["reason"]) for entry in values["left_out"]] == [
        (6, "masks of other images")
    ]


def test_bh15(case: Path) -> None:
    truth = np.load(case / "truth_000.npy").astype(np.float64)
    found = read_image(case / "photos" / "scratch" / "000.tif")[..., 0].astype(np.float64)
    assert np.corrcoef(truth.ravel(), found.ravel())[0, 1] > 0.999
    drawn = load_mask(next(iter((case / "photos").rglob("*mask*")), case / "photos" / "scratch" / "000.tif"))
    assert drawn.marks.shape == truth.shape


def test_png_crc(case: Path, ltcam: Call, trained: Path, data: Path, tmp_path: Path) -> None:
    shutil.copy(data / "hole" / "00.png", case)
    result = ltcam("predict", trained, case, "--out", tmp_path / "p", "--json")
    assert result.code == 1
    values = json.loads(result.out)
    assert values["inspected"] == 1
    assert len(values["failed"]) == 3
    assert all("checksum" in entry["reason"] for entry in values["failed"])


def test_progressive_bomb(cases: Path, ltcam: Call, trained: Path, data: Path, tmp_path: Path) -> None:
    bomb = cases / "progressive_bomb.jpg"
    started = time.process_time()
    result = ltcam("predict", trained, bomb, data / "hole" / "00.png", "--out", tmp_path / "p", "--json")
    assert result.code == 1
    assert [entry["image"] for entry in json.loads(result.out)["failed"]] == ["progressive_bomb.jpg"]
    assert time.process_time() - started < 20, "it was decoded"


def test_longside(case: Path, ltcam: Call, trained: Path, data: Path, script: Any) -> None:
    folder = case.parent / "folder"
    folder.mkdir()
    shutil.copy(data / "hole" / "00.png", folder)
    script(case / "make.py", folder)
    result = ltcam("predict", trained, folder, "--out", case.parent / "p", "--json")
    assert result.code == 1
    values = json.loads(result.out)
    assert values["inspected"] == 1
    assert [entry["image"] for entry in values["failed"]] == ["scan.tif"]


def test_loops(case: Path, ltcam: Call, trained: Path, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    (folder / "a").mkdir(parents=True)
    shutil.copy(data / "hole" / "00.png", folder / "a" / "good.png")
    for link, to in (("l1", "."), ("l2", "."), ("a/l3", "..")):
        (folder / link).symlink_to(to)
    result = ltcam("predict", trained, f"{folder}/**/*.png", "--out", tmp_path / "p", "--json")
    assert result.code == 0
    assert json.loads(result.out)["inspected"] == 1


EVERY_READER = [
    "predict",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("train", "check", "evaluate")),
]


@pytest.fixture
def reading(
    trained: Path, fast: tuple[str, ...], tmp_path: Path
) -> Callable[[str, Path], tuple[object, ...]]:
    """The words of a command that reads a folder."""
    measured = ("--split", "all", "--out", tmp_path / "e", "--bootstrap", "10")

    def words(command: str, folder: Path) -> tuple[object, ...]:
        return {
            "predict": ("predict", trained, folder, "--out", tmp_path / "p"),
            "train": ("train", folder, "--out", tmp_path / "r", *fast, "--epochs", "1"),
            "check": ("data", "check", folder),
            "evaluate": ("evaluate", trained, folder, *measured),
        }[command]

    return words


@pytest.mark.parametrize("command", EVERY_READER)
def test_membomb(case: Path, command: str, reading: Call, ltcam: CommandLine, data: Path) -> None:
    tmp_path = case.parent
    folder = Path(shutil.copytree(data, tmp_path / "d"))
    shutil.copy(case / "m_bomb.png", folder / "hole")
    limited = ["bash", "-c", 'ulimit -v 6000000; exec "$@"', "bash"]
    done = ltcam.start(*reading(command, folder), before=limited)
    out, err = done.communicate(timeout=300)
    assert "MemoryError" not in out + err
    if done.returncode == 0:  # to be looked at, a picture takes less than to be inspected
        assert command in {"train", "check"}
    else:
        assert done.returncode == 1, out + err
        assert re.search(r"m_bomb\.png: .*memory", out + err)
    assert command != "predict" or len(list((tmp_path / "p" / "overlays").rglob("*.jpg"))) == 36
    assert command != "train" or (tmp_path / "r" / "run.json").is_file()


@pytest.mark.parametrize("command", EVERY_READER)
@pytest.mark.skipif(shutil.which("gcc") is None, reason="the disk's error is made by a C library")
def test_eio(case: Path, command: str, reading: Call, ltcam: CommandLine, data: Path) -> None:
    tmp_path = case.parent
    library = tmp_path / "eio.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, case / "eio.c", "-ldl"], check=True)
    folder = Path(shutil.copytree(data, tmp_path / "d"))
    shutil.copy(data / "good" / "00.png", folder / "good" / "EIO.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LD_PRELOAD", str(library))
        done = ltcam.start(*reading(command, folder))
    out, err = done.communicate(timeout=300)
    assert done.returncode == 1, out + err
    assert re.search(r"EIO\.png: cannot be read", out + err)
    assert "fault in ltcam" not in out + err


def test_term(case: Path, ltcam: Call, data: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(data, tmp_path / "d"))
    (folder / "good" / "\x1b[31mRED\x1b]0;pwned\a.png").write_text("junk")
    (folder / "good" / os.fsdecode(b"\xff.png")).write_text("junk")
    result = ltcam("data", "check", folder)
    assert result.code == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", result.out + result.err)
    (result.out + result.err).encode()


def test_silent_skip(case: Path, ltcam: Call, trained: Path, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    for name in ("a", "b"):
        shutil.copytree(data / "hole", folder / name)
    (folder / "linked").symlink_to(data / "good")
    (folder / "b").chmod(0)
    try:
        result = ltcam("predict", trained, folder, "--out", tmp_path / "p", "--json")
    finally:
        (folder / "b").chmod(0o755)
    values = json.loads(result.out)
    assert [(entry["count"], entry["reason"][:5]) for entry in values["left_out"]] == [(1, "links")]
    closed = os.geteuid() != 0  # root may list everything
    assert result.code == int(closed)
    assert values["inspected"] == (16 if closed else 32)
    assert [entry["image"] for entry in values["failed"]] == ([str(folder / "b")] if closed else [])


# ---------------------------------------------------------------------------------------------- engine


def test_bh20(case: Path, cases: Path, script: Any) -> None:
    lines = script(beside_common(case, cases) / "repro.py")
    assert [line for line in lines if "Error" in line] == [line for line in lines if " int " in line]
    assert sum("(2, 64, 48)" in line for line in lines) == 3


def test_bh22(case: Path, cases: Path, script: Any) -> None:
    lines = script(beside_common(case, cases) / "repro.py")
    assert re.findall(r"max: ([\d.]+)", "\n".join(lines)) == ["0.00"] * 3


def test_bh23(case: Path, cases: Path, script: Any) -> None:
    lines = script(beside_common(case, cases) / "repro.py")
    assert "map difference 0.00" in lines[0]
    assert not [line for line in lines if "Error" in line]


def test_bh25(case: Path, cases: Path, script: Any) -> None:
    lines = script(beside_common(case, cases) / "repro.py")
    assert len(lines) == 8
    assert all(float(line.rsplit(" ", 1)[1]) < 1e-5 for line in lines)


def test_bh26(case: Path, script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = script(case / "repro.py")
    assert len(lines) == 5
    assert all(line.endswith("Otsu 4 largest value in the PNG 65535") for line in lines)


def beside_common(case: Path, cases: Path) -> Path:
    shutil.copy(cases / "common.py", case.parent)
    return case


# ------------------------------------------------------------------------------------------- processes


def test_bh17(case: Path, ltcam: Call, run_copy: Path, data: Path, tmp_path: Path) -> None:
    values = json.loads((run_copy / "run.json").read_text())
    values["verdict"]["threshold"] = 1.0
    (run_copy / "run.json").write_text(json.dumps(values))
    small = ("--epochs", "1", "--image-size", "32x32", "--trust-changed-run")
    result = ltcam("distill", run_copy, data, "--out", tmp_path / "s", *small)
    assert result.code == 2
    assert "no mask to learn from" in result.err
    assert "epoch" not in result.err
    assert not (tmp_path / "s").exists()


def test_autoarith(
    case: Path, ltcam: Call, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--seed", "3", "--image-size", "64x64", "--epochs", "2", "--batch-size", "8", "--classic")
    found = set()
    for number in range(3):
        (tmp_path / f"home{number}").mkdir()
        monkeypatch.setenv("HOME", str(tmp_path / f"home{number}"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"home{number}" / "cache"))
        out = tmp_path / f"d{number}"
        result = ltcam(
            "train", data, "--out", out, "--backbone", "test_resnet", "--weights", "random", *words
        )
        assert result.code == 0, result.err
        found.add(sha256((out / "weights.safetensors").read_bytes()).hexdigest())
    assert len(found) == 1


def test_csv(case: Path, ltcam: Call, data: Path, fast: tuple[str, ...], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(data, tmp_path / "d"))
    (folder / "good" / "00.png").rename(folder / "=cmd|calc!A0.png")
    rows = [("path", "label"), ("=cmd|calc!A0.png", "ok")]
    rows += [(f"good/{path.name}", "ok") for path in (folder / "good").iterdir()]
    rows += [(f"hole/{path.name}", "+1+1") for path in (folder / "hole").iterdir()]
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert ltcam("train", folder, "--out", tmp_path / "r", *fast).code == 0
    measured = ("--split", "all", "--out", tmp_path / "e", "--bootstrap", "10")
    assert ltcam("evaluate", tmp_path / "r", folder, *measured).code == 0
    assert ltcam("predict", tmp_path / "r", folder, "--out", tmp_path / "p").code == 0
    tables = [*tmp_path.glob("[rep]/*.csv")]
    assert len(tables) >= 4
    for table in tables:
        with table.open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert cells
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))], table
        assert not [cell for cell in cells if cell.startswith("-") and not re.fullmatch(r"-[\d.e-]+", cell)]


@pytest.mark.slow
@pytest.mark.parametrize("milliseconds", [200, 250, 300, 350])
def test_early_ctrlc(case: Path, ltcam: CommandLine, trained: Path, data: Path, milliseconds: int) -> None:
    running = ltcam.start("predict", trained, data, "--out", case.parent / "p")
    time.sleep(milliseconds / 1000)
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=120)[1]
    if running.returncode == -signal.SIGINT or "<frozen" in said:
        pytest.skip("interrupted before Python itself was up")
    assert running.returncode in (0, 130)
    assert "Traceback" not in said
    assert "unexpected" not in said


def test_overwrite(case: Path, ltcam: Call, trained: Path, data: Path, tmp_path: Path) -> None:
    words = ("predict", trained, data / "hole" / "00.png", "--out", tmp_path / "p")
    assert ltcam(*words).code == 0
    (tmp_path / "p" / "notes.txt").write_text("mine")
    (tmp_path / "p" / "photos").mkdir()
    (tmp_path / "p" / "photos" / "a.png").write_bytes((data / "hole" / "01.png").read_bytes())
    result = ltcam(*words, "--overwrite")
    assert (tmp_path / "p" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "p" / "photos" / "a.png").is_file()
    assert result.code in (0, 2)
    assert result.code == 0 or "notes.txt" in result.err


def test_pagehalf(case: Path, ltcam: Call, data: Path, small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("size=16k")
    result = ltcam("data", "check", data, "--page", disk / "d.html")
    assert result.code == 2
    assert "disk is full" in result.err
    assert list(disk.iterdir()) == []


@pytest.mark.slow
def test_two_trains(case: Path, ltcam: CommandLine, training: tuple[Any, ...], tmp_path: Path) -> None:
    first = ltcam.start(*training, "--seed", "5")
    ltcam.until(lambda: any(tmp_path.glob(".run.*.lock")), first)
    second = ltcam(*training, "--seed", "0")
    out, err = first.communicate(timeout=300)
    assert first.returncode == 0, out + err
    assert second.code == 2
    assert "another training writes there right now" in second.err
    values = json.loads((tmp_path / "run" / "run.json").read_text())
    assert values["seed"] == 5
    assert (
        values["weights_sha256"]
        == sha256((tmp_path / "run" / "weights.safetensors").read_bytes()).hexdigest()
    )
