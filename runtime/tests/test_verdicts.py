import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltcam_runtime.verdicts import decide

SHARES = st.floats(0, 1)


def test_the_threshold_itself_is_defective() -> None:
    assert decide(0.5, 0.5) == "defect"
    assert decide(math.nextafter(0.5, 0), 0.5) == "ok"


def test_the_band_in_between_is_for_a_person() -> None:
    verdicts = [decide(score, 0.5, unsure_margin=0.25) for score in (0.0, 0.24, 0.25, 0.5, 0.74, 0.75, 1.0)]
    assert verdicts == ["ok", "ok", "unsure", "unsure", "unsure", "defect", "defect"]


@given(SHARES, SHARES, SHARES, SHARES)
def test_verdicts_rise_with_the_score(one: float, other: float, threshold: float, margin: float) -> None:
    order = ["ok", "unsure", "defect"]
    low, high = sorted((one, other))
    verdicts = [order.index(decide(score, threshold, unsure_margin=margin)) for score in (low, high)]
    assert verdicts == sorted(verdicts)
    assert decide(one, threshold) != "unsure"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_none(bad: float) -> None:
    with pytest.raises(ValueError, match="score"):
        decide(bad, 0.5)
    with pytest.raises(ValueError, match="threshold"):
        decide(0.5, bad)
    with pytest.raises(ValueError, match="unsure_margin"):
        decide(0.5, 0.5, unsure_margin=bad)
    with pytest.raises(ValueError, match="negative"):
        decide(0.5, 0.5, unsure_margin=-0.1)
