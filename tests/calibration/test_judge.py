from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ltcam.calibration.judge import (
    AREA_PRICE,
    HOLE_PRICE,
    LARGE,
    LARGE_PRICE,
    Case,
    Image,
    Mark,
    filled_in,
    likeness,
    marks,
    most_alike,
    replaced,
    value,
)


def grey(level: int, size: tuple[int, int] = (40, 60)) -> Image:
    return np.full((*size, 3), level, np.uint8)


def a_mask(rows: slice, columns: slice, size: tuple[int, int] = (40, 60)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[rows, columns] = True
    return mask


SPOT = np.s_[15:23, 20:32]


def defective() -> Image:
    image = grey(120)
    image[SPOT] = 40
    return image


def darkness(images: Sequence[Image]) -> list[float]:
    """A classifier that counts dark pixels."""
    return [float((image.mean(2) < 90).sum()) for image in images]


def a_case() -> Case:
    score = darkness([defective()])[0]
    return Case(defective(), grey(130), score, donor_score=0.0, ok_score=0.0)


def test_the_right_mask_is_worth_more_than_half_of_it_twice_of_it_or_another_place() -> None:
    right = a_mask(*SPOT)
    half, large = a_mask(np.s_[15:19], np.s_[20:32]), a_mask(np.s_[10:28], np.s_[14:38])
    elsewhere = a_mask(np.s_[28:36], np.s_[40:52])
    found = marks(a_case(), [right, half, large, elsewhere], darkness)
    assert found[0].drop == pytest.approx(1)
    assert found[0].rise == pytest.approx(1)
    assert found[3].drop == pytest.approx(0, abs=0.02)
    values = [value([mark]) for mark in found]
    assert values[0] == max(values)
    assert values[3] == min(values)


def test_equal_masks_are_asked_about_once() -> None:
    asked: list[int] = []

    def scores(images: Sequence[Image]) -> list[float]:
        asked.append(len(images))
        return darkness(images)

    mask = a_mask(*SPOT)
    found = marks(a_case(), [mask, mask.copy(), a_mask(np.s_[0:2], np.s_[0:2])], scores)
    assert asked == [6], "two holes of each that are filled, and one that is pasted"
    assert found[0] == found[1]


def test_masks_may_be_larger_than_what_the_network_sees() -> None:
    mask = np.kron(a_mask(*SPOT), np.ones((2, 2), bool)).astype(bool)
    assert marks(a_case(), [mask], darkness)[0].drop == pytest.approx(1)


def test_replacing_matches_the_brightness_around_and_leaves_the_rest() -> None:
    image, mask = defective(), a_mask(*SPOT)
    found = replaced(image, grey(200), mask)
    assert np.abs(found[SPOT].astype(int) - 120).max() <= 1
    far = np.ones((40, 60), bool)
    far[8:30, 12:40] = False
    assert np.array_equal(found[far], image[far])
    assert np.array_equal(replaced(image, grey(200), np.zeros_like(mask)), image)


def test_replacing_takes_the_texture_of_the_place() -> None:
    rng = np.random.default_rng(0)
    donor = rng.integers(100, 140, (40, 60, 3)).astype(np.uint8)
    found = replaced(defective(), donor, a_mask(*SPOT))
    inside = np.corrcoef(found[SPOT].ravel(), donor[SPOT].ravel())[0, 1]
    assert inside > 0.99


def test_filling_in_removes_a_line_and_leaves_the_rest() -> None:
    image = grey(120)
    image[10:12, 10:50] = 20
    mask = a_mask(np.s_[20:24], np.s_[20:100], (80, 120))
    assert np.abs(filled_in(image, mask).astype(int) - 120).max() <= 3
    assert np.array_equal(filled_in(image, np.zeros((80, 120), bool)), image)


def a_mark(drop: float, rise: float, area: float) -> Mark:
    """Of a mask whose holes are no larger than it is."""
    return Mark((drop, drop), rise, area, (area, area))


def price(mark: Mark) -> float:
    holes = np.mean([HOLE_PRICE * np.log(hole) for hole in mark.holes])
    return float(holes + AREA_PRICE * np.log(mark.area) + LARGE_PRICE * max(mark.area - LARGE, 0))


def explained(mark: Mark) -> float:
    """The value of a mask without the price of its area."""
    return value([mark]) + price(mark)


def test_area_has_its_price_on_a_logarithm() -> None:
    small, large = (value([Mark((1, 1), 1, area, (0.1, 0.2))]) for area in (0.01, 0.1))
    assert small - large == pytest.approx(AREA_PRICE * np.log(10))
    assert value([a_mark(1, 1, 0)]) == value([a_mark(1, 1, 1e-5)])


def test_what_covers_more_than_few_defects_do_is_dear() -> None:
    at, beyond = (value([Mark((1, 1), 1, area, (0.6, 0.7))]) for area in (LARGE, LARGE + 0.1))
    assert at - beyond == pytest.approx(0.1 * LARGE_PRICE + AREA_PRICE * np.log((LARGE + 0.1) / LARGE))
    # Two thirds of an image that explain everything are worth less than a tenth that explains most of it.
    assert value([Mark((0.97, 0.96), 0.99, 0.68, (0.69, 0.72))]) < value(
        [Mark((0.75, 0.81), 0.97, 0.085, (0.1, 0.13))]
    )


@pytest.mark.parametrize("area", [0.01, 0.3, 0.9, 1.0])
def test_a_mask_that_explains_no_more_than_its_area_explains_nothing(area: float) -> None:
    assert explained(a_mark(area, area, area)) == pytest.approx(0)
    assert explained(a_mark(-1, area / 2, area)) == pytest.approx(0)


def test_what_a_mask_explains_counts_beyond_the_area_of_its_holes() -> None:
    assert explained(a_mark(0.7, 0.9, 0.4)) == pytest.approx(0.3 / 0.6 + 0.5 / 0.6)
    assert explained(Mark((0.4, 0.8), 0.9, 0.1, (0.2, 0.4))) == pytest.approx(
        (0.25 + 0.4 / 0.6) / 2 + 0.7 / 0.8
    )
    # A large area that explains much is worth more than a sliver that explains next to nothing ...
    assert value([a_mark(0.7, 0.99, 0.3)]) > value([a_mark(0.115, 0.54, 0.0038)])
    # ... and half of the image that explains a little more than its half less than a tenth that explains much.
    assert value([a_mark(0.63, 0.79, 0.48)]) < value([a_mark(0.29, 0.8, 0.13)])


def test_a_mask_need_not_hold_how_a_defect_fades_out() -> None:
    def sees_a_spot(images: Sequence[Image]) -> list[float]:
        return [min(count, 80.0) for count in darkness(images)]

    image = grey(120)
    image[13:25, 18:34] = 75  # what is left of it around a tight mask still looks defective
    image[SPOT] = 40
    case = Case(image, grey(120), sees_a_spot([image])[0], donor_score=0.0, ok_score=0.0)
    tight, wide = a_mask(*SPOT), a_mask(np.s_[6:32], np.s_[11:41])
    of_tight, of_wide = marks(case, [tight, wide], sees_a_spot)
    assert of_tight.drops[0] < 0.9 < of_tight.drops[1]
    assert of_wide.drops == pytest.approx((1, 1))
    assert value([of_tight]) > value([of_wide])


def test_the_donor_is_the_image_that_looks_most_like_it() -> None:
    assert most_alike(grey(120), np.stack([likeness(grey(value)) for value in (40, 118, 200)])) == 1


def test_one_image_that_a_way_of_drawing_fails_on_does_not_decide() -> None:
    good, failed = a_mark(0.9, 0.9, 0.01), a_mark(0.0, 0.0, 0.2)
    assert value([good] * 5 + [failed]) == pytest.approx(value([good]))
    assert value([good] * 4 + [failed] * 2) < value([good]) - 0.1
    assert value([good] * 4 + [failed]) < value([good]) - 0.1, "of five, all count"
