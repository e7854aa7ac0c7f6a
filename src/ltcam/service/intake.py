"""From received bytes to a record in the history: files, decoding, the network, the chain."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ltcam.jobs.models import Model
from ltcam.runs.memory import BoundedMemory
from ltcam.service.batching import Batcher, Budget
from ltcam.service.history import History
from ltcam.service.ledger import Finding, Record
from ltcam.service.pictures import REMOVED, hash_of_mask
from ltcam.service.served import Served
from ltcam.service.sinks import Sink
from ltcam_runtime.errors import InputError
from ltcam_runtime.folders import write_file
from ltcam_runtime.image_headers import has_pages
from ltcam_runtime.images import read_image
from ltcam_runtime.masks import quantise
from ltcam_runtime.results import Inspection

_LONGEST_NAME = 255
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]


@dataclass(frozen=True)
class Received:
    """An image that is decoded and waits for the network.

    Attributes:
        id: of the inspection to be.
        time: when it came in.
        name: as the sender called it.
        lot: as the sender called it, or "".
        image: (H, W, 3) uint8 RGB.
        image_sha256: of the bytes.
        since: reading of the clock that `seconds` are measured with.
    """

    id: str
    time: datetime
    name: str
    lot: str
    image: NDArray[np.uint8]
    image_sha256: str
    since: float


class Intake:
    """Takes images in, and answers each with its record once that is kept."""

    def __init__(
        self, served: Served, history: History, sinks: Mapping[str, Sink], budget: Budget, most_pixels: int
    ) -> None:
        self._served, self._history, self._sinks = served, history, sinks
        self._most_pixels = most_pixels
        self._memory = BoundedMemory()
        self.batcher: Batcher[Received, tuple[Model, Inspection], Record] = Batcher(
            self._inspect, self._keep, budget
        )

    def receive(self, content: bytes, name: str, lot: str) -> Received:
        """Decode an image, which lies in the history's folder from now on.

        Args:
            content: the bytes of an image file.
            name: as the sender calls it; cut to 255 characters, and never used as a path.
            lot: which lot or order it belongs to, or "".

        Raises:
            InputError: bytes that are no image or several, or too many pixels.
        """
        id_ = secrets.token_hex(16)
        part = self._part_of(id_)
        try:
            part.parent.mkdir(exist_ok=True)
            part.write_bytes(content)
            image = read_image(part, max_pixels=self._most_pixels, white=self._served.model.white)
            if has_pages(part):
                raise InputError(part, "it holds several pages or frames; send each as an image of its own")
        except InputError as error:
            part.unlink(missing_ok=True)
            raise InputError(name or "image", error.reason) from error
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        digest = hashlib.sha256(content).hexdigest()
        shown = _shown(name) or "image"
        return Received(id_, datetime.now(UTC), shown, _shown(lot), image, digest, time.perf_counter())

    def submit(self, received: Received) -> Future[Record]:
        """Put an image in line.

        Raises:
            BusyError: too many are waiting; the image is forgotten.
        """
        try:
            return self.batcher.submit(received)
        except BaseException:
            self._part_of(received.id).unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Finish what is in line and stop."""
        self.batcher.close()

    def _part_of(self, id_: str) -> Path:
        file = self._history.pictures.file(id_, "image")
        return file.with_name(f"{file.name}.part")

    @contextmanager
    def _forgotten_on_error(self, batch: Sequence[Received]) -> Iterator[None]:
        """Remove what no record names yet: where every image fails, as on a full disk, they would pile up."""
        try:
            yield
        except BaseException:
            for item in batch:
                self._part_of(item.id).unlink(missing_ok=True)
                for what in REMOVED:
                    self._history.pictures.file(item.id, what).unlink(missing_ok=True)
            raise

    def _inspect(self, batch: Sequence[Received]) -> list[tuple[Model, Inspection]]:
        model = self._served.model  # one model for the whole batch, whoever promotes another meanwhile
        images, names = [item.image for item in batch], [item.name for item in batch]
        with self._forgotten_on_error(batch):
            found = model.inspector.inspect_images(images, names)
        self._memory.after_batch()
        return [(model, inspection) for inspection in found]

    def _keep(self, batch: Sequence[Received], found: Sequence[tuple[Model, Inspection]]) -> list[Record]:
        findings = []
        with self._forgotten_on_error(batch):
            for item, (model, inspection) in zip(batch, found, strict=True):
                self._write_pictures(item, inspection)
                findings.append(finding_of(item, model, inspection))
        deliveries = {name: [sink.payload(f) for f in findings] for name, sink in self._sinks.items()}
        records = self._history.append(findings, deliveries)
        for sink in self._sinks.values():
            sink.wake()
        return records

    def _write_pictures(self, item: Received, inspection: Inspection) -> None:
        """Mask and heatmap beside the image, each whole or absent."""
        pictures = {
            "mask": inspection.mask.astype(np.uint8) * 255,
            "heatmap": quantise(inspection.heatmap),
        }
        for what, pixels in pictures.items():
            write_png(self._history.pictures.file(item.id, what), pixels)
        self._part_of(item.id).replace(self._history.pictures.file(item.id, "image"))


def write_png(file: Path, pixels: NDArray[np.uint8]) -> None:
    """A grey PNG, whole or absent, whatever the file is called.

    Args:
        file: where to write.
        pixels: (H, W) uint8.

    Raises:
        OutputError: the disk does not take it.
    """
    done, encoded = cv2.imencode(".png", pixels, _PNG)
    if not done:
        raise ValueError(f"pixels of shape {pixels.shape} cannot be written as PNG")
    write_file(file, encoded.tobytes(), durable=False)


def finding_of(item: Received, model: Model, inspection: Inspection) -> Finding:
    """What the history keeps of an inspection."""
    height, width = inspection.size
    return Finding(
        id=item.id,
        time=item.time,
        name=item.name,
        lot=item.lot,
        height=height,
        width=width,
        verdict=inspection.verdict,
        score=inspection.score,
        class_scores=dict(inspection.class_scores),
        regions=tuple(region.to_json() for region in inspection.regions),
        image_sha256=item.image_sha256,
        mask_sha256=hash_of_mask(inspection.mask),
        model_sha256=model.sha256,
        settings_sha256=model.settings_sha256,
        seconds=time.perf_counter() - item.since,
    )


def _shown(text: str) -> str:
    """Text that every database and page takes: no lone surrogates, no NUL, not longer than a file name may be."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")[:_LONGEST_NAME]
