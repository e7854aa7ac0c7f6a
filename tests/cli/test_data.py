from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tests.cli.conftest import Call, Zoo


def test_counts_as_table_json_and_page(ltcam: Call, data: Path, tmp_path: Path) -> None:
    page = tmp_path / "pages" / "data.html"
    result = ltcam("data", "check", data, "--json", "--page", page)
    assert result.code == 0
    report = json.loads(result.out)
    assert (report["images"], report["layout"]) == (36, "folders")
    assert {c["name"]: (c["images"], c["masks"]) for c in report["classes"]} == {
        "ok": (20, 0),
        "hole": (16, 16),
    }
    assert "<html" in page.read_text(encoding="utf-8")
    again = ltcam("data", "check", data, "--page", page)
    assert again.code == 2
    assert "--overwrite" in again.err
    table = ltcam("data", "check", data, "--page", page, "--overwrite")
    assert table.code == 0
    assert "36 images" in table.out
    assert "hole" in table.out


def test_awkward_images_are_listed_and_do_not_stop_the_others(ltcam: Call, zoo: Zoo, tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(zoo.root, root / "good")
    result = ltcam("data", "check", root, "--json", "--page", tmp_path / "page.html")
    assert result.code == 1
    report = json.loads(result.out)
    assert report["images"] == len(zoo.sizes) + len(zoo.broken)
    reasons = {Path(entry["id"]).name: entry["reason"] for entry in report["unreadable"]}
    assert reasons.keys() == zoo.broken.keys()
    for name, words in zoo.broken.items():
        assert words in reasons[name]
    assert {"height": 1, "width": 1, "images": 1} in report["sizes"]
    assert {"height": 96, "width": 64, "images": 1} in report["sizes"]
    assert "<script>alert" not in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_mask_of_another_size_and_unreadable_mask(
    ltcam: Call, dataset_of: Callable[..., Path], tmp_path: Path
) -> None:
    root = dataset_of(tmp_path / "set", ok=2, hole=3)
    Image.new("L", (95, 64), 255).save(root / "masks" / "hole" / "00.png")
    wrong = json.loads(ltcam("data", "check", root, "--json").out)
    assert [entry["id"] for entry in wrong["masks_wrong_size"]] == ["hole/00.png"]
    (root / "masks" / "hole" / "01.png").write_bytes(b"")
    result = ltcam("data", "check", root, "--json")
    assert result.code == 1
    assert [entry["id"] for entry in json.loads(result.out)["masks_unreadable"]] == ["hole/01.png"]


def test_one_class_is_enough_to_look_and_an_error(
    ltcam: Call, dataset_of: Callable[..., Path], tmp_path: Path
) -> None:
    result = ltcam("data", "check", dataset_of(tmp_path / "set", ok=3, hole=0))
    assert result.code == 1
    assert "error: One kind of image only" in result.out
    assert "ready to train: no" in result.out


@pytest.mark.parametrize("what", ["empty", "missing", "texts", "loose", "manifest", "layout"])
def test_no_data_set(ltcam: Call, picture: Callable[..., Path], tmp_path: Path, what: str) -> None:
    root = tmp_path / "set"
    options: list[str] = []
    if what != "missing":
        root.mkdir()
    if what == "texts":
        (root / "readme.txt").write_text("x")
    if what == "loose":
        picture(root / "a.png", 1)
    if what == "manifest":
        (root / "manifest.csv").write_text("file,kind\na.png,ok\n")
    if what == "layout":
        picture(root / "good" / "a.png", 1)
        options = ["--layout", "kssd"]
    result = ltcam("data", "check", root, *options)
    assert result.code == 2
    assert result.out == ""
    words = {
        "empty": "empty",
        "missing": "no such folder",
        "texts": "file that is no image",
        "loose": "no known layout",
        "manifest": "path,label",
        "layout": "did you mean ksdd",
    }
    assert words[what] in result.err
    assert str(root) in result.err or what == "layout"


def test_synthetic_set_is_whole_seeded_and_not_replaced_unasked(ltcam: Call, tmp_path: Path) -> None:
    options = ("--images", "24", "--surfaces", "ceramic", "--image-size", "96x128")
    out = tmp_path / "new" / "set"
    assert ltcam("data", "synth", out, *options).code == 0
    first = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert len(list(out.rglob("good/**/*.png"))) == 18
    result = ltcam("data", "synth", out, *options)
    assert result.code == 2
    assert "--overwrite" in result.err
    assert ltcam("data", "synth", out, *options, "--overwrite").code == 0
    assert first == {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    assert ltcam("data", "synth", foreign, *options, "--overwrite").code == 2
    assert (foreign / "thesis.txt").read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["foreign", "new"]
    assert json.loads(ltcam("data", "check", out, "--json").out)["images"] == 24


def test_what_was_left_out_is_always_said(
    ltcam: Call, dataset_of: Callable[..., Path], tmp_path: Path
) -> None:
    root = dataset_of(tmp_path / "set", ok=12, hole=12)
    (root / "overview.png").write_bytes((root / "hole" / "00.png").read_bytes())
    (root / "film.mp4").write_bytes(b"x")
    (root / "linked").symlink_to(tmp_path, target_is_directory=True)
    (root / "out").mkdir()
    for name in ("predictions.json", "1.png"):
        (root / "out" / name).write_bytes(b"x")
    result = ltcam("data", "check", root)
    assert result.code == 0
    assert "41 files: 24 images + 12 masks + 5 left out" in result.out
    for words in (
        "1 image outside the class folders",
        "ffmpeg -i VIDEO",
        "1 link to a folder",
        "2 results of ltcam",
    ):
        assert words in result.out
    assert "ready to train: with care" in result.out
    files = json.loads(ltcam("data", "check", root, "--json").out)["files"]
    assert files["there"] == 41 == files["images"] + files["masks"] + files["lists"] + len(files["left_out"])


def test_names_do_not_steer_the_terminal(ltcam: Call, picture: Callable[..., Path], tmp_path: Path) -> None:
    root = tmp_path / "set"
    for kind in ("good", "[red]bad\x1b[31m"):
        picture(root / kind / "a.png", 1)
    for name in ("\x1b[31mRED\x1b]0;pwned\a.png", "\udcff.png", "new\nline.png"):
        (root / "good" / name).write_bytes(b"junk")
    result = ltcam("data", "check", root, "--page", tmp_path / "page.html")
    assert result.code == 1
    assert not set("\x1b\a") & set(result.out + result.err)
    for words in ("\\x1b[31mRED\\x1b]0;pwned\\x07.png", "\\udcff.png", "new\\nline.png", "[red]bad\\x1b[31m"):
        assert words in result.out


@pytest.mark.parametrize(
    ("good", "bad"),
    [("0", "1"), ("IO", "NIO"), ("Gut", "Schlecht"), ("OK_parts", "NG_parts"), ("no_defect", "defect")],
)
def test_usual_pairs_of_folders(
    good: str, bad: str, ltcam: Call, picture: Callable[..., Path], tmp_path: Path
) -> None:
    for kind, seed in ((good, 0), (bad, 50)):
        for number in range(48):
            picture(tmp_path / "set" / kind / f"{number}.png", seed + number)
    report = json.loads(ltcam("data", "check", tmp_path / "set", "--json").out)
    assert (report["ok_labels"], report["readiness"]["ready"]) == ([good], "yes")


def test_ok_is_asked_for_with_the_line_that_names_it(
    ltcam: Call, picture: Callable[..., Path], tmp_path: Path
) -> None:
    root = tmp_path / "set"
    for kind in ("positive", "negative"):
        for number in range(12):
            picture(root / kind / f"part{number // 2}_{number % 2}.png", number + 50 * (kind == "positive"))
    result = ltcam("data", "check", root)
    assert result.code == 2
    assert f"  ltcam data check {root} --ok negative\n" in result.err
    assert "positive/  12 images" in result.err
    found = ltcam("data", "check", root, "--ok", "negative")
    assert found.code == 0
    assert "taken for OK: negative" in found.out
    assert "12 parts with 2 images each" in found.out
    grouped = json.loads(
        ltcam("data", "check", root, "--ok", "negative", "--group-by", r"(.*)_", "--json").out
    )
    assert grouped["groups"] == 12


def test_a_page_is_whole_or_absent(
    ltcam: Call, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.html"
    page.write_text("before")
    monkeypatch.setattr("os.fsync", refuse_space)
    result = ltcam("data", "check", data, "--page", page, "--overwrite")
    assert result.code == 2
    assert "no space left" in result.err.lower() or "disk is full" in result.err.lower()
    assert page.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def refuse_space(_descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_read_error_of_the_system_names_its_file(ltcam: Call, data: Path, tmp_path: Path) -> None:
    """The memory of a process reads as a bad sector does: with an input/output error."""
    root = tmp_path / "set"
    shutil.copytree(data, root)
    (root / "list.csv").write_text("path,label\ngood/00.png,ok\nhole/00.png,hole\nmem/mem,ok\n")
    (root / "mem").mkdir()
    (root / "mem" / "mem").symlink_to("/proc/self/mem")
    result = ltcam("data", "check", root / "list.csv")
    assert result.code == 2
    assert "row 4: path mem/mem leads out" in result.err
    assert ltcam("data", "check", root, "--json").code == 0
