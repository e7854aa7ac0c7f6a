"""The house as it is drawn is the house as import-linter keeps it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
    "contracts"
]


def rooms_of_the_contract() -> list[set[str]]:
    """From the top floor down."""
    (layers,) = (each["layers"] for each in CONTRACTS if each["name"] == "The rooms depend downwards only")
    return [{name.strip().removeprefix("ltcam.") for name in layer.split("|")} for layer in layers]


def rooms_of_the_page() -> list[set[str]]:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawing = re.search(r"^    cli\n(?:      -> .+\n)+", page, re.M)
    assert drawing is not None
    return [set(line.replace("->", "").strip().split(", ")) for line in drawing[0].splitlines()]


def test_every_arrow_of_the_page_is_a_contract() -> None:
    assert rooms_of_the_page() == rooms_of_the_contract()


def test_every_room_is_in_the_contract() -> None:
    """A room that no contract names may use anything."""
    packages = {path.parent.name for path in (ROOT / "src" / "ltcam").glob("*/__init__.py")}
    assert packages == set.union(*rooms_of_the_contract())


def test_every_room_and_every_file_that_is_drawn_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = re.findall(r"^      (\w+)/", page.split("src/ltcam/\n")[1], re.M)
    assert set.union(*rooms_of_the_contract()) == set(drawn)
    files = {path.name for place in ("src", "runtime/src") for path in (ROOT / place).rglob("*.py")}
    assert set(re.findall(r"^ +(\w+\.py) ", page, re.M)) <= files


def test_what_needs_no_torch_is_kept_from_it() -> None:
    kept = {
        name
        for each in CONTRACTS
        if "torch" in each.get("forbidden_modules", ())
        for name in each["source_modules"]
    }
    assert {"ltcam_runtime", "ltcam.data", "ltcam.synth"} <= kept
