"""A tuning of the percentile: as rows, as Markdown, as a page, and as the figure of the paper (8 and 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from ltcam.experiments.pages import last_rows, markdown_of, network_row, signed, stage_rows
from ltcam.experiments.tune.figure import percentile_curves
from ltcam.reports.drawing import chart_uri, line_chart
from ltcam.reports.html import render
from ltcam.reports.metrics_table import NONE, fraction, markdown_table, markdown_text
from ltcam.reports.settings_rows import SettingRow

HEAD = ("method", "chosen by", "sees masks", "percentile", "IoU (test)", "behind the train masks' choice")
"""Columns of `choice_rows`."""

_ORACLE = "train masks"
_SCOPES = {"channel": "each channel's positive gradients", "stage": "a stage's positive gradients"}
_READINGS = {
    "gradient": "the truncated gradients replace the gradients (eq. 9)",
    "mask": "weights are of whole gradients, truncation selects positions (eq. 11)",
}


def choice_rows(tuning: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Texts in the order of `HEAD`: per method, the choice by masks, then the rules, the deciding one first.

    Args:
        tuning: of `ltcam.experiments.tune.measure.tune_run`, also as read back from `tune.json`.
    """
    titles = _titles(tuning)
    return [
        (
            method["method"],
            titles[choice["rule"]],
            "yes" if choice["uses_pixel_labels"] else "no",
            NONE if choice["percentile"] is None else str(choice["percentile"]),
            fraction(choice["test_iou"]),
            NONE if choice["uses_pixel_labels"] else signed(choice["behind_train_masks"]),
        )
        for method in tuning["methods"]
        for choice in _in_order(tuning, method)
    ]


def curve_rows(tuning: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows: pooled IoU by percentile, per method on the training and the test side."""
    head = (
        "percentile",
        *(f"{m['method']} ({side})" for m in tuning["methods"] for side in ("train", "test")),
    )
    points = [[method["untruncated"], *method["curve"]] for method in tuning["methods"]]
    rows = [
        (
            "not truncated" if place[0]["percentile"] is None else str(place[0]["percentile"]),
            *(fraction(point[side]["iou"]) for point in place for side in ("train", "test")),
        )
        for place in zip(*points, strict=True)
    ]
    return head, rows


def tune_markdown(tuning: Mapping[str, Any]) -> str:
    """The tuning as Markdown: what was measured, the choices, the curves, what went wrong."""
    parts = (
        markdown_text(_sentence(tuning)),
        markdown_table(HEAD, choice_rows(tuning)),
        markdown_text(_rule_sentence(tuning)),
        markdown_table(*curve_rows(tuning)),
    )
    return markdown_of(parts, tuning["failed"])


def tune_page(tuning: Mapping[str, Any], *, title: str) -> str:
    """The page as one self-contained HTML text.

    Args:
        tuning: as for `choice_rows`.
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
        cards=[_card(tuning, method) for method in tuning["methods"]],
        methods=[_method(tuning, method) for method in tuning["methods"]],
        curve_head=head,
        curve_rows=rows,
        rules=[(rule["title"], rule["sentence"]) for rule in tuning["rules"]],
        setting_rows=_setting_rows(tuning),
    )


def curve_figure(tuning: Mapping[str, Any]) -> Figure:
    """IoU against the percentile, a panel per method; the choice with and the one without masks are marked."""
    methods = tuning["methods"]
    curves = {
        each["method"]: (
            [point["percentile"] for point in each["curve"]],
            [point["train"]["iou"] for point in each["curve"]],
            [point["test"]["iou"] for point in each["curve"]],
        )
        for each in methods
    }
    choices = {
        "chosen with true masks of train": {
            each["method"]: each["choices"][0]["percentile"] for each in methods
        },
        "chosen without masks": {each["method"]: _choice_of(tuning, each)["percentile"] for each in methods},
    }
    untruncated = {
        each["method"]: (each["untruncated"]["train"]["iou"], each["untruncated"]["test"]["iou"])
        for each in methods
    }
    return percentile_curves(curves, choices, untruncated)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _in_order(tuning: Mapping[str, Any], method: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    oracle, *others = method["choices"]
    return [oracle, *sorted(others, key=lambda choice: choice["rule"] != tuning["rule"])]


def _choice_of(tuning: Mapping[str, Any], method: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the deciding rule chose for a method."""
    return next(choice for choice in method["choices"] if choice["rule"] == tuning["rule"])


def _titles(tuning: Mapping[str, Any]) -> dict[str, str]:
    return {rule["name"]: rule["title"] for rule in tuning["rules"]} | {"train_masks": _ORACLE}


def _sentence(tuning: Mapping[str, Any]) -> str:
    sides, settings = tuning["sides"], tuning["settings"]
    return (
        f"{sides['train']['measured']} defective images with a mask to tune on ({sides['train']['side']}), "
        f"{sides['test']['measured']} to measure ({sides['test']['side']}); maps of {tuning['backbone']}, all "
        f"stages added up, Otsu's threshold, pixels pooled over the images; percentiles are of "
        f"{_SCOPES[settings['scope']]}, {_READINGS[settings['reading']]}."
    )


def _rule_sentence(tuning: Mapping[str, Any]) -> str:
    chosen = next(rule for rule in tuning["rules"] if rule["name"] == tuning["rule"])
    images = tuning["judged"]["images"]
    return (
        "The choice by train masks uses pixel labels, as the paper's does. The rules see image labels only, of "
        f'{images} defective images; the one that decides is "{chosen["title"]}": {chosen["sentence"]}.'
    )


def _card(tuning: Mapping[str, Any], method: Mapping[str, Any]) -> dict[str, str]:
    choice, oracle = _choice_of(tuning, method), method["choices"][0]
    percentile = NONE if choice["percentile"] is None else str(choice["percentile"])
    return {
        "name": f"{method['method']}: percentile without masks",
        "value": percentile,
        "detail": f"IoU on test {fraction(choice['test_iou'])}; by train masks: percentile {oracle['percentile']}, "
        f"IoU {fraction(oracle['test_iou'])}",
        "tone": "accent",
    }


def _method(tuning: Mapping[str, Any], method: Mapping[str, Any]) -> dict[str, Any]:
    titles = _titles(tuning)
    return {
        "name": method["method"],
        "chart": _chart(tuning, method),
        "untruncated": [(side, fraction(method["untruncated"][side]["iou"])) for side in ("train", "test")],
        "best": method["best_on_test"],
        "choices": [
            (row[1:], choice["uses_pixel_labels"], choice["rule"] == tuning["rule"])
            for row, choice in zip(
                [row for row in choice_rows(tuning) if row[0] == method["method"]],
                _in_order(tuning, method),
                strict=True,
            )
        ],
        "value_head": ["percentile", *(titles[name] for name in method["rule_values"])],
        "value_rows": [
            [
                str(point["percentile"]),
                *(fraction(values[place]) for values in method["rule_values"].values()),
            ]
            for place, point in enumerate(method["curve"])
        ],
    }


def _chart(tuning: Mapping[str, Any], method: Mapping[str, Any]) -> str:
    percentiles = [point["percentile"] for point in method["curve"]]
    series = {
        f"{side} side": [_number(point[side]["iou"]) for point in method["curve"]]
        for side in ("train", "test")
    }
    mark = _choice_of(tuning, method)["percentile"]
    chosen = None if mark is None else (mark, "chosen")
    return chart_uri(
        line_chart(percentiles, series, low=0, high=_top(tuning), x_name="percentile", mark=chosen)
    )


def _top(tuning: Mapping[str, Any]) -> float:
    """The largest IoU anywhere, so that the methods' charts can be compared."""
    points = [point for method in tuning["methods"] for point in method["curve"]]
    return max((point[side]["iou"] or 0.0 for point in points for side in ("train", "test")), default=1.0)


def _setting_rows(tuning: Mapping[str, Any]) -> Sequence[SettingRow]:
    settings = tuning["settings"]
    return [
        network_row(tuning["backbone"], settings["image_size"]),
        *stage_rows(settings, "their maps are added up as they are"),
        SettingRow("Percentile of", settings["scope"], _SCOPES[settings["scope"]]),
        SettingRow("Truncation acts on", settings["reading"], _READINGS[settings["reading"]]),
        SettingRow(
            "Images that the rules see",
            str(tuning["judged"]["images"]),
            "defective, of the training side, without their masks",
        ),
        *last_rows(settings, tuning["versions"], "of whole images; in tune.json"),
    ]
