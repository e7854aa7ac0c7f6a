"""What logits say of defects: probability and log-odds. Class 0 is OK, every other one a kind of defect."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax


def scores_of(logits: NDArray[np.float64]) -> list[float]:
    """Probability of being defective, 0 to 1, by logits (N, K)."""
    return [float(score) for score in 1 - softmax(logits, axis=1)[:, 0]]


def defect_log_odds(logits: NDArray[np.float64], slope: float = 1.0) -> NDArray[np.float64]:
    """Log-odds (N,) of being defective, of logits (N, K)."""
    scaled = slope * logits
    return np.asarray(logsumexp(scaled[:, 1:], axis=1) - scaled[:, 0])
