"""What is served: a run or an exported file, with what identifies it; promoted and rolled back without a restart."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ltcam.service.ledger import canonical, instant
from ltcam_runtime.errors import RunError, SettingsError
from ltcam_runtime.folders import write_file
from ltcam_runtime.results import Inspection

_MOST_KEPT = 20


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
        hashlib.sha256(canonical(settings)).hexdigest(),
    )


class Served:
    """The model in use, and those that were in use before. Thread-safe; remembered in a file."""

    def __init__(self, load: Callable[[Path], Model], file: Path, first: Path) -> None:
        """Load the model that was promoted last, or the first one.

        Args:
            load: path to model.
            file: where the sequence of models is remembered.
            first: what the service was started with. A file that remembers another first one is begun anew.

        Raises:
            RunError: the model cannot be loaded.
        """
        self.load, self._file = load, file
        self._lock = threading.Lock()
        first = first.resolve()
        remembered = _remembered(file)
        self._paths: list[Path] = remembered if remembered and remembered[0] == first else [first]
        self.model = load(self._paths[-1])
        self._remember()

    @property
    def earlier(self) -> tuple[Path, ...]:
        """Models that a rollback leads to, the latest last."""
        return tuple(self._paths[:-1])

    def promote(self, path: Path) -> Model:
        """Inspect with another model from now on. What is under way ends with the one before.

        Raises:
            RunError: it cannot be loaded; the one in use stays.
            SettingsError: it is in use already.
        """
        path = path.resolve()
        with self._lock:
            if path == self._paths[-1]:
                raise SettingsError(f"{path.name} is in use already")
            self.model = self.load(path)
            self._paths = [*self._paths[:1], *self._paths[1:][-_MOST_KEPT:], path]
            self._remember()
            return self.model

    def roll_back(self) -> Model:
        """Inspect with the model before this one again.

        Raises:
            RunError: it cannot be loaded; the one in use stays.
            SettingsError: there is none.
        """
        with self._lock:
            if len(self._paths) == 1:
                raise SettingsError(f"there is no model before {self.model.name}")
            self.model = self.load(self._paths[-2])
            self._paths = self._paths[:-1]
            self._remember()
            return self.model

    def _remember(self) -> None:
        write_file(
            self._file,
            json.dumps({"time": instant(datetime.now(UTC)), "models": [str(path) for path in self._paths]}),
        )


def _remembered(file: Path) -> list[Path]:
    try:
        return [Path(path) for path in json.loads(file.read_text(encoding="utf-8"))["models"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{file} is damaged: {error}; remove it to start with the model that is named"
        ) from error
