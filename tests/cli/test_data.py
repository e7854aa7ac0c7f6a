from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image


def test_counts_as_table_json_and_page(ltcam: Callable[..., object], data: Path, tmp_path: Path) -> None:
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


def test_awkward_images_are_listed_and_do_not_stop_the_others(
    ltcam: Callable[..., object], zoo: object, tmp_path: Path
) -> None:
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
    ltcam: Callable[..., object], dataset_of: Callable[..., Path], tmp_path: Path
) -> None:
    root = dataset_of(tmp_path / "set", ok=2, hole=3)
    Image.new("L", (95, 64), 255).save(root / "masks" / "hole" / "00.png")
    wrong = json.loads(ltcam("data", "check", root, "--json").out)
    assert [entry["id"] for entry in wrong["masks_wrong_size"]] == ["hole/00.png"]
    (root / "masks" / "hole" / "01.png").write_bytes(b"")
    result = ltcam("data", "check", root, "--json")
    assert result.code == 1
    assert [entry["id"] for entry in json.loads(result.out)["masks_unreadable"]] == ["hole/01.png"]


def test_one_class_is_enough_to_look(
    ltcam: Callable[..., object], dataset_of: Callable[..., Path], tmp_path: Path
) -> None:
    assert ltcam("data", "check", dataset_of(tmp_path / "set", ok=3, hole=0)).code == 0


@pytest.mark.parametrize("what", ["empty", "missing", "texts", "loose", "manifest", "layout"])
def test_no_data_set(
    ltcam: Callable[..., object], picture: Callable[..., Path], tmp_path: Path, what: str
) -> None:
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
        "texts": "no images",
        "loose": "no known layout",
        "manifest": "path,label",
        "layout": "did you mean ksdd",
    }
    assert words[what] in result.err
    assert str(root) in result.err or what == "layout"


def test_synthetic_set_is_whole_seeded_and_not_replaced_unasked(
    ltcam: Callable[..., object], tmp_path: Path
) -> None:
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
