"""The true mask of a sample, wherever it is kept. For measuring only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ltcam.data.dataset import Sample
from ltcam.data.drawn import DrawnMask
from ltcam_runtime.errors import InputError
from ltcam_runtime.image_headers import image_size
from ltcam_runtime.mask_reading import read_mask


def read_truth(sample: Sample, size: tuple[int, int]) -> NDArray[np.bool_] | None:
    """The true mask of a sample, or None where it has none.

    Args:
        sample: whose mask to read.
        size: (height, width) of its image.

    Returns:
        (height, width) bool.

    Raises:
        InputError: a mask that cannot be read or drawn, or is of another size than its image.
    """
    if sample.mask is None:
        return None
    if isinstance(sample.mask, DrawnMask):
        return sample.mask.draw(size)
    truth = read_mask(sample.mask, threshold=sample.mask_threshold)
    if truth.shape != size:
        height, width = size
        raise InputError(
            sample.mask,
            f"the mask is {truth.shape[0]} x {truth.shape[1]}, its image {height} x {width} (height x width)",
        )
    return truth


def read_marks(sample: Sample) -> NDArray[np.bool_] | None:
    """As `read_truth`, but at the mask's own size, which a faulty mask file need not share with its image.

    Raises:
        InputError: a mask that cannot be read or drawn.
    """
    if sample.mask is None:
        return None
    if isinstance(sample.mask, DrawnMask):
        return sample.mask.draw(image_size(sample.path))
    return read_mask(sample.mask, threshold=sample.mask_threshold)
