from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ltcam_runtime.errors import SettingsError
from ltcam_runtime.settings import (
    CamSettings,
    InspectionSettings,
    KindSettings,
    MaskSettings,
    Overrides,
    PartSettings,
    SharpeningSettings,
    check_kinds,
)

SHARP = KindSettings(
    sharpening=SharpeningSettings(polarity="dark", window=0.25), mask=MaskSettings(reach=0.15, min_area_px=3)
)
SETTINGS = InspectionSettings(
    classes=("ok", "crack", "stain"), default=SHARP, kinds={"stain": KindSettings(map="deep")}
)


def test_nothing_given_changes_nothing() -> None:
    assert Overrides().apply(SETTINGS) == SETTINGS
    cam = CamSettings(stages=("a", "b"))
    assert Overrides().apply_to_map(cam) == cam


def test_every_kind_gets_what_is_given() -> None:
    found = Overrides(threshold=0.4, window=0.5, verdict_threshold=0.9).apply(SETTINGS)
    for kind in (found.default, *found.kinds.values()):
        assert kind.mask.threshold == 0.4
        assert kind.sharpening.window == 0.5
    assert found.default.sharpening.polarity == "dark"
    assert found.kinds["stain"].map == "deep"
    assert (found.verdict.threshold, found.verdict.evidence) == (0.9, "given by hand")
    assert SETTINGS.default == SHARP


IN_PARTS = KindSettings(
    map="whole", scale=(0, 2), parts=(PartSettings(sign="a", map="a"), PartSettings(sign="b", map="deep"))
)


def test_every_part_of_a_kind_gets_what_is_given() -> None:
    settings = SETTINGS.model_copy(update={"kinds": {"stain": IN_PARTS}})
    found = Overrides(threshold=0.4, min_area_px=7).apply(settings).kinds["stain"]
    assert [part.mask.min_area_px for part in (found, *found.parts)] == [7, 7, 7]
    assert [(part.sign, part.map, part.mask.threshold) for part in found.parts] == [
        ("a", "a", 0.4),
        ("b", "deep", 0.4),
    ]
    assert settings.maps == ("map", "a", "b", "deep")


def test_another_map_knows_no_parts() -> None:
    settings = SETTINGS.model_copy(update={"kinds": {"stain": IN_PARTS}})
    assert Overrides(method="grad-cam").apply(settings).kinds["stain"] == KindSettings(map="whole")


def test_without_sharpening_a_mask_does_not_reach_below_its_threshold() -> None:
    assert Overrides(sharpen="none").apply(SETTINGS).default.mask == MaskSettings(min_area_px=3)
    assert Overrides(sharpen="none", reach=0.5).apply(SETTINGS).default.mask.reach == 0.5
    assert Overrides(sharpen="bright").apply(SETTINGS).default.mask.reach == 0.15


BY_OK = KindSettings(
    map="seed pit",
    scale=(-3, 2),
    least_peak=2.5,
    sharpening=SharpeningSettings(polarity="dark", window=0.25, floor=8),
    mask=MaskSettings(threshold=1.0, of="value", reach=0.5, min_area_px=2, fill_holes=True),
    trust="good",
)


def by_ok(**given: Any) -> KindSettings:
    """A kind whose masks are cut by OK images, with these changes."""
    settings = InspectionSettings(classes=("ok", "pit"), kinds={"pit": BY_OK})
    return Overrides(**given).apply(settings).kinds["pit"]


@pytest.mark.parametrize(("share", "reach"), [(0.6, 1.0), ("otsu", 0.15)])
def test_a_threshold_is_of_the_range_where_masks_were_cut_by_ok_images(share: Any, reach: float) -> None:
    found = by_ok(threshold=share)
    assert found.mask == BY_OK.mask.model_copy(update={"threshold": share, "of": "range", "reach": reach})
    assert by_ok(threshold=share, reach=0.3).mask.reach == 0.3
    assert (found.scale, found.sharpening, found.trust) == (BY_OK.scale, BY_OK.sharpening, "good")


@pytest.mark.parametrize(
    ("given", "reach"),
    [
        ({"sharpen": "bright"}, 0.15),
        ({"window": 0.6}, 0.15),
        ({"floor": 0}, 0.15),
        ({"sharpen": "none"}, 1.0),
    ],
)
def test_heat_of_another_contrast_is_not_measured_by_ok_images(given: dict[str, Any], reach: float) -> None:
    found = by_ok(**given)
    assert found.mask == BY_OK.mask.model_copy(update={"threshold": "otsu", "of": "range", "reach": reach})
    assert (found.least_peak, found.trust) == (0, "")
    assert by_ok(**given, threshold=0.6).mask.threshold == 0.6


def test_the_contrast_that_a_kind_has_changes_nothing() -> None:
    assert by_ok(sharpen="dark", window=0.25, floor=8) == BY_OK


def test_a_threshold_for_probabilities_is_for_drawn_maps_only() -> None:
    drawn = InspectionSettings(
        classes=("ok", "dent"),
        default=KindSettings(mask=MaskSettings(threshold=0.5, of="value", min_area_px=7)),
    )
    assert Overrides(method="student").apply(drawn) == drawn
    assert Overrides(method="grad-cam").apply(drawn).default.mask == MaskSettings(min_area_px=7)
    assert Overrides(method="grad-cam", threshold=0.3).apply(drawn).default.mask.threshold == 0.3


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"percentile": "half"}, "`percentile` 'half': must be 'none' or a percentile, 0 to 100"),
        ({"percentile": True}, "`percentile` True: must be"),
        ({"threshold": "0.4x"}, "`threshold` '0.4x': must be 'otsu' or a share"),
        ({"sharpen": "red"}, "`sharpen` 'red': Input should be"),
        ({"scope": "image"}, "`scope` 'image'"),
        ({"verdict_threshold": 1.5}, "`verdict_threshold` 1.5"),
        ({"lamp": 1}, "`lamp` 1"),
    ],
)
def test_what_cannot_be_used_is_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as error:
        Overrides(**fields)
    assert str(error.value).startswith(said)


def test_texts_of_a_command_line_are_taken() -> None:
    found = Overrides(percentile="50", threshold="OTSU", stages="1, trunk.layer2")
    assert (found.percentile, found.threshold, found.stages) == (50.0, "otsu", ("1", "trunk.layer2"))
    cam = CamSettings(stages=("a",), percentile=50)
    assert Overrides(percentile="none").apply_to_map(cam).percentile is None


@pytest.mark.parametrize("classes", [("dent", "ok"), ("ok", "ok"), ("ok", ""), ("ok",)])
def test_classes_that_no_network_has(classes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="classes"):
        InspectionSettings(classes=classes)


def test_a_kind_that_is_no_class_of_defects() -> None:
    for name in ("dent", "ok"):
        with pytest.raises(ValueError, match=name):
            InspectionSettings(classes=("ok", "crack"), kinds={name: KindSettings()})


@pytest.mark.parametrize(
    ("probabilities", "seen"),
    [
        ([0.1, 0.5, 0.4], ("crack", "stain")),
        ([0.1, 0.6, 0.3], ("crack",)),
        ([0.1, 0.1, 0.8], ("stain",)),
        ([0.9, 0.05, 0.05], ("crack", "stain")),
        ([1.0, 0.0, 0.0], ("crack", "stain")),
    ],
)
def test_kinds_that_are_seen(probabilities: list[float], seen: tuple[str, ...]) -> None:
    assert SETTINGS.kinds_seen(np.array(probabilities)) == seen


def test_of_very_many_classes_a_message_names_the_first() -> None:
    with pytest.raises(ValueError, match=r"there are c0, .*, c11 and 988 more$"):
        check_kinds({"hole": KindSettings()}, ["ok", *(f"c{number}" for number in range(1000))])
