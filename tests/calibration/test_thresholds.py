from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy import stats

from ltcam.calibration.thresholds import choose_threshold, guaranteed_threshold

scores = st.one_of(
    st.floats(0, 1),
    st.sampled_from(
        [0.0, 1.0, 0.5, 0.05, 0.95, 1e-9, 1 - 1e-9, math.nextafter(0.5, 0), math.nextafter(0.5, 1)]
    ),
)
images = st.lists(st.tuples(st.booleans(), scores), min_size=1, max_size=30)


def split(found: Sequence[tuple[bool, float]]) -> tuple[list[bool], list[float]]:
    return [defective for defective, _ in found], [score for _, score in found]


def test_a_clean_separation_is_cut_in_its_middle() -> None:
    threshold, evidence = choose_threshold([False, True, False, True], [0.1, 0.9, 0.2, 0.8])
    assert threshold == pytest.approx(0.5)  # halfway between 0.2 and 0.8 in log-odds
    assert "best F1 (1.000, scores taken as uncertain) on 4 validation images (2 defective)" in evidence
    assert "0.200 and 0.800" in evidence


def test_a_separation_far_from_one_half() -> None:
    threshold, _ = choose_threshold([False, False, True], [0.001, 0.01, 0.3])
    assert 0.05 <= threshold < 0.3


def test_equal_scores_are_not_torn_apart() -> None:
    threshold, _ = choose_threshold([True, False, True, False], [0.7, 0.7, 0.7, 0.2])
    assert 0.2 < threshold <= 0.7


@pytest.mark.parametrize("kind", [True, False])
def test_one_kind_alone_chooses_nothing(kind: bool) -> None:
    threshold, evidence = choose_threshold([kind] * 3, [0.1, 0.5, 0.9])
    assert threshold == 0.5
    assert "not both" in evidence


def test_scores_that_are_all_zero_choose_nothing() -> None:
    threshold, evidence = choose_threshold([True, False], [0.0, 0.0])
    assert threshold == 0.5
    assert "score 0" in evidence


def uncertain_f1(found: Sequence[tuple[bool, float]], threshold: float) -> float:
    """By hand: every score a logistic distribution around its log-odds."""

    def odds(score: float) -> float:
        score = min(max(score, 1e-6), 1 - 1e-6)
        return math.log(score / (1 - score))

    medians = [float(np.median([odds(s) for d, s in found if d is kind])) for kind in (True, False)]
    scale = 0.05 * max(medians[0] - medians[1], 1e-6)
    above = [(d, stats.logistic.cdf(odds(s), odds(threshold), scale)) for d, s in found]
    tp = sum(share for d, share in above if d)
    return float(2 * tp / (sum(share for _, share in above) + sum(d for d, _ in found)))


both_labels = images.filter(lambda found: len({d for d, _ in found}) == 2 and max(s for _, s in found) > 0)


@given(both_labels)
@example([(True, 0.99)] * 10 + [(False, 0.96)] * 100 + [(True, 0.7)] * 20)
@example([(True, 1e-9), (False, 1e-10)])
@example([(True, 6.7e-3)] * 10 + [(False, 1.2e-4)] * 40)
@example([(True, 1 - 1.2e-4)] * 10 + [(False, 1 - 6.7e-3)] * 40)
def test_as_good_as_any_cut_between_two_scores(found: list[tuple[bool, float]]) -> None:
    threshold, _ = choose_threshold(*split(found))
    assert 0 < threshold < 1
    values = sorted({0.0, *(score for _, score in found)})
    best = max(uncertain_f1(found, _middle(*pair)) for pair in itertools.pairwise(values))
    assert uncertain_f1(found, threshold) >= best - 1e-9


def _middle(below: float, above: float) -> float:
    low, high = (math.log(s / (1 - s)) for s in (min(max(x, 1e-6), 1 - 1e-6) for x in (below, above)))
    middle = 1 / (1 + math.exp(-(low + high) / 2))
    middle = middle if below < middle <= above else above
    clear = min(max(middle, 0.05), 0.95)
    return middle if low < high and not below < clear <= above else clear


@pytest.mark.parametrize(
    ("ok", "defective"), [(1.2e-4, 6.7e-3), (0.9933, 0.9999), (0.3, 0.31), (0.001, 0.999)]
)
def test_what_scores_tell_apart_is_cut_between_them(ok: float, defective: float) -> None:
    threshold, evidence = choose_threshold([False] * 40 + [True] * 10, [ok] * 40 + [defective] * 10)
    assert ok < threshold <= defective
    assert 0.05 <= threshold <= 0.95 or not (ok < 0.05 <= defective or ok < 0.95 <= defective)
    assert "F1 (1.000" in evidence


def test_one_odd_image_does_not_cut_at_the_edge_of_the_ok_images() -> None:
    odds: dict[bool, Sequence[float]] = {
        False: np.linspace(-0.5, 0.05, 34).tolist(),
        True: [-0.05, 0.06, 0.4, *np.linspace(2.8, 7, 30).tolist()],
    }  # as on small grey tiles, where half of the OK images of the test side lay above a cut at 0.05
    found = [(kind, 1 / (1 + math.exp(-x))) for kind, each in odds.items() for x in each]
    threshold, _ = choose_threshold(*split(found))
    assert 0.4 < math.log(threshold / (1 - threshold)) < 2.8


@given(images, st.randoms())
def test_the_order_of_the_images_does_not_matter(found: list[tuple[bool, float]], random: Random) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)
    assert choose_threshold(*split(found)) == choose_threshold(*split(shuffled))


# ------------------------------------------------------------------------------ a bound on missed defects

shares = st.floats(0.005, 0.5)
confidences = st.floats(0.5, 0.999)


def ranked(count: int) -> list[float]:
    """Scores that tell their rank: the k-th smallest is k."""
    return [float(rank) for rank in range(count, 0, -1)]


def rank_of(count: int, max_miss: float, confidence: float) -> float:
    """0 where nothing can be promised."""
    return guaranteed_threshold(ranked(count), max_miss, confidence)[0] or 0


@pytest.mark.parametrize(
    ("max_miss", "confidence", "needed"),
    [(0.02, 0.95, 149), (0.05, 0.95, 59), (0.1, 0.9, 22), (0.01, 0.99, 459), (0.5, 0.75, 2), (0.9, 0.5, 1)],
)
def test_the_fewest_images_that_promise_anything(max_miss: float, confidence: float, needed: int) -> None:
    """1 - (1 - max_miss)^n >= confidence; 59, 299 and 459 are the textbooks' sample sizes."""
    threshold, evidence, found = guaranteed_threshold(ranked(needed), max_miss, confidence)
    assert (threshold, found) == (1.0, needed)
    assert f"rank 1 from the lowest of {needed} " in evidence
    threshold, evidence, found = guaranteed_threshold(ranked(needed - 1), max_miss, confidence)
    assert (threshold, found) == (None, needed)
    assert f"takes {needed} defective validation images, 1 more than the {needed - 1} there are" in evidence


def test_without_any_image() -> None:
    threshold, evidence, needed = guaranteed_threshold([], 0.02, 0.95)
    assert (threshold, needed) == (None, 149)
    assert "at most 2 % missed defects with 95 % confidence cannot be guaranteed" in evidence
    assert "149 more than the 0 there are" in evidence
    assert "99.999999 % confidence" in guaranteed_threshold([], 0.02, 0.99999999)[1]  # not rounded to 100


@pytest.mark.parametrize("count", [29, 30, 45, 46, 60, 61, 100, 181, 182, 1000])
def test_ranks_of_ninety_per_cent_with_95_per_cent_confidence(count: int) -> None:
    """The largest k of both forms of the bound, by trying all."""
    by_beta = max(k for k in range(1, count) if stats.beta.sf(0.1, k, count - k + 1) <= 0.05)
    by_binomial = max(k for k in range(1, count) if stats.binom.cdf(k - 1, count, 0.1) <= 0.05)
    assert rank_of(count, 0.1, 0.95) == by_beta == by_binomial


def test_a_small_case_by_hand() -> None:
    # 5 scores, half may be missed: P[Binomial(5, 1/2) <= 0] = 1/32, <= 1: 6/32, <= 2: 16/32.
    ranks = {0.98: 0, 0.96: 1, 0.82: 1, 0.81: 2, 0.51: 2, 0.5: 3, 0.49: 3}
    assert {confidence: rank_of(5, 0.5, confidence) for confidence in ranks} == ranks


@given(st.integers(0, 400), shares, confidences)
def test_the_largest_rank_within_the_risk(count: int, max_miss: float, confidence: float) -> None:
    rank = int(rank_of(count, max_miss, confidence))
    risk = stats.binom.cdf(np.arange(-1, count), count, max_miss)  # by rank
    assume(np.abs(risk - (1 - confidence)).min() > 1e-12)  # not a matter of rounding
    assert rank == 0 or risk[rank] <= 1 - confidence
    assert rank == count or risk[rank + 1] > 1 - confidence
    needed = guaranteed_threshold(ranked(count), max_miss, confidence)[2]
    assert (rank > 0) == (count >= needed)


@given(st.integers(1, 300), st.tuples(shares, shares), st.tuples(confidences, confidences))
def test_more_caution_never_raises_the_threshold_nor_asks_for_fewer_images(
    count: int, bounds: tuple[float, float], certainties: tuple[float, float]
) -> None:
    cautious = min(bounds), max(certainties)
    bold = max(bounds), min(certainties)
    assert rank_of(count, *cautious) <= rank_of(count, *bold)
    assert guaranteed_threshold([], *cautious)[2] >= guaranteed_threshold([], *bold)[2]
    assert rank_of(count, *bold) <= rank_of(count + 1, *bold)


@given(st.lists(scores, min_size=5, max_size=60), st.randoms())
def test_the_threshold_is_a_score_and_the_order_does_not_matter(found: list[float], random: Random) -> None:
    threshold, _, _ = result = guaranteed_threshold(found, 0.4, 0.9)
    assert threshold in found
    shuffled = list(found)
    random.shuffle(shuffled)
    assert guaranteed_threshold(shuffled, 0.4, 0.9) == result
    assert sum(score < threshold for score in found) <= 0.4 * len(found)


def test_equal_scores_are_all_found() -> None:
    assert guaranteed_threshold([0.3] * 200, 0.02, 0.95)[0] == 0.3
    assert guaranteed_threshold([0.0] * 50 + [0.9] * 150, 0.02, 0.95)[0] == 0.0


@pytest.mark.parametrize(
    ("found", "max_miss", "confidence", "named"),
    [
        ([0.5], 0.0, 0.95, "max_miss"),
        ([0.5], 1.0, 0.95, "max_miss"),
        ([0.5], math.nan, 0.95, "max_miss"),
        ([0.5], 0.02, 0.0, "confidence"),
        ([0.5], 0.02, 95, "confidence"),
        ([0.5, math.nan], 0.02, 0.95, "defective_scores"),
    ],
)
def test_what_cannot_be_promised_is_named(
    found: list[float], max_miss: float, confidence: float, named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        guaranteed_threshold(found, max_miss, confidence)


LINES = 1000
# Scores of defective images: (draw, share that lies strictly below).
DISTRIBUTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "uniform": (lambda rng, n: rng.uniform(size=n), lambda t: t),
    "hard to tell": (lambda rng, n: rng.beta(0.5, 0.5, n), stats.beta(0.5, 0.5).cdf),
    "almost sure": (lambda rng, n: rng.beta(30, 0.4, n), stats.beta(30, 0.4).cdf),
    "rarely tiny": (lambda rng, n: 10 ** -rng.exponential(2, n), lambda t: t ** (1 / (2 * math.log(10)))),
    "twenty levels": (lambda rng, n: rng.integers(0, 20, n) / 20, lambda t: round(t * 20) / 20),
    "a tenth at 0": (
        lambda rng, n: rng.uniform(size=n) * (rng.uniform(size=n) > 0.1),
        lambda t: 0.1 + 0.9 * t if t else 0.0,
    ),
    "all saturated but 3 %": (
        lambda rng, n: np.where(rng.uniform(size=n) < 0.03, rng.uniform(size=n), 1.0),
        lambda t: 0.03 * t,
    ),
}


def missed_on_a_line(
    rng: np.random.Generator, name: str, count: int, max_miss: float, confidence: float
) -> float:
    """The true share of missed defects with the threshold of a line's validation images."""
    draw, below = DISTRIBUTIONS[name]
    threshold, _, _ = guaranteed_threshold(draw(rng, count).tolist(), max_miss, confidence)
    assert threshold is not None
    return float(below(threshold))


@pytest.mark.parametrize(("count", "max_miss"), [(149, 0.02), (400, 0.02), (160, 0.1)])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_on_a_thousand_lines_the_bound_is_broken_in_at_most_a_twentieth(
    name: str, count: int, max_miss: float
) -> None:
    rng = np.random.default_rng(12)
    broken = sum(missed_on_a_line(rng, name, count, max_miss, 0.95) > max_miss for _ in range(LINES))
    assert broken <= stats.binom.ppf(0.9999, LINES, 0.05)  # 5 % and the error of a thousand draws
    if name in {"uniform", "hard to tell", "almost sure", "rarely tiny"}:  # continuous: exactly the risk
        rank = int(rank_of(count, max_miss, 0.95))
        risk = stats.binom.cdf(rank - 1, count, max_miss)
        low, high = stats.binom.ppf([0.00005, 0.99995], LINES, risk)
        assert low <= broken <= high
        # One rank higher would break the promise, so the bound is not kept by undue caution.
        assert stats.binom.cdf(rank, count, max_miss) > 0.05
