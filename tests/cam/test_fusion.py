"""Scaling, resizing and fusing of stage maps."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ltcam.cam import fuse, resize_maps
from ltcam.cam.fusion import Fusion, StageScale, scale_map

FUSIONS = ("sum", "mean", "max", "product")
SCALES = ("none", "max", "minmax", "tanh")


def maps(
    seed: int,
    sizes: tuple[tuple[int, int], tuple[int, int], tuple[int, int]] = ((8, 12), (4, 6), (2, 3)),
    n: int = 2,
) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    scales = (1.0, 1e-2, 1e-4)
    return [
        torch.rand(n, *size, generator=random, dtype=torch.float64) * scale
        for size, scale in zip(sizes, scales, strict=False)
    ]


@pytest.mark.parametrize("size", [(16, 24), (5, 7), (3, 2), (1, 1), (40, 3)])
def test_resizing_is_bilinear_with_pixel_centres(size: tuple[int, int], literal: SimpleNamespace) -> None:
    for stage_map in maps(1):
        wanted = np.stack([literal.resized(one, size) for one in stage_map.numpy()])
        np.testing.assert_allclose(resize_maps(stage_map, size).numpy(), wanted, rtol=1e-12, atol=1e-15)


def test_resizing_never_leaves_the_range_and_keeps_equal_sizes_as_they_are() -> None:
    stage_map = maps(2)[2]
    big = resize_maps(stage_map, (50, 31))
    assert big.min() >= stage_map.min()
    assert big.max() <= stage_map.max()
    assert torch.equal(resize_maps(stage_map, (2, 3)), stage_map)


@pytest.mark.parametrize("size", [(41, 63), (16, 24), (4, 7)])
def test_small_and_large_steps_are_resized_alike(size: tuple[int, int]) -> None:
    """Many pixels per pixel are made by matrices, few by torch's own function."""
    stage_map = maps(3)[2].float()
    wanted = torch.nn.functional.interpolate(stage_map[:, None], size=size, mode="bilinear")[:, 0]
    with torch.inference_mode():  # what is kept from here is used outside as well
        resize_maps(stage_map, size)
    torch.testing.assert_close(resize_maps(stage_map.requires_grad_(), size), wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("size", [(0, 4), (4, 0), (-1, 2)])
def test_sizes_below_one_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        resize_maps(torch.zeros(1, 2, 2), size)


def test_fusions_by_hand() -> None:
    stages = maps(3)
    psi = torch.stack([resize_maps(stage, (16, 24)) for stage in stages])
    assert torch.allclose(fuse(stages, (16, 24)), psi[0] + psi[1] + psi[2], rtol=1e-14)
    assert torch.allclose(fuse(stages, (16, 24), fusion="mean"), (psi[0] + psi[1] + psi[2]) / 3, rtol=1e-14)
    assert torch.equal(fuse(stages, (16, 24), fusion="max"), psi.max(0).values)
    unit = [resize_maps(stage / stage.amax((1, 2), keepdim=True), (16, 24)) for stage in stages]
    product = (unit[0] * unit[1] * unit[2]) ** (1 / 3)
    assert torch.allclose(fuse(stages, (16, 24), fusion="product"), product, rtol=1e-12)


def test_product_is_zero_where_any_stage_is_and_never_underflows() -> None:
    one, zero = torch.full((1, 4, 4), 1e-30), torch.full((1, 4, 4), 1e-30)
    zero[0, :2] = 0
    fused = fuse([one] * 4 + [zero], (4, 4), fusion="product")
    assert not fused[0, :2].any()
    assert torch.allclose(fused[0, 2:], torch.ones(2, 4))
    assert not fuse([one, torch.zeros(1, 4, 4)], (4, 4), fusion="product").any()
    wide = torch.tensor([[[1.0, 1e-12]]])
    assert fuse([wide] * 5, (1, 2), fusion="product")[0, 0, 1].item() == pytest.approx(1e-12, rel=1e-4, abs=0)


@pytest.mark.parametrize("scale", SCALES)
def test_scales_by_hand_per_image(scale: StageScale) -> None:
    stage = maps(4)[0] + 0.5
    scaled = scale_map(stage, scale)
    for image, result in zip(stage, scaled, strict=True):
        wanted = {
            "none": image,
            "max": image / image.max(),
            "minmax": (image - image.min()) / (image.max() - image.min()),
            "tanh": torch.tanh(2 * image / image.max()),
        }[scale]
        assert torch.allclose(result, wanted, rtol=1e-14)


@pytest.mark.parametrize("scale", SCALES)
def test_an_all_zero_map_stays_zero_beside_another_image(scale: StageScale) -> None:
    stage = torch.zeros(2, 3, 3)
    stage[1, 1, 1] = 4.0
    scaled = scale_map(stage, scale)
    assert not scaled[0].any()
    assert scaled[1].max() > 0
    assert torch.isfinite(scaled).all()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_one_stage_is_only_resized(fusion: Fusion) -> None:
    stage = maps(5)[:1]
    fused = fuse(stage, (16, 24), fusion=fusion)
    psi = resize_maps(stage[0], (16, 24))
    scale = psi.amax((1, 2)) / fused.amax((1, 2))
    assert torch.allclose(fused * scale.reshape(-1, 1, 1), psi, rtol=1e-12)
    assert fusion == "product" or torch.equal(fused, psi)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    order=st.permutations([0, 1, 2]),
    fusion=st.sampled_from(FUSIONS),
    scale=st.sampled_from(SCALES),
)
def test_fusing_does_not_depend_on_the_order_of_stages_nor_on_other_images(
    seed: int, order: list[int], fusion: Fusion, scale: StageScale
) -> None:
    stages = maps(seed, n=3)
    fused = fuse(stages, (9, 13), fusion=fusion, stage_scale=scale)
    shuffled = fuse([stages[i] for i in order], (9, 13), fusion=fusion, stage_scale=scale)
    assert torch.allclose(fused, shuffled, rtol=1e-12, atol=1e-300)
    alone = fuse([stage[1:2] for stage in stages], (9, 13), fusion=fusion, stage_scale=scale)
    assert torch.allclose(fused[1:2], alone, rtol=1e-12, atol=1e-300)
    assert fused.min() >= 0
    assert math.isfinite(float(fused.max()))


def test_errors_name_the_choices_and_the_sizes() -> None:
    with pytest.raises(ValueError, match=r"`fusion` 'median'.*sum, mean, max, product"):
        fuse(maps(0), (4, 4), fusion="median")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`stage_scale` 'sqrt'.*none, max, minmax, tanh"):
        fuse(maps(0), (4, 4), stage_scale="sqrt")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no stage maps"):
        fuse([], (4, 4))
    with pytest.raises(ValueError, match=r"numbers of images: \[2, 3\]"):
        fuse([torch.zeros(2, 4, 4), torch.zeros(3, 2, 2)], (4, 4))
