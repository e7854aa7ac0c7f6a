from __future__ import annotations

import pytest

from ltcam.calibration.maps import classic_cam, default_cam
from ltcam.runs.network import make_cam


@pytest.mark.parametrize("count", range(1, 9))
def test_the_default_map_uses_stages_that_are_there(count: int) -> None:
    stages = tuple(f"trunk.{number}" for number in range(count))
    settings = default_cam(stages)
    assert settings.stages
    assert set(settings.stages) <= set(stages)
    assert list(settings.stages) == sorted(settings.stages)
    assert make_cam(settings).positive_activations


def test_the_classic_map_is_the_papers() -> None:
    stages = tuple(f"trunk.{number}" for number in range(5))
    cam = make_cam(classic_cam(stages))
    assert (cam.method, cam.fusion, cam.stage_scale, cam.relu) == ("grad-cam", "sum", "none", "stage")
    assert cam.layers == stages
    assert not cam.positive_activations
    assert cam.truncation is not None
    assert (cam.truncation.percentile, cam.truncation.scope, cam.truncation.reading) == (
        50,
        "channel",
        "gradient",
    )
