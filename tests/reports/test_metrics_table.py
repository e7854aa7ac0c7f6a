from __future__ import annotations

import json

import pytest

from ltcam.reports.metrics_table import fraction, metrics_markdown, metrics_table, read_metric


def test_rows_are_the_numbers_of_the_metrics(metrics_of):
    metrics = metrics_of()
    rows = {row.name: row for row in metrics_table(metrics)}
    for name, path in (
        ("pixel IoU", ("pixel", "iou")),
        ("pixel AP", ("pixel", "ap")),
        ("image AUROC", ("image", "auroc")),
    ):
        section, key = path
        assert rows[name].value == metrics[section][key]
        assert [rows[name].low, rows[name].high] == metrics[section]["intervals"][key]
    near = rows["pixel F1 within 2 px"]
    assert near.value == metrics["pixel"]["boundary"]["2"]["f1"]
    assert [near.low, near.high] == metrics["pixel"]["intervals"]["boundary"]["2"]["f1"]
    box = rows["box recall at IoU 0.1"]
    assert box.value == metrics["boxes"]["0.1"]["recall"]
    assert [box.low, box.high] == metrics["boxes"]["intervals"]["0.1"]["recall"]
    assert all(row.value is not None for row in rows.values())


def test_metrics_read_back_from_json_give_the_same(metrics_of):
    metrics = metrics_of()
    assert metrics_table(json.loads(json.dumps(metrics))) == metrics_table(metrics)


def test_undefined_numbers_are_a_dash(metrics_of):
    rows = {row.name: row for row in metrics_table(metrics_of(masks=False))}
    assert rows["pixel IoU"].value is None
    assert (rows["pixel IoU"].text, rows["pixel IoU"].interval) == ("–", "")
    assert rows["image AP"].value is not None
    missing = read_metric({"iou": 0.25}, "boundary/2/f1")
    assert missing == ("boundary/2/f1", None, None, None)
    assert read_metric({"iou": 0.25, "intervals": {"iou": [0.1, 0.5]}}, "iou").interval == "0.100–0.500"


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.0, "0.000"), (1, "1.000"), (0.38149, "0.381")])
def test_fraction(value, text):
    assert fraction(value) == text


def test_markdown_has_whole_tables_and_no_foreign_markup(metrics_of):
    text = metrics_markdown(metrics_of(classes=("crack", "a|b <i>`x`\\")))
    assert "<i>" not in text
    assert "a\\|b &lt;i>" in text
    tables = [block.strip().split("\n") for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3
    for lines in tables:
        cells = {len(line.replace("\\|", "").strip().strip("|").split("|")) for line in lines}
        assert len(cells) == 1
    assert "12 images: 8 defective, 4 OK; " in text


def test_markdown_of_one_class_has_no_class_table(metrics_of):
    text = metrics_markdown(metrics_of(classes=("crack",), masks=False))
    assert "Named right" not in text
    assert "| pixel IoU | – | – |" in text
