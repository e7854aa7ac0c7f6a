from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ltcam_runtime.marking import DARK, Line, draw_outline

RED = (255, 0, 0)


def drawn(mask: np.ndarray, size: tuple[int, int], **options: int) -> np.ndarray:
    picture = np.full((*size, 3), 200, np.uint8)
    draw_outline(picture, mask, Line(RED, **options))
    return picture


@pytest.mark.parametrize("distance", [0, 5])
def test_lines_run_around_the_mask_and_leave_it_alone(distance: int) -> None:
    mask = np.zeros((60, 80), bool)
    mask[20:30, 30:60] = True
    picture = drawn(mask, mask.shape, distance=distance)
    line, dark = (picture == RED).all(2), (picture == DARK).all(2)
    away = ndimage.distance_transform_edt(~mask)
    assert not (line | dark)[mask].any()
    assert distance < away[line].min() <= distance + 1.5
    assert away[line].max() <= distance + 3.5
    assert dark.any()
    assert away[dark].max() > away[line].max()


def test_a_thin_mask_shows_in_a_small_picture_and_nothing_where_nothing_is() -> None:
    mask = np.zeros((400, 400), bool)
    mask[200, 50:350] = True
    assert (drawn(mask, (40, 40), dark=0) == RED).all(2).any()
    assert (drawn(mask & False, (40, 40)) == 200).all()
