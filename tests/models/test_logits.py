import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ltcam.cam import log_odds
from ltcam.models.logits import defect_log_odds, scores_of

LOGITS = arrays(np.float64, (3, 4), elements=st.floats(-8, 8))


@given(LOGITS)
def test_log_odds_are_those_of_the_probability(logits: np.ndarray) -> None:
    probability = np.array(scores_of(logits))
    np.testing.assert_allclose(np.log(probability / (1 - probability)), defect_log_odds(logits), atol=1e-5)


@given(LOGITS)
def test_what_heatmaps_explain_is_the_same_number(logits: np.ndarray) -> None:
    explained = [float(log_odds([1, 2, 3])(row)) for row in torch.from_numpy(logits)]
    np.testing.assert_allclose(defect_log_odds(logits), explained, atol=1e-9)


def test_a_slope_scales_logits_and_not_their_odds() -> None:
    logits = np.array([[0.0, 1.0, 1.0]])
    assert defect_log_odds(logits, 2.0)[0] == pytest.approx(2.0 + np.log(2))
