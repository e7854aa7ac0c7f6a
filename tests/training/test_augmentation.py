from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ltcam.training.augmentation import augment


def dice(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 5), st.integers(1, 40), st.integers(1, 40))
def test_range_and_shape_stay(seed: int, count: int, height: int, width: int) -> None:
    images = torch.rand(count, 3, height, width, generator=dice(seed))
    changed = augment(images, dice(seed))
    assert changed.shape == images.shape
    assert changed.dtype == torch.float32
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1


def test_the_same_dice_give_the_same_images_and_the_originals_stay() -> None:
    images = torch.rand(4, 3, 20, 30)
    kept = images.clone()
    once, again, other = augment(images, dice(1)), augment(images, dice(1)), augment(images, dice(2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert torch.equal(images, kept)


def test_each_image_has_its_own_dice() -> None:
    images = torch.rand(1, 3, 20, 30).repeat(6, 1, 1, 1)
    changed = augment(images, dice())
    assert len({tuple(image.flatten().tolist()) for image in changed}) == 6


def test_all_four_orientations_come_about_as_often() -> None:
    images = torch.zeros(400, 3, 32, 32)
    images[:, :, :16, :16] = 1
    changed = augment(images, dice())
    corners = changed[:, 0, [4, 4, 27, 27], [4, 27, 4, 27]]
    counts = torch.bincount(corners.argmax(1), minlength=4).tolist()
    assert min(counts) > 60


def test_light_varies_both_ways() -> None:
    changed = augment(torch.full((200, 3, 8, 8), 0.5), dice()).mean((1, 2, 3))
    assert float(changed.min()) < 0.4
    assert float(changed.max()) > 0.6
    assert float(changed.mean()) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("place", [(0, 0), (0, 15), (31, 31), (20, 0), (15, 31), (1, 1)])
def test_a_defect_at_the_border_is_never_cut_off(place: tuple[int, int]) -> None:
    """The label stays, so what it stands for must stay."""
    images = torch.full((200, 3, 32, 32), 0.4)
    images[:, :, place[0], place[1]] = 1.0
    changed = augment(images, dice())
    contrast = changed.amax((1, 2, 3)) - changed.flatten(1).median(1).values
    assert float(contrast.min()) > 0.1
