"""Images of a data set that are decoded once and handed on, as long as there is room for them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.errors import InputError
from ltcam_runtime.files import why_not_read
from ltcam_runtime.image_headers import image_size
from ltcam_runtime.images import sixteen_bit_peak, to_pixels
from ltcam_runtime.reading import available_memory

_MOST = 2 * 2**30  # bytes
_SHARE = 4  # of the memory there is, a quarter


class DecodedImages:
    """Reads images, and keeps those it has read for whoever reads them next.

    What there is no room for is read anew each time. Several threads may ask at once.
    """

    def __init__(self, room: int | None = None, white: int | None = None) -> None:
        """What to read with.

        Args:
            room: in bytes; None: a quarter of the memory there is when the first image is read, 2 GiB at most.
            white: of 16-bit images, as for `ltcam_runtime.images.read_image`.
        """
        self._room = room
        self.white = white
        self._kept: dict[Path, NDArray[np.uint8]] = {}
        self._lock = threading.Lock()

    def read(self, path: Path, content: bytes | None = None) -> NDArray[np.uint8]:
        """An image file's pixels, as `ltcam_runtime.images.read_image` gives them; not to be changed.

        Args:
            path: the file.
            content: its bytes, where they were read already.

        Raises:
            InputError: likewise.
        """
        image = self._kept.get(path)
        if image is None:
            image = to_pixels(path if content is None else content, str(path), white=self.white)
            self._keep(path, image)
        return image

    def take_white_of(self, files: Iterable[Path]) -> None:
        """Read 16-bit images from now on by the bits that these files use: 0 to 4095 for a camera of twelve bits.

        Where none of them is a 16-bit grey image, nothing changes.
        """
        peak = 0
        for path in files:
            with suppress(InputError):  # said by whoever needs the image
                peak = max(peak, sixteen_bit_peak(path) or 0)
        if peak:
            with self._lock:
                self.white = 2 ** max(peak.bit_length(), 8) - 1
                self._kept = {}

    def size_of(self, path: Path) -> tuple[int, int]:
        """(height, width) of an image file; of what is kept without a look at it.

        Raises:
            InputError: as for `ltcam_runtime.image_headers.image_size`.
        """
        image = self._kept.get(path)
        return image_size(path) if image is None else (image.shape[0], image.shape[1])

    def release(self, most: int = 0) -> None:
        """Let go of what is kept if it takes more than so many bytes, and keep nothing new."""
        with self._lock:
            if sum(image.nbytes for image in self._kept.values()) > most:
                self._kept = {}
            self._room = 0

    def _keep(self, path: Path, image: NDArray[np.uint8]) -> None:
        with self._lock:
            if self._room is None:
                self._room = min(_MOST, available_memory() // _SHARE)
            if image.nbytes <= self._room and path not in self._kept:
                image.flags.writeable = False
                self._kept[path] = image
                self._room -= image.nbytes


def content_of(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(path, why_not_read(error)) from None
