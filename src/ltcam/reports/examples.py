"""Images that show how good a run is, as pages draw them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltcam.data.dataset import OK
from ltcam.reports.comparison_picture import PREDICTION_COLOUR, TRUTH_COLOUR
from ltcam.reports.html import image_uri
from ltcam.reports.metrics_table import fraction
from ltcam_runtime.marking import Line, draw_outline
from ltcam_runtime.resizing import fitted_size, resize
from ltcam_runtime.results import Verdict


@dataclass(frozen=True, eq=False)
class ExamplePicture:
    """An image that shows how good a run is.

    Attributes:
        image: its name.
        group: under which heading it stands.
        label: its true class.
        iou: of its mask before the verdict, or None where undefined.
        verdict: what was said of it.
        score: probability of being defective, 0 to 1.
        picture: (h, w, 3) uint8 RGB, as `comparison_picture` makes it.
        compared: whether the truth is in it.
    """

    image: str
    group: str
    label: str
    iou: float | None
    verdict: Verdict
    score: float
    picture: NDArray[np.uint8]
    compared: bool = True

    @property
    def tone(self) -> str:
        """Whether the verdict is right, as a style's name."""
        if self.verdict == "unsure":
            return "warn"
        return "good" if (self.verdict == "ok") == (self.label == OK) else "bad"

    def to_html(self) -> dict[str, Any]:
        """What `parts.examples` draws."""
        return {
            "image": self.image,
            "uri": image_uri(self.picture),
            "label": self.label,
            "compared": self.compared,
            "plain": self.group == "passed",
            "iou": None if self.iou is None or math.isnan(self.iou) else fraction(self.iou),
            "verdict": self.verdict,
            "tone": self.tone,
            "score": fraction(self.score),
        }


_LONG_SIDE = 320  # px of a picture with an outline


def outlined(image: NDArray[np.uint8], masks: Sequence[NDArray[np.bool_]]) -> list[NDArray[np.uint8]]:
    """An image small, and once more for each of its masks with the mask's outline.

    Args:
        image: (H, W, 3) uint8 RGB.
        masks: (H, W) bool each.

    Returns:
        (h, w, 3) uint8 RGB each, one more than there are masks.
    """
    plain = resize(image, fitted_size(image.shape[:2], _LONG_SIDE, enlarge=True))
    pictures = [plain]
    for mask in masks:
        picture = plain.copy()
        if mask.any():
            draw_outline(picture, mask, Line(PREDICTION_COLOUR))
        pictures.append(picture)
    return pictures


def css_colour(colour: tuple[int, int, int]) -> str:
    """An RGB colour as a style names it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


COLOURS = {"truth": css_colour(TRUTH_COLOUR), "prediction": css_colour(PREDICTION_COLOUR)}
"""Of the outlines in the pictures."""
