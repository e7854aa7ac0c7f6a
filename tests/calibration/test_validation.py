from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ltcam.calibration.validation import MOST_LEFT, proposed_margin, validation
from ltcam_runtime.settings import VerdictSettings

CLASSES = ("ok", "dent", "pit")
ROWS = np.array(
    [
        [0.9, 0.05, 0.05],  # ok, right
        [0.4, 0.5, 0.1],  # ok, a false alarm that looks like a dent
        [0.2, 0.7, 0.1],  # dent, right
        [0.2, 0.1, 0.7],  # dent, taken for a pit
        [0.8, 0.1, 0.1],  # pit, missed
    ]
)
LABELS = np.array([0, 0, 1, 1, 2])


def test_counts_are_those_of_the_verdicts() -> None:
    found = validation(CLASSES, LABELS, ROWS, VerdictSettings())
    assert (found["images"], found["defective"], found["missed"], found["alarms"]) == (5, 3, 1, 1)
    assert found["confusion"]["judged"] == ["ok", "dent", "pit"]
    assert found["confusion"]["rows"] == {"ok": [1, 1, 0], "dent": [0, 1, 1], "pit": [1, 0, 0]}
    assert found["scores"] == {"ok": [0.1, 0.6], "defective": [0.2, 0.8, 0.8]}
    assert sum(each["images"] for each in found["reliability"]) == 5


def test_what_a_person_should_look_at_has_a_column_of_its_own() -> None:
    found = validation(CLASSES, LABELS, ROWS, VerdictSettings(unsure_margin=0.15))
    assert found["confusion"]["judged"] == ["ok", "unsure", "dent", "pit"]
    assert found["confusion"]["rows"]["ok"] == [1, 1, 0, 0]
    assert (found["missed"], found["alarms"]) == (1, 0)


def test_a_margin_is_proposed_where_scores_overlap() -> None:
    ok, defective = np.linspace(0, 0.3, 40), np.linspace(0.7, 1, 40)
    scores = np.concatenate([ok, [0.55], defective, [0.41]])
    labels = np.concatenate([np.zeros(41), np.ones(41)]).astype(bool)
    margin = proposed_margin(scores, labels, 0.5)
    assert margin is not None
    assert (margin.margin, margin.mistaken, margin.caught, margin.left) == (0.1, 2, 2, 2)
    assert "judged wrongly; an unsure margin of 0.1 (predict --unsure 0.1)" in margin.sentence()
    assert "leaves 2 of them to a person" in margin.sentence()


def test_nothing_is_proposed_without_mistakes_or_where_no_margin_helps() -> None:
    labels = np.array([False, False, True, True])
    assert proposed_margin(np.array([0.1, 0.2, 0.8, 0.9]), labels, 0.5) is None
    assert proposed_margin(np.array([0.1, 0.9, 0.1, 0.9]), labels, 0.5) is None


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60),
    st.floats(0.05, 0.95),
)
def test_a_margin_catches_what_it_says(images: list[tuple[float, bool]], threshold: float) -> None:
    scores = np.array([score for score, _ in images])
    labels = np.array([label for _, label in images])
    margin = proposed_margin(scores, labels, threshold)
    wrong = (scores >= threshold) != labels
    if margin is None:
        return
    inside = np.abs(scores - threshold) < margin.margin
    assert 0 < margin.margin <= 0.5
    assert margin.caught == (inside & wrong).sum() >= 1
    assert margin.left == inside.sum() <= MOST_LEFT * len(scores)
    assert margin.mistaken == wrong.sum()
