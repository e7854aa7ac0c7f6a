"""The paper's figures of images: methods side by side (3 and 4), stage by stage (1, 5, 6), layer by layer (7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

MOST_COLUMNS = 13
"""Layers that a figure shows: as many as VGG16 has convolutions."""

Heatmap = NDArray[np.float32]
Maps = Sequence[Sequence[Heatmap]]
"""Of each image one map (h, w) per column, raw, of any size."""

_LARGEST = "the map's largest value"


@dataclass(frozen=True, eq=False)
class Answer:
    """What a method makes of one image.

    Attributes:
        heatmap: (h, w) float32, raw, of any size.
        mask: (H, W) bool, at the image's size.
        iou: of the mask with the truth, 0 to 1; None where undefined.
    """

    heatmap: Heatmap
    mask: Mask
    iou: float | None


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

    def panel(image: Shown, answer: Answer) -> Panel:
        note = "" if answer.iou is None else f"{answer.iou:.2f}"
        return Panel(image.fitted(answer.heatmap), found=answer.mask, note=note)

    rows = [[panel(image, found[place]) for found in answers.values()] for place, image in enumerate(shown)]
    return _one_line(
        shown, rows, tuple(answers), found="mask found", notes="IoU of the mask with the true one"
    )


@styled
def stage_figure(shown: Sequence[Shown], maps: Maps, heads: Sequence[Head]) -> Figure:
    """The map of each stage beside image and truth, a row per image.

    Args:
        shown: the images.
        maps: of the stages.
        heads: of the stages' columns, shallow to deep.

    Raises:
        ValueError: numbers of images, maps and heads that do not fit together.
    """
    rows = [_with_maxima(image, found) for image, found in zip(shown, maps, strict=True)]
    return _one_line(shown, rows, heads, notes=_LARGEST)


@styled
def truncation_figure(
    shown: Sequence[Shown], plain: Maps, truncated: Maps, heads: Sequence[Head], labels: tuple[str, str]
) -> Figure:
    """Two lines per image: each stage's map without truncation, and with it.

    Args:
        shown: the images.
        plain: of the stages; the last may be their sum.
        truncated: likewise.
        heads: of the columns.
        labels: names of the two methods.

    Raises:
        ValueError: numbers of images, maps and heads that do not fit together.
    """
    strips = _two_lines(shown, (plain, truncated), labels, _with_maxima)
    return grid((_IMAGE_AND_TRUTH, *heads), strips, notes=_LARGEST)


@styled
def layers_figure(
    shown: Sequence[Shown], plain: Maps, truncated: Maps, heads: Sequence[Head], labels: tuple[str, str]
) -> Figure:
    """Two lines per image: the map of each layer in FullGrad, and in LTFullGrad; as for `truncation_figure`."""
    return grid((_IMAGE_AND_TRUTH, *heads), _two_lines(shown, (plain, truncated), labels, _bare))


def _with_maxima(shown: Shown, maps: Sequence[Heatmap]) -> list[Panel]:
    return [Panel(shown.fitted(each), note=f"{float(each.max()):.2g}") for each in maps]


def _bare(shown: Shown, maps: Sequence[Heatmap]) -> list[Panel]:
    return [Panel(shown.fitted(each)) for each in maps]


def _one_line(
    shown: Sequence[Shown],
    rows: Sequence[Sequence[Panel]],
    heads: Sequence[Head],
    *,
    found: str = "",
    notes: str = "",
) -> Figure:
    """Image and truth, then the panels of each image."""
    strips = [
        Strip(image, ((image_panel(image), truth_panel(image), *row),))
        for image, row in zip(shown, rows, strict=True)
    ]
    return grid((Head("image"), Head("true mask"), *heads), strips, found=found, notes=notes)


def _two_lines(
    shown: Sequence[Shown],
    both: tuple[Maps, Maps],
    labels: tuple[str, str],
    panels: Callable[[Shown, Sequence[Heatmap]], list[Panel]],
) -> list[Strip]:
    """Image and truth one above the other, and beside each the maps of one method."""
    return [
        Strip(
            image,
            (
                (image_panel(image), *panels(image, whole)),
                (truth_panel(image), *panels(image, cut)),
            ),
            labels,
        )
        for image, whole, cut in zip(shown, *both, strict=True)
    ]


_IMAGE_AND_TRUTH = Head("image,\ntrue mask")
