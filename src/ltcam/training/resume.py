"""A training that is resumed must be the one that was begun."""

from __future__ import annotations

import json
from pathlib import Path

from ltcam.training.settings import TrainingSettings
from ltcam_runtime.errors import RunError
from ltcam_runtime.folders import write_file

SETTINGS_FILE = "settings.json"

_VERDICT = {"max_miss", "confidence"}
_CHOSEN_AFTERWARDS = {"classic", "rounds", "keep"} | _VERDICT
"""What plays no part in the training of a network, but for the verdict where a student teaches the next one."""


def check_same_training(work: Path, settings: TrainingSettings, size: tuple[int, int], data: str) -> None:
    """A resumed training must be the one that was begun."""
    values = {"settings": settings.model_dump(mode="json"), "image_size": list(size), "data": data}
    file = work / SETTINGS_FILE
    if not file.is_file():
        write_file(file, json.dumps(values, indent=2))
        return
    try:
        begun = json.loads(file.read_text(encoding="utf-8"))
        begun_settings = dict(begun["settings"])
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"`resume`: {file} is damaged; start anew with `overwrite=True`") from error
    afterwards = _CHOSEN_AFTERWARDS - (_VERDICT if getattr(settings, "rounds", 1) > 1 else set())
    for name, value in settings.model_dump(mode="json", exclude=afterwards).items():
        if begun_settings.get(name) != value:
            raise RunError(
                f"`resume`: the training in {work} was begun with `{name}` {_typed(begun_settings.get(name))}, "
                f"not {_typed(value)}; give the same settings, or start anew with `overwrite=True`"
            )
    for name, words in (("data", "other images or labels"), ("image_size", "another image size")):
        if begun.get(name) != values[name]:
            raise RunError(
                f"`resume`: the training in {work} was begun with {words}; start anew with `overwrite=True`"
            )


def _typed(value: object) -> object:
    """A setting as people type it: 64x96."""
    return "x".join(map(str, value)) if isinstance(value, list) else value
