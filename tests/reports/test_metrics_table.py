from __future__ import annotations

from collections.abc import Callable

import pytest

from ltcam.evaluation.metrics import Estimate
from ltcam.evaluation.summary import Evaluation
from ltcam.reports.metrics_table import MetricRow, fraction, metrics_markdown, metrics_table


def test_rows_are_the_numbers_of_the_evaluation(metrics_of: Callable[..., Evaluation]) -> None:
    evaluation = metrics_of()
    rows = {row.name: row for row in metrics_table(evaluation)}
    population, verdicts = evaluation.populations["defective"], evaluation.verdicts.metrics
    assert population.heatmaps is not None
    for name, estimate in (
        ("pixel IoU", population.masks.iou),
        ("pixel F1 within 2 px", population.masks.boundary[2].f1),
        ("box recall at IoU 0.1", population.masks.boxes[0.1].recall),
        ("pixel AP", population.heatmaps.ap),
        ("peak within 8 px", evaluation.hits.hit_8px),
        ("image AUROC", verdicts.auroc),
    ):
        low, high = (None, None) if estimate.low == estimate.high else (estimate.low, estimate.high)
        assert rows[name] == (name, estimate.value, low, high)
    assert all(row.value is not None for row in rows.values())


def test_undefined_numbers_are_a_dash(metrics_of: Callable[..., Evaluation]) -> None:
    rows = {row.name: row for row in metrics_table(metrics_of(masks=False))}
    assert rows["pixel IoU"].value is None
    assert (rows["pixel IoU"].text, rows["pixel IoU"].interval) == ("–", "")
    assert rows["image AP"].value is not None
    read = MetricRow.read({"iou": 0.25, "intervals": {"iou": [0.1, 0.5]}}, "iou")
    assert (read.text, read.interval) == ("0.250", "0.100–0.500")


def test_an_interval_without_width_is_none() -> None:
    assert MetricRow.of(Estimate(1.0, 1.0, 1.0)).interval == ""  # one image, drawn again and again
    assert MetricRow.of(Estimate(1.0, 0.025, 1.0)).interval == "0.025–1.000"


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.0, "0.000"), (1, "1.000"), (0.38149, "0.381")])
def test_fraction(value: float | None, text: str) -> None:
    assert fraction(value) == text


def test_markdown_has_whole_tables_and_no_foreign_markup(
    metrics_of: Callable[..., Evaluation],
) -> None:
    text = metrics_markdown(metrics_of(classes=("crack", "a|b <i>`x`\\")))
    assert "<i>" not in text
    assert "a\\|b &lt;i>" in text
    tables = [block.strip().split("\n") for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3
    for lines in tables:
        cells = {len(line.replace("\\|", "").strip().strip("|").split("|")) for line in lines}
        assert len(cells) == 1
    assert "12 images: 8 defective, 4 OK; " in text


def test_markdown_of_one_class_has_no_class_table(metrics_of: Callable[..., Evaluation]) -> None:
    text = metrics_markdown(metrics_of(classes=("crack",), masks=False))
    assert "Named right" not in text
    assert "pixel" not in text.lower()  # nothing is named that was not measured
    assert "| image AP |" in text
