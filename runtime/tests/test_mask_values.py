from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ltcam_runtime.mask_reading import load_mask, read_mask
from ltcam_runtime.mask_values import suitable_threshold

SHAPE = np.zeros((60, 80), np.uint8)
cv2.ellipse(SHAPE, (40, 30), (25, 12), 20, 0, 360, 255, -1)
DRAWN = SHAPE > 0


def iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / (first | second).sum())


@pytest.mark.parametrize("marked", [1, 255])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float32])
def test_two_values_mean_above_zero(marked: int, kind: type, tmp_path: Path) -> None:
    Image.fromarray(DRAWN.astype(kind) * kind(marked)).save(tmp_path / "a.tif")
    assert (read_mask(tmp_path / "a.tif") == DRAWN).all()


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_a_jpeg_mask_has_the_size_that_was_drawn(quality: int, tmp_path: Path) -> None:
    Image.fromarray(SHAPE).save(tmp_path / "a.jpg", quality=quality)
    assert iou(read_mask(tmp_path / "a.jpg"), DRAWN) > 0.97
    assert load_mask(tmp_path / "a.jpg").levels > 2
    Image.open(tmp_path / "a.jpg").save(tmp_path / "again.png")  # the same noise without losses
    assert iou(read_mask(tmp_path / "again.png"), DRAWN) > 0.97
    Image.fromarray(SHAPE * 0 + 1).save(tmp_path / "empty.jpg", quality=quality)
    assert not suitable_threshold(np.array([[0, 1, 2, 3]], np.uint8), lossy=True) < 3


@pytest.mark.parametrize("scale", [1, 257])
def test_soft_borders_are_cut_in_the_middle(scale: int) -> None:
    soft = cv2.resize(cv2.resize(SHAPE, (320, 240), interpolation=cv2.INTER_LINEAR), (80, 60)).astype(
        np.uint16
    )
    blurred = cv2.GaussianBlur(SHAPE, (5, 5), 0).astype(np.uint16)
    for values in (soft * scale, blurred * scale):
        assert iou(values > suitable_threshold(values), DRAWN) > 0.97
    heat = cv2.GaussianBlur(SHAPE, (9, 9), 0).astype(np.float32) / 255
    assert suitable_threshold(heat) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    "greys", [(0, 1, 2, 3), (0, 60, 120, 180), (0, 85, 170, 255), (0, 128, 255), tuple(range(0, 240, 4))]
)
@pytest.mark.parametrize("width", [1, 5])
def test_classes_all_count(greys: tuple[int, ...], width: int) -> None:
    values = np.zeros((400, 40), np.uint8)
    for place, grey in enumerate(greys):
        values[6 * place : 6 * place + width, 5:35] = grey
    assert suitable_threshold(values) == 0.0


def test_a_grey_gif_is_read_by_its_greys(tmp_path: Path) -> None:
    Image.fromarray(cv2.GaussianBlur(SHAPE, (5, 5), 0)).save(tmp_path / "a.gif")
    assert iou(read_mask(tmp_path / "a.gif"), DRAWN) > 0.97


def test_a_named_threshold_holds_on_every_scale(tmp_path: Path) -> None:
    values = np.array([[0.0, 0.2, 0.6, 1.0]], np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert read_mask(tmp_path / "a.tif", threshold=127).tolist() == [[False, False, True, True]]
    assert read_mask(tmp_path / "a.tif", threshold=0).tolist() == [[False, True, True, True]]
