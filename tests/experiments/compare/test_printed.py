from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltcam.evaluation.counts import PixelCounts, f1, iou, precision, recall
from ltcam.experiments.compare.comparison import CompareRow, Printed, Stages
from ltcam.experiments.compare.printed import agreement_of_orders, printed_for

METHODS = (
    *("Grad-CAM", "Grad-CAM++", "XGrad-CAM", "Ablation-CAM", "Score-CAM", "LayerCAM", "FullGrad"),
    *("LTGrad-CAM", "LTFullGrad"),
)


# IoU, precision, recall, F1 in percent as printed, and whether one pooled count can give all four.
PAPER = [
    ("1 Grad-CAM", 17.50, 19.27, 65.56, 29.79, True),
    ("1 Grad-CAM++", 17.22, 18.97, 65.14, 29.38, True),
    ("1 XGrad-CAM", 17.06, 18.86, 64.10, 29.15, True),
    ("1 Ablation-CAM", 17.96, 18.97, 64.08, 30.46, False),
    ("1 Ablation-CAM, corrected", 17.96, 19.98, 64.08, 30.46, True),
    ("1 Score-CAM", 17.63, 19.50, 64.76, 29.98, True),
    ("1 LayerCAM", 16.25, 17.76, 65.61, 27.95, True),
    ("1 FullGrad", 13.19, 13.58, 82.21, 23.31, True),
    ("1 LTGrad-CAM", 24.09, 27.21, 67.75, 38.83, True),
    ("3 LTFullGrad", 16.84, 19.50, 51.54, 28.30, False),
    ("3 LTFullGrad, corrected", 16.48, 19.50, 51.54, 28.30, True),
    ("2 Grad-CAM", 38.67, 49.19, 64.41, 55.78, True),
    ("2 Grad-CAM++", 35.17, 44.27, 63.10, 52.04, True),
    ("2 XGrad-CAM", 39.67, 51.03, 64.06, 56.81, True),
    ("2 Ablation-CAM", 26.06, 31.02, 61.99, 41.35, True),
    ("2 Score-CAM", 40.80, 56.72, 59.25, 57.96, True),
    ("2 LayerCAM", 42.01, 60.46, 57.92, 59.17, True),
    ("2 FullGrad", 37.95, 46.29, 67.81, 55.02, True),
    ("2 LTGrad-CAM", 42.67, 66.98, 54.03, 59.81, True),
    ("3 LTFullGrad, KSDD2", 39.38, 53.79, 59.53, 56.51, True),
]


def consistent_with_one_count(
    iou: float, precision: float, recall: float, f1: float, rounding: float = 0.00005
) -> bool:
    """Whether four printed numbers can all come from one pooled count.

    Precision and recall fix F1 = 2PR / (P + R) and IoU = F1 / (2 - F1). Each number is only known up to
    its rounding; both formulas rise with P and R, so the ends of the ranges bound the result.

    Args:
        iou: printed IoU, a fraction.
        precision: printed precision, a fraction.
        recall: printed recall, a fraction.
        f1: printed F1, a fraction.
        rounding: half a unit of the last printed digit (two decimals of a percentage: 0.00005).
    """

    def combined(p: float, r: float) -> float:
        return 2 * p * r / (p + r) if p > 0 and r > 0 else 0.0

    lowest = max(
        combined(precision - rounding, recall - rounding),
        f1 - rounding,
        2 * (iou - rounding) / (1 + iou - rounding),
    )
    highest = min(
        combined(precision + rounding, recall + rounding),
        f1 + rounding,
        2 * (iou + rounding) / (1 + iou + rounding),
    )
    return lowest <= highest


def row(
    method: str, value: float | None, stages: Stages = "last", printed: float | None = None
) -> CompareRow:
    paper = None if printed is None else Printed(1, printed, 0.5, 0.5, 0.5)
    return CompareRow(
        method=method,
        stages=stages,
        percentile=None,
        sharpening="none",
        **dict.fromkeys(("iou", "precision", "recall", "f1"), value),
        intervals={},
        classes=None,
        counts={"tp": 1, "fp": 2, "fn": 3},
        seconds=0,
        shares_capture=True,
        paper=paper,
    )


@pytest.mark.parametrize("method", METHODS)
def test_each_row_can_come_from_one_pixel_count(method: str) -> None:
    found = printed_for("ksdd", method, 50 if method.startswith("LT") else None)
    assert found is not None
    assert consistent_with_one_count(found.iou, found.precision, found.recall, found.f1)
    assert bool(found.note) == (method in {"Ablation-CAM", "LTFullGrad"})


@pytest.mark.parametrize("method", METHODS)
def test_each_row_of_ksdd2_can_come_from_one_pixel_count(method: str) -> None:
    found = printed_for("ksdd2", method, 0 if method.startswith("LT") else None)
    assert found is not None
    assert consistent_with_one_count(found.iou, found.precision, found.recall, found.f1)
    assert bool(found.note) == (method == "LTFullGrad")
    assert found.table == (3 if method == "LTFullGrad" else 2)


def test_only_where_the_paper_has_the_same() -> None:
    assert printed_for("folders", "Grad-CAM", None) is None
    assert printed_for("ksdd", "HiResCAM", None) is None
    assert printed_for("ksdd", "LTGrad-CAM", 40) is None
    own = printed_for("ksdd", "LTGrad-CAM", 50.0)
    assert own is not None
    assert own.iou == 0.2409


def test_order_is_compared_once_per_form() -> None:
    rows = [
        row("a", 0.1, "last", 0.3),
        row("a", 0.5, "all", 0.3),
        row("b", 0.2, "last", 0.2),
        row("b", 0.2, "all", 0.2),
        row("c", 0.3, "network", 0.1),
        row("own", 0.9, "run"),
    ]
    found = agreement_of_orders(rows)
    assert found is not None
    assert found["last"].to_json() == {"methods": 3, "spearman": pytest.approx(-1)}
    assert found["all"].to_json() == {
        "methods": 3,
        "spearman": pytest.approx(0.5),
    }  # ranks 3 1 2 against 3 2 1


def test_an_order_needs_three_values_that_differ() -> None:
    assert agreement_of_orders([row("a", 0.1)]) is None
    two = [row("a", 0.1, "last", 0.3), row("b", None, "last", 0.2), row("c", 0.2, "last", 0.1)]
    found = agreement_of_orders(two)
    assert found is not None
    assert (found["last"].methods, found["last"].spearman) == (2, None)
    equal = [row(name, 0.1, "last", 0.1 * place) for place, name in enumerate("abc")]
    found = agreement_of_orders(equal)
    assert found is not None
    assert found["all"].spearman is None


@pytest.mark.parametrize("printed", PAPER, ids=[printed[0] for printed in PAPER])
def test_the_papers_tables_come_from_one_pooled_count(
    printed: tuple[str, float, float, float, float, bool],
) -> None:
    _, *ratios, fits = printed
    assert consistent_with_one_count(*(ratio / 100 for ratio in ratios)) is fits


@settings(max_examples=50)
@given(st.integers(1, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_every_real_count_is_found_consistent_after_rounding(tp: int, fp: int, fn: int) -> None:
    counts = PixelCounts(tp, fp, fn)
    i, p, r, f = (round(metric(counts), 4) for metric in (iou, precision, recall, f1))
    # A hair more than half a unit: the printed number itself is rounded to float64.
    assert consistent_with_one_count(i, p, r, f, rounding=0.00005 + 1e-12)
    assert not consistent_with_one_count(i - 0.01, p, r, f)
