from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ltcam.training.sampling import LARGEST_EPOCH, SMALLEST_EPOCH, balanced_epoch, epoch_length

counts = st.lists(st.integers(0, 60), min_size=2, max_size=6).filter(lambda c: c[0] > 0 and sum(c[1:]) > 0)
seeds = st.integers(0, 2**31 - 1)


def labels_of(counts: Sequence[int]) -> Tensor:
    return torch.tensor([kind for kind, count in enumerate(counts) for _ in range(count)])


@given(counts)
def test_twice_the_defects_but_not_too_few_nor_too_many(counts: list[int]) -> None:
    expected = min(max(2 * sum(counts[1:]), SMALLEST_EPOCH), LARGEST_EPOCH)
    assert epoch_length(sum(counts[1:])) == expected


def test_an_epoch_can_be_asked_to_be_longer() -> None:
    labels = labels_of([50, 10, 4])
    assert len(balanced_epoch(labels, 0, 0, least=256)) == epoch_length(14, 256) == 256
    assert epoch_length(14, 16) == SMALLEST_EPOCH
    assert epoch_length(400, 256) == LARGEST_EPOCH


def test_thousands_of_defects_do_not_make_an_epoch_of_hours() -> None:
    assert len(balanced_epoch(labels_of([3000, 2000]), 0, 0)) == LARGEST_EPOCH


@given(counts, seeds, st.integers(0, 100))
def test_half_ok_and_an_equal_share_for_every_defect_class(counts: list[int], seed: int, epoch: int) -> None:
    labels = labels_of(counts)
    indices = balanced_epoch(labels, seed, epoch)
    drawn = Counter(labels[indices].tolist())
    assert len(indices) == epoch_length(int((labels > 0).sum()))
    assert drawn[0] == len(indices) // 2
    defects = [drawn[kind] for kind, count in enumerate(counts) if kind and count]
    assert sum(defects) == len(indices) // 2
    assert max(defects) - min(defects) <= 1


@given(counts, seeds)
def test_every_image_of_a_class_is_seen_before_one_comes_again(counts: list[int], seed: int) -> None:
    labels = labels_of(counts)
    seen = Counter(balanced_epoch(labels, seed, 0))
    for kind, count in enumerate(counts):
        times = [seen[index] for index in np.flatnonzero(labels.numpy() == kind).tolist()]
        assert len(times) == count
        assert not times or max(times) - min(times) <= 1


@given(counts, seeds, st.integers(0, 100))
def test_the_same_seed_and_epoch_give_the_same_order(counts: list[int], seed: int, epoch: int) -> None:
    labels = labels_of(counts)
    assert balanced_epoch(labels, seed, epoch) == balanced_epoch(labels, seed, epoch)


def test_epochs_and_seeds_differ() -> None:
    labels = labels_of([200, 20])
    orders = [tuple(balanced_epoch(labels, seed, epoch)) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == 9


def test_more_kinds_than_half_an_epoch_has_images() -> None:
    labels = labels_of([40, *[2] * 300])
    seen = {int(labels[index]) for epoch in range(12) for index in balanced_epoch(labels, 0, epoch)}
    assert seen == set(range(301))


def test_kinds_are_mixed() -> None:
    """Not first all OK images, then all defective ones: every batch should hold both."""
    labels = labels_of([100, 100])
    batches = labels[balanced_epoch(labels, 0, 0)].view(-1, 20)
    assert bool(((batches > 0).any(1) & (batches == 0).any(1)).all())
