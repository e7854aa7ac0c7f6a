"""Small pictures of a data set's images, with the outline of what their masks mark."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ltcam.data.dataset import Sample
from ltcam.data.truth import read_marks
from ltcam.reports.html import image_uri
from ltcam_runtime.errors import InputError
from ltcam_runtime.images import read_image
from ltcam_runtime.marking import Line, draw_outline
from ltcam_runtime.reading import read_all
from ltcam_runtime.resizing import fitted_size, resize

CONTOUR = (255, 45, 150)
"""RGB of the outlines."""

_LONG_SIDE = 360


@dataclass(frozen=True)
class Thumbnail:
    """A picture ready to be shown.

    Attributes:
        id: of the sample.
        uri: the picture.
        size: (height, width) of the thumbnail in pixels.
        area: marked share of the image as text, or "".
    """

    id: str
    uri: str
    size: tuple[int, int]
    area: str


def evenly(samples: list[Sample], count: int) -> list[Sample]:
    """At most `count` samples, spread over the whole list, so that few groups do not fill the page."""
    if len(samples) <= count:
        return samples
    return [samples[i * len(samples) // count] for i in range(count)]


def thumbnails(samples: list[Sample], *, marked: bool) -> list[Thumbnail]:
    """Of images that could be read a moment ago; the page is made without those that no longer can."""
    files = ((str(index), sample.path) for index, sample in enumerate(samples))
    outcomes = read_all(files, lambda index, _path: _thumbnail(samples[int(index)], marked=marked))
    return [outcome.value for outcome in outcomes if outcome.value is not None]


def _thumbnail(sample: Sample, *, marked: bool) -> Thumbnail:
    image = read_image(sample.path)
    size = fitted_size(image.shape[:2], _LONG_SIDE)
    small = resize(image, size)
    marks = _marks(sample) if marked else None
    area = ""
    if marks is not None and marks.any():
        area = f"{100 * marks.mean():.2g} %"
        # With a little distance, so that the defect itself stays visible.
        draw_outline(small, marks, Line(CONTOUR, dark=0, distance=7))
    return Thumbnail(sample.id, image_uri(small), size, area)


def _marks(sample: Sample) -> NDArray[np.bool_] | None:
    try:
        return read_marks(sample)
    except InputError:
        return None
