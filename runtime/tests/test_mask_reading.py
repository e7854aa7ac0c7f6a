import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from runtime.tests.conftest import save

from ltcam_runtime.mask_reading import read_mask


def palette_mask(path: Path, colours: list[int]) -> Path:
    image = Image.frombytes("P", (4, 1), bytes([0, 1, 2, 0]))
    image.putpalette(colours)
    return save(path, image)


def test_palette_masks_count_by_index_at_threshold_zero(tmp_path: Path) -> None:
    path = palette_mask(tmp_path / "a.bmp", [0, 0, 0, 85, 85, 85, 255, 255, 255])
    assert Image.open(path).mode == "P"
    assert read_mask(path)[0].tolist() == [False, True, True, False]
    assert read_mask(path, threshold=127)[0].tolist() == [False, False, True, False]
    # class 2 painted as dark as the background still is class 2
    path = palette_mask(tmp_path / "b.png", [0, 0, 0, 255, 0, 0, 0, 0, 0])
    assert read_mask(path)[0].tolist() == [False, True, True, False]


def test_a_palette_that_begins_with_white_has_a_black_background(tmp_path: Path) -> None:
    path = palette_mask(tmp_path / "a.png", [255, 255, 255, 0, 0, 0, 0, 0, 0])
    assert read_mask(path)[0].tolist() == [True, False, False, True]


def test_grey_masks(tmp_path: Path) -> None:
    values = np.array([[0, 1, 127, 128, 255]], np.uint8)
    path = save(tmp_path / "a.png", Image.fromarray(values))
    assert read_mask(path).dtype == np.bool_
    for threshold in (0, 1, 127, 254):
        assert (read_mask(path, threshold=threshold) == (values > threshold)).all()
    assert read_mask(save(tmp_path / "b.png", Image.fromarray(values > 100)), threshold=127).sum() == 3


def test_sixteen_bit_masks(tmp_path: Path) -> None:
    values = np.array([[0, 1, 2, 32767, 65535]], np.uint16)
    path = save(tmp_path / "a.png", Image.fromarray(values))
    assert read_mask(path, threshold=0)[0].tolist() == [False, True, True, True, True]
    assert read_mask(path, threshold=126)[0].tolist() == [False, False, False, True, True]
    assert read_mask(path, threshold=127)[0].tolist() == [False, False, False, False, True]


def test_coloured_and_transparent_masks(tmp_path: Path) -> None:
    blue = np.zeros((1, 3, 3), np.uint8)
    blue[0, 1, 2] = 255
    assert read_mask(save(tmp_path / "a.png", Image.fromarray(blue)), threshold=127)[0].tolist() == [0, 1, 0]
    painted = np.array([[[255, 255, 255, 0], [255, 0, 0, 255], [0, 0, 0, 255]]], np.uint8)
    assert read_mask(save(tmp_path / "b.png", Image.fromarray(painted)))[0].tolist() == [0, 1, 0]


@pytest.mark.skipif("LTCAM_KSDD" not in os.environ, reason="LTCAM_KSDD does not name a KolektorSDD folder")
def test_kolektor_masks() -> None:
    masks = sorted(Path(os.environ["LTCAM_KSDD"]).glob("kos*/Part*_label.bmp"))
    assert sum(bool(read_mask(path).any()) for path in masks) == 52
