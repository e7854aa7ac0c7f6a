from __future__ import annotations

import pytest
import torch

from ltcam.models.normalisation import normalised

STATISTICS = ((0.5, 0.4, 0.3), (0.1, 0.2, 0.3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_channel_by_its_own_statistics_whatever_the_type(dtype: torch.dtype) -> None:
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    before, fractions = images.clone(), images.double() / 255
    kept = fractions.clone()
    found = normalised(images, STATISTICS, dtype)
    assert found.dtype == dtype
    for place, (mean, std) in enumerate(zip(*STATISTICS, strict=True)):
        assert torch.allclose(found[:, place].double(), (kept[:, place] - mean) / std, atol=1e-5)
    assert torch.allclose(normalised(fractions, STATISTICS, dtype), found, atol=1e-5)
    assert torch.equal(images, before)
    assert torch.equal(fractions, kept)


def test_memory_is_laid_out_as_asked() -> None:
    images = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    assert normalised(images, STATISTICS).is_contiguous(memory_format=torch.channels_last)
    assert normalised(images, STATISTICS, memory_format=torch.contiguous_format).is_contiguous()
