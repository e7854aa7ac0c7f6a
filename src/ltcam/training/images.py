"""Images and class indices for training: read once, kept small in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ltcam.data.dataset import Sample
from ltcam_runtime.errors import DataError, InputError
from ltcam_runtime.images import read_image, resize

_LARGEST_CACHE = 4 * 2**30  # bytes


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


def prepare_images(
    samples: Sequence[Sample],
    classes: Sequence[str],
    size: tuple[int, int],
    progress: Callable[[int, int], None] | None = None,
) -> PreparedImages:
    """Read and resize the images of a split in a few threads. Masks are never opened.

    Args:
        samples: what to read.
        classes: class names; a label's place here is its index.
        size: (height, width) of the network.
        progress: called with (done, total).

    Raises:
        DataError: if the split would not fit into memory, or no image could be read.
    """
    height, width = size
    if len(samples) * 3 * height * width > _LARGEST_CACHE:
        raise DataError(
            f"{len(samples)} images at {height} x {width} need more than {_LARGEST_CACHE >> 30} GiB of memory; "
            "use a smaller --image-size or fewer images"
        )
    images = torch.empty(len(samples), 3, height, width, dtype=torch.uint8)
    reasons: list[str | None] = [None] * len(samples)

    def load(index: int) -> None:
        try:
            pixels = resize(read_image(samples[index].path), size)
            images[index] = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)
        except InputError as error:
            reasons[index] = error.reason

    with ThreadPoolExecutor(max_workers=4) as pool:
        for done, _ in enumerate(pool.map(load, range(len(samples))), start=1):
            if progress is not None:
                progress(done, len(samples))
    good = [index for index, reason in enumerate(reasons) if reason is None]
    if samples and not good:
        raise DataError(
            f"none of the {len(samples)} images could be read; the first: {samples[0].path}: {reasons[0]}"
        )
    if len(good) < len(samples):
        images = images[good]
    return PreparedImages(
        images=images,
        labels=torch.tensor([classes.index(samples[index].label) for index in good], dtype=torch.int64),
        samples=tuple(samples[index] for index in good),
        failed=tuple((samples[i], reason) for i, reason in enumerate(reasons) if reason is not None),
    )
