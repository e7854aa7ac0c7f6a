"""What verdicts come to on held-back images: counts, reliability, and how many a person should look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltcam.calibration.scores import reliability
from ltcam_runtime.settings import VerdictSettings
from ltcam_runtime.verdicts import decide

UNSURE = "unsure"

MOST_LEFT = 0.2
"""Share of the images that a margin may leave to a person; more is no help to the line."""

_STEP = 0.01  # margins are proposed in these


def validation(
    classes: Sequence[str],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    verdict: VerdictSettings,
) -> dict[str, Any]:
    """What verdicts come to on held-back images, as JSON values.

    Args:
        classes: names; the first one is OK.
        labels: (N,) class indices.
        probabilities: (N, K) of the classes.
        verdict: as it is used.
    """
    scores, defective = 1 - probabilities[:, 0], labels > 0
    judged = [_judged(row, classes, verdict) for row in probabilities]
    columns = [classes[0], *([UNSURE] if verdict.unsure_margin else []), *classes[1:]]
    rows = {
        name: [sum(each == column for each in of_label) for column in columns]
        for place, name in enumerate(classes)
        if (of_label := [each for each, label in zip(judged, labels, strict=True) if label == place])
    }
    found: dict[str, Any] = {
        "images": len(labels),
        "defective": int(defective.sum()),
        "missed": sum(
            j == classes[0] for j, is_defective in zip(judged, defective, strict=True) if is_defective
        ),
        "alarms": sum(
            j not in {classes[0], UNSURE}
            for j, is_defective in zip(judged, defective, strict=True)
            if not is_defective
        ),
        "confusion": {"judged": columns, "rows": rows},
        "reliability": [
            {name: round(number, 4) for name, number in each.items()}
            for each in reliability(scores, defective)
        ],
        "scores": {"ok": _rounded(scores[~defective]), "defective": _rounded(scores[defective])},
    }
    margin = proposed_margin(scores, defective, verdict.threshold)
    return found if margin is None else {**found, "unsure": margin.to_json()}


@dataclass(frozen=True)
class Margin:
    """A margin around the verdict's threshold within which a person should look.

    Attributes:
        margin: 0 to 0.5.
        mistaken: images on the wrong side of the threshold.
        caught: those of them that lie within the margin.
        left: all images within it.
        images: of how many.
    """

    margin: float
    mistaken: int
    caught: int
    left: int
    images: int

    def sentence(self) -> str:
        """What the margin would do, in words."""
        rest = self.left - self.caught
        others = f", and {rest} that {'was' if rest == 1 else 'were'} judged rightly" if rest else ""
        caught = "it" if self.mistaken == 1 else f"{self.caught} of them"
        return (
            f"{self.mistaken} of {self.images} validation images {'was' if self.mistaken == 1 else 'were'} judged "
            f"wrongly; an unsure margin of {self.margin:g} (predict --unsure {self.margin:g}) leaves {caught} to a "
            f"person{others}"
        )

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "margin": self.margin,
            "mistaken": self.mistaken,
            "caught": self.caught,
            "left": self.left,
            "sentence": self.sentence(),
        }


def proposed_margin(
    scores: NDArray[np.float64], defective: NDArray[np.bool_], threshold: float
) -> Margin | None:
    """The margin that leaves as many mistakes as possible to a person without leaving everything.

    Args:
        scores: (N,) 0 to 1.
        defective: (N,) whether each image is labelled so.
        threshold: of the verdict.

    Returns:
        The narrowest one that holds all mistakes or, where more than a fifth of all images would lie within it, as
        many as fit; None where the labels are told apart without a mistake, or no margin helps.
    """
    distance = np.abs(scores - threshold)
    wrong = (scores >= threshold) != defective
    if not wrong.any():
        return None
    best = None
    for each in np.sort(distance[wrong]):
        margin = round(_STEP * math.ceil(each / _STEP + 1e-6), 2)  # scores at its edge lie within
        inside = distance < margin
        if margin > 0.5 or inside.mean() > MOST_LEFT:
            break
        best = Margin(margin, int(wrong.sum()), int((inside & wrong).sum()), int(inside.sum()), len(scores))
    return best


def _judged(row: NDArray[np.float64], classes: Sequence[str], verdict: VerdictSettings) -> str:
    """`ok`, `unsure`, or the likeliest kind of defect."""
    found = decide(float(1 - row[0]), verdict.threshold, unsure_margin=verdict.unsure_margin)
    if found == "defect":
        return classes[1 + int(np.argmax(row[1:]))]
    return classes[0] if found == "ok" else UNSURE


def _rounded(scores: NDArray[np.float64]) -> list[float]:
    return [round(float(score), 4) for score in np.sort(scores)]
