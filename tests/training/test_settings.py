from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ltcam.training.settings import TrainingSettings
from ltcam_runtime.errors import SettingsError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", 2.0),
        ("weight_decay", -0.1),
        ("validation_share", 1.0),
        ("validation_share", -0.1),
        ("max_miss", 0.0),
        ("max_miss", 1.0),
        ("max_miss", 2.0),
        ("max_miss", float("nan")),
        ("confidence", 0.4),
        ("confidence", 1.0),
        ("confidence", 95.0),
        ("freeze", -1),
        ("seed", -1),
        ("seed", 2**31),
        ("precision", "float16"),
        ("memory_format", "nhwc"),
        ("epoch", 3),
    ],
)
def test_a_value_out_of_range_is_named(field: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=f"^`{field}` "):
        TrainingSettings(**{field: value})


def test_they_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        TrainingSettings().epochs = 3  # type: ignore[misc]


def test_every_field_is_explained() -> None:
    assert all(field.description for field in TrainingSettings.model_fields.values())


@pytest.mark.parametrize(
    ("weights", "pretrained"), [(None, True), ("hub", True), ("a.safetensors", True), ("random", False)]
)
def test_whether_the_trunk_was_trained_before(weights: str | None, pretrained: bool) -> None:
    assert TrainingSettings(weights=weights).pretrained is pretrained


def test_no_network_is_trained_for_images_that_no_run_may_ask_for() -> None:
    assert TrainingSettings(image_size=(4096, 4096)).image_size == (4096, 4096)
    with pytest.raises(SettingsError, match=r"image_size.*at most 16,777,216"):
        TrainingSettings(image_size=(4096, 4097))


def test_they_survive_json() -> None:
    settings = TrainingSettings(image_size=(64, 96), learning_rate=1e-3)
    assert TrainingSettings.model_validate(settings.model_dump(mode="json")) == settings
