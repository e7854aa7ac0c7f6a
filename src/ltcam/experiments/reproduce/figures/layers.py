"""FullGrad against LTFullGrad, layer by layer (the paper's figure 7)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ltcam.experiments.reproduce.figures.grid import Head, Panel, Shown, Strip, grid, image_panel, truth_panel
from ltcam.reports.drawing import styled

MOST_COLUMNS = 13
"""Layers that a figure shows: as many as VGG16 has convolutions."""


def spread(count: int, most: int = MOST_COLUMNS) -> tuple[int, ...]:
    """Which of `count` layers to show: all, or `most` of them at even steps, the first and the last among them.

    Args:
        count: number of layers, 1 or more.
        most: 2 or more.
    """
    if count <= most:
        return tuple(range(count))
    return tuple(round(place * (count - 1) / (most - 1)) for place in range(most))


@styled
def layers_figure(
    shown: Sequence[Shown],
    plain: Sequence[Sequence[NDArray[np.float32]]],
    truncated: Sequence[Sequence[NDArray[np.float32]]],
    heads: Sequence[Head],
    labels: tuple[str, str],
) -> Figure:
    """Two lines per image: the map of each layer in FullGrad, and in LTFullGrad.

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
            (
                (image_panel(each), *(Panel(each.fitted(one)) for one in whole)),
                (truth_panel(each), *(Panel(each.fitted(one)) for one in cut)),
            ),
            labels,
        )
        for each, whole, cut in zip(shown, plain, truncated, strict=True)
    ]
    return grid((Head("image,\ntrue mask"), *heads), strips)
