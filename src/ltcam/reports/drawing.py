"""What all figures share: letters, colours, sizes for a paper, files that are the same every time; charts for pages."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

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


# ---------------------------------------------------------------------------------- charts for pages

_INK, _GRID = "#5b6673", "#dfe3e8"
_MARK = "#1d7a46"
_LINES = ("#2458c9", "#8f5a00")
_DARK = {_INK: "#9aa6b3", _GRID: "#303944", _MARK: "#6fd39a", _LINES[0]: "#86aefc", _LINES[1]: "#f0bd66"}
"""What the colours of a chart become on a dark page; both are those of `base.css`."""

_MOST_DOTS = 60
_CHART = (4.4, 2.2)  # inches; its letters are to be read on a phone too, where it is shown at three quarters


@dataclass(frozen=True)
class Axis:
    """The x axis of a chart.

    Attributes:
        name: what x is.
        places: whole numbers, rising.
        mark: the x of a vertical line, and the word above it.
    """

    name: str
    places: Sequence[int]
    mark: tuple[int, str] | None = None


@styled
def line_chart(axis: Axis, series: Mapping[str, Sequence[float]], *, low: float, high: float) -> Figure:
    """A line per series.

    Args:
        axis: what x is.
        series: two at most, name to one value per x; NaN and infinite ones are gaps, a series of nothing else is
            left out.
        low: lower end of the y axis.
        high: upper end of it; values above move it up.

    Raises:
        ValueError: nothing on the x axis, or a series of another length.
    """
    x, mark = axis.places, axis.mark
    if not x or any(len(values) != len(x) for values in series.values()):
        raise ValueError(
            f"{len(x)} places for series of {[len(values) for values in series.values()]} values"
        )
    figure = new_figure(*_CHART)
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    known = [value for values in series.values() for value in values if math.isfinite(value)]
    top = max([high, *known])
    axes.set_ylim(low, low + 1.04 * (top - low) if top > low else low + 1)
    for (name, values), colour, line in zip(series.items(), _LINES, ("-", "--"), strict=False):
        drawn = [value if math.isfinite(value) else math.nan for value in values]
        if not all(map(math.isnan, drawn)):
            dots = "o" if len(x) <= _MOST_DOTS else ""
            axes.plot(x, drawn, line, color=colour, marker=dots, markersize=3.5, label=name)
    if mark is not None:
        axes.axvline(mark[0], color=_MARK, linestyle=":")
        over = axes.get_xaxis_transform()
        axes.text(mark[0], 1.02, mark[1], color=_MARK, ha="center", transform=over, fontweight="bold")
    if len(set(x)) == 1:  # room for whole numbers beside it
        axes.set_xlim(x[0] - 1, x[0] + 1)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    axes.grid(axis="y", color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=_INK, length=0)
    axes.set_xlabel(axis.name, color=_INK)
    if any(line.get_label() in series for line in axes.lines):
        figure.legend(loc="outside upper right", ncols=2, labelcolor=_INK)
    return figure


@styled
def reliability_chart(bins: Sequence[Mapping[str, float]]) -> Figure:
    """How often images with a score are defective, against the score; on the diagonal scores are probabilities.

    Args:
        bins: of scores: `score` (mean, 0 to 1), `defective` (share, 0 to 1), and `images` (how many), rising.
    """
    figure = new_figure(*_CHART)
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], "--", color=_INK, linewidth=0.8)
    scores, shares = [each["score"] for each in bins], [each["defective"] for each in bins]
    most = max((each["images"] for each in bins), default=1)
    axes.plot(scores, shares, "-", color=_LINES[0], linewidth=0.8)
    axes.scatter(
        scores, shares, s=[12 + 70 * each["images"] / most for each in bins], color=_LINES[0], zorder=3
    )
    for at, each in enumerate(bins):
        beside = shares[max(at - 1, 0) : at] + shares[at + 1 : at + 2]
        line_comes_from_below = sum(beside) < len(beside) * each["defective"]
        axes.annotate(
            f"{each['images']:.0f}",
            (each["score"], each["defective"]),
            (0, 9 if line_comes_from_below or each["defective"] == 0 else -9),
            textcoords="offset points",
            color=_INK,
            ha="center",
            va="center",
        )
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.12, 1.15)
    axes.set_yticks([0, 0.5, 1])
    axes.grid(axis="y", color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=_INK, length=0)
    axes.set_xlabel("score", color=_INK)
    axes.set_ylabel("share that is defective", color=_INK)
    return figure


def chart_uri(figure: Figure) -> str:
    """A figure as a `data:` address of an SVG, in the colours of a light or a dark page, whichever it is shown on."""
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    with mpl.rc_context({"svg.fonttype": "none"}):
        text = encoded(figure, "svg").decode()
    names = {colour: f"--colour-{place}" for place, colour in enumerate(_DARK)}
    for colour, name in names.items():
        text = text.replace(colour, f"var({name})")
    light, dark = (
        "".join(f"{name}:{colours[colour]};" for colour, name in names.items())
        for colours in ({colour: colour for colour in _DARK}, _DARK)
    )
    style = f"<style>svg{{{light}}}@media (prefers-color-scheme:dark){{svg{{{dark}}}}}</style><defs>"
    text = text.replace("<defs>", style, 1)
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode("ascii")
