"""What `ltcam watch` does with one file: inspect it, write its mask and overlay, say what was found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from ltcam.jobs.models import Model
from ltcam.jobs.watch import Arrived, InspectsFile, Journal
from ltcam_runtime.folders import explained
from ltcam_runtime.image_headers import has_pages
from ltcam_runtime.images import read_image
from ltcam_runtime.names import OutputNames
from ltcam_runtime.writers.masks import MaskWriter
from ltcam_runtime.writers.overlays import OverlayWriter

SEVERAL_PAGES = "the file holds several pages or frames, of which the first was inspected"


class _Results:
    """Names of results, by file: one that came again under its name does not get those that it had."""

    def __init__(self, journal: Journal) -> None:
        self.names = OutputNames()
        self._first: dict[str, tuple[str, int, int]] = {}
        for (name, size, modified), output in journal.outputs:
            self.names.keep(self.identity(Arrived(name, journal.out, size, modified)), output)

    def identity(self, arrived: Arrived) -> str:
        """What tells a file from all others, those of its name too."""
        if self._first.setdefault(arrived.name, arrived.key) == arrived.key:
            return arrived.name
        path = PurePosixPath(arrived.name)
        return str(path.with_name(f"{path.stem}-{arrived.modified}{path.suffix}"))


def inspect_and_write(model: Model, journal: Journal) -> InspectsFile:
    """Inspects a file and writes `masks/` and `overlays/` beside the journal.

    Args:
        model: asked for each file.
        journal: of the same files.

    Raises:
        OutputError: the folders cannot be made.
    """
    out, results = journal.out, _Results(journal)
    with explained(out):
        writers = (MaskWriter(out / "masks", results.names), OverlayWriter(out / "overlays", results.names))

    def inspect(arrived: Arrived) -> dict[str, Any]:
        image = read_image(arrived.path, white=model.white)
        note = {"note": SEVERAL_PAGES} if has_pages(arrived.path) else {}
        [inspection] = model.inspector.inspect_batch([image], [arrived.name])
        identity = results.identity(arrived)
        with explained(out):
            for writer in writers:
                writer.add(replace(inspection, image=identity), image)
        return inspection.to_json() | note | {"output": results.names(identity), "model": model.sha256}

    return inspect
