"""What the pages of all experiments have in common: numbers in words, Markdown, rows of settings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from ltcam.reports.metrics_table import NONE, failure_table
from ltcam.reports.settings_rows import SettingRow, plain


def signed(value: float | None) -> str:
    """A difference with its sign; what rounds to nothing has none."""
    if value is None:
        return NONE
    return f"{value:+.3f}" if abs(value) >= 0.0005 else "0.000"


def markdown_of(parts: Iterable[str], failed: Sequence[Mapping[str, str]]) -> str:
    """Paragraphs and tables as one text, and what could not be read behind them."""
    return "\n\n".join([*parts, *([failure_table(failed)] if failed else [])]) + "\n"


def stage_rows(
    stages: Sequence[str], positive_activations: bool, meaning: str, negative: str = ""
) -> list[SettingRow]:
    """Stages and activations that maps were made of, and what they mean."""
    used = "left out" if positive_activations else "used"
    return [
        SettingRow("Stages", ", ".join(stages), meaning),
        SettingRow("Negative activations", used, negative),
    ]


def last_rows(
    bootstrap: int,
    device: str,
    versions: Mapping[str, str],
    intervals: str = "of whole images",
    computed: str = "",
) -> list[SettingRow]:
    """How sure the numbers of an experiment are, and where they were computed."""
    return [
        SettingRow("Intervals", f"{bootstrap} resamples", intervals),
        SettingRow("Computed on", device, computed),
        SettingRow("Versions", plain(versions), ""),
    ]


def nan_for_none(value: float | None) -> float:
    """A number as charts take it."""
    return math.nan if value is None else value
