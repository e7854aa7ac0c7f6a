"""A tuning of the percentile: as rows, as Markdown, as a page, and as the figure of the paper (8 and 9)."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from ltcam.experiments.pages import (
    last_rows,
    markdown_of,
    nan_for_none,
    signed,
    stage_rows,
)
from ltcam.experiments.tune.figure import percentile_curves
from ltcam.experiments.tune.tuning import SIDES, Choice, TunedMethod, Tuning
from ltcam.reports.drawing import Axis, chart_uri, line_chart
from ltcam.reports.html import render
from ltcam.reports.metrics_table import NONE, fraction, markdown_table, markdown_text
from ltcam.reports.settings_rows import SettingRow, network_row

HEAD = ("method", "chosen by", "sees masks", "percentile", "IoU (test)", "behind the train masks' choice")
"""Columns of `choice_rows`."""

_ORACLE = "train masks"
_SCOPES = {"channel": "each channel's positive gradients", "stage": "a stage's positive gradients"}
_READINGS = {
    "gradient": "the truncated gradients replace the gradients (eq. 9)",
    "mask": "weights are of whole gradients, truncation selects positions (eq. 11)",
}


def choice_rows(tuning: Tuning) -> list[tuple[str, ...]]:
    """Texts in the order of `HEAD`: per method, the choice by masks, then the rules, the deciding one first."""
    return [
        (method.method, *_choice_cells(tuning, choice))
        for method in tuning.methods
        for choice in _in_order(tuning, method)
    ]


def curve_rows(tuning: Tuning) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows: pooled IoU by percentile, per method on the training and the test side."""
    head = ("percentile", *(f"{method.method} ({side})" for method in tuning.methods for side in SIDES))
    points = [(method.untruncated, *method.curve) for method in tuning.methods]
    rows = [
        (
            "not truncated" if place[0].percentile is None else str(place[0].percentile),
            *(fraction(iou) for point in place for iou in point.ious()),
        )
        for place in zip(*points, strict=True)
    ]
    return head, rows


def tune_markdown(tuning: Tuning) -> str:
    """The tuning as Markdown: what was measured, the choices, the curves, what went wrong."""
    parts = (
        markdown_text(_sentence(tuning)),
        markdown_table(HEAD, choice_rows(tuning)),
        markdown_text(_rule_sentence(tuning)),
        markdown_table(*curve_rows(tuning)),
    )
    return markdown_of(parts, tuning.failed)


def tune_page(tuning: Tuning, *, title: str) -> str:
    """The page as one self-contained HTML text.

    Args:
        tuning: as measured, or as read back from `tune.json`.
        title: heading, such as the names of run and data.
    """
    head, rows = curve_rows(tuning)
    return render(
        "page.html.j2",
        beside=__file__,
        title=title,
        tuning=tuning,
        sentence=_sentence(tuning),
        rule_sentence=_rule_sentence(tuning),
        cards=[_card(tuning, method) for method in tuning.methods],
        methods=[_method(tuning, method) for method in tuning.methods],
        curve_head=head,
        curve_rows=rows,
        rules=[(rule.title, rule.sentence) for rule in tuning.rules],
        setting_rows=_setting_rows(tuning),
    )


def curve_figure(tuning: Tuning) -> Figure:
    """IoU against the percentile, a panel per method; the choice with and the one without masks are marked."""
    methods = tuning.methods
    curves = {
        each.method: (
            each.percentiles,
            [point.train.iou for point in each.curve],
            [point.test.iou for point in each.curve],
        )
        for each in methods
    }
    choices = {
        "chosen with true masks of train": {each.method: each.oracle.percentile for each in methods},
        "chosen without masks": {each.method: each.chosen_by(tuning.rule).percentile for each in methods},
    }
    return percentile_curves(curves, choices, {each.method: each.untruncated.ious() for each in methods})


def _in_order(tuning: Tuning, method: TunedMethod) -> list[Choice]:
    oracle, *others = method.choices
    return [oracle, *sorted(others, key=lambda choice: choice.rule != tuning.rule)]


def _choice_cells(tuning: Tuning, choice: Choice) -> tuple[str, ...]:
    return (
        _titles(tuning)[choice.rule],
        "yes" if choice.uses_pixel_labels else "no",
        NONE if choice.percentile is None else str(choice.percentile),
        fraction(choice.test_iou),
        NONE if choice.uses_pixel_labels else signed(choice.behind_train_masks),
    )


def _titles(tuning: Tuning) -> dict[str, str]:
    return {rule.name: rule.title for rule in tuning.rules} | {"train_masks": _ORACLE}


def _sentence(tuning: Tuning) -> str:
    train, test, settings = tuning.sides["train"], tuning.sides["test"], tuning.settings
    return (
        f"{train.measured} defective images with a mask to tune on ({train.side}), "
        f"{test.measured} to measure ({test.side}); maps of {tuning.backbone}, all "
        f"stages added up, Otsu's threshold, pixels pooled over the images; percentiles are of "
        f"{_SCOPES[settings.scope]}, {_READINGS[settings.reading]}."
    )


def _rule_sentence(tuning: Tuning) -> str:
    chosen = next(rule for rule in tuning.rules if rule.name == tuning.rule)
    return (
        "The choice by train masks uses pixel labels, as the paper's does. The rules see image labels only, of "
        f'{tuning.judged.images} defective images; the one that decides is "{chosen.title}": {chosen.sentence}.'
    )


def _card(tuning: Tuning, method: TunedMethod) -> dict[str, str]:
    choice, oracle = method.chosen_by(tuning.rule), method.oracle
    return {
        "name": f"{method.method}: percentile without masks",
        "value": NONE if choice.percentile is None else str(choice.percentile),
        "detail": f"IoU on test {fraction(choice.test_iou)}; by train masks: percentile {oracle.percentile}, "
        f"IoU {fraction(oracle.test_iou)}",
        "tone": "accent",
    }


def _method(tuning: Tuning, method: TunedMethod) -> dict[str, Any]:
    titles = _titles(tuning)
    return {
        "name": method.method,
        "chart": _chart(tuning, method),
        "untruncated": zip(SIDES, map(fraction, method.untruncated.ious()), strict=True),
        "best": method.best_on_test,
        "choices": [
            (_choice_cells(tuning, choice), choice.uses_pixel_labels, choice.rule == tuning.rule)
            for choice in _in_order(tuning, method)
        ],
        "value_head": ["percentile", *(titles[name] for name in method.rule_values)],
        "value_rows": [
            [str(point.percentile), *map(fraction, values)]
            for point, *values in zip(method.curve, *method.rule_values.values(), strict=True)
        ],
    }


def _chart(tuning: Tuning, method: TunedMethod) -> str:
    ious = zip(*(map(nan_for_none, point.ious()) for point in method.curve), strict=True)
    series = {f"{side} side": list(values) for side, values in zip(SIDES, ious, strict=True)}
    # The largest IoU anywhere, so that the methods' charts can be compared.
    top = max(iou or 0.0 for each in tuning.methods for point in each.curve for iou in point.ious())
    mark = method.chosen_by(tuning.rule).percentile
    chosen = None if mark is None else (mark, "chosen")
    return chart_uri(line_chart(Axis("percentile", method.percentiles, chosen), series, low=0, high=top))


def _setting_rows(tuning: Tuning) -> list[SettingRow]:
    settings = tuning.settings
    return [
        network_row(tuning.backbone, settings.image_size),
        *stage_rows(settings.stages, settings.positive_activations, "their maps are added up as they are"),
        SettingRow("Percentile of", settings.scope, _SCOPES[settings.scope]),
        SettingRow("Truncation acts on", settings.reading, _READINGS[settings.reading]),
        SettingRow(
            "Images that the rules see",
            str(tuning.judged.images),
            "defective, of the training side, without their masks",
        ),
        *last_rows(settings.bootstrap, settings.device, tuning.versions, "of whole images; in tune.json"),
    ]
