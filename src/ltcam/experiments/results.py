"""Where the results of an experiment go: what every experiment is told, gives back and writes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ltcam.evaluation.counts import PIXEL_RATIOS
from ltcam_runtime.folders import write_file

Progress = Callable[[int, int], None]
"""Called with (done, total)."""


def silent(done: int, total: int) -> None:
    """Progress that nobody looks at."""


@dataclass(frozen=True)
class Work:
    """Where results go, and what happens on the way there.

    Attributes:
        out: folder of the results; whole or absent.
        resume: continue work that was stopped.
        overwrite: replace existing results, and unfinished ones.
        command: kept in the results.
        progress: called with (done, total).
    """

    out: Path
    resume: bool = False
    overwrite: bool = False
    command: str = ""
    progress: Progress = silent


@dataclass(frozen=True)
class Found:
    """What an experiment found.

    Attributes:
        values: as written to its JSON file.
        failed: (image, reason) of images that could not be used.
    """

    values: Mapping[str, Any]
    failed: tuple[tuple[str, str], ...]


def failures(failed: Mapping[str, str]) -> list[dict[str, str]]:
    """Reasons by image, as results hold them."""
    return [{"image": name, "reason": reason} for name, reason in failed.items()]


def write_json(file: Path, values: Mapping[str, Any]) -> None:
    """Write JSON values, without NaN.

    Raises:
        OutputError: the file cannot be written.
    """
    write_file(file, json.dumps(values, indent=2, allow_nan=False) + "\n")


def write_csv(file: Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table that a spreadsheet opens as text and numbers, never as formulas.

    Args:
        file: to write.
        head: names of the columns.
        rows: cells: None is empty, a float has six digits behind the point.

    Raises:
        OutputError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_cell(value) for value in row] for row in rows)
    write_file(file, text.getvalue().encode("utf-8", "backslashreplace"))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6f}"
    text = "" if value is None else str(value)
    # A spreadsheet takes what begins so for a formula. Numbers are no names, and stay as they are.
    return f"'{text}" if isinstance(value, str) and text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def with_bounds(names: Iterable[str] = PIXEL_RATIOS) -> list[str]:
    """Heads of the columns that `bounded` fills."""
    return [f"{name}{end}" for name in names for end in ("", "_low", "_high")]


def bounded(row: Mapping[str, Any], names: Iterable[str] = PIXEL_RATIOS) -> list[float | None]:
    """Numbers of a row, each with the ends of its interval."""
    return [value for name in names for value in (row[name], *row["intervals"][name])]
