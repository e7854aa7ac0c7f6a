from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.experiments.ablation.test_page import METHODS, gain_of, questions_of, row_of

from ltcam.experiments.ablation.figure import effects_figure
from ltcam.reports.drawing import save_figure

QUESTIONS = questions_of(
    rows=[
        *(row_of("base", "paper", method, 0.2, 0) for method in METHODS),
        row_of("fusion", "max", "Grad-CAM", 0.3, 0.1),
        row_of("fusion", "max", "LTGrad-CAM", None, None),
        row_of("stages", "S1", "Grad-CAM", 0.1, -0.1),
    ],
    gains=[
        gain_of("channel", "gradient", stage, iou, plain)
        for stage, iou, plain in (("all", 0.25, 0.2), ("S1", 0.11, 0.1), ("S2", 0.22, 0.3))
    ],
)


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
