"""A trained run or an exported file, ready to inspect, with what identifies it: for services and archives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ltcam.jobs.opening import open_inspector
from ltcam.runs.run import REPORT_FILE, WEIGHTS_FILE, Run
from ltcam_runtime.exported import Inspector as ExportedInspector
from ltcam_runtime.files import file_sha256
from ltcam_runtime.results import Inspection
from ltcam_runtime.settings import CamSettings, InspectionSettings, Overrides


class Inspects(Protocol):
    """What the service needs of an inspector."""

    def inspect_batch(
        self, images: Sequence[NDArray[np.uint8]], names: Sequence[str]
    ) -> Sequence[Inspection]:
        """Inspect several RGB images (H, W, 3) uint8 of any sizes in one pass of the network."""

    def inspect_images(
        self, images: Sequence[NDArray[np.uint8]], names: Sequence[str]
    ) -> Sequence[Inspection]:
        """The same in as many passes as are fastest."""

    def overridden(self, overrides: Overrides) -> Self:
        """The same network with other settings."""


@dataclass(frozen=True)
class About:
    """What a model says of itself beside its settings.

    Attributes:
        methods: map methods that it can be asked for; empty where its maps are fixed.
        stages: of its network, the shallowest first.
        evidence: why it was set as it is, as its training wrote it.
        report: the page that its training wrote, or None.
    """

    methods: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    evidence: dict[str, Any] = field(default_factory=dict)
    report: Path | None = None


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
        about: what else it says of itself.
    """

    name: str
    path: Path
    inspector: Inspects
    classes: tuple[str, ...]
    settings: dict[str, Any]
    sha256: str
    settings_sha256: str
    about: About = About()

    @property
    def white(self) -> int | None:
        """Value of 16-bit grey images that is white, as for `ltcam_runtime.images.read_image`."""
        white: int | None = self.settings.get("white")
        return white


def model_of(
    path: Path,
    inspector: Inspects,
    classes: Sequence[str],
    settings: dict[str, Any],
    weights: Path,
) -> Model:
    """A model from its parts.

    Args:
        path: run folder or exported file.
        inspector: ready to use.
        classes: OK first.
        settings: what it inspects with, as JSON values.
        weights: the file whose bytes identify the model.
    """
    return Model(
        path.resolve().name,
        path,
        inspector,
        tuple(classes),
        settings,
        file_sha256(weights),
        hash_of_settings(settings),
    )


def hash_of_settings(settings: dict[str, Any]) -> str:
    """SHA-256, in hexadecimal, over settings as JSON with sorted keys."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def load_model(path: Path, device: str = "auto", threads: int | None = None) -> Model:
    """A run folder or an exported file, ready to inspect. An exported file needs no torch.

    Args:
        path: of the folder or the file.
        device: `auto`, `cpu`, `cuda`.
        threads: of the network; None takes all cores. Torch has one number for the whole process.

    Raises:
        RunError: it cannot be loaded.
        SettingsError: the device does not exist.
    """
    inspector = open_inspector(path, device, threads)
    if isinstance(inspector, ExportedInspector):
        settings = _settings(inspector.settings, inspector.network.part.maps)
        return model_of(path, inspector, inspector.settings.classes, settings, path)
    run = inspector.run
    model = model_of(
        path, inspector, run.classes, _settings(inspector.settings, run.maps), path / WEIGHTS_FILE
    )
    return replace(model, about=_about(path, run))


def _settings(settings: InspectionSettings, maps: Mapping[str, CamSettings]) -> dict[str, Any]:
    drawn = {name: cam.model_dump(mode="json") for name, cam in maps.items()}
    return {**settings.model_dump(mode="json"), "maps": drawn}


def _about(folder: Path, run: Run) -> About:
    from ltcam.cam.methods.registry import list_gradient_methods  # noqa: PLC0415  # torch is slow to import

    drawn = run.network == "student"
    return About(
        () if drawn else tuple(method.name for method in list_gradient_methods()),
        () if drawn else run.stages,
        run.evidence,
        folder / REPORT_FILE,
    )
