from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tests.conftest import Page

from ltcam.experiments.tune.page import (
    HEAD,
    choice_rows,
    curve_figure,
    curve_rows,
    tune_markdown,
    tune_page,
)
from ltcam.experiments.tune.tuning import Tuning

PERCENTILES = (0, 50, 90)
RULES = [
    {"name": "first", "title": "First rule", "sentence": "likes much"},
    {"name": "second", "title": "Second rule", "sentence": "likes little"},
]


def measured(iou: float | None) -> dict[str, Any]:
    interval = [None, None] if iou is None else [iou - 0.01, iou + 0.01]
    names = ("iou", "precision", "recall", "f1")
    return {
        **dict.fromkeys(names, iou),
        "intervals": dict.fromkeys(names, interval),
        "counts": {"tp": 1, "fp": 2, "fn": 3},
    }


def method_of(name: str, ious: Sequence[float | None], chosen: int | None = 50) -> dict[str, Any]:
    choices = [
        {
            "rule": "train_masks",
            "uses_pixel_labels": True,
            "percentile": 90,
            "test_iou": 0.3,
            "behind_train_masks": 0,
        },
        {
            "rule": "first",
            "uses_pixel_labels": False,
            "percentile": 0,
            "test_iou": 0.35,
            "behind_train_masks": -0.05,
        },
        {
            "rule": "second",
            "uses_pixel_labels": False,
            "percentile": chosen,
            "test_iou": 0.2,
            "behind_train_masks": 0.1,
        },
    ]
    return {
        "method": name,
        "untruncated": {"percentile": None, "train": measured(0.11), "test": measured(0.12)},
        "curve": [
            {"percentile": percentile, "train": measured(iou), "test": measured(iou)}
            for percentile, iou in zip(PERCENTILES, ious, strict=True)
        ],
        "rule_values": {"first": [0.5, 0.25, None], "second": [0.1, 0.2, 0.3]},
        "best_on_test": {"percentile": 50, "iou": 0.4},
        "choices": choices,
    }


def tuning_of(**fields: Any) -> Tuning:
    values = {
        "backbone": "test_resnet",
        "sides": {
            side: {"side": f"{side} side of the run", "defective": 9, "chosen": 8, "measured": 7}
            for side in ("train", "test")
        },
        "rule": "second",
        "rules": RULES,
        "judged": {"images": 6, "normal_score": -1.5},
        "methods": [
            method_of("LTGrad-CAM", (0.1, 0.4, 0.2)),
            method_of("LTLayerCAM", (0.3, 0.2, None), None),
        ],
        "notes": [],
        "settings": {
            "percentiles": list(PERCENTILES),
            "scope": "channel",
            "reading": "gradient",
            "positive_activations": False,
            "stages": ["a", "b"],
            "image_size": [64, 96],
            "device": "cpu",
            "bootstrap": 20,
        },
        "seed": 3,
        "versions": {"torch": "2"},
        "command": "ltcam tune a b",
        "failed": [],
        **fields,
    }
    return Tuning.model_validate(values)


def test_rows() -> None:
    rows = choice_rows(tuning_of())
    assert all(len(row) == len(HEAD) for row in rows)
    assert rows[0] == ("LTGrad-CAM", "train masks", "yes", "90", "0.300", "–")
    assert rows[1] == ("LTGrad-CAM", "Second rule", "no", "50", "0.200", "+0.100")  # the one that decides
    assert rows[2] == ("LTGrad-CAM", "First rule", "no", "0", "0.350", "-0.050")
    assert rows[4][3] == "–"
    head, rows = curve_rows(tuning_of())
    assert head == (
        "percentile",
        "LTGrad-CAM (train)",
        "LTGrad-CAM (test)",
        "LTLayerCAM (train)",
        "LTLayerCAM (test)",
    )
    assert rows[0] == ("not truncated", "0.110", "0.120", "0.110", "0.120")
    assert rows[3] == ("90", "0.200", "0.200", "–", "–")


def test_page_shows_the_numbers_and_who_saw_masks(parse: type[Page]) -> None:
    page = parse(tune_page(tuning_of(), title="a on b"))
    page.assert_self_contained()
    assert (
        "LTGrad-CAM: percentile without masks 50 IoU on test 0.200; by train masks: percentile 90, IoU 0.300"
        in page.text
    )
    assert "chose the percentile with true masks" in page.text
    assert "Second rule no 50 0.200 +0.100" in page.text
    assert "train masks yes 90 0.300" in page.text
    assert "7 defective images with a mask to tune on (train side of the run)" in page.text
    assert "ltcam tune a b" in page.text
    assert [image["alt"] for image in page.images] == [
        f"IoU against the percentile, {method.method}" for method in tuning_of().methods
    ]


def test_everything_is_escaped(parse: type[Page], evil: str) -> None:
    hostile = tuning_of(
        backbone=evil, command=evil, notes=[evil], failed=[{"image": f"a/{evil}", "reason": evil}]
    )
    text = tune_page(hostile, title=evil)
    page = parse(text)
    page.assert_self_contained()
    assert "<script" not in text
    assert page.text.count(evil) >= 5
    assert "<script" not in tune_markdown(hostile)


def test_markdown() -> None:
    text = tune_markdown(tuning_of(failed=[{"image": "a|b.png", "reason": "empty"}]))
    assert "| LTGrad-CAM | Second rule | no | 50 | 0.200 | +0.100 |" in text
    assert "likes little" in text
    assert "| a\\|b.png | empty |" in text


def test_figure_has_a_panel_per_method_with_both_sides_and_both_choices() -> None:
    panels = {panel.get_title(): panel for panel in curve_figure(tuning_of()).axes}
    assert list(panels) == [method.method for method in tuning_of().methods]
    panel = panels["LTGrad-CAM"]
    lines = {line.get_label(): line for line in panel.lines}
    for side in ("train", "test"):
        assert np.asarray(lines[side].get_xdata()).tolist() == list(PERCENTILES)
        assert np.asarray(lines[side].get_ydata()).tolist() == [0.1, 0.4, 0.2]
    assert np.asarray(lines["chosen without masks"].get_xdata())[0] == 50
