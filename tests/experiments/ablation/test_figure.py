from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ltcam.experiments.ablation.figure import effects_figure
from ltcam.reports.drawing import save_figure

METHODS = ["Grad-CAM", "LTGrad-CAM"]


def row_of(question: str, value: str, method: str, iou: float | None) -> dict[str, Any]:
    return {"question": question, "value": value, "method": method, "iou": iou}


def gain_of(stage: str, iou: float, plain: float, taps: str = "after") -> dict[str, float | int | str | None]:
    return {
        "taps": taps,
        "scope": "channel",
        "reading": "gradient",
        "percentile": 50,
        "stage": stage,
        "iou": iou,
        "grad_cam_iou": plain,
        "gain": iou - plain,
        "grad_cam_share": 0.5,
        "share": 0.25,
        "moved": None,
    }


QUESTIONS = {
    "base": {"percentile": 50, "methods": METHODS},
    "rows": [
        *(row_of("base", "paper", method, 0.2) for method in METHODS),
        row_of("fusion", "max", "Grad-CAM", 0.3),
        row_of("fusion", "max", "LTGrad-CAM", None),
        row_of("stages", "S1", "Grad-CAM", 0.1),
    ],
    "gains": [gain_of("all", 0.25, 0.2), gain_of("S1", 0.11, 0.1), gain_of("S2", 0.22, 0.3)],
}


def test_choices_on_the_left_and_stages_on_the_right() -> None:
    choices, stages = effects_figure(QUESTIONS).axes
    names = [label.get_text() for label in choices.get_yticklabels()]
    assert names == ["base setting", "stages fused by max"]
    marks = {line.get_label(): np.asarray(line.get_xdata()).tolist() for line in choices.lines}
    assert marks["Grad-CAM"] == [0.2, 0.3]
    assert marks["LTGrad-CAM"] == [0.2], "what was not measured is not drawn"
    lines = {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in stages.lines}
    assert lines["Grad-CAM"] == [0.1, 0.3]
    assert lines["LT, channel, gradient"] == [0.11, 0.22]


def test_equal_figures_are_equal_files(tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        files.append(save_figure(effects_figure(QUESTIONS), tmp_path / name, "effects"))
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes()
