from __future__ import annotations

from typing import Any

import pytest
from tests.conftest import Page

from ltcam.experiments.compare.comparison import Comparison
from ltcam.experiments.compare.page import HEAD, compare_markdown, compare_page, compare_rows


def row_of(method: str, iou: float | None, stages: str = "last", **fields: Any) -> dict[str, Any]:
    interval = [None, None] if iou is None else [iou - 0.01, iou + 0.01]
    return {
        "method": method,
        "stages": stages,
        "percentile": None,
        "sharpening": "none",
        **dict.fromkeys(("iou", "precision", "recall", "f1"), iou),
        "intervals": dict.fromkeys(("iou", "precision", "recall", "f1"), interval),
        "counts": {"tp": 1, "fp": 2, "fn": 3},
        "hit_8px": 0.75,
        "seconds": 0.0123,
        "shares_capture": True,
        "paper": None,
        "classes": None,
        **fields,
    }


def comparison_of(rows: list[dict[str, Any]], **fields: Any) -> Comparison:
    values = {
        "split": "test side of the run",
        "backbone": "test_resnet",
        "images": {"defective": 12, "with_mask": 11, "measured": 10},
        "rows": rows,
        "paper_order": None,
        "capture_seconds": 0.25,
        "notes": [],
        "settings": {
            "percentile": 50,
            "probing": False,
            "positive_activations": False,
            "stages": ["a", "b"],
            "image_size": [64, 96],
            "run_cam": {"method": "layer-cam", "stages": ["a"]},
            "run_sharpening": {"polarity": "dark", "window": 0.1},
            "run_mask": {"threshold": "otsu"},
            "batch_size": 4,
            "device": "cpu",
            "bootstrap": 20,
        },
        "seed": 3,
        "versions": {"torch": "2"},
        "command": "ltcam compare a b",
        "failed": [],
        **fields,
    }
    return Comparison.model_validate(values)


PAPER = {"table": 1, "iou": 0.175, "precision": 0.1927, "recall": 0.6556, "f1": 0.2979, "note": ""}


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return [
        row_of("Nothing", None, "network", shares_capture=False),
        row_of("Grad-CAM", 0.2, paper=PAPER),
        row_of("LTGrad-CAM", 0.4, "all", percentile=50, paper={**PAPER, "iou": 0.2409, "note": "a misprint"}),
        row_of("This run", 0.5, "run", sharpening="dark"),
    ]


def test_rows_are_sorted_and_undefined_ones_last(rows: list[dict[str, Any]]) -> None:
    found = compare_rows(comparison_of(rows))
    assert [row[0] for row in found] == ["This run", "LTGrad-CAM", "Grad-CAM", "Nothing"]
    assert all(len(row) == len(HEAD) for row in found)
    expected = (
        "LTGrad-CAM",
        "all stages",
        "50",
        "0.400",
        "0.390–0.410",
        "0.400",
        "0.400",
        "0.400",
        "0.750",
        "12.3",
        "0.241",
    )
    assert found[1] == expected
    assert found[3][3:5] == ("–", "–")


def test_page_shows_the_numbers(rows: list[dict[str, Any]], parse: type[Page]) -> None:
    order = {"last": {"methods": 8, "spearman": 0.625}, "all": {"methods": 2, "spearman": None}}
    page = parse(compare_page(comparison_of(rows, paper_order=order), title="a on b"))
    page.assert_self_contained()
    assert "True masks were used for measuring only" in page.text
    assert "This run: IoU 0.500 This run, its own settings, 95 %: 0.490–0.510" in page.text
    assert "Best truncated method: IoU 0.400" in page.text
    assert "Best other method: IoU 0.200" in page.text
    assert "2 of 12 defective images are not measured: 1 have no mask, 1 could not be used" in page.text
    assert "0.241" in page.text
    assert "LTGrad-CAM: a misprint." in page.text
    assert "Spearman 0.62 over 8 methods, with the compared methods' maps of the last stage" in page.text
    assert "Spearman undefined over 2 methods" in page.text
    assert "capture of 250.0 ms" in page.text
    assert "ltcam compare a b" in page.text
    assert "--probing" in page.text


def test_page_without_the_papers_numbers_and_failures(parse: type[Page]) -> None:
    text = compare_page(comparison_of([row_of("Grad-CAM", 0.2)]), title="x")
    assert "Beside the paper" not in text
    assert "could not be measured" not in text


def test_everything_is_escaped(rows: list[dict[str, Any]], parse: type[Page], evil: str) -> None:
    hostile = comparison_of(
        [*rows, row_of(evil, 0.1)],
        backbone=evil,
        split=evil,
        command=evil,
        notes=[evil],
        failed=[{"image": f"a/{evil}", "reason": evil}],
    )
    text = compare_page(hostile, title=evil)
    page = parse(text)
    page.assert_self_contained()
    assert "<script" not in text
    assert page.text.count(evil) >= 8
    markdown = compare_markdown(hostile)
    assert "<script" not in markdown


def test_markdown_has_everything(rows: list[dict[str, Any]]) -> None:
    order = {"last": {"methods": 8, "spearman": 0.5}, "all": {"methods": 8, "spearman": 0.25}}
    failed = [{"image": "a|b.png", "reason": "empty"}]
    text = compare_markdown(comparison_of(rows, paper_order=order, failed=failed))
    assert "10 of 12 defective images (test side of the run)" in text
    assert "| LTGrad-CAM | all stages | 50 | 0.400 | 0.390–0.410 |" in text
    assert "Spearman 0.50 over 8 methods" in text
    assert "LTGrad-CAM: a misprint." in text
    assert "| a\\|b.png | empty |" in text


def test_a_row_in_half_precision_says_so() -> None:
    rows = [row_of("Score-CAM", 0.2, bfloat16=True), row_of("Grad-CAM", 0.1)]
    first, second = compare_rows(comparison_of(rows))
    assert first[1] == "last stage, in bfloat16"
    assert second[1] == "last stage"
    assert "last stage, in bfloat16" in compare_page(comparison_of(rows), title="a on b")
