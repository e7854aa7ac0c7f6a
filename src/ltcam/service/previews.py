"""What the run in use would find in an image of the history with other settings. Nothing of it is kept."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ltcam.service.batching import BusyError
from ltcam.service.history import Entry
from ltcam.service.pictures import Pictures
from ltcam.service.served import Served
from ltcam_runtime.errors import SettingsError
from ltcam_runtime.images import read_image
from ltcam_runtime.results import Inspection
from ltcam_runtime.settings import Overrides

_PATIENCE = 5.0  # seconds that a preview waits for the one before it


class Previews:
    """Asks the network again, one image at a time, beside the inspections."""

    def __init__(self, served: Served, pictures: Pictures) -> None:
        self._served, self._pictures = served, pictures
        self._one = threading.Lock()

    def preview(self, entry: Entry, overrides: Overrides) -> Inspection:
        """An image of the history, inspected with other settings.

        Args:
            entry: whose image is looked at.
            overrides: what is other than in the run in use.

        Raises:
            BusyError: another preview takes long.
            SettingsError: a value that cannot be used, or a method that this run is not asked for here.
            InputError: the image is not kept any more.
        """
        model = self._served.model
        if overrides.method is not None and overrides.method not in model.about.methods:
            known = ", ".join(model.about.methods) or "none: its maps are fixed"
            raise SettingsError(f"`method` {overrides.method!r}: choose from {known}")
        finding = entry.record.finding
        with self._alone():
            inspector = model.inspector.overridden(overrides)
            image = read_image(self._pictures.file(finding.id, "image"), white=model.white)
            [inspection] = inspector.inspect_batch([image], [finding.name])
        return inspection

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._one.acquire(timeout=_PATIENCE):
            raise BusyError(_PATIENCE)
        try:
            yield
        finally:
            self._one.release()
