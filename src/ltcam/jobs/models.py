"""A trained run or an exported file, ready to inspect, with what identifies it: for services and archives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.exported import Inspector as ExportedInspector
from ltcam_runtime.graph_networks import EngineSettings
from ltcam_runtime.part_files import is_part_file
from ltcam_runtime.results import Inspection


class Inspects(Protocol):
    """What the service needs of an inspector."""

    def inspect_batch(
        self, images: Sequence[NDArray[np.uint8]], names: Sequence[str]
    ) -> Sequence[Inspection]:
        """Inspect several RGB images (H, W, 3) uint8 of any sizes."""


@dataclass(frozen=True)
class Model:
    """A run or exported file that is ready to inspect.

    Attributes:
        name: shown to people: the last part of its path.
        path: where it was loaded from.
        inspector: its inspector.
        classes: OK first.
        settings: what it inspects with, as JSON values.
        sha256: of its weights or of the exported file.
        settings_sha256: of `settings` as canonical JSON.
    """

    name: str
    path: Path
    inspector: Inspects
    classes: tuple[str, ...]
    settings: dict[str, Any]
    sha256: str
    settings_sha256: str


def model_of(
    path: Path, inspector: Inspects, classes: Sequence[str], settings: dict[str, Any], weights: Path
) -> Model:
    """A model from its parts.

    Args:
        path: run folder or exported file.
        inspector: ready to use.
        classes: OK first.
        settings: what it inspects with, as JSON values.
        weights: the file whose bytes identify the model.
    """
    with weights.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Model(
        path.resolve().name,
        path,
        inspector,
        tuple(classes),
        settings,
        digest,
        hash_of_settings(settings),
    )


def hash_of_settings(settings: dict[str, Any]) -> str:
    """SHA-256, in hexadecimal, over settings as JSON with sorted keys."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def load_model(path: Path, device: str = "auto") -> Model:
    """A run folder or an exported file, ready to inspect.

    Raises:
        RunError: it cannot be loaded.
        SettingsError: the device does not exist.
    """
    if is_part_file(path):
        exported = ExportedInspector.load(path, engine=EngineSettings(device=device))
        return model_of(
            path, exported, exported.settings.classes, exported.settings.model_dump(mode="json"), path
        )
    from ltcam.runs.inspector import Inspector  # noqa: PLC0415  # torch is slow to import
    from ltcam.runs.run import WEIGHTS_FILE  # noqa: PLC0415

    inspector = Inspector.load(path, device=device)
    settings = inspector.settings
    return model_of(path, inspector, settings.classes, settings.model_dump(mode="json"), path / WEIGHTS_FILE)
