"""Maps stage by stage: Grad-CAM of S1 to S5 (the paper's figure 1), with and without truncation (figures 5, 6)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ltcam.experiments.reproduce.figures.grid import Head, Panel, Shown, Strip, grid, image_panel, truth_panel
from ltcam.reports.drawing import styled

Heatmap = NDArray[np.float32]

_LARGEST = "the map's largest value"


@styled
def stage_figure(shown: Sequence[Shown], maps: Sequence[Sequence[Heatmap]], heads: Sequence[Head]) -> Figure:
    """The map of each stage beside image and truth, a row per image.

    Args:
        shown: the images.
        maps: of each image one map (h, w) per stage, raw, at the stage's own size.
        heads: of the stages' columns, shallow to deep.

    Raises:
        ValueError: numbers of images, maps and heads that do not fit together.
    """
    strips = [
        Strip(each, ((image_panel(each), truth_panel(each), *_panels(each, found)),))
        for each, found in zip(shown, maps, strict=True)
    ]
    return grid((Head("image"), Head("true mask"), *heads), strips, notes=_LARGEST)


@styled
def truncation_figure(
    shown: Sequence[Shown],
    plain: Sequence[Sequence[Heatmap]],
    truncated: Sequence[Sequence[Heatmap]],
    heads: Sequence[Head],
    labels: tuple[str, str],
) -> Figure:
    """Two lines per image: each stage's map without truncation, and with it.

    Args:
        shown: the images.
        plain: of each image one map (h, w) per column, raw; the last may be their sum.
        truncated: likewise.
        heads: of the columns.
        labels: names of the two methods.

    Raises:
        ValueError: numbers of images, maps and heads that do not fit together.
    """
    strips = [
        Strip(
            each,
            ((image_panel(each), *_panels(each, whole)), (truth_panel(each), *_panels(each, cut))),
            labels,
        )
        for each, whole, cut in zip(shown, plain, truncated, strict=True)
    ]
    return grid((Head("image,\ntrue mask"), *heads), strips, notes=_LARGEST)


def _panels(shown: Shown, maps: Sequence[Heatmap]) -> list[Panel]:
    return [Panel(shown.fitted(each), note=f"{float(each.max()):.2g}") for each in maps]
