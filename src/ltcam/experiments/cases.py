"""Images with their true masks, read one after the other for an experiment; warnings kept as notes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ltcam.data.dataset import Sample
from ltcam.data.truth import read_truth
from ltcam.experiments.opened import Source
from ltcam_runtime.errors import InputError
from ltcam_runtime.reading import ReadImage, read_batches


@dataclass(frozen=True, eq=False)
class Case:
    """An image with its true mask.

    Attributes:
        sample: what the data set says of it.
        image: (H, W, 3) uint8 RGB.
        resized: the same at the network's size.
        truth: (H, W) bool.
    """

    sample: Sample
    image: NDArray[np.uint8]
    resized: NDArray[np.uint8]
    truth: NDArray[np.bool_]

    @property
    def name(self) -> str:
        """Of the image."""
        return self.sample.id


def read_cases(
    source: Source, samples: Sequence[Sample], failed: dict[str, str], batch_size: int = 1
) -> Iterator[list[Case]]:
    """The images of each batch with their masks, read ahead; shorter by those that cannot be used.

    Args:
        source: whose network size counts.
        samples: with a mask each.
        failed: gets a reason for each image that cannot be read, or whose mask cannot.
        batch_size: images of a batch.
    """
    by_id = {sample.id: sample for sample in samples}
    files = ((sample.id, sample.path) for sample in samples)
    for batch in read_batches(files, source.inspector.run.image_size, batch_size, source.inspector.run.white):
        cases = []
        for item in batch:
            try:
                cases.append(_case(by_id[item.name], item))
            except InputError as error:
                failed[item.name] = error.reason
        yield cases


def _case(sample: Sample, item: ReadImage) -> Case:
    if item.image is None or item.resized is None:
        raise InputError(sample.path, item.reason)
    truth = read_truth(sample, item.image.shape[:2])
    if truth is None:
        raise InputError(sample.path, "there is no mask")
    return Case(sample, item.image, item.resized, truth)


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
