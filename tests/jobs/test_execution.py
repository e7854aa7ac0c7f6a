"""How a job may be carried out."""

from __future__ import annotations

from typing import Any

import pytest

import ltcam
from ltcam_runtime.errors import SettingsError


@pytest.mark.parametrize("name", ["devices", "batch_size", "threads"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "a", True])
def test_numbers_that_are_none_are_refused(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=f"`{name}` {value!r}"):
        ltcam.Execution(**{name: value})


def test_all_cores_are_the_default() -> None:
    assert ltcam.Execution(threads=None, batch_size=1).threads is None
