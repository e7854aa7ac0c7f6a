"""What every writer can do."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

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
