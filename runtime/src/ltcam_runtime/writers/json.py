"""predictions.json: everything that is said of every image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.names import OutputNames
from ltcam_runtime.results import INSPECTION_SCHEMA_VERSION, Inspection
from ltcam_runtime.writers.streams import JsonArrays


class JsonWriter:
    """Writes `{"schema_version", "settings": {...}, "left_out": [...], "images": [...], "failed": [...]}`.

    An item of `left_out` says what was found beside the images, how much of it, and why it was not inspected;
    one of `images` is `Inspection.to_json()` with `output`, the name of the image's mask, heatmap and overlay
    without suffix; one of `failed` is `{"image", "reason"}`.
    """

    def __init__(
        self,
        path: Path,
        names: OutputNames,
        settings: Mapping[str, Any],
        left_out: Sequence[Mapping[str, Any]] = (),
        px_per_mm: float | None = None,
    ) -> None:
        """Begin the file.

        Args:
            path: the file.
            names: gives the images' output names.
            settings: what the results were made with, as JSON values.
            left_out: what was not inspected, as JSON values.
            px_per_mm: pixels along a millimetre of the part; None leaves millimetres out.

        Raises:
            ValueError: NaN or infinite numbers in the settings.
            TypeError: a setting that JSON has no form for.
        """
        head = {
            "schema_version": INSPECTION_SCHEMA_VERSION,
            "settings": dict(settings),
            "left_out": list(left_out),
        }
        self._arrays = JsonArrays(path, head, ("images", "failed"))
        self._names = names
        self._px_per_mm = px_per_mm

    def add(self, inspection: Inspection, image: NDArray[np.uint8]) -> None:  # noqa: ARG002
        """Write one inspection."""
        self._arrays.append(
            "images", {**inspection.to_json(self._px_per_mm), "output": self._names(inspection.image)}
        )

    def add_failure(self, image: str, reason: str) -> None:
        """Note an image that could not be inspected."""
        self._arrays.append("failed", {"image": image, "reason": reason})

    def close(self) -> None:
        """End the file."""
        self._arrays.close()
