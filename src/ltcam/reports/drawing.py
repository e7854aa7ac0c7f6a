"""What all figures share: letters, colours, sizes for a paper, and files that are the same every time."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

TEXT_WIDTH = 7.2
"""Width of a two-column page's text, in inches."""

HEAT = "inferno"
TRUE, FOUND, FRAME = "#ff2d96", "#3cdcff", "#ffd040"
"""Outlines of the true mask, of the mask that was found, and of the part that is shown larger."""

SERIES = ("#0072b2", "#d55e00", "#009e73", "#8a4f9e", "#000000")
"""Colours of lines that differ for colour-blind readers too (Okabe and Ito 2008, the last two darker)."""

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that every machine draws the same
    "font.size": 7.5,
    "axes.titlesize": 8.0,
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "svg.hashsalt": "ltcam",  # names inside the file are random otherwise
}
PNG_DPI = 200
"""Pixels per inch of what is printed."""

_Given = ParamSpec("_Given")


def styled(make: Callable[_Given, Figure]) -> Callable[_Given, Figure]:
    """A function that makes a figure, made to use the style of this package and to leave matplotlib's alone."""

    @wraps(make)
    def in_style(*given: _Given.args, **named: _Given.kwargs) -> Figure:
        with mpl.rc_context(_STYLE):
            return make(*given, **named)

    return in_style


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, that no window and no global list knows of."""
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, folder: Path, name: str) -> tuple[Path, Path]:
    """Write `name`.png and `name`.svg into an existing folder; the same figure gives the same bytes.

    Returns:
        Both files.
    """
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    png.write_bytes(encoded(figure, "png"))
    svg.write_bytes(encoded(figure, "svg"))
    return png, svg


def encoded(figure: Figure, kind: str) -> bytes:
    """A figure as the bytes of a `png` or `svg` file, without date and version."""
    stream = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    with mpl.rc_context(_STYLE):
        figure.savefig(stream, format=kind, dpi=PNG_DPI, metadata=metadata)
    return stream.getvalue()
