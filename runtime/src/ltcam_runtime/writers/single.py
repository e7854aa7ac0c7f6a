"""One inspection in files of its own, for who has a single image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ltcam_runtime.encoding import encoded
from ltcam_runtime.errors import OutputError
from ltcam_runtime.folders import write_file
from ltcam_runtime.masks import to_shares
from ltcam_runtime.names import output_name
from ltcam_runtime.pages.notebook import picture_of
from ltcam_runtime.writers.overlays import draw_overlay

if TYPE_CHECKING:
    from ltcam_runtime.results import Inspection


def save_inspection(inspection: Inspection, folder: Path, *, overwrite: bool) -> Path:
    """Write an inspection as `Inspection.save` says.

    Raises:
        OutputError: a file is there already, or cannot be written.
    """
    overlay = draw_overlay(picture_of(inspection), inspection)
    heat = np.rint(65535 * to_shares(inspection.heatmap)).astype(np.uint16)
    contents = {
        "overlay.jpg": encoded(".jpg", overlay),
        "mask.png": encoded(".png", inspection.mask.astype(np.uint8) * 255),
        "heatmap.png": encoded(".png", heat),
        "json": (json.dumps(inspection.to_json(), indent=2, allow_nan=False) + "\n").encode(),
    }
    name = output_name(inspection.image)
    files = {folder / f"{name}.{suffix}": content for suffix, content in contents.items()}
    there = [file for file in files if file.exists()]
    if there and not overwrite:
        raise OutputError(f"{there[0]} is there already; choose another folder, or give `overwrite=True`")
    for file, content in files.items():
        write_file(file, content)
    return folder / f"{name}.json"
