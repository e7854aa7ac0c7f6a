"""What the commands that measure a run have in common: how they tell what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ltcam.cli.console import DONE, SOME_FAILED, print_json, say

if TYPE_CHECKING:
    from ltcam.experiments.results import Found, Values

M = TypeVar("M", bound="Values")


def tell(found: Found[M], out: Path, print_tables: Callable[[M], None], *, as_json: bool) -> int:
    """Print what an experiment found, what it noted, what failed, and where the results are.

    Returns:
        The exit code.
    """
    if as_json:
        print_json(found.values.to_json())
    else:
        print_tables(found.values)
    for note in found.notes:
        say(f"note: {note}")
    for name, reason in found.failed:
        say(f"not measured: {name}: {reason}")
    say(f"results: {out} (report: {out / 'report.html'})")
    return SOME_FAILED if found.failed else DONE


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> None:
    """Print a table on the output stream; its first `words` columns are words, the others numbers."""
    table = Table(title=title, box=SIMPLE_HEAD)
    for place, column in enumerate(head):
        table.add_column(column, justify="left" if place < words else "right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
