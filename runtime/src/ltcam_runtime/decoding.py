"""Image files opened and decoded safely.

A file's kind is told by its first bytes, never by its name, and only the decoders listed here are
ever started. The size is compared with the limit before anything is decoded.
"""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    _imaging,
)

from ltcam_runtime.errors import InputError
from ltcam_runtime.soundness import check_jpeg, check_png, check_tiff, colour_map_of_eight_bits

DEFAULT_MAX_PIXELS = 200_000_000
"""Images with more pixels than this are refused unless the caller says otherwise."""

MAX_FILE_BYTES = 4 * 2**30
"""Larger image files are refused: as many pixels as are allowed need a fraction of it."""

LONGEST_SIDE = 1_000_000
"""Images with a longer side are refused: no mask of that size can be written as PNG."""


class Tiff(TiffImagePlugin.TiffImageFile):
    """Pillow's decoder without Pillow's limit, which is below ours."""

    def load_prepare(self) -> None:
        """Make room for the pixels."""
        if self._im is None:
            self.im = _imaging.new(self.mode, self._tile_size)
        ImageFile.ImageFile.load_prepare(self)


# The decoder classes are called themselves rather than through `Image.open`: that one compares the
# size with a limit of its own, kept in a global of the whole process, and its error names no size.
_DECODERS: tuple[tuple[bytes, Callable[[IO[bytes]], ImageFile.ImageFile]], ...] = (
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    (b"II*\x00", Tiff),
    (b"MM\x00*", Tiff),
    (b"II+\x00", Tiff),
    (b"MM\x00+", Tiff),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
    (b"GIF8", GifImagePlugin.GifImageFile),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", Jpeg2KImagePlugin.Jpeg2KImageFile),
    (b"\xff\x4f\xff\x51", Jpeg2KImagePlugin.Jpeg2KImageFile),
    *((b"P%d" % kind, PpmImagePlugin.PpmImageFile) for kind in range(1, 7)),
)

_KNOWN = "BMP, GIF, JPEG, JPEG 2000, PNM, PNG, TIFF and WebP"

# EXIF orientation -> (transpose rows and columns, then flip these axes).
_ORIENTATIONS: dict[int, tuple[bool, tuple[int, ...]]] = {
    2: (False, (1,)),
    3: (False, (0, 1)),
    4: (False, (0,)),
    5: (True, ()),
    6: (True, (1,)),
    7: (True, (0, 1)),
    8: (True, (0,)),
}


@contextmanager
def opened(path: Path | str) -> Iterator[tuple[ImageFile.ImageFile, int]]:
    """The image with its header read, and the orientation that is still to be applied."""
    path = Path(path)
    with opened_file(path) as stream:
        yield begun(path, stream)


def begun(path: Path, stream: IO[bytes]) -> tuple[ImageFile.ImageFile, int]:
    """As `opened`, of a file that is open at its beginning; `path` is for the errors."""
    with decoding_errors(path):
        head = stream.read(16)
        stream.seek(0)
    if not head:
        raise InputError(path, "the file is empty")
    decoder = next((decoder for magic, decoder in _DECODERS if head.startswith(magic)), None)
    if decoder is None:
        raise InputError(path, f"not an image file ({_KNOWN} are)")
    with decoding_errors(path):
        with _without_pillows_limit():
            image = decoder(stream)
        return image, orientation_of(image)


_LIMIT = threading.RLock()


@contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """While a header is read: decoders of GIF and WebP compare it with a limit of Pillow's, which is below ours."""
    with _LIMIT:
        kept, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = kept


@contextmanager
def decoded(path: Path, image: ImageFile.ImageFile, max_pixels: int) -> Iterator[None]:
    """The pixels are there, if the file is sound and not too large; errors of working with them name the file."""
    check_pixels(path, image, max_pixels)
    with decoding_errors(path):
        _check_soundness(path, image)
        image.load()
        if isinstance(image, Tiff) and (palette := colour_map_of_eight_bits(image)) is not None:
            image.putpalette(palette, "RGB;L")
        yield


def _check_soundness(path: Path, image: ImageFile.ImageFile) -> None:
    stream = image.fp
    try:
        if isinstance(image, PngImagePlugin.PngImageFile):
            _from_the_start(stream, check_png)
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            _from_the_start(stream, partial(check_jpeg, pixels=image.width * image.height))
        if isinstance(image, Tiff):
            check_tiff(image)
    except ValueError as error:
        raise InputError(path, str(error)) from error


def _from_the_start(stream: Any, check: Callable[[IO[bytes]], None]) -> None:
    place = stream.tell()
    stream.seek(0)
    check(stream)
    stream.seek(place)


@contextmanager
def opened_file(path: Path) -> Iterator[IO[bytes]]:
    """The opened file; whatever the system says against opening it becomes an InputError."""
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise InputError(path, "this is a folder, not an image file")
        if not stat.S_ISREG(kind):  # opening a pipe would wait for ever
            raise InputError(path, "this is not a regular file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(
                path, f"{path.stat().st_size:,} bytes are more than the limit of {MAX_FILE_BYTES:,}"
            )
        stream = path.open("rb")
    except FileNotFoundError:
        raise InputError(path, "there is no such file") from None
    except PermissionError:
        raise InputError(path, "no permission to read it") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(path, f"cannot be opened: {_words(error)}") from error
    with stream:
        yield stream


@contextmanager
def decoding_errors(path: Path | str) -> Iterator[None]:
    """Turn whatever a decoder raises on damaged bytes into one InputError.

    Decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error, IndexError and others.
    """
    try:
        yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(path, "not enough memory to decode it") from error
    except Image.DecompressionBombError as error:
        raise InputError(path, f"too large to be decoded safely: {error}") from error
    except OSError as error:
        if error.errno:  # the system's, not the decoder's: a bad sector, a share that is gone
            raise InputError(path, f"cannot be read: {_words(error)}") from error
        raise _damaged(path, error) from error
    except Exception as error:
        raise _damaged(path, error) from error


def _damaged(path: Path | str, error: Exception) -> InputError:
    if "truncated" in str(error).lower():
        return InputError(path, f"the file is cut short ({_words(error)}); copy it again from its source")
    return InputError(path, f"damaged or of an unsupported kind, cannot be decoded ({_words(error)})")


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def check_pixels(path: Path, image: Image.Image, max_pixels: int) -> None:
    """Refuse an image of no pixels or too many, before it is decoded."""
    width, height = image.size
    if width < 1 or height < 1:
        raise InputError(path, f"the image has no pixels ({width} x {height})")
    if max(width, height) > LONGEST_SIDE:
        raise InputError(
            path,
            f"{width} x {height} pixels (width x height): a side is longer than {LONGEST_SIDE:,} pixels; cut the "
            "image into tiles",
        )
    if width * height > max_pixels:
        raise InputError(
            path,
            f"{width} x {height} pixels (width x height) are {width * height:,}, more than the limit of "
            f"{max_pixels:,}; cut the image into tiles or make it smaller",
        )


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation that is still to be applied; 1 where there is none."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return 1  # Pillow's TIFF decoder applies it itself
    if isinstance(image, PngImagePlugin.PngImageFile) and not (
        {"exif", "Raw profile type exif"} & image.info.keys()
    ):
        return 1  # asking a PNG file that has none before its pixels would decode it all
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a damaged EXIF block says nothing against the pixels
        return 1


def is_transposed(orientation: int) -> bool:
    """Whether the height of the pixels in the file is the width of the image."""
    return _ORIENTATIONS.get(orientation, (False, ()))[0]


def upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """The pixels (H, W, ...) with their EXIF orientation applied, contiguous."""
    transposed, flipped = _ORIENTATIONS.get(orientation, (False, ()))
    if transposed:
        array = array.swapaxes(0, 1)
    if flipped:
        array = np.flip(array, flipped)
    return np.ascontiguousarray(array)
