"""Settings of an evaluation, with their defaults in one place."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ltcam_runtime.settings import AskedSettings, Overrides


class EvaluationSettings(AskedSettings):
    """Which images are measured, and how.

    `split`: `train`, `val`, `test`, `all`; `auto`: the test side of the split the run was trained with where this is
    the data it was trained on, else the data set's own test side, else all.

    Raises:
        SettingsError: a value that cannot be used.
    """

    split: Literal["auto", "train", "val", "test", "all"] = Field(
        default="auto", description="train, val, test, all, or auto: what the run was not trained on"
    )
    bootstrap: int = Field(default=1000, ge=1, description="resamples of the intervals")
    cost_miss: float | None = Field(
        default=None, ge=0, description="what a missed defect costs, in any unit; default: 1, or not known"
    )
    cost_alarm: float | None = Field(
        default=None, ge=0, description="what a false alarm costs, in the same unit; default: 1, or not known"
    )
    overrides: Overrides = Field(
        default=Overrides(), description="map, sharpening, mask and verdict settings instead of the run's"
    )
