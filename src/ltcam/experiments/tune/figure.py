"""IoU against the truncation's percentile, which the paper calls delta, on train and test (its figures 8 and 9)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ltcam.reports.drawing import SERIES, TEXT_WIDTH, new_figure, styled

Values = Sequence[float | None]
Curves = tuple[Sequence[float], Values, Values]
"""(percentiles, IoU on train, IoU on test), of equal length; None where undefined."""

_MOST_IN_A_ROW = 3
_ROW_HEIGHT = 2.25
_LEGEND_HEIGHT, _TITLE_HEIGHT = 0.4, 0.22
_LETTERS_OF_A_LINE = 80
_CHOICE_LINES = ((0, (1, 1.4)), (0, (5, 1.6)), (0, (3, 1.2, 1, 1.2)))


@styled
def percentile_curves(
    curves: Mapping[str, Curves],
    choices: Mapping[str, Mapping[str, float | None]] | None = None,
    untruncated: Mapping[str, tuple[float | None, float | None]] | None = None,
) -> Figure:
    """A panel per method: IoU on train and on test against the percentile, with the chosen ones marked.

    Args:
        curves: title of each method to its percentiles (0 to 100, rising) and pooled IoU (0 to 1).
        choices: name of each rule that chooses a percentile to its choice per method (None: it chose no
            truncation). One line style per rule, the same in all panels.
        untruncated: IoU (on train, on test) of each method's untruncated form, as dotted level lines.

    Raises:
        ValueError: no curves, or values of another number than percentiles.
    """
    if not curves:
        raise ValueError("there are no curves to draw")
    for title, (percentiles, *values) in curves.items():
        if not percentiles or any(len(each) != len(percentiles) for each in values):
            raise ValueError(
                f"{title}: {len(percentiles)} percentiles for {[len(each) for each in values]} values"
            )
    columns = min(len(curves), _MOST_IN_A_ROW)
    rows = math.ceil(len(curves) / columns)
    figure = new_figure(TEXT_WIDTH, rows * _ROW_HEIGHT + _LEGEND_HEIGHT)
    top = 1 - (_LEGEND_HEIGHT + _TITLE_HEIGHT) / figure.get_figheight()
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    figure.subplots_adjust(
        left=0.085, right=0.99, bottom=0.42 / figure.get_figheight(), top=top, wspace=0.07, hspace=0.42
    )
    highest = _highest(curves, untruncated or {})
    for axes, (title, curve) in zip(panels.flat, curves.items(), strict=False):
        _panel(axes, title, curve, choices or {}, (untruncated or {}).get(title))
        axes.set_ylim(0, highest)
    for axes in panels.flat[len(curves) :]:
        axes.remove()
    for row in panels[:, 0]:
        row.set_ylabel("pooled IoU")
    _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    """One for all panels; a line may be in some of them only."""
    found = {
        name: handle
        for axes in figure.axes
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    letters = sum(len(name) for name in found)
    columns = len(found) if letters <= _LETTERS_OF_A_LINE else math.ceil(len(found) / 2)
    figure.legend(found.values(), found.keys(), loc="upper center", ncols=columns, bbox_to_anchor=(0.5, 1.0))


def _panel(
    axes: Axes,
    title: str,
    curve: Curves,
    choices: Mapping[str, Mapping[str, float | None]],
    untruncated: tuple[float | None, float | None] | None,
) -> None:
    percentiles, *sides = curve
    for side, values, colour in zip(("train", "test"), sides, SERIES, strict=False):
        axes.plot(percentiles, _numbers(values), color=colour, marker="o", markersize=2.8, label=side)
    for side, level, colour in zip(("train", "test"), untruncated or (), SERIES, strict=False):
        if level is not None:
            axes.axhline(level, color=colour, linestyle=":", linewidth=0.9, label=f"{side}, no truncation")
    for place, (rule, chosen) in enumerate(choices.items()):
        percentile = chosen.get(title)
        line = _CHOICE_LINES[place % len(_CHOICE_LINES)]
        colour = SERIES[2 + place % 3]
        # Outside the panel where nothing was chosen, so that the legend has it nevertheless.
        axes.axvline(
            math.nan if percentile is None else percentile,
            color=colour,
            linestyle=line,
            linewidth=1.1,
            label=rule,
        )
    low, high = min(percentiles), max(percentiles)
    room = max(1.0, 0.03 * (high - low))
    axes.set_xlim(low - room, high + room)
    axes.set_xticks(_round_percentiles(low, high + room))
    axes.grid(axis="y", color="#d8dce2", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_title(title, fontweight="bold")
    axes.set_xlabel("delta (percentile)")


def _round_percentiles(low: float, high: float) -> list[float]:
    step = 20 if high - low >= 60 else 10 if high - low >= 20 else 5
    return [value for value in range(0, 101, step) if low <= value <= high] or [low]


def _numbers(values: Values) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]


def _highest(
    curves: Mapping[str, Curves], untruncated: Mapping[str, tuple[float | None, float | None]]
) -> float:
    """Upper end of the axis that all panels share: a little above the largest value, 1 at most."""
    values = [value for _, *sides in curves.values() for side in sides for value in side]
    values += [level for levels in untruncated.values() for level in levels]
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return min(1.0, 1.12 * max(finite)) if finite and max(finite) > 0 else 1.0
