from __future__ import annotations

import pytest

from ltcam.experiments.pages import signed


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0.000"), (-0.0004, "0.000"), (-0.0006, "-0.001"), (0.25, "+0.250")],
)
def test_a_difference_has_a_sign_where_it_is_one(value: float | None, text: str) -> None:
    assert signed(value) == text
