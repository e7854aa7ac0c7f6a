from __future__ import annotations

from typing import Any

from tests.conftest import Page

from ltcam.experiments.ablation.answers import Answers
from ltcam.experiments.ablation.page import (
    GAIN_HEAD,
    HEAD,
    STAGE_HEAD,
    ablation_markdown,
    ablation_page,
    answer_rows,
    gain_rows,
    stage_rows,
)

METHODS = ["Grad-CAM", "LTGrad-CAM"]


def row_of(
    question: str, value: str, method: str, iou: float | None, gain: float | None, **fields: Any
) -> dict[str, Any]:
    return {
        "question": question,
        "value": value,
        "method": method,
        "runs": 1,
        **dict.fromkeys(("iou", "precision", "recall", "f1"), iou),
        "counts": {"tp": 1, "fp": 2, "fn": 3},
        "mean_image_iou": iou,
        "gain": gain,
        "mean_image_gain": gain,
        "intervals": {"gain": [-0.01, 0.02], "mean_image_gain": [-0.03, 0.04]},
        "spread": dict.fromkeys(("iou", "gain", "mean_image_gain")),
        **fields,
    }


def gain_of(
    scope: str,
    reading: str,
    stage: str,
    iou: float | None,
    plain: float,
) -> dict[str, Any]:
    return {
        "taps": "after",
        "scope": scope,
        "reading": reading,
        "percentile": 50,
        "stage": stage,
        "runs": 1,
        "grad_cam_iou": plain,
        "iou": iou,
        "mean_image_iou": iou,
        "gain": None if iou is None else iou - plain,
        "mean_image_gain": None,
        "share": 0.25,
        "grad_cam_share": 0.5,
        "moved": None if stage == "all" else 0.125,
        "intervals": {"gain": [None, None] if iou is None else [0.01, 0.05]},
        "spread": {"gain": None},
    }


def run_of(name: str = "run-a", **fields: Any) -> dict[str, Any]:
    return {
        "run": name,
        "backbone": "test_resnet",
        "image_size": [64, 96],
        "stages": ["a", "b"],
        "pooling_stages": False,
        "training": {"freeze": 0},
        "side": "test side of the run",
        "images": {"defective": 9, "with_mask": 8, "measured": 7},
        "rows": [row_of("base", "paper", method, 0.2, 0.0) for method in METHODS],
        "gains": [],
        "notes": [],
        "seed": 3,
        "device": "cpu",
        "failed": [],
        **fields,
    }


def questions_of(**fields: Any) -> Answers:
    values = {
        "base": {"percentile": 50, "methods": METHODS},
        "rows": [
            *(row_of("base", "paper", method, 0.2, 0.0) for method in METHODS),
            row_of("fusion", "max", "Grad-CAM", 0.3, 0.1),
            row_of("stages", "S1", "Grad-CAM", None, None),
            row_of("fusion", "max", "LTGrad-CAM", 0.15, -0.05),
        ],
        "gains": [
            gain_of("channel", "gradient", "all", 0.25, 0.2),
            gain_of("channel", "gradient", "S1", 0.11, 0.1),
            gain_of("channel", "gradient", "S2", 0.22, 0.3),
            gain_of("stage", "mask", "all", None, 0.2),
            {**gain_of("channel", "gradient", "all", 0.21, 0.2), "taps": "before"},
        ],
        "best_reading": {
            "scope": "channel",
            "reading": "gradient",
            "grad_cam_iou": 0.2,
            "iou": 0.25,
            "gain": 0.05,
            "intervals": {},
        },
        "runs": [run_of()],
        "settings": {"positive_activations": False, "bootstrap": 20},
        "versions": {"torch": "2"},
        "command": "ltcam questions a b",
        **fields,
    }
    return Answers.model_validate(values)


def test_rows_stand_choice_by_choice() -> None:
    rows = answer_rows(questions_of())
    assert all(len(row) == len(HEAD) for row in rows)
    assert [row[:2] for row in rows] == [
        ("base setting", "Grad-CAM"),
        ("base setting", "LTGrad-CAM"),
        ("stages fused by max", "Grad-CAM"),
        ("stages fused by max", "LTGrad-CAM"),
        ("only stage S1", "Grad-CAM"),
    ]
    assert rows[0][2:] == ("0.200", "–", "–", "0.200", "–")
    assert rows[3][2:] == ("0.150", "-0.050", "-0.010 to +0.020", "0.150", "-0.050")
    assert rows[4][2:4] == ("–", "–")


def test_gains_and_stages() -> None:
    rows = gain_rows(questions_of())
    assert all(len(row) == len(GAIN_HEAD) for row in rows)
    assert rows[0] == ("channel", "gradient", "50", "0.200", "0.250", "+0.050", "+0.010 to +0.050")
    assert rows[1][4:] == ("–", "–", "–")
    assert rows[2][0] == "channel (before pooling)"
    stages = stage_rows(questions_of(), "channel", "gradient")
    assert all(len(row) == len(STAGE_HEAD) for row in stages)
    assert stages[1] == ("S2", "50.0 %", "0.300", "25.0 %", "0.220", "-0.080", "12.5 %")


def test_page_names_the_best_reading(parse: type[Page]) -> None:
    page = parse(ablation_page(questions_of(), title="a on b"))
    page.assert_self_contained()
    assert "gains most over Grad-CAM with the percentile of each channel" in page.text
    assert "IoU 0.250 against 0.200 (+0.050)" in page.text
    assert "best single change: stages fused by max, 0.300" in page.text
    assert "7 defective images with a mask" in page.text
    assert "The runs" not in page.text
    assert "ltcam questions a b" in page.text
    assert len(page.images) == 1


def test_runs_side_by_side_show_where_they_differ(parse: type[Page]) -> None:
    runs = [run_of(), run_of("run-b", image_size=[128, 96], training={"freeze": 2})]
    spread = {"sd": 0.1, "low": -0.2, "high": 0.3}
    row = row_of(
        "fusion",
        "max",
        "Grad-CAM",
        0.3,
        0.1,
        intervals=None,
        spread={"gain": spread, "mean_image_gain": spread},
    )
    found = questions_of(runs=runs, rows=[row])
    page = parse(ablation_page(found, title="x"))
    assert "run freeze image size images Grad-CAM LTGrad-CAM run-a 0 64, 96 7 0.200 0.200" in page.text
    assert "seed" not in page.text
    assert "-0.200 to +0.300" in page.text
    assert "| run-b | 2 | 128, 96 |" in ablation_markdown(found)


def test_everything_is_escaped(parse: type[Page], evil: str) -> None:
    failed = [{"image": f"a/{evil}", "reason": evil}]
    hostile = questions_of(command=evil, runs=[run_of(evil, backbone=evil, failed=failed, notes=[evil])])
    text = ablation_page(hostile, title=evil)
    page = parse(text)
    page.assert_self_contained()
    assert "<script" not in text
    assert page.text.count(evil) >= 5
    assert "<script" not in ablation_markdown(hostile)


def test_markdown() -> None:
    text = ablation_markdown(questions_of())
    assert "| stages fused by max | Grad-CAM | 0.300 | +0.100 |" in text
    assert "| S2 | 50.0 % | 0.300 |" in text
    assert "True masks were used for measuring only" in text
