"""The question of the line: how many defects pass, how many good parts are pulled out, and at another threshold?"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ltcam.evaluation.binomial import Interval, exact_interval
from ltcam.evaluation.evaluate import ImageRecord, plain_json
from ltcam_runtime.phrases import counted

_MOST_ROWS = 10


@dataclass(frozen=True)
class Costs:
    """What a mistake costs, in any unit.

    Attributes:
        miss: a defective part that passes.
        alarm: a good part that is pulled out.
    """

    miss: float = 1.0
    alarm: float = 1.0

    def of(self, missed: int, alarms: int) -> float:
        """What so many mistakes cost."""
        return self.miss * missed + self.alarm * alarms


@dataclass(frozen=True)
class Operating:
    """What one threshold gives on the images measured.

    Attributes:
        threshold: images with this score or more are pulled out.
        missed: defective images below it.
        alarms: OK images that reach it.
        pulled_out: all images that reach it.
        cost: by `Costs`; None where nobody said what mistakes cost.
        own: whether it is the run's.
    """

    threshold: float
    missed: int
    alarms: int
    pulled_out: int
    cost: float | None
    own: bool


@dataclass(frozen=True)
class Decisions:
    """What the verdicts came to.

    Attributes:
        threshold: the run's.
        defective_scores: of the images labelled defective, ascending.
        ok_scores: of the images labelled OK, ascending.
        missed: names of defective images with verdict OK, lowest score first.
        alarms: names of OK images with verdict defect, highest score first.
        unsure: names of images that a person should look at, lowest score first.
        miss_bound: exact 95 % bounds of the share of defective images that are missed.
        alarm_bound: the same of OK images that are false alarms.
        rows: up to ten thresholds, the run's among them, ascending.
        costs: what mistakes cost, or None.
    """

    threshold: float
    defective_scores: tuple[float, ...]
    ok_scores: tuple[float, ...]
    missed: tuple[str, ...]
    alarms: tuple[str, ...]
    unsure: tuple[str, ...]
    miss_bound: Interval
    alarm_bound: Interval
    rows: tuple[Operating, ...]
    costs: Costs | None

    @property
    def defective(self) -> int:
        """Number of images labelled defective."""
        return len(self.defective_scores)

    @property
    def ok(self) -> int:
        """Number of images labelled OK."""
        return len(self.ok_scores)

    @property
    def sentence(self) -> str:
        """`51 images: 21 defective, 30 OK; 4 defects missed, 5 false alarms`."""
        return tally(self.defective, self.ok, len(self.missed), len(self.alarms), len(self.unsure))

    @property
    def cheapest(self) -> Operating | None:
        """The row of the lowest cost (of equals the one with fewer misses); None where costs are not known."""
        if self.costs is None or not self.rows:
            return None
        return min(self.rows, key=lambda row: (row.cost, row.missed, not row.own))

    @property
    def better(self) -> Operating | None:
        """The row to take instead of the run's; None where there is none.

        It is the cheapest or, where costs are not known, one that makes fewer mistakes of one sort and no more of the
        other.
        """
        if self.costs is not None:
            found = self.cheapest
            return None if found is None or found.own else found
        own = next(row for row in self.rows if row.own)
        no_worse = [row for row in self.rows if row.missed <= own.missed and row.alarms <= own.alarms]
        found = min(no_worse, key=lambda row: (row.missed + row.alarms, row.missed, not row.own))
        return None if found.missed + found.alarms == own.missed + own.alarms else found

    def marks(self, row: Operating) -> tuple[str, ...]:
        """What is said beside a row."""
        best = "fewer mistakes" if self.costs is None else "cheapest"
        told = row == (self.better if self.costs is None else self.cheapest)
        return (*(["this run"] if row.own else []), *([best] if told else []))

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        plain: dict[str, Any] = plain_json(
            {
                "sentence": self.sentence,
                "missed": self.missed,
                "false_alarms": self.alarms,
                "unsure": self.unsure,
                "missed_share_bounds": self.miss_bound,
                "false_alarm_share_bounds": self.alarm_bound,
                "costs": None if self.costs is None else vars(self.costs),
                "thresholds": [vars(row) for row in self.rows],
            }
        )
        return plain


def summarise_decisions(
    records: Sequence[ImageRecord], threshold: float, costs: Costs | None = None
) -> Decisions:
    """Count what the verdicts came to, and what other thresholds would give.

    Args:
        records: one per image.
        threshold: the run's.
        costs: what mistakes cost; None leaves costs out.
    """
    ordered = sorted(records, key=lambda record: (record.score, record.image))
    defective = [record for record in ordered if record.defective]
    ok = [record for record in ordered if not record.defective]
    missed = [record.image for record in defective if record.verdict == "ok"]
    alarms = [record.image for record in reversed(ok) if record.verdict == "defect"]
    return Decisions(
        threshold=threshold,
        defective_scores=tuple(record.score for record in defective),
        ok_scores=tuple(record.score for record in ok),
        missed=tuple(missed),
        alarms=tuple(alarms),
        unsure=tuple(record.image for record in ordered if record.verdict == "unsure"),
        miss_bound=exact_interval(len(missed), len(defective)),
        alarm_bound=exact_interval(len(alarms), len(ok)),
        rows=tuple(_rows([r.score for r in defective], [r.score for r in ok], threshold, costs)),
        costs=costs,
    )


def _rows(
    defective: Sequence[float], ok: Sequence[float], own: float, costs: Costs | None
) -> list[Operating]:
    """Thresholds that are each better in something than all others, thinned out evenly, and the run's own.

    A threshold is worth a look if raising it would let one defect more pass, between a defective image's score and the
    next lower score of any image, and if it has fewer false alarms than any lower one that is.
    """
    scores, rising = sorted({*defective, *ok}), sorted(ok)
    lower = dict(zip(scores[1:], scores, strict=False))
    useful, fewest = [], len(ok) + 1
    for score in sorted(set(defective)):
        alarms = len(ok) - bisect_left(rising, score)
        if alarms < fewest:
            useful.append(_between(lower.get(score, 0.0), score))
            fewest = alarms
    most = _MOST_ROWS - 1
    if len(useful) > most:
        useful = [useful[round(at * (len(useful) - 1) / (most - 1))] for at in range(most)]
    rows = {}
    for threshold in (*useful, own):  # of two that give the same, the run's own stands for both
        missed = sum(score < threshold for score in defective)
        alarms = sum(score >= threshold for score in ok)
        pulled_out = len(defective) - missed + alarms
        cost = None if costs is None else costs.of(missed, alarms)
        rows[missed, alarms] = Operating(threshold, missed, alarms, pulled_out, cost, own=threshold == own)
    return sorted(rows.values(), key=lambda row: row.threshold)


def _between(low: float, high: float) -> float:
    """A threshold above `low` that `high` still reaches, with as few digits as that takes."""
    middle = (low + high) / 2
    for digits in range(2, 12):
        rounded = round(middle, digits)
        if low < rounded <= high:
            return rounded
    return high


def tally(defective: int, ok: int, missed: int, alarms: int, unsure: int = 0) -> str:
    """What verdicts came to: `51 images: 21 defective, 30 OK; 4 defects missed, 5 false alarms`.

    Args:
        defective: images labelled so.
        ok: likewise.
        missed: defective images that were judged OK.
        alarms: OK images that were judged defective.
        unsure: images that are left to a person.
    """
    parts = [counted(missed, "defects missed")] if defective else []
    parts += [counted(alarms, "false alarms")] if ok else []
    parts += [f"{unsure} unsure, for a person to look at"] if unsure else []
    return f"{counted(defective + ok, 'images')}: {defective:,} defective, {ok:,} OK; {', '.join(parts)}"
