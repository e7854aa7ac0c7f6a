"""Images and class indices for training: read once, kept at the network's size in memory or in a file."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ltcam.data.dataset import Sample
from ltcam.data.decoded import DecodedImages
from ltcam.models.backbones import Statistics
from ltcam_runtime.errors import DataError
from ltcam_runtime.reading import READING_BYTES_PER_PIXEL, Workers, read_all
from ltcam_runtime.resizing import resize

_LARGEST_IN_MEMORY = 4 * 2**30  # bytes; more is kept in a file that the system reads by pages


@dataclass(frozen=True)
class PreparedImages:
    """Images of one split at the network's size.

    Attributes:
        images: (N, 3, H, W) uint8.
        labels: (N,) int64, class indices; 0 is OK.
        samples: where they came from, in the same order.
        failed: samples whose image could not be read, with the reason.
    """

    images: Tensor
    labels: Tensor
    samples: tuple[Sample, ...]
    failed: tuple[tuple[Sample, str], ...]


@dataclass(frozen=True, eq=False)
class BothSides:
    """What a network learned from, and what was held back.

    Attributes:
        train: images it was fitted to.
        held_back: images it was not; may be none.
        statistics: mean and standard deviation per channel, of values 0 to 1, that images are normalised by.
    """

    train: PreparedImages
    held_back: PreparedImages
    statistics: Statistics


@dataclass(frozen=True, eq=False)
class Preparation:
    """How images are made ready for a network.

    Attributes:
        classes: class names; a label's place here is its index.
        size: (height, width) of the network.
        decoded: what reads them; None reads each from its file.
    """

    classes: Sequence[str]
    size: tuple[int, int]
    decoded: DecodedImages | None = None


def prepare_images(
    samples: Sequence[Sample],
    preparation: Preparation,
    overflow: Path,
    progress: Callable[[int, int], None] | None = None,
) -> PreparedImages:
    """Read and resize the images of a split in a few threads, within the memory there is. Masks are never opened.

    Args:
        samples: what to read.
        preparation: how.
        overflow: file for the pixels of splits that are too large for the memory; the caller removes it.
        progress: called with (done, total).

    Raises:
        DataError: if there is no room for the split, or no image could be read.
    """
    size = preparation.size
    images = _room(len(samples), size, overflow)
    decoded = preparation.decoded or DecodedImages(0)
    reasons: list[str | None] = []

    def load(name: str, path: Path) -> None:
        pixels = resize(decoded.read(path), size)
        images[int(name)] = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)

    files = ((str(index), sample.path) for index, sample in enumerate(samples))
    workers = Workers(count=4, bytes_per_pixel=READING_BYTES_PER_PIXEL, size_of=decoded.size_of)
    for done, outcome in enumerate(read_all(files, load, workers), start=1):
        reasons.append(outcome.reason or None)
        if progress is not None:
            progress(done, len(samples))
    good = [index for index, reason in enumerate(reasons) if reason is None]
    if samples and not good:
        raise DataError(
            f"none of the {len(samples)} images could be read; the first: {samples[0].path}: {reasons[0]}"
        )
    for place, index in enumerate(good):  # in place: a copy may not fit into memory
        if place != index:
            images[place] = images[index]
    return PreparedImages(
        images=images[: len(good)],
        labels=torch.tensor(
            [preparation.classes.index(samples[index].label) for index in good], dtype=torch.int64
        ),
        samples=tuple(samples[index] for index in good),
        failed=tuple((samples[i], reason) for i, reason in enumerate(reasons) if reason is not None),
    )


def usable_for_choices(validation: PreparedImages) -> tuple[PreparedImages | None, str]:
    """The validation part if it can tell a good epoch from a bad one, and in words what chooses the epoch.

    The loss of OK images alone is lowest where everything is called OK, so both kinds are needed.
    """
    if not len(validation.samples):
        return None, "the last one: nothing was held back"
    defective = validation.labels > 0
    if bool(defective.all()) or not bool(defective.any()):
        kind = "OK" if bool(defective.all()) else "defective"
        return None, f"the last one: there are no {kind} images on the validation side"
    return validation, "validation image AP, then loss"


def _room(count: int, size: tuple[int, int], overflow: Path) -> Tensor:
    """An uninitialised tensor (count, 3, H, W) uint8, in memory if it is small enough."""
    shape = (count, 3, *size)
    needed = count * 3 * size[0] * size[1]
    if needed <= _LARGEST_IN_MEMORY:
        return torch.empty(shape, dtype=torch.uint8)
    overflow.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(overflow.parent).free < needed:
        raise DataError(
            f"{count} images at {size[0]} x {size[1]} need {needed / 2**30:.1f} GiB beside the run folder; there is "
            "less; make room, or use a smaller `image_size`"
        )
    mapped: Tensor = torch.from_file(str(overflow), shared=True, size=needed, dtype=torch.uint8)
    return mapped.view(shape)
