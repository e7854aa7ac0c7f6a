from __future__ import annotations

import numpy as np

from ltcam.calibration.looks import Look, OkImages
from ltcam_runtime.settings import MAP, DrawingSettings


def look(peak: float, size: tuple[int, int] = (16, 16)) -> Look:
    """At an image whose map is 0 but for one place."""
    heatmap = np.zeros(size, np.float32)
    heatmap[5, 5] = peak
    image = np.full((*size, 3), 128, np.uint8)
    return Look(image, image, {MAP: heatmap}, -3.0)


def test_a_peak_is_what_no_ok_image_exceeds_of_either_side() -> None:
    settings = DrawingSettings(map=MAP, scale=(0.0, 1.0))
    low, high = [look(1 + place / 40) for place in range(20)], [look(3 + place / 40) for place in range(20)]
    for looks, held_back in ((low, high), (high, low), (high, [])):
        assert OkImages(looks, held_back).peak(settings) > 3.475
    assert 1.475 < OkImages(low).peak(settings) < 2.5
