"""Where to look closer, and small defects of large images found there."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ltcam_runtime.errors import SettingsError
from ltcam_runtime.inspector import Inspector
from ltcam_runtime.networks import Response
from ltcam_runtime.results import Inspection
from ltcam_runtime.settings import InspectionSettings, KindSettings, MaskSettings, Overrides, VerdictSettings
from ltcam_runtime.zooming import faded, places, too_small_to_see

SIZE = (64, 80)
LARGE = (400, 600)

Pixels = NDArray[np.uint8]


class Speck:
    """Sees what is nearly white; an average of white and grey is not."""

    classes = ("ok", "speck")
    image_size = SIZE
    maps = ("map",)

    def __init__(self) -> None:
        self.asked: list[tuple[int, tuple[str, ...]]] = []

    def respond(self, images: Sequence[Pixels], maps: Sequence[str] | None = None) -> Response:
        names = self.maps if maps is None else tuple(maps)
        self.asked.append((len(images), names))
        assert all(image.shape == (*SIZE, 3) for image in images)
        light = np.maximum(0, (np.stack(images).astype(np.float32)[..., 0] - 205) / 50)
        seen = light.reshape(len(images), -1).max(1).astype(np.float64)
        return Response(np.stack([1 - seen, seen], 1), dict.fromkeys(names, light))


def rough(size: tuple[int, int] = LARGE, seed: int = 0) -> Pixels:
    """A grey surface (H, W, 3) with noise."""
    noise = np.random.default_rng(seed).normal(120, 6, size)
    return np.repeat(noise.clip(0, 255).astype(np.uint8)[..., None], 3, 2)


def with_pit(image: Pixels, row: int, column: int, level: int = 255) -> Pixels:
    """With a spot of 4 x 4 pixels."""
    found = image.copy()
    found[row : row + 4, column : column + 4] = level
    return found


def inspector(zoom: int = 4) -> Inspector:
    kind = KindSettings(mask=MaskSettings(threshold=0.5))
    verdict = VerdictSettings(threshold=0.5)
    settings = InspectionSettings(classes=Speck.classes, default=kind, verdict=verdict, zoom=zoom)
    return Inspector(Speck(), settings)


def same(one: Inspection, other: Inspection) -> bool:
    return (
        (one.verdict, one.score, one.regions) == (other.verdict, other.score, other.regions)
        and np.array_equal(one.mask, other.mask)
        and np.array_equal(one.heatmap, other.heatmap)
    )


@pytest.mark.parametrize("level", [20, 255])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (200, 317), (396, 596), (3, 590)])
def test_a_pit_is_looked_at_first_wherever_it_is(row: int, column: int, level: int) -> None:
    windows = places(with_pit(rough(), row, column, level), SIZE, 3)
    rows, columns = windows[0]
    assert rows.start <= row < row + 4 <= rows.stop
    assert columns.start <= column < column + 4 <= columns.stop
    for rows, columns in windows:
        assert 0 <= rows.start < rows.stop == rows.start + SIZE[0] <= LARGE[0]
        assert 0 <= columns.start < columns.stop == columns.start + SIZE[1] <= LARGE[1]


def test_nothing_is_looked_at_where_nothing_stands_out() -> None:
    assert places(rough(), SIZE, 9) == []
    assert places(np.full((*LARGE, 3), 77, np.uint8), SIZE, 9) == []


def test_images_that_are_no_larger_are_not_looked_at_closer() -> None:
    for size in (SIZE, (63, 300), (300, 79), (1, 1)):
        assert places(with_pit(rough(size), 0, 0), SIZE, 9) == []
    assert len(places(with_pit(rough((SIZE[0], SIZE[1] + 1)), 20, 20), SIZE, 9)) == 1
    assert places(with_pit(rough(), 20, 20), SIZE, 0) == []


def test_several_places_are_looked_at_and_no_more_than_asked_for() -> None:
    image = rough()
    for row, column in ((50, 50), (50, 300), (300, 500)):
        image = with_pit(image, row, column)
    assert len(places(image, SIZE, 9)) == 3
    assert len(places(image, SIZE, 2)) == 2


@pytest.mark.parametrize("corner", [(4, 4), (4, 590), (392, 4), (392, 590)])
def test_what_stands_out_in_a_corner_is_looked_at_once(corner: tuple[int, int]) -> None:
    image = rough()
    row, column = corner
    steps = (-1 if row > 200 else 1, -1 if column > 300 else 1)
    for number in range(5):
        image = with_pit(image, row + 9 * number * steps[0] // 2, column + 12 * number * steps[1], 250)
    image = with_pit(image, 200, 300, 150)
    found = places(image, SIZE, 6)
    assert len({(rows.start, columns.start) for rows, columns in found}) == len(found)
    assert any(
        rows.start <= 200 < rows.stop and columns.start <= 300 < columns.stop for rows, columns in found
    )


def test_a_rough_part_of_a_surface_is_nothing_special() -> None:
    image = rough()
    image[:, 300:] = np.random.default_rng(1).integers(60, 180, (400, 300, 1))
    rows, columns = places(with_pit(image, 100, 100, 200), SIZE, 1)[0]
    assert rows.start <= 100 < rows.stop
    assert columns.start <= 100 < columns.stop


def test_a_pit_is_found_at_full_resolution_only() -> None:
    image = with_pit(rough(), 201, 333)
    assert inspector(zoom=0).inspect(image).verdict == "ok"
    found = inspector().inspect(image)
    assert found.verdict == "defect"
    assert found.score == pytest.approx(1)
    assert [region.box for region in found.regions] == [(333, 201, 4, 4)]
    assert found.mask.sum() == 16
    assert found.heatmap.shape == LARGE
    assert found.heatmap.max() == found.heatmap[202, 335] == 1


def test_an_image_without_defects_costs_no_second_pass_of_the_network() -> None:
    of = inspector()
    assert same(of.inspect(rough()), inspector(zoom=0).inspect(rough()))
    assert isinstance(of.network, Speck)
    assert of.network.asked == [(1, ("map",))]


def test_maps_are_made_of_cut_outs_that_are_not_ok_only() -> None:
    image = with_pit(with_pit(rough(), 201, 333), 50, 50, 20)
    of = inspector()
    found = of.inspect_batch([image], ["a"], cascade=True)[0]
    assert isinstance(of.network, Speck)
    assert of.network.asked == [(1, ()), (2, ()), (1, ("map",))]
    assert found.mask.sum() == 16


def test_a_scratch_that_runs_through_several_cut_outs_is_one_region() -> None:
    image = rough()
    cv2.line(image, (150, 120), (420, 250), (255, 255, 255), 2)
    found = inspector(zoom=24).inspect(image)
    assert len(found.regions) == 1
    missed = (image[..., 0] == 255) & ~found.mask
    assert missed.sum() < 0.02 * found.mask.sum()


def test_what_the_whole_shows_and_what_a_cut_out_shows_is_put_together() -> None:
    image = with_pit(rough(), 350, 40)
    image[100:180, 200:320] = 255
    one, other = inspector(zoom=0).inspect(image), inspector(zoom=9).inspect(image)
    assert one.verdict == other.verdict == "defect"
    assert not one.mask[350:354, 40:44].any()
    assert other.mask[350:354, 40:44].all()
    assert (other.mask >= one.mask).all()


def test_results_do_not_depend_on_the_batch_or_the_cascade() -> None:
    images = [with_pit(rough(seed=seed), 20 + 30 * seed, 500 - 40 * seed) for seed in range(10)]
    images += [rough(seed=11), rough(SIZE), with_pit(rough((500, 500)), 3, 3)]
    names = [str(number) for number in range(len(images))]
    alone = [inspector().inspect(image, name) for name, image in zip(names, images, strict=True)]
    for cascade in (False, True):
        together = inspector().inspect_batch(images, names, cascade=cascade)
        for one, other in zip(alone, together, strict=True):
            assert other.verdict == "ok" or same(one, other)
            assert one.verdict == other.verdict
    assert {found.verdict for found in alone} == {"ok", "defect"}


class Framed(Speck):
    """Its maps are hot along their borders, as padding can make them."""

    def respond(self, images: Sequence[Pixels], maps: Sequence[str] | None = None) -> Response:
        found = super().respond(images, maps)
        for heatmap in found.heatmaps.values():
            heatmap[:, [0, -1]] = 1
            heatmap[:, :, [0, -1]] = 1
        return found


def test_the_borders_of_cut_outs_leave_no_seams() -> None:
    found = Inspector(Framed(), inspector().settings).inspect(with_pit(rough(), 201, 333))
    assert [region.box for region in found.regions] == [(333, 201, 4, 4)]


def test_without_the_gate_what_a_cut_out_shows_is_drawn_and_no_more() -> None:
    image = with_pit(rough(), 201, 333)
    found = inspector().inspect_batch([image], ["a"], gate=False)[0]
    assert found.mask.sum() == 16


def test_a_cut_out_fades_towards_its_borders_but_not_towards_those_of_the_image() -> None:
    ones = np.ones((40, 80), np.float32)
    inside = faded(ones, np.s_[10:50, 20:100], (200, 200))
    assert inside[20, 40] == 1
    assert max(inside[0].max(), inside[-1].max(), inside[:, 0].max(), inside[:, -1].max()) < 0.2
    corner = faded(ones, np.s_[0:40, 120:200], (200, 200))
    assert corner[0, -1] == 1
    assert corner[-1, 40] < 0.2
    assert corner[20, 0] < 0.2


def test_zoom_is_a_setting_like_others() -> None:
    assert Overrides(zoom=3).apply(inspector(0).settings).zoom == 3
    assert Overrides().apply(inspector(5).settings).zoom == 5
    assert inspector(5).overridden(Overrides(zoom=0)).settings.zoom == 0
    for value in (-1, 65, "much"):
        with pytest.raises(SettingsError, match="`zoom`"):
            Overrides(zoom=value)


def test_images_far_larger_than_what_the_network_sees() -> None:
    assert too_small_to_see((1000, 800), (320, 256), "") == []
    (found,) = too_small_to_see((4000, 6000), (320, 480), "look closer")
    assert "4000 x 6000" in found
    assert "narrower than about 25 pixels" in found
    assert found.endswith("; look closer")
