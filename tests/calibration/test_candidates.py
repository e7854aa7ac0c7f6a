"""Ways from heatmaps to a mask, and which is surely better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ltcam.calibration.candidates import (
    NOTHING,
    Candidate,
    best_ways,
    candidates,
    masks_of,
    other_cuts,
    other_surroundings,
    sure_gains,
    values_of,
)
from ltcam.calibration.judge import Mark
from ltcam.calibration.looks import Look, OkImages
from ltcam_runtime.settings import MAP, MaskSettings, SharpeningSettings

SIZE = (96, 128)
FLAT = np.full((*SIZE, 3), 128, np.uint8)
DARK = Candidate(MAP, SharpeningSettings(polarity="dark", window=0.25), MaskSettings(reach=0.15))
NORMAL = OkImages([Look(FLAT, FLAT, {MAP: np.full(SIZE, 0.3, np.float32)}, score=-1.0)])


def test_a_map_that_is_hotter_in_ok_images_is_also_tried_as_it_is() -> None:
    faint = np.zeros(SIZE, np.float32)
    faint[40:50, 40:60] = 0.2
    look = Look(FLAT, FLAT, {MAP: faint}, score=1.0)
    unsharpened = [each for each in candidates(NORMAL, [MAP]) if each.sharpening.polarity == "none"]

    masks = masks_of(NORMAL, "dark", look, unsharpened)

    found = {each.above_ok: mask for each, mask in zip(unsharpened, masks, strict=True)}
    assert not found[True].any()
    np.testing.assert_array_equal(found[False], faint > 0)


def test_what_is_near_a_candidate_differs_from_it_in_one_thing() -> None:
    cuts, surroundings = other_cuts(DARK), other_surroundings(NORMAL, DARK)
    assert {each.sharpening for each in cuts} == {DARK.sharpening}
    assert {each.mask for each in surroundings} == {DARK.mask}
    assert {each.sharpening.polarity for each in surroundings} == {"dark"}
    assert len({*cuts, *surroundings, DARK}) == len(cuts) + len(surroundings) + 1
    plain = Candidate(MAP, SharpeningSettings(), MaskSettings())
    assert other_surroundings(NORMAL, plain) == []


AREAS = (0.02, 0.04, 0.03, 0.025, 0.022, 0.04)


def marks(areas: Sequence[float]) -> list[Mark]:
    return [Mark(drops=(0.9, 0.9), rise=0.9, area=area, holes=(area, area)) for area in areas]


@pytest.mark.parametrize(
    ("best", "other", "better"),
    [
        (AREAS, (0.01, 0.02, 0.014, 0.012, 0.011, 0.02), True),
        (AREAS, (0.04, 0.08, 0.06, 0.05, 0.05, 0.08), False),
        (AREAS, (0.001, *AREAS[1:]), False),  # one image says so, the others do not
        (AREAS[:5], (0.01, 0.02, 0.014, 0.012, 0.011), True),
        (AREAS[:5], (0.015, 0.03, 0.022, 0.019, 0.016), False),  # too little for so few
        (AREAS, AREAS, False),
    ],
)
def test_only_a_gain_on_most_images_is_sure(
    best: Sequence[float], other: Sequence[float], better: bool
) -> None:
    narrow = other_cuts(DARK)[0]
    found = {DARK: marks(best), narrow: marks(other)}
    gains = sure_gains(found, DARK, [narrow])
    assert gains[DARK] == 0
    assert (gains[narrow] > 0) == better


def test_the_best_ways_differ_in_more_than_their_surroundings() -> None:
    tried = candidates(NORMAL, [MAP, "last"])
    values = {each: float(place) for place, each in enumerate(tried)}
    ways = best_ways(values, most=len(tried))
    assert ways[0] == tried[-1], "the best of all comes first"
    assert [values[each] for each in ways] == sorted((values[each] for each in ways), reverse=True)
    kinds = {(each.map, each.sharpening.polarity, each.mask.threshold, each.above_ok) for each in tried}
    assert len(ways) == len(kinds) < len(tried)
    assert best_ways(values, most=2) == ways[:2]


def test_of_equal_masks_the_cut_that_leaves_ok_images_empty_is_worth_more() -> None:
    calibrated, by_otsu = candidates(NORMAL, [MAP])[:2]
    assert (calibrated.mask.threshold, by_otsu.mask.threshold) == (1.0, "otsu")
    equal = values_of({calibrated: marks(AREAS), by_otsu: marks(AREAS)})
    assert 0 < equal[calibrated] - equal[by_otsu] < 0.02
    halves = [0.5 * area for area in AREAS]
    better = values_of({calibrated: marks(AREAS), by_otsu: marks(halves)})
    assert better[by_otsu] > better[calibrated], "but no more than that"
    assert values_of({calibrated: marks([0.0] * 6)})[calibrated] == NOTHING
    few = values_of({calibrated: marks(AREAS[:5]), by_otsu: marks(AREAS[:5])})
    assert few[calibrated] == few[by_otsu]
