"""What the LT paper prints for KolektorSDD and KolektorSDD2 (tables 1 to 3), to stand beside what is measured.

Two of its numbers, both for KolektorSDD, contradict the others of their row, whose four numbers come from one
pixel count; both are misprints. Here stands what the row's other numbers say, with a note.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scipy.stats import spearmanr

from ltcam.data.layouts import ksdd, ksdd2
from ltcam.experiments.compare.comparison import CompareRow, OrderAgreement, Printed

FEWEST_FOR_AN_ORDER = 3


_KSDD: Mapping[str, Printed] = {
    "Grad-CAM": Printed(1, 0.1750, 0.1927, 0.6556, 0.2979),
    "Grad-CAM++": Printed(1, 0.1722, 0.1897, 0.6514, 0.2938),
    "XGrad-CAM": Printed(1, 0.1706, 0.1886, 0.6410, 0.2915),
    "Ablation-CAM": Printed(
        1,
        0.1796,
        0.1998,
        0.6408,
        0.3046,
        note="precision is printed as 18.97 %; the row's other numbers leave only 19.98 %",
    ),
    "Score-CAM": Printed(1, 0.1763, 0.1950, 0.6476, 0.2998),
    "LayerCAM": Printed(1, 0.1625, 0.1776, 0.6561, 0.2795),
    "FullGrad": Printed(1, 0.1319, 0.1358, 0.8221, 0.2331),
    "LTGrad-CAM": Printed(1, 0.2409, 0.2721, 0.6775, 0.3883),
    "LTFullGrad": Printed(
        3,
        0.1648,
        0.1950,
        0.5154,
        0.2830,
        note="IoU is printed as 16.84 %; the row's other numbers leave only 16.48 %; shown beside delta 50, the "
        "delta of table 1",
    ),
}

_KSDD2: Mapping[str, Printed] = {
    "Grad-CAM": Printed(2, 0.3867, 0.4919, 0.6441, 0.5578),
    "Grad-CAM++": Printed(2, 0.3517, 0.4427, 0.6310, 0.5204),
    "XGrad-CAM": Printed(2, 0.3967, 0.5103, 0.6406, 0.5681),
    "Ablation-CAM": Printed(2, 0.2606, 0.3102, 0.6199, 0.4135),
    "Score-CAM": Printed(2, 0.4080, 0.5672, 0.5925, 0.5796),
    "LayerCAM": Printed(2, 0.4201, 0.6046, 0.5792, 0.5917),
    "FullGrad": Printed(2, 0.3795, 0.4629, 0.6781, 0.5502),
    "LTGrad-CAM": Printed(2, 0.4267, 0.6698, 0.5403, 0.5981),
    "LTFullGrad": Printed(
        3,
        0.3938,
        0.5379,
        0.5953,
        0.5651,
        note="table 3 names no delta; shown beside delta 0, the delta of table 2",
    ),
}

_TABLES: Mapping[str, Mapping[str, Printed]] = {ksdd.NAME: _KSDD, ksdd2.NAME: _KSDD2}
_DELTAS: Mapping[str, float] = {ksdd.NAME: 50, ksdd2.NAME: 0}
"""Percentile of the truncated methods' rows."""


def printed_for(layout: str, method: str, delta: float | None) -> Printed | None:
    """The paper's row for a method on a data set of this layout; None where it has none.

    Args:
        layout: name of the data set's layout.
        method: as papers spell it.
        delta: percentile of the truncation, None without one.
    """
    truncated_at = _DELTAS.get(layout) if method.startswith("LT") else None
    return _TABLES.get(layout, {}).get(method) if delta == truncated_at else None


def agreement_of_orders(rows: Sequence[CompareRow]) -> dict[str, OrderAgreement] | None:
    """Spearman's rank correlation between measured and printed IoU.

    The paper does not say whether the maps it compares with are of the last stage or of all, so there is one
    correlation for each; methods that were measured in one form only are in both with that.

    Returns:
        By `last` and `all`; None without any printed number.
    """
    forms: dict[str, dict[str, tuple[float, float]]] = {}
    for row in rows:
        if row.paper is not None and row.iou is not None:
            forms.setdefault(row.method, {})[row.stages] = (row.iou, row.paper.iou)
    if not forms:
        return None
    return {
        stages: _agreement([form.get(stages, next(iter(form.values()))) for form in forms.values()])
        for stages in ("last", "all")
    }


def _agreement(pairs: Sequence[tuple[float, float]]) -> OrderAgreement:
    measured, printed = zip(*pairs, strict=True)
    undefined = len(pairs) < FEWEST_FOR_AN_ORDER or len(set(measured)) < 2 or len(set(printed)) < 2
    spearman = None if undefined else float(spearmanr(measured, printed).statistic)
    return OrderAgreement(methods=len(pairs), spearman=spearman)
