"""What each choice that the paper leaves open does to IoU, and each stage alone."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ltcam.experiments.ablation.answers import Answer, Answers
from ltcam.experiments.ablation.page import choice_words, stage_gains, stage_tables
from ltcam.experiments.pages import nan_for_none
from ltcam.reports.drawing import SERIES, TEXT_WIDTH, new_figure, styled

_MARKERS = ("o", "s", "^", "D", "v")


@styled
def effects_figure(questions: Answers) -> Figure:
    """Left: IoU of every choice, a mark per method. Right: each stage alone, Grad-CAM and LTGrad-CAM."""
    rows = [row for row in questions.rows if row.question != "stages"]
    choices = list(dict.fromkeys(choice_words(row) for row in rows))
    figure = new_figure(TEXT_WIDTH, 1.4 + 0.19 * len(choices))
    figure.set_layout_engine("constrained")
    left, right = figure.subplots(1, 2)
    _draw_choices(left, questions, rows, choices)
    _draw_stages(right, questions)
    return figure


def _draw_choices(axis: Axes, questions: Answers, rows: Sequence[Answer], choices: Sequence[str]) -> None:
    for place, method in enumerate(questions.base.methods):
        own = [row for row in rows if row.method == method and row.iou is not None]
        colour = SERIES[place]
        axis.plot(
            [nan_for_none(row.iou) for row in own],
            [choices.index(choice_words(row)) + 0.18 * (place - 1) for row in own],
            _MARKERS[place],
            color=colour,
            markersize=4,
            label=method,
        )
        for row in own:
            if row.question == "base":
                axis.axvline(nan_for_none(row.iou), color=colour, linewidth=0.9, linestyle=(0, (1, 2)))
    axis.set_yticks(range(len(choices)), choices)
    axis.invert_yaxis()
    axis.set_xlim(left=0)
    axis.set_xlabel("pooled IoU (dotted: base setting)")
    axis.legend()


def _draw_stages(axis: Axes, questions: Answers) -> None:
    tables = [(scope, reading) for scope, reading, _ in stage_tables(questions)]
    for place, (scope, reading) in enumerate(tables):
        rows = stage_gains(questions, scope, reading)
        names = [row.stage for row in rows]
        if place == 0:
            ious = [nan_for_none(row.grad_cam_iou) for row in rows]
            axis.plot(names, ious, "--", color="#5b6673", marker="x", markersize=5, label="Grad-CAM")
        ious = [nan_for_none(row.iou) for row in rows]
        label = f"LT, {scope}, {reading}"
        axis.plot(names, ious, color=SERIES[place], marker=_MARKERS[place], markersize=4, label=label)
    axis.set_ylim(bottom=0)
    axis.set_xlabel(f"each stage alone, percentile {questions.base.percentile}")
    axis.set_ylabel("pooled IoU")
    if tables:
        axis.legend()
