from __future__ import annotations

import pytest

from ltcam.evaluation.counts import consistent_with_one_count
from ltcam.experiments.compare.printed import agreement_of_orders, printed_delta, printed_for

METHODS = (
    *("Grad-CAM", "Grad-CAM++", "XGrad-CAM", "Ablation-CAM", "Score-CAM", "LayerCAM", "FullGrad"),
    *("LTGrad-CAM", "LTFullGrad"),
)


def row(method, iou, stages="last", printed=None):
    return {
        "method": method,
        "stages": stages,
        "iou": iou,
        "paper": None if printed is None else {"iou": printed},
    }


@pytest.mark.parametrize("method", METHODS)
def test_each_row_can_come_from_one_pixel_count(method):
    found = printed_for("ksdd", method, 50 if method.startswith("LT") else None)
    assert consistent_with_one_count(found.iou, found.precision, found.recall, found.f1)
    assert bool(found.note) == (method in {"Ablation-CAM", "LTFullGrad"})


@pytest.mark.parametrize("method", METHODS)
def test_each_row_of_ksdd2_can_come_from_one_pixel_count(method):
    found = printed_for("ksdd2", method, 0 if method.startswith("LT") else None)
    assert consistent_with_one_count(found.iou, found.precision, found.recall, found.f1)
    assert bool(found.note) == (method == "LTFullGrad")
    assert found.table == (3 if method == "LTFullGrad" else 2)


def test_deltas_of_the_paper():
    assert [printed_delta(layout) for layout in ("ksdd", "ksdd2", "folders")] == [50, 0, None]


def test_only_where_the_paper_has_the_same():
    assert printed_for("folders", "Grad-CAM", None) is None
    assert printed_for("ksdd", "HiResCAM", None) is None
    assert printed_for("ksdd", "LTGrad-CAM", 40) is None
    assert printed_for("ksdd", "LTGrad-CAM", 50.0).iou == 0.2409


def test_order_is_compared_once_per_form():
    rows = [
        row("a", 0.1, "last", 0.3),
        row("a", 0.5, "all", 0.3),
        row("b", 0.2, "last", 0.2),
        row("b", 0.2, "all", 0.2),
        row("c", 0.3, "network", 0.1),
        row("own", 0.9, "run"),
    ]
    found = agreement_of_orders(rows)
    assert found["last"] == {"methods": 3, "spearman": pytest.approx(-1)}
    assert found["all"] == {"methods": 3, "spearman": pytest.approx(0.5)}  # ranks 3 1 2 against 3 2 1


def test_an_order_needs_three_values_that_differ():
    assert agreement_of_orders([row("a", 0.1)]) is None
    two = [row("a", 0.1, "last", 0.3), row("b", None, "last", 0.2), row("c", 0.2, "last", 0.1)]
    assert agreement_of_orders(two)["last"] == {"methods": 2, "spearman": None}
    equal = [row(name, 0.1, "last", 0.1 * place) for place, name in enumerate("abc")]
    assert agreement_of_orders(equal)["all"]["spearman"] is None
