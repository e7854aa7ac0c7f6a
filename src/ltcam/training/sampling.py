"""Which images an epoch sees: half OK, half defective, whatever their shares in the data."""

from __future__ import annotations

import numpy as np
from torch import Tensor

SMALLEST_EPOCH = 64  # images; with a handful of defects an epoch would otherwise be two steps


LARGEST_EPOCH = 512  # images; with thousands of defects an epoch would otherwise take an hour


def epoch_length(defective: int, least: int = 0) -> int:
    """Number of images in one epoch: twice the defective ones to train on, from 64, or `least`, to 512."""
    return min(max(2 * defective, SMALLEST_EPOCH, least), LARGEST_EPOCH)


def balanced_epoch(labels: Tensor, seed: int, epoch: int, least: int = 0) -> list[int]:
    """Indices of one epoch: half OK, half defective, the latter shared evenly among the defect classes.

    Each class is gone through in shuffled order before an image comes again. The same seed and epoch
    give the same order, so that a resumed training goes on as it would have.

    Args:
        labels: class index of each image (N,); 0 is OK.
        seed: of the training.
        epoch: number of the epoch, from 0.
        least: images in the epoch.
    """
    generator = np.random.default_rng([seed, epoch])
    values = labels.numpy()
    length = epoch_length(int((labels > 0).sum()), least)
    defects = [kind for kind in np.unique(values) if kind != 0]
    wanted = {0: length - length // 2} | {int(k): length // 2 // len(defects) for k in defects}
    for kind in generator.permutation(defects)[: length // 2 % len(defects)]:
        wanted[int(kind)] += 1
    chosen = [_draw(generator, np.flatnonzero(values == kind), count) for kind, count in wanted.items()]
    return [int(index) for index in generator.permutation(np.concatenate(chosen))]


def _draw(generator: np.random.Generator, members: np.ndarray, count: int) -> np.ndarray:
    rounds = [generator.permutation(members) for _ in range(-(-count // len(members)))]
    return np.concatenate([members[:0], *rounds])[:count]
