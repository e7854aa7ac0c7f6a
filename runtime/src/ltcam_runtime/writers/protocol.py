"""What every writer can do."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.names import OutputNames
from ltcam_runtime.results import Inspection


class ResultWriter(Protocol):
    """Takes inspections one by one, from one thread."""

    def add(self, inspection: Inspection, image: NDArray[np.uint8]) -> None:
        """Write one inspection.

        Args:
            inspection: what was found.
            image: (H, W, 3) uint8 RGB, the image it was found in, at its own size.
        """

    def add_failure(self, image: str, reason: str) -> None:
        """Note an image that could not be inspected.

        Args:
            image: its name, as it would stand in `Inspection.image`.
            reason: why, as in `InputError.reason`.
        """

    def close(self) -> None:
        """Finish the file. Called once."""


class FolderWriter:
    """Base of the writers that make a file of its own for every image; images that failed have none."""

    def __init__(self, folder: Path, names: OutputNames) -> None:
        """Begin the folder.

        Args:
            folder: made where it is missing.
            names: gives the images' output names.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._names = names

    def path(self, inspection: Inspection, ending: str) -> Path:
        """The file of an image: its output name, and what stands behind it."""
        return self._folder / f"{self._names(inspection.image)}{ending}"

    def add_failure(self, image: str, reason: str) -> None:
        """Nothing: there is nothing to write."""

    def close(self) -> None:
        """Nothing to finish."""
