"""Tables on the output stream, readable on narrow terminals too."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ltcam_runtime.phrases import printable


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> None:
    """Print a table; where it is wider than the terminal, a paragraph for each row.

    Args:
        title: above it.
        head: the names of the columns.
        rows: cells, which may hold anything.
        words: so many of the first columns are words, the others numbers.
    """
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(head):
        table.add_column(column, justify="left" if place < words else "right", no_wrap=True)
    shown = [[printable(cell.replace("\n", "\\n")) for cell in row] for row in rows]
    for row in shown:
        table.add_row(*map(Text, row))
    console = Console(highlight=False)
    console.print(Text(f"\n{printable(title)}"), soft_wrap=not console.is_terminal)
    wide = console.measure(table, options=console.options.update(max_width=1_000_000)).maximum
    if wide <= console.width:
        console.print(table)
    elif not console.is_terminal and "COLUMNS" not in os.environ:  # a file has no width
        Console(highlight=False, width=wide).print(table)
    else:
        _print_paragraphs(console, head, shown, words)


def _print_paragraphs(
    console: Console, head: Sequence[str], rows: Iterable[Sequence[str]], words: int
) -> None:
    for row in rows:
        console.print(Text(", ".join(cell for cell in row[:words] if cell)))
        cells = [
            f"{name} {cell}".strip() for name, cell in zip(head[words:], row[words:], strict=True) if cell
        ]
        console.print(Padding(Text(", ".join(cells)), (0, 0, 0, 2)))
    console.print()
