from __future__ import annotations

import pytest

from ltcam.defaults import default_cam
from ltcam.inspector import make_cam


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("count", range(1, 9))
def test_the_default_map_uses_stages_that_are_there(count, signed):
    stages = tuple(f"trunk.{number}" for number in range(count))
    settings = default_cam(stages, signed)
    assert settings.stages
    assert set(settings.stages) <= set(stages)
    assert list(settings.stages) == sorted(settings.stages)
    assert make_cam(settings).positive_activations == signed
