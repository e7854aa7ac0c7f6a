from __future__ import annotations

import pytest

from ltcam.defaults import default_cam
from ltcam.inspector import make_cam


@pytest.mark.parametrize("count", range(1, 9))
def test_the_default_map_uses_stages_that_are_there(count):
    stages = tuple(f"trunk.{number}" for number in range(count))
    settings = default_cam("any", stages)
    assert settings.stages
    assert set(settings.stages) <= set(stages)
    assert list(settings.stages) == sorted(settings.stages)
    make_cam(settings)
