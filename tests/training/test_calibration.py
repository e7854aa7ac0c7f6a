from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ltcam.training.calibration import choose_threshold

scores = st.one_of(
    st.floats(0, 1),
    st.sampled_from(
        [0.0, 1.0, 0.5, 0.05, 0.95, 1e-9, 1 - 1e-9, math.nextafter(0.5, 0), math.nextafter(0.5, 1)]
    ),
)
images = st.lists(st.tuples(st.booleans(), scores), min_size=1, max_size=30)


def f1(found, threshold):
    tp = sum(defective and score >= threshold for defective, score in found)
    wrong = sum(defective != (score >= threshold) for defective, score in found)
    return 2 * tp / (2 * tp + wrong) if tp else 0.0


def split(found):
    return [defective for defective, _ in found], [score for _, score in found]


def test_a_clean_separation_is_cut_in_its_middle():
    threshold, evidence = choose_threshold([False, True, False, True], [0.1, 0.9, 0.2, 0.8])
    assert threshold == pytest.approx(0.5)  # halfway between 0.2 and 0.8 in log-odds
    assert "best F1 (1.000) on 4 validation images (2 defective)" in evidence
    assert "0.200 and 0.800" in evidence


def test_a_separation_far_from_one_half():
    threshold, _ = choose_threshold([False, False, True], [0.001, 0.01, 0.3])
    assert 0.05 <= threshold < 0.3


def test_equal_scores_are_not_torn_apart():
    threshold, _ = choose_threshold([True, False, True, False], [0.7, 0.7, 0.7, 0.2])
    assert 0.2 < threshold <= 0.7


@pytest.mark.parametrize("kind", [True, False])
def test_one_kind_alone_chooses_nothing(kind):
    threshold, evidence = choose_threshold([kind] * 3, [0.1, 0.5, 0.9])
    assert threshold == 0.5
    assert "not both" in evidence


def test_scores_that_are_all_zero_choose_nothing():
    threshold, evidence = choose_threshold([True, False], [0.0, 0.0])
    assert threshold == 0.5
    assert "score 0" in evidence


@settings(max_examples=400)
@given(images)
# the best cut lies above 0.95, and many OK images between
@example([(True, 0.99)] * 10 + [(False, 0.96)] * 100 + [(True, 0.7)] * 20)
@example([(True, 0.5), (False, math.nextafter(0.5, 0))])
@example([(True, 1e-9), (False, 1e-10)])
def test_never_worse_than_one_half(found):
    threshold, _ = choose_threshold(*split(found))
    assert 0.05 <= threshold <= 0.95
    assert f1(found, threshold) >= f1(found, 0.5) - 1e-12


@given(images.filter(lambda found: len({defective for defective, _ in found}) == 2))
def test_as_good_as_any_cut_within_the_limits(found):
    threshold, _ = choose_threshold(*split(found))
    best = max(f1(found, cut) for cut in [0.05, 0.95, *(s for _, s in found if 0.05 <= s <= 0.95)])
    assert f1(found, threshold) >= best - 1e-12


@given(images, st.randoms())
def test_the_order_of_the_images_does_not_matter(found, random):
    shuffled = list(found)
    random.shuffle(shuffled)
    assert choose_threshold(*split(found)) == choose_threshold(*split(shuffled))
