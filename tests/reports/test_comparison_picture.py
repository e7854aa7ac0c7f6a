from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ltcam.reports.comparison_picture import PREDICTION_COLOUR, TRUTH_COLOUR, comparison_picture

YELLOW = (255, 208, 64)


def case(shape: tuple[int, int], truth: Any = None, predicted: Any = None) -> Any:
    """A flat grey image with marked boxes (top, left, bottom, right) and a heatmap hot in the prediction."""
    masks = []
    for box in (truth, predicted):
        mask = np.zeros(shape, bool)
        if box is not None:
            mask[box[0] : box[2], box[1] : box[3]] = True
        masks.append(mask)
    heatmap = np.linspace(0, 0.1, shape[0], dtype=np.float32)[:, None] + masks[1].astype(np.float32)
    return np.full((*shape, 3), 128, np.uint8), *masks, heatmap


def count(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> int:
    return int((picture == np.array(colour, np.uint8)).all(axis=2).sum())


def test_tall_image_shows_the_whole_and_the_part() -> None:
    image, truth, predicted, heatmap = case((1250, 500), (600, 100, 612, 300), (590, 90, 620, 310))
    before = [array.copy() for array in (image, truth, predicted, heatmap)]
    picture = comparison_picture(image, truth, predicted, heatmap)
    assert picture.dtype == np.uint8
    assert picture.shape[0] < 400
    assert picture.shape[1] > 1300
    assert count(picture, YELLOW) > 100
    assert count(picture, TRUTH_COLOUR) > 300
    assert count(picture, PREDICTION_COLOUR) > 300
    for array, old in zip((image, truth, predicted, heatmap), before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_defect_is_larger_in_the_part_than_in_the_whole() -> None:
    image, truth, predicted, heatmap = case((1250, 500), (600, 100, 612, 300))
    image[truth] = (0, 0, 255)
    picture = comparison_picture(image, truth, predicted, heatmap)
    blue = (picture[..., 2] > 200) & (picture[..., 0] < 60)
    columns = np.flatnonzero(blue.any(axis=0))
    runs = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)
    lengths = sorted(len(run) for run in runs)
    assert lengths[-1] > 3 * 200 * 300 / 1250  # against the whole image's 300 rows


def test_marks_all_over_the_image_need_no_part() -> None:
    picture = comparison_picture(*case((300, 300), (10, 10, 290, 290), (20, 20, 280, 280)))
    assert count(picture, YELLOW) == 0
    assert count(picture, TRUTH_COLOUR) > 300


def test_wide_image_marked_all_along_is_shown_in_two_rows() -> None:
    picture = comparison_picture(*case((256, 1600), (20, 5, 236, 1590)))
    assert 1100 < picture.shape[1] < 1300
    assert count(picture, YELLOW) == 0


def test_far_away_prediction_does_not_hide_the_truth() -> None:
    image, truth, predicted, heatmap = case((1000, 400), (20, 20, 40, 60))
    predicted[900:, 300:] = True
    picture = comparison_picture(image, truth, predicted, heatmap)
    assert count(picture, YELLOW) > 100  # a part is shown: that with the truth
    right = picture[:, 400:]
    assert count(right, TRUTH_COLOUR) > 200
    assert count(right, PREDICTION_COLOUR) == 0


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 700), (700, 1), (40, 40), (200, 1600), (1600, 200), (900, 901), (33, 4000)]
)
@pytest.mark.parametrize("marked", ["nothing", "pixel", "corner", "everything"])
def test_any_shape(shape: tuple[int, int], marked: str) -> None:
    image, truth, predicted, heatmap = case(shape)
    if marked == "pixel":
        truth[shape[0] // 2, shape[1] // 2] = True
    elif marked == "corner":
        predicted[-1, -1] = True
    elif marked == "everything":
        truth[:] = predicted[:] = True
    picture = comparison_picture(image, truth, predicted, heatmap)
    assert picture.ndim == 3
    assert 26 < picture.shape[0] < 800
    assert picture.shape[1] < 2000
    if marked == "pixel" and min(shape) > 1:
        assert count(picture, TRUTH_COLOUR) > 8


def test_outline_leaves_the_defect_itself_visible() -> None:
    image, truth, predicted, heatmap = case((300, 300), (140, 140, 150, 160))
    image[truth] = (0, 0, 255)
    picture = comparison_picture(image, truth, predicted, heatmap)
    blue = (picture[..., 2] > 240) & (picture[..., 0] < 20)
    one = 10 * 20 * (300 / 50) ** 2  # the defect in a pane: the part is 50 px wide, its pane 300
    assert 2.6 * one < blue.sum() < 3.2 * one  # image, truth and prediction, but for soft edges


def test_constant_heatmap_is_shown() -> None:
    image, truth, predicted, heatmap = case((100, 100), (40, 40, 50, 50))
    assert comparison_picture(image, truth, predicted, np.zeros_like(heatmap)).any()


def test_bad_input() -> None:
    image, truth, predicted, heatmap = case((30, 40), (5, 5, 9, 9))
    with pytest.raises(ValueError, match="differ in size"):
        comparison_picture(image, truth[1:], predicted, heatmap)
    heatmap[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        comparison_picture(image, truth, predicted, heatmap)
