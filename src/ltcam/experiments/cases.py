"""What experiments share: results, an image with its true mask, the four numbers of pixel counts, warnings as notes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltcam.data.dataset import Sample
from ltcam.data.truth import read_truth
from ltcam.evaluation import counts as pixel
from ltcam.evaluation.counts import PixelCounts
from ltcam_runtime.errors import InputError
from ltcam_runtime.reading import ReadImage

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

METRICS: Mapping[str, Callable[[PixelCounts], float]] = {
    "iou": pixel.iou,
    "precision": pixel.precision,
    "recall": pixel.recall,
    "f1": pixel.f1,
}


@dataclass(frozen=True)
class Found:
    """What an experiment found.

    Attributes:
        values: as written to its JSON file.
        failed: (image, reason) of images that could not be used.
    """

    values: Mapping[str, Any]
    failed: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Case:
    """An image with its true mask.

    Attributes:
        name: of the image.
        image: (H, W, 3) uint8 RGB.
        shrunk: the same at the network's size.
        truth: (H, W) bool.
    """

    name: str
    image: NDArray[np.uint8]
    shrunk: NDArray[np.uint8]
    truth: NDArray[np.bool_]


def make_case(sample: Sample, item: ReadImage) -> Case:
    """A sample that has a mask, with its image as it was read.

    Raises:
        InputError: an image or mask that could not be read, or sizes that differ.
    """
    if item.image is None or item.resized is None:
        raise InputError(sample.path, item.reason)
    truth = read_truth(sample, item.image.shape[:2])
    if truth is None:
        raise InputError(sample.path, "there is no mask")
    return Case(item.name, item.image, item.resized, truth)


def metrics_of(counts: PixelCounts) -> dict[str, float]:
    """IoU, precision, recall and F1; NaN where undefined."""
    return {name: formula(counts) for name, formula in METRICS.items()}


def metrics_of_sums(sums: NDArray[np.float64]) -> dict[str, float]:
    """The same of (tp, fp, fn, tn), as resampling adds them up."""
    return metrics_of(PixelCounts(*(int(value) for value in sums)))


@contextmanager
def noting_warnings(notes: dict[str, None]) -> Iterator[None]:
    """Keep what methods warn of, each warning once, instead of printing it per image."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    notes.update(dict.fromkeys(str(each.message) for each in caught))


def of_each_kind(notes: Iterable[str]) -> list[str]:
    """The first of the notes that begin alike; what follows the colon is about one image."""
    first: dict[str, str] = {}
    for note in notes:
        first.setdefault(note.partition(":")[0], note)
    return list(first.values())
