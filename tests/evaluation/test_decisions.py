"""What the verdicts came to, counted by hand and against every threshold there is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltcam.evaluation.decisions import Costs, Decisions, summarise_decisions
from ltcam.evaluation.evaluate import ImageRecord
from ltcam.evaluation.examples import choose_examples
from ltcam.evaluation.hits import HitCounts
from ltcam_runtime.verdicts import decide

SCORED = st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=60)


def record(
    number: int, score: float, *, defective: bool, threshold: float = 0.5, margin: float = 0
) -> ImageRecord:
    verdict = decide(score, threshold, unsure_margin=margin)
    label = "crack" if defective else "ok"
    return ImageRecord(
        f"{number:02}.png", label, verdict, score, {}, has_mask=False, counts=None, hits=HitCounts()
    )


def decided(pairs: list[tuple[bool, float]], costs: Costs | None = None, margin: float = 0) -> Decisions:
    records = [record(n, score, defective=bad, margin=margin) for n, (bad, score) in enumerate(pairs)]
    return summarise_decisions(records, 0.5, costs)


def test_the_sentence_of_the_line() -> None:
    pairs = [(True, 0.9)] * 17 + [(True, 0.2)] * 4 + [(False, 0.1)] * 25 + [(False, 0.7)] * 5
    found = decided(pairs)
    assert found.sentence == "51 images: 21 defective, 30 OK; 4 defects missed, 5 false alarms"
    assert found.missed == ("17.png", "18.png", "19.png", "20.png")
    assert len(found.alarms) == 5
    low, high = found.miss_bound
    assert (low, high) == pytest.approx((0.054, 0.419), abs=1e-3)  # Clopper and Pearson, 4 of 21


def test_unsure_is_neither_missed_nor_an_alarm() -> None:
    found = decided([(True, 0.45), (False, 0.55), (True, 0.1), (False, 0.9)], margin=0.1)
    assert found.missed == ("02.png",)
    assert found.alarms == ("03.png",)
    assert found.unsure == ("00.png", "01.png")
    assert "2 unsure, for a person to look at" in found.sentence


def test_one_side_only() -> None:
    assert decided([(False, 0.1)]).sentence == "1 image: 0 defective, 1 OK; 0 false alarms"
    assert decided([(True, 0.1)]).sentence == "1 image: 1 defective, 0 OK; 1 defect missed"
    json.dumps(decided([(False, 0.1)]).to_json(), allow_nan=False)


@given(SCORED)
def test_every_row_is_what_its_threshold_gives(pairs: list[tuple[bool, float]]) -> None:
    found = decided(pairs, Costs(10, 1))
    assert 1 <= len(found.rows) <= 10
    assert sum(row.own for row in found.rows) == 1
    assert [row.threshold for row in found.rows] == sorted(row.threshold for row in found.rows)
    for row in found.rows:
        assert row.missed == sum(bad and score < row.threshold for bad, score in pairs)
        assert row.alarms == sum(not bad and score >= row.threshold for bad, score in pairs)
        assert row.pulled_out == sum(score >= row.threshold for _, score in pairs)
        assert row.cost == 10 * row.missed + row.alarms


@given(SCORED)
def test_the_first_row_misses_nothing_with_the_fewest_alarms(pairs: list[tuple[bool, float]]) -> None:
    rows = [row for row in decided(pairs).rows if row.missed == 0]
    lowest = min((score for bad, score in pairs if bad), default=None)
    if lowest is not None:
        assert min(row.alarms for row in rows) == sum(not bad and score >= lowest for bad, score in pairs)


def test_no_row_is_worse_than_another_in_both() -> None:
    """Raising a threshold that has no false alarms only lets defects pass: nobody wants to be offered that."""
    pairs = [(True, 0.1 * n) for n in range(4, 10)] + [(False, 0.35), (False, 0.05)]
    rows = [(row.missed, row.alarms, row.own) for row in decided(pairs).rows]
    assert rows == [(0, 0, False), (1, 0, True)]
    alike = [(True, 0.6), (True, 0.8), (False, 0.1)]
    assert [(row.missed, row.alarms, row.own) for row in decided(alike).rows] == [(0, 0, True)]


def test_the_cheapest_row() -> None:
    pairs = [(True, 0.9), (True, 0.3), (False, 0.4), (False, 0.35), (False, 0.1)]
    dear = decided(pairs, Costs(miss=100, alarm=1)).cheapest
    cheap = decided(pairs, Costs(miss=1, alarm=100)).cheapest
    assert dear is not None
    assert cheap is not None
    assert (dear.missed, dear.alarms) == (0, 2)
    assert (cheap.missed, cheap.alarms) == (1, 0)
    assert decided(pairs).cheapest is None


def test_a_better_row_is_named_and_only_a_better_one() -> None:
    """Better is fewer mistakes of one sort and no more of the other, or less cost where that is known."""
    scores = [(True, 0.9), (True, 0.4), (False, 0.3), (False, 0.1)]
    found = decided(scores).better
    assert found is not None
    assert (found.missed, found.alarms, found.own) == (0, 0, False)
    assert [decided(scores).marks(row) for row in decided(scores).rows] == [
        ("fewer mistakes",), ("this run",),
    ]  # fmt: skip
    at_a_price = [(True, 0.9), (True, 0.3), (False, 0.4)]
    assert decided(at_a_price).better is None
    dear, cheap = Costs(miss=100, alarm=1), Costs(miss=1, alarm=100)
    assert decided(at_a_price, cheap).better is None
    assert (found := decided(at_a_price, dear).better) is not None
    assert (found.missed, found.alarms) == (0, 1)
    assert decided([(False, 0.1)]).better is None


def test_examples_are_in_one_list_each() -> None:
    pairs = [(True, 0.9), (True, 0.3), (False, 0.8), (True, 0.6), (False, 0.1)]
    records = [record(n, score, defective=bad) for n, (bad, score) in enumerate(pairs)]
    examples = choose_examples(records, summarise_decisions(records, 0.5), ())
    assert examples.missed == ("01.png",)
    assert examples.alarms == ("02.png",)
    assert examples.found == ("03.png", "00.png")
    assert examples.worst == examples.typical == examples.best == ()
    assert len(set(examples.all)) == len(examples.all)
