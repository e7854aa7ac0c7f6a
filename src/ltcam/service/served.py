"""What is served: a run or an exported file, with what identifies it; promoted and rolled back without a restart."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ltcam.jobs.models import Model
from ltcam.service.ledger import instant
from ltcam_runtime.errors import RunError, SettingsError
from ltcam_runtime.folders import write_file

_MOST_KEPT = 20


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
