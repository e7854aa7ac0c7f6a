"""The same question asked of several runs: its mean over them, and its spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from ltcam.experiments.ablation.answers import Answer, OverRuns, RunAnswer, RunGain, Spread, TruncationGain

_Row = TypeVar("_Row", Answer, TruncationGain)


def over_runs(
    tables: Sequence[Sequence[RunAnswer | RunGain]], which: Sequence[str], found: type[_Row]
) -> tuple[_Row, ...]:
    """The rows of several runs, each number as its mean over the runs and its spread.

    Args:
        tables: rows of each run.
        which: names of what says which row it is.
        found: what to make of the rows that are the same in these.

    Returns:
        One per row of any run, in their order; no spread of a number that one run alone knows.
    """
    same: dict[tuple[Any, ...], list[RunAnswer | RunGain]] = {}
    for table in tables:
        for row in table:
            same.setdefault(tuple(getattr(row, name) for name in which), []).append(row)
    others = {*OverRuns.model_fields, *which}
    columns = [name for name in found.model_fields if name not in others]
    return tuple(
        found(**dict(zip(which, key, strict=True)), **_mean_row(rows, columns)) for key, rows in same.items()
    )


def _mean_row(rows: Sequence[RunAnswer | RunGain], columns: Sequence[str]) -> dict[str, Any]:
    known = {name: [value for row in rows if (value := getattr(row, name)) is not None] for name in columns}
    return {
        "runs": len(rows),
        **{name: float(np.mean(each)) if each else None for name, each in known.items()},
        "intervals": rows[0].intervals if len(rows) == 1 else None,
        "spread": {
            name: Spread(sd=float(np.std(each, ddof=1)), low=min(each), high=max(each))
            if len(each) > 1
            else None
            for name, each in known.items()
        },
    }
