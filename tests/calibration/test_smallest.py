from __future__ import annotations

import numpy as np
import pytest

from ltcam.calibration.looks import Look
from ltcam.calibration.smallest import smallest_piece, with_smallest
from ltcam_runtime.settings import KindSettings, MaskSettings

SIZE = (60, 80)
KIND = KindSettings(map="m", mask=MaskSettings(threshold=0.5, of="value"))


def look(*areas: tuple[int, int]) -> Look:
    """An image whose mask is made of boxes of these heights and widths, one below the other."""
    heatmap = np.zeros(SIZE, np.float32)
    top = 1
    for height, width in areas:
        heatmap[top : top + height, 1 : 1 + width] = 1
        top += height + 2
    image = np.full((*SIZE, 3), 128, np.uint8)
    return Look(image, image, {"m": heatmap}, 0.0)


def test_what_is_as_small_as_specks_on_ok_images_is_left_out() -> None:
    ok = [look((1, 2), (2, 2), (1, 3)), look((2, 3)), look()]
    found = smallest_piece(KIND, ok, [look((20, 20), (1, 1)), look((10, 30))])
    assert (found.specks, found.speck_px, found.typical_px) == (4, 5, 350)
    assert found.area_px == 6


def test_a_kind_that_is_a_speck_itself_is_not_lost() -> None:
    ok = [look((5, 8))] * 3
    assert smallest_piece(KIND, ok, [look((5, 10))]).area_px == 5
    assert smallest_piece(KIND, ok, [look((2, 3))]).area_px == 1


def test_masks_of_ok_images_by_otsu_say_less() -> None:
    otsu = KindSettings(map="m")
    assert smallest_piece(otsu, [look((5, 8))] * 3, [look((20, 30))]).area_px == 30
    assert smallest_piece(KIND, [look((5, 8))] * 3, [look((20, 30))]).area_px == 41


def test_nothing_known_leaves_nothing_out() -> None:
    assert smallest_piece(KIND, [look()], [look((10, 10))]).area_px == 1
    assert smallest_piece(KIND, [look((3, 3))], [look()]).area_px == 1
    assert smallest_piece(KIND, [look((3, 3))], []).area_px == 1


@pytest.mark.parametrize("before", [1, 40])
def test_what_was_left_out_before_plays_no_part(before: int) -> None:
    ok, defective = [look((2, 3))], [look((20, 20))]
    assert smallest_piece(with_smallest(KIND, before), ok, defective).area_px == 7
