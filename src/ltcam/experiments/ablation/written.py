"""The files that answers are written to, the page among them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ltcam.evaluation.counts import PIXEL_RATIOS
from ltcam.experiments.ablation.answers import CHOICE, TRUNCATION, Answers, RunAnswers
from ltcam.experiments.ablation.figure import effects_figure
from ltcam.experiments.ablation.page import ablation_markdown, ablation_page
from ltcam.experiments.results import write_csv, write_json
from ltcam.reports.drawing import save_figure
from ltcam_runtime.folders import write_file

ABLATION_FILE = "questions.json"


def write_answers(folder: Path, found: Answers, title: str) -> None:
    """Write them as JSON, tables, figure and page.

    Args:
        folder: to write to.
        found: the answers.
        title: of the page.
    """
    write_json(folder / ABLATION_FILE, found.to_json())
    _write_csv(folder / "questions.csv", found.runs)
    _write_gains_csv(folder / "gains.csv", found.runs)
    write_file(folder / "questions.md", ablation_markdown(found))
    write_file(folder / "report.html", ablation_page(found, title=title))
    save_figure(effects_figure(found), folder, "effects")


def _write_csv(file: Path, answers: Sequence[RunAnswers]) -> None:
    """A line per run and row."""
    gains = ("gain", "mean_image_gain")
    names = (*PIXEL_RATIOS, "mean_image_iou", *gains)
    bounds = [f"{name}_{end}" for name in gains for end in ("low", "high")]
    lines = [
        [
            answer.run,
            *(getattr(row, name) for name in (*CHOICE, *names)),
            *(end for name in gains for end in row.intervals[name]),
            *dict(row.counts).values(),
        ]
        for answer in answers
        for row in answer.rows
    ]
    write_csv(file, ["run", *CHOICE, *names, *bounds, "tp", "fp", "fn"], lines)


def _write_gains_csv(file: Path, answers: Sequence[RunAnswers]) -> None:
    names = ("grad_cam_iou", "iou", "gain", "mean_image_gain", "grad_cam_share", "share", "moved")
    lines = [
        [answer.run, *(getattr(row, name) for name in (*TRUNCATION, *names)), *row.intervals["gain"]]
        for answer in answers
        for row in answer.gains
    ]
    write_csv(file, ["run", *TRUNCATION, *names, "gain_low", "gain_high"], lines)
