"""Figures for papers, as SVG and PNG files: what a page shows with its own means, a paper needs as a file."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#2458c9", "#c2571a", "#1d7a46", "#7b3fa0", "#8f5a00", "#5b6673")
"""Of series, in order; told apart by markers as well."""

MARKERS = ("o", "s", "^", "D", "v", "P")

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dfe3e8",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.edgecolor": "#5b6673",
    "svg.fonttype": "path",  # the same letters on every machine
    "svg.hashsalt": "ltcam",  # equal figures are equal files
}


def styled() -> AbstractContextManager[None]:
    """The block in which figures are drawn and written: their style, without touching anybody else's."""
    return mpl.rc_context(_STYLE)


def new_figure(
    rows: int, columns: int, *, width: float, height: float, share_y: bool = False
) -> tuple[Figure, list[Axes]]:
    """An empty figure without any global state, and its axes row by row. Call it inside `styled`.

    Args:
        rows: of axes.
        columns: of axes.
        width: in inches.
        height: in inches.
        share_y: whether all axes have one y axis.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=share_y)
    return figure, [axis for row in axes for axis in row]


def write_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write NAME.svg and NAME.png (200 dots per inch); equal figures give equal files."""
    with styled():
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": "ltcam"})
        figure.savefig(folder / f"{name}.png", dpi=200, metadata={"Software": "ltcam"})
