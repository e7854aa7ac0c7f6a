"""Line charts as inline SVG: where everything stands, for the macro `chart` of `chart.html.j2`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 560, 236
"""Size of a chart in its own units."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 20, 36  # room for the numbers at the axes and the word above the mark


@dataclass(frozen=True)
class Tick:
    """A number at an axis, and where it stands."""

    at: float
    text: str


@dataclass(frozen=True)
class Dot:
    """A value in the chart; the text appears under the mouse."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Line:
    """One series.

    Attributes:
        name: for people.
        place: 0, 1, ...: decides its colour, together with the series before and behind it.
        pieces: `points` of a polyline each; a value that is missing ends one.
        dots: one per value.
    """

    name: str
    place: int
    pieces: tuple[str, ...]
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class Chart:
    """All that is drawn.

    Attributes:
        lines: the series that have any value.
        x_ticks: numbers below.
        y_ticks: numbers to the left.
        mark: x of the vertical line, or None.
        x_name: what the numbers below are.
        left: of the plot; likewise `right`, `top` and `bottom`.
    """

    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    mark: float | None
    x_name: str
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM
    width: float = WIDTH
    height: float = HEIGHT


def line_chart(
    x: Sequence[int],
    series: Mapping[str, Sequence[float]],
    *,
    low: float,
    high: float,
    mark: int | None = None,
    x_name: str = "epoch",
) -> Chart:
    """Lay out a chart.

    Args:
        x: whole numbers, rising.
        series: name to one value per x; NaN and infinite ones are left out.
        low: lower end of the y axis.
        high: least upper end of it; values above move it up to a round number.
        mark: the x of a vertical line.
        x_name: what x is.

    Raises:
        ValueError: nothing on the x axis, or a series of another length.
    """
    if not x or any(len(values) != len(x) for values in series.values()):
        raise ValueError(
            f"{len(x)} places for series of {[len(values) for values in series.values()]} values"
        )
    finite = [value for values in series.values() for value in values if math.isfinite(value)]
    steps = ticks(low, max([high, *finite]))
    y_scale = _Scale(steps[0], steps[-1], HEIGHT - _BOTTOM, _TOP)
    x_scale = _Scale(x[0], x[-1], _LEFT + 14, WIDTH - _RIGHT - 14)
    places = [x_scale(value) for value in x]
    words = [f"{x_name} {value}" for value in x]
    lines = [
        Line(name, place, *_pieces(name, places, words, values, y_scale))
        for place, (name, values) in enumerate(series.items())
    ]
    return Chart(
        lines=tuple(line for line in lines if line.dots),
        x_ticks=tuple(Tick(x_scale(value), str(value)) for value in _whole_ticks(x[0], x[-1])),
        y_ticks=tuple(Tick(y_scale(value), f"{value:.6g}") for value in steps),
        mark=None if mark is None else x_scale(mark),
        x_name=x_name,
    )


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers, evenly spaced, from the last one <= low to the first one >= high.

    Args:
        low: finite.
        high: finite; where it is not above `low`, the axis is one step long.
        most: of steps, before the ends are rounded.
    """
    # Steps far below the values' own size would be lost in rounding.
    rough = max(high - low, 1e-6 * max(abs(low), abs(high), 1.0)) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * min(factor for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.floor(low / step + 1e-6)
    last = max(math.ceil(high / step - 1e-6), first + 1)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _whole_ticks(low: int, high: int) -> list[int]:
    return [int(value) for value in ticks(low, high, 8) if low <= value <= high and value.is_integer()]


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        if self.high == self.low:
            return (self.start + self.stop) / 2
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.stop - self.start), 2)


def _pieces(
    name: str, places: Sequence[float], words: Sequence[str], values: Sequence[float], y_scale: _Scale
) -> tuple[tuple[str, ...], tuple[Dot, ...]]:
    """Polylines between the gaps, and all dots; a dot without neighbours is no line."""
    pieces: list[list[Dot]] = [[]]
    for place, word, value in zip(places, words, values, strict=True):
        if math.isfinite(value):
            pieces[-1].append(Dot(place, y_scale(value), f"{name}, {word}: {value:.4g}"))
        else:
            pieces.append([])
    points = tuple(" ".join(f"{dot.x:g},{dot.y:g}" for dot in piece) for piece in pieces if len(piece) > 1)
    return points, tuple(dot for piece in pieces for dot in piece)
