"""What `ltcam watch` does with one file: inspect it, write its mask and overlay, say what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ltcam.jobs.models import Inspects
from ltcam.jobs.watch import Arrived, InspectsFile, names_given
from ltcam_runtime.folders import explained
from ltcam_runtime.images import read_image
from ltcam_runtime.names import OutputNames
from ltcam_runtime.writers.masks import MaskWriter
from ltcam_runtime.writers.overlays import OverlayWriter


def inspect_and_write(inspector: Inspects, out: Path, white: int | None = None) -> InspectsFile:
    """Inspects a file and writes `masks/` and `overlays/` below a folder.

    Args:
        inspector: asked for each file.
        out: folder of the results.
        white: as for `ltcam_runtime.images.read_image`.
    """
    names = OutputNames()
    for image, name in names_given(out):
        names.keep(image, name)
    writers = (MaskWriter(out / "masks", names), OverlayWriter(out / "overlays", names))

    def inspect(arrived: Arrived) -> dict[str, Any]:
        image = read_image(arrived.path, white=white)
        [inspection] = inspector.inspect_batch([image], [arrived.name])
        with explained(out):
            for writer in writers:
                writer.add(inspection, image)
        return inspection.to_json() | {"output": names(arrived.name)}

    return inspect
