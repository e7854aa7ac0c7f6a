from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from ltcam.training.pasting import cut_patches, paste


@pytest.fixture
def defective() -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """A grey image with a dark bar, the image without it, and the bar's shares."""
    image = np.full((40, 60, 3), 120, np.uint8)
    share = np.zeros((40, 60), np.float32)
    share[10:14, 20:40] = 1
    image[10:14, 20:40] = 30
    return image, np.full_like(image, 120), share


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_piece_holds_the_defect_and_what_it_adds(
    defective: tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]],
) -> None:
    (patch,) = cut_patches(*defective)
    assert float(patch.share.sum()) == 80
    assert float(patch.residual.min()) == pytest.approx((30 - 120) / 255)
    assert patch.residual.shape == (3, *patch.share.shape)
    assert (patch.residual[:, patch.share == 0] == 0).all()


def test_pieces_are_told_apart_and_the_largest_come_first(
    defective: tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]],
) -> None:
    image, filled, share = defective
    for left in range(0, 60, 12):
        share[30, left] = 1
        image[30, left] = 20
    patches = cut_patches(image, filled, share)
    assert len(patches) == 4
    assert float(patches[0].share.sum()) == 80
    assert {float(patch.share.sum()) for patch in patches[1:]} == {1.0}


def test_no_defect_no_piece(
    defective: tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]],
) -> None:
    image, filled, share = defective
    assert cut_patches(image, filled, np.zeros_like(share)) == []
    assert cut_patches(image, filled, 0.3 * share) == [], "a breath of a defect is none"


def test_what_is_pasted_is_what_the_target_says(
    defective: tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]],
) -> None:
    patches = cut_patches(*defective)
    for seed in range(8):
        values, share = torch.full((3, 50, 70), 0.7), torch.zeros(50, 70)
        paste(values, share, patches, generator(seed))
        assert float(share.sum()) == 80
        assert torch.allclose(values[:, share == 1], torch.tensor(0.7 - 90 / 255), atol=1e-5)
        assert torch.allclose(values[:, share == 0], torch.tensor(0.7), atol=1e-5)


def test_pasting_is_repeatable_and_moves_about(
    defective: tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]],
) -> None:
    patches = cut_patches(*defective)

    def pasted(seed: int) -> Tensor:
        values, share = torch.full((3, 50, 70), 0.7), torch.zeros(50, 70)
        paste(values, share, patches, generator(seed))
        return share

    assert torch.equal(pasted(3), pasted(3))
    assert len({tuple(torch.nonzero(pasted(seed))[0].tolist()) for seed in range(10)}) > 5


def test_nothing_to_paste_changes_nothing() -> None:
    values, share = torch.rand(3, 8, 8), torch.zeros(8, 8)
    before = values.clone()
    paste(values, share, [], generator())
    assert torch.equal(values, before)
    assert not share.any()
