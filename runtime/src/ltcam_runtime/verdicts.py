"""Score to verdict."""

from __future__ import annotations

import math

from ltcam_runtime.results import Verdict


def decide(score: float, threshold: float, *, unsure_margin: float = 0.0) -> Verdict:
    """Say what a score means.

    Args:
        score: probability of being defective, 0 to 1.
        threshold: scores from here on are defective.
        unsure_margin: from `threshold - unsure_margin` up to, but not including,
            `threshold + unsure_margin` a person should look. 0 means nobody need look.

    Returns:
        `defect`, `unsure` or `ok`.

    Raises:
        ValueError: a value that is not finite, or a negative margin.
    """
    for name, value in (("score", score), ("threshold", threshold), ("unsure_margin", unsure_margin)):
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}; expected a finite number")
    if unsure_margin < 0:
        raise ValueError(f"unsure_margin is {unsure_margin}; it must not be negative")
    if score >= threshold + unsure_margin:
        return "defect"
    return "ok" if score < threshold - unsure_margin else "unsure"
