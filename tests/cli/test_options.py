from __future__ import annotations

import pytest

from ltcam.cli.options import min_area_px
from ltcam_runtime.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "scale", "pixels"),
    [
        (None, None, None),
        ("20", None, 20),
        ("20px", 4.0, 20),
        ("0.5 mm2", 10.0, 50),
        ("0.5mm²", 10.0, 50),
        ("0.5mm", 10.0, 25),
        (".1mm", 4.0, 1),
        ("0px", None, 1),
        ("2.5px", None, 3),
    ],
)
def test_smallest_regions_in_pixels(text: str | None, scale: float | None, pixels: int | None) -> None:
    assert min_area_px(text, scale) == pixels


@pytest.mark.parametrize("text", ["", "mm", "-3px", "3cm", "1mm", "nan"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="`min_area`"):
        min_area_px(text, None)
