from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import left_in

from ltcam.cam.methods import registry

Call = Callable[..., Any]
QUICK = ("--bootstrap", "20")


def strict(text: str) -> Any:
    """Parsed JSON; NaN and Infinity, which are none, are refused."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_table_files_and_json(ltcam: Call, trained: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = ltcam("compare", trained, data, "--out", out, *QUICK, "--json", "--percentile", "20")
    assert result.code == 0, result.err
    assert left_in(out) == ["compare.csv", "compare.json", "compare.md", "report.html"]
    comparison = strict((out / "compare.json").read_text(encoding="utf-8"))
    assert strict(result.out) == comparison
    assert comparison["split"] == "test side of the run"
    assert comparison["images"]["measured"] == comparison["images"]["defective"] > 0
    assert {row["percentile"] for row in comparison["rows"] if row["method"].startswith("LT")} == {20}
    again = ltcam("compare", trained, data, "--out", out, *QUICK)
    assert again.code == 2
    assert "--overwrite" in again.err
    table = ltcam("compare", trained, data, "--out", out, *QUICK, "--overwrite", "--split", "all")
    assert table.code == 0, table.err
    assert "LTGrad-CAM++" in table.out
    assert "XGrad-CAM" in table.out
    assert strict((out / "compare.json").read_text())["images"]["measured"] == 16


def test_wrong_files_are_listed_with_exit_code_1(
    ltcam: Call, trained: Path, data: Path, tmp_path: Path
) -> None:
    """An image that cannot be read, and a hostile name: listed, escaped, and the others are measured."""
    root = Path(shutil.copytree(data, tmp_path / "<b>set"))
    nasty = "<script>alert(1)<script>.png"
    (root / "hole" / nasty).write_bytes(b"no image")
    shutil.copy(root / "masks" / "hole" / "00.png", root / "masks" / "hole" / nasty)
    out = tmp_path / "out"
    result = ltcam("compare", trained, root, "--out", out, *QUICK, "--split", "all")
    assert result.code == 1
    assert f"not measured: hole/{nasty}: not an image file" in result.err
    comparison = strict((out / "compare.json").read_text(encoding="utf-8"))
    assert [each["image"] for each in comparison["failed"]] == [f"hole/{nasty}"]
    assert comparison["images"] == {"defective": 17, "with_mask": 17, "measured": 16}
    for file in ("report.html", "compare.md"):
        text = (out / file).read_text(encoding="utf-8")
        assert "<script>alert" not in text
        assert "<b>set" not in text
        assert "alert(1)" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--split", "half"], "--split 'half'"),
        (["--percentile", "101"], "--percentile"),
        (["--device", "abacus"], "--device"),
        (["--methods", "no-cam"], "--methods"),
        (["--methods", "os:path"], "--methods os:path"),
        (["--methods", ":x"], "--methods :x"),
        (["--methods", ".x:y"], "--methods .x:y"),
        (["--layout", "ksdd"], "ksdd"),
    ],
)
def test_refused_settings_leave_nothing(
    refuses: Call, trained: Path, data: Path, words: list[str], said: str
) -> None:
    refuses(said, "compare", trained, data, *words)


def test_data_without_masks_are_refused(ltcam: Call, trained: Path, data: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(data, tmp_path / "set"))
    shutil.rmtree(root / "masks")
    result = ltcam("compare", trained, root, "--out", tmp_path / "out")
    assert result.code == 2
    assert "has a mask" in result.err
    assert left_in(tmp_path) == ["set"]


def test_own_methods_are_named_by_their_module(
    ltcam: Call, trained: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_methods.py").write_text(
        "from ltcam.cam import GradientMethod\n"
        "OWN = GradientMethod(\n"
        '    name="own", title="Own-CAM", source="here", sentence="gradients", weights=lambda a, g: g\n'
        ")\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))  # forgotten again afterwards
    out = tmp_path / "out"
    done = ltcam("compare", trained, data, "--out", out, *QUICK, "--methods", "own_methods:OWN,lift-cam")
    assert done.code == 0, done.err
    assert sys.modules.pop("own_methods")
    comparison = strict((out / "compare.json").read_text(encoding="utf-8"))
    named = {row["method"] for row in comparison["rows"] if row["stages"] != "run"}
    assert named == {"Own-CAM", "LTOwn-CAM", "LIFT-CAM"}
