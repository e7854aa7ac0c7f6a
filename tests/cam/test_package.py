"""The engine stands alone."""

from __future__ import annotations

import ltcam.cam


def test_everything_offered_is_there() -> None:
    assert sorted(ltcam.cam.__all__) == sorted(set(ltcam.cam.__all__))
    for name in ltcam.cam.__all__:
        assert getattr(ltcam.cam, name).__doc__
