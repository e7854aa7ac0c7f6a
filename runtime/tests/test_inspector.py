"""Everything after the network, with a network that needs no training: bright places are defects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ltcam_runtime.errors import InputError, SettingsError
from ltcam_runtime.inspector import Inspector
from ltcam_runtime.networks import Response
from ltcam_runtime.settings import (
    InspectionSettings,
    KindSettings,
    MaskSettings,
    Overrides,
    PartSettings,
    SharpeningSettings,
    VerdictSettings,
)

SIZE = (32, 48)
CLASSES = ("ok", "red", "blue")


class Lamp:
    """Sees red and blue light; its maps show where. Counts what it is asked."""

    classes = CLASSES
    image_size = SIZE
    maps = ("red", "blue")

    def __init__(self) -> None:
        self.asked: list[tuple[int, tuple[str, ...]]] = []

    def respond(self, images: Sequence[NDArray[np.uint8]], maps: Sequence[str] | None = None) -> Response:
        names = self.maps if maps is None else tuple(maps)
        self.asked.append((len(images), names))
        light = (np.stack(images)[..., [0, 2]] / 255).astype(np.float32)
        amounts = np.concatenate([np.full((len(images), 1), 0.01), light.mean((1, 2)) ** 2], 1)
        shown = {name: light[..., self.maps.index(name)] for name in names}
        return Response(amounts / amounts.sum(1, keepdims=True), shown)


def picture(*, red: float = 0, blue: float = 0) -> NDArray[np.uint8]:
    """(64, 96, 3), with a red square on the left and a blue one, that overlaps it, on the right."""
    image = np.zeros((64, 96, 3), np.uint8)
    image[8:40, 8:50, 0] = round(255 * red)
    image[20:60, 40:90, 2] = round(255 * blue)
    return image


def inspector(**fields: Any) -> Inspector:
    given = {"default": KindSettings(map="red"), "kinds": {"blue": KindSettings(map="blue")}, **fields}
    return Inspector(Lamp(), InspectionSettings(classes=CLASSES, **given))


def asked(of: Inspector) -> list[tuple[int, tuple[str, ...]]]:
    assert isinstance(of.network, Lamp)
    return of.network.asked


def test_a_kind_is_drawn_from_its_own_map() -> None:
    found = inspector().inspect(picture(blue=1))
    assert found.verdict == "defect"
    assert {region.class_name for region in found.regions} == {"blue"}
    assert found.mask[30, 70]
    assert not found.mask[12, 12]


def test_a_map_that_no_kind_is_drawn_from_is_not_made() -> None:
    own = {kind: KindSettings(map="blue") for kind in CLASSES[1:]}
    found = inspector(default=KindSettings(map="none such"), kinds=own)
    found.inspect(picture(blue=1))
    assert asked(found) == [(1, ("blue",))]
    with pytest.raises(SettingsError, match="`map` 'none such'"):
        inspector(default=KindSettings(map="none such"))


def test_a_batch_may_be_one_array() -> None:
    images = np.stack([picture(), picture(red=1)])
    one, other = inspector().inspect_batch(images, ["a", "b"])
    assert not one.mask.any()
    assert np.array_equal(other.mask, inspector().inspect(picture(red=1)).mask)
    assert inspector().inspect_batch(images[:0], []) == []


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_images_at_hand_are_shared_among_threads_and_come_back_in_order(count: int) -> None:
    images = [picture(red=place / 7, blue=1 - place / 7) for place in range(count)]
    names = [str(place) for place in range(count)]
    shared, one = inspector(), inspector()
    found = shared.inspect_images(images, names)
    assert [(each.image, each.score) for each in found] == [
        (each.image, each.score) for each in one.inspect_batch(images, names)
    ]
    assert sorted(seen for seen, _ in asked(shared)) == {0: [], 1: [1], 2: [1, 1], 7: [3, 4]}[count]


def test_several_kinds_are_drawn_together_and_named_apart() -> None:
    found = inspector(kind_share=0.2).inspect(picture(red=1, blue=1))
    red, blue = (
        inspector(kind_share=1.0, kinds={}, default=KindSettings(map=name)) for name in ("red", "blue")
    )
    expected = red.inspect(picture(red=1, blue=1)).mask | blue.inspect(picture(red=1, blue=1)).mask
    assert np.array_equal(found.mask, expected)
    assert found.heatmap.max() == 1.0
    assert len(found.regions) == 1  # the squares touch
    apart = picture(red=1, blue=1)
    apart[:, 38:60] = 0
    names = {region.class_name: region.box for region in inspector(kind_share=0.2).inspect(apart).regions}
    assert set(names) == {"red", "blue"}
    assert names["red"][0] < names["blue"][0]


def test_a_mask_is_trusted_as_far_as_the_least_of_its_kinds() -> None:
    kinds = {
        "red": KindSettings(map="red", trust="fair"),
        "blue": KindSettings(map="blue", trust="good"),
    }
    found = inspector(kind_share=0.2, kinds=kinds)
    assert [found.inspect(picture(**each)).trust for each in ({"red": 1}, {"blue": 1})] == ["fair", "good"]
    assert found.inspect(picture(red=1, blue=1)).trust == "fair"
    assert found.inspect(picture()).trust == ""
    assert inspector().inspect(picture(red=1)).trust == ""


def test_a_kind_below_its_share_is_not_drawn() -> None:
    found = inspector(kind_share=0.5).inspect(picture(red=1, blue=0.5))
    assert found.mask[12, 12]
    assert not found.mask[50, 80]


def in_parts(**fields: Any) -> Inspector:
    """Whatever is seen: red light is drawn as it is, and of blue light nothing but its brightest."""
    parts = (
        PartSettings(sign="red", map="red", trust="good"),
        PartSettings(sign="blue", map="blue", mask=MaskSettings(threshold=0.9, of="value"), trust="poor"),
    )
    kind = KindSettings(map="red", parts=parts)
    return inspector(default=kind, kinds={}, **fields)


@pytest.mark.parametrize("cascade", [False, True])
def test_an_image_is_drawn_as_the_part_whose_sign_peaks_highest(cascade: bool) -> None:
    images = [picture(red=0.7, blue=0.6), picture(red=0.6, blue=0.7), picture(blue=1)]
    red, blue, bright = in_parts().inspect_batch(images, ["1", "2", "3"], cascade=cascade)
    assert np.array_equal(red.mask, inspector().inspect(picture(red=0.7)).mask)
    assert (red.trust, blue.trust, bright.trust) == ("good", "", "poor")
    assert not blue.mask.any()
    assert bright.mask[30, 70]
    assert not bright.mask[12, 12]


def test_maps_of_parts_and_their_signs_are_all_that_is_made() -> None:
    parts = in_parts()
    assert parts.settings.maps == ("red", "blue")
    parts.inspect(picture(red=1))
    assert asked(parts) == [(1, ("red", "blue"))]
    with pytest.raises(SettingsError, match="`map` 'green'"):
        inspector(kinds={"red": KindSettings(parts=(PartSettings(sign="green", map="red"),))})


def test_an_ok_image_shows_the_heat_of_its_part() -> None:
    ok = in_parts(verdict=VerdictSettings(threshold=1.0))
    found = ok.inspect(picture(blue=0.5))
    assert not found.mask.any()
    assert found.heatmap[30, 70] == pytest.approx(0.5, abs=0.01)
    assert not found.heatmap[12, 12]


def test_equal_settings_are_drawn_once_whatever_is_seen() -> None:
    one = inspector(kinds={}, default=KindSettings(map="red"))
    found = one.inspect(picture(red=1, blue=1))
    assert {region.class_name for region in found.regions} == {
        max(CLASSES[1:], key=found.class_scores.__getitem__)
    }


@pytest.fixture
def strict() -> Inspector:
    return inspector(verdict=VerdictSettings(threshold=0.6), default=KindSettings(map="red"))


MIXED = [picture(), picture(red=1), picture(blue=0.05), picture(blue=1), picture(red=1, blue=1)]
NAMES = list("abcde")


def test_a_cascade_asks_for_maps_of_defects_only(strict: Inspector) -> None:
    whole = strict.inspect_batch(MIXED, NAMES)
    assert [found.verdict for found in whole] == ["ok", "defect", "ok", "defect", "defect"]
    assert asked(strict) == [(5, ("red", "blue"))]
    found = strict.inspect_batch(MIXED, NAMES, cascade=True)
    assert asked(strict)[1:] == [(5, ()), (3, ("red", "blue"))]
    for one, other in zip(whole, found, strict=True):
        assert (one.verdict, one.score, one.regions) == (other.verdict, other.score, other.regions)
        assert np.array_equal(one.mask, other.mask)
        if one.verdict != "ok":
            assert np.array_equal(one.heatmap, other.heatmap)
        else:
            assert one.heatmap.shape == other.heatmap.shape
            assert not other.heatmap.any()


def test_a_cascade_makes_only_the_maps_that_are_drawn(strict: Inspector) -> None:
    strict.inspect_batch([picture(blue=1), picture()], ["a", "b"], cascade=True)
    assert asked(strict) == [(2, ()), (1, ("blue",))]
    strict.inspect_batch([picture()], ["a"], cascade=True)
    assert asked(strict)[2:] == [(1, ())]


def test_without_a_gate_there_is_no_cascade(strict: Inspector) -> None:
    strict.inspect_batch(MIXED, NAMES, gate=False, cascade=True)
    assert asked(strict) == [(5, ("red", "blue"))]


def test_files_in_order_with_and_without_cascade(strict: Inspector, tmp_path: Path) -> None:
    files = []
    for name, pixels in zip(NAMES, MIXED, strict=True):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        files.append((name, tmp_path / f"{name}.png"))
    files.insert(2, ("gone", tmp_path / "gone.png"))
    for cascade in (False, True):
        found = list(strict.inspect_files(files, batch_size=2, cascade=cascade))
        assert [item.name for item in found] == ["a", "b", "gone", "c", "d", "e"]
        assert "no such file" in found[2].reason
        masks = [item.inspection.mask for item in found if item.inspection is not None]
        for mask, whole in zip(masks, strict.inspect_batch(MIXED, NAMES), strict=True):
            assert np.array_equal(mask, whole.mask)


def test_a_path_an_array_and_a_pillow_image_give_the_same(tmp_path: Path) -> None:
    pixels, file = picture(red=1), tmp_path / "part.png"
    Image.fromarray(pixels).save(file)
    lamp = inspector()
    for given, name in (
        (file, "part.png"),
        (str(file), "part.png"),
        (pixels, "image"),
        (Image.open(file), "image"),
    ):
        found = lamp.inspect(given)
        assert found.image == name
        assert np.array_equal(found.mask, lamp.inspect(pixels).mask)
    grey = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)  # 16 bits
    assert np.array_equal(lamp.inspect(grey).mask, lamp.inspect(np.repeat(pixels[..., :1], 3, 2)).mask)
    turned = Image.fromarray(pixels)
    turned.getexif()[0x0112] = 6
    assert lamp.inspect(turned).size == (96, 64)
    with pytest.raises(InputError, match="no pixels"):
        lamp.inspect(Image.new("RGB", (0, 5)))


def test_settings_of_another_network() -> None:
    with pytest.raises(SettingsError, match="the network knows ok, red, blue"):
        Inspector(Lamp(), InspectionSettings(classes=("ok", "dent"), default=KindSettings(map="red")))
    with pytest.raises(SettingsError, match=r"`map` 'green': the network makes red, blue"):
        inspector(default=KindSettings(map="green"))


def test_overrides_reach_what_is_drawn() -> None:
    lamp = inspector(
        default=KindSettings(
            map="red", sharpening=SharpeningSettings(polarity="bright"), mask=MaskSettings(reach=0.1)
        )
    )
    assert lamp.overridden(Overrides(sharpen="none")).settings.default.mask.reach == 1.0
    assert lamp.overridden(Overrides(verdict_threshold=1.0)).inspect(picture(red=1)).verdict == "ok"
    everything = lamp.overridden(Overrides(sharpen="none", threshold=0.0)).inspect(picture(red=1)).mask
    assert np.array_equal(
        everything,
        lamp.overridden(Overrides(sharpen="none", threshold=0.99)).inspect(picture(red=1)).mask | everything,
    )


def test_a_notebook_shows_image_verdict_and_regions() -> None:
    found = inspector().inspect(picture(red=1), "<b>.png")
    shown = found._repr_html_()
    assert "data:image/png;base64," in shown
    assert "&lt;b&gt;.png" in shown
    assert "<b>.png" not in shown
    assert found.verdict in shown
    assert f"{found.regions[0].area_px} px" in shown
    assert found.pixels is not None
    many = inspector().inspect_batch([picture(red=1)], ["a"])[0]
    assert many.pixels is None  # they would pile up
    assert "data:image/png;base64," in many._repr_html_()
