"""All methods side by side with image and truth (the paper's figures 3 and 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ltcam.experiments.reproduce.figures.grid import (
    Head,
    Mask,
    Panel,
    Shown,
    Strip,
    grid,
    image_panel,
    truth_panel,
)
from ltcam.reports.drawing import styled


@dataclass(frozen=True, eq=False)
class Answer:
    """What a method makes of one image.

    Attributes:
        heatmap: (h, w) float32, raw, of any size.
        mask: (H, W) bool, at the image's size.
        iou: of the mask with the truth, 0 to 1; None where undefined.
    """

    heatmap: NDArray[np.float32]
    mask: Mask
    iou: float | None


@styled
def methods_figure(shown: Sequence[Shown], answers: Mapping[Head, Sequence[Answer]]) -> Figure:
    """A column per method, its mask outlined in its map, and the IoU of that image below.

    Args:
        shown: the images.
        answers: by head of the column, one per image.

    Raises:
        ValueError: another number of answers than images.
    """
    for head, found in answers.items():
        if len(found) != len(shown):
            raise ValueError(f"{head.title}: {len(found)} answers for {len(shown)} images")
    strips = [
        Strip(
            each,
            (
                (
                    image_panel(each),
                    truth_panel(each),
                    *(_panel(each, found[place]) for found in answers.values()),
                ),
            ),
        )
        for place, each in enumerate(shown)
    ]
    heads = (Head("image"), Head("true mask"), *answers)
    return grid(heads, strips, found="mask found", notes="IoU of the mask with the true one")


def _panel(shown: Shown, answer: Answer) -> Panel:
    note = "" if answer.iou is None else f"{answer.iou:.2f}"
    return Panel(shown.fitted(answer.heatmap), found=answer.mask, note=note)
