"""Which settings a training that is resumed may have changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ltcam.training.resume import SETTINGS_FILE, check_same_training
from ltcam.training.settings import StudentSettings
from ltcam_runtime.errors import RunError

BEGUN = StudentSettings(epochs=3)


def resumed(work: Path, **changes: Any) -> dict[str, Any]:
    """What is remembered of the training that was begun."""
    check_same_training(work, BEGUN, (64, 96), "data")
    check_same_training(work, BEGUN.model_copy(update=changes), (64, 96), "data")
    begun: dict[str, Any] = json.loads((work / SETTINGS_FILE).read_text())
    return begun


@pytest.mark.parametrize("changes", [{}, {"keep": "student"}, {"max_miss": 0.05}, {"rounds": 2}])
def test_what_is_chosen_afterwards_may_change(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert resumed(tmp_path, **changes)["settings"] == BEGUN.model_dump(mode="json")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"epochs": 4}, "epochs"),
        ({"seed": 7}, "seed"),
        ({"rounds": 2, "max_miss": 0.05}, "max_miss"),  # which masks the second round learns from
    ],
)
def test_what_a_training_depends_on_may_not(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(RunError, match=f"begun with `{named}`"):
        resumed(tmp_path, **changes)
