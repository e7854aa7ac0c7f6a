"""Image files in, upright 8-bit RGB arrays and boolean masks out; and resizing.

A file's kind is told by its first bytes, never by its name, and only the decoders listed here are
ever started. The size is compared with the limit before anything is decoded.

What becomes of the less usual kinds of image:

    transparency     composited on white (in a mask: on black, so that what is transparent is background)
    16-bit grey      scaled so that `white` becomes 255; what is above is white too. Where nobody says which value
                     is white, 65535 is, and values that all lie in 0..255 are those of 8 bits in a wider file
    16-bit colour    the upper eight bits of each channel
    32-bit integers  as 16 bit where all values lie in 0..65535, else refused
    32-bit floats    refused, since no file says which value is white
    CMYK, YCbCr      converted to RGB without colour profile
    several frames   the first one
    EXIF rotation    applied
"""

from __future__ import annotations

import io
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import cv2
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
from ltcam_runtime.mask_values import suitable_threshold
from ltcam_runtime.settings import WHITE
from ltcam_runtime.soundness import (
    check_jpeg,
    check_png,
    check_tiff,
    colour_map_of_eight_bits,
    tiff_is_negative,
    tiff_largest,
)

DEFAULT_MAX_PIXELS = 200_000_000
"""Images with more pixels than this are refused unless the caller says otherwise."""

MAX_FILE_BYTES = 4 * 2**30
"""Larger image files are refused: as many pixels as are allowed need a fraction of it."""

LONGEST_SIDE = 1_000_000
"""Images with a longer side are refused: no mask of that size can be written as PNG."""

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jif", ".jp2", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx"}
    | {".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
"""Lower-case suffixes of the files that a search for images takes up."""


class _Tiff(TiffImagePlugin.TiffImageFile):
    """Pillow's decoder without Pillow's limit, which is below ours."""

    def load_prepare(self) -> None:
        if self._im is None:
            self.im = _imaging.new(self.mode, self._tile_size)
        ImageFile.ImageFile.load_prepare(self)


# The decoder classes are called themselves rather than through `Image.open`: that one compares the
# size with a limit of its own, kept in a global of the whole process, and its error names no size.
_DECODERS: tuple[tuple[bytes, Callable[[IO[bytes]], ImageFile.ImageFile]], ...] = (
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    (b"II*\x00", _Tiff),
    (b"MM\x00*", _Tiff),
    (b"II+\x00", _Tiff),
    (b"MM\x00+", _Tiff),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
    (b"GIF8", GifImagePlugin.GifImageFile),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", Jpeg2KImagePlugin.Jpeg2KImageFile),
    (b"\xff\x4f\xff\x51", Jpeg2KImagePlugin.Jpeg2KImageFile),
    *((b"P%d" % kind, PpmImagePlugin.PpmImageFile) for kind in range(1, 7)),
)

_KNOWN = "BMP, GIF, JPEG, JPEG 2000, PNM, PNG, TIFF and WebP"

_SEVERAL_PICTURES = frozenset({"TIFF", "GIF", "WEBP", "PNG"})  # a second JPEG in one file is its preview
_REDUCED_PAGE = (254, 1)  # NewSubfileType of TIFF, and its bit that says "a smaller copy of another page"
_RAMP = 16  # fewer greys in a palette may be classes
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")

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


ImageLike = str | Path | bytes | bytearray | memoryview | Image.Image | NDArray[np.uint8]
"""An image in any form: a file, its bytes, a Pillow image, an array."""


def read_image(
    path: Path | str, *, max_pixels: int = DEFAULT_MAX_PIXELS, white: int | None = None
) -> NDArray[np.uint8]:
    """Read one image file, upright and in colour.

    Args:
        path: a BMP, GIF, JPEG, JPEG 2000, PBM/PGM/PPM, PNG, TIFF or WebP file, told by its content.
        max_pixels: more pixels than this are refused from the header alone.
        white: value of 16-bit grey images that becomes 255: 4095 for a camera of twelve bits; None where nobody knows.

    Returns:
        (H, W, 3) uint8, RGB, contiguous and writable; grey images have three equal channels.

    Raises:
        InputError: missing, unreadable, not an image, damaged, too large, or of a kind whose
            values cannot be shown in 8 bits without a guess.
    """
    with _opened(path) as (image, orientation):
        _load(path, image, max_pixels)
        with _decoding(path):
            return _upright(_rgb(Path(path), image, white), orientation)


def sixteen_bit_peak(path: Path | str) -> int | None:
    """The largest value of a 16-bit grey image; None of an image of another kind, which is not decoded.

    Raises:
        InputError: as for `read_image`.
    """
    with _opened(path) as (image, _):
        if image.mode not in _SIXTEEN_BIT:
            return None
        _load(path, image, DEFAULT_MAX_PIXELS)
        with _decoding(path):
            return int(_sixteen_bit(Path(path), image).max())


@dataclass(frozen=True)
class Mask:
    """What a mask file says.

    Attributes:
        marks: (H, W) bool, upright: which pixels are marked.
        threshold: the value above which they are.
        levels: number of different values in the file.
    """

    marks: NDArray[np.bool_]
    threshold: float
    levels: int


def to_pixels(image: ImageLike, name: str, *, white: int | None = None) -> NDArray[np.uint8]:
    """The pixels of an image in any form in which programs hold one, as `read_image` gives those of a file.

    Args:
        image: a file; the bytes of a file; a Pillow image of any mode; or an array of uint8: (H, W) or (H, W, 1) grey,
            (H, W, 3) RGB, (H, W, 4) RGBA, which is put on white.
        name: of the image, for the error.
        white: as for `read_image`.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        InputError: what `read_image` refuses, an array of another shape or type, or no image at all.
    """
    if isinstance(image, (str, Path)):
        return read_image(image, white=white)
    if isinstance(image, (bytes, bytearray, memoryview)):
        decoded, orientation = _begun(Path(name), io.BytesIO(image))
        _load(name, decoded, DEFAULT_MAX_PIXELS)
        with _decoding(name):
            return _upright(_rgb(Path(name), decoded, white), orientation)
    if isinstance(image, Image.Image):
        return from_pillow(image, name, white=white)
    if not hasattr(image, "dtype") or not hasattr(image, "shape"):
        kind = type(image).__name__
        raise InputError(
            name, f"a {kind} is no image; give a path, the bytes of a file, a Pillow image or an array"
        )
    if image.dtype != np.uint8 or image.size == 0 or not _is_picture(image.shape):
        raise InputError(
            name,
            f"an array of shape {image.shape} and type {image.dtype}; "
            "give uint8 of shape (H, W), (H, W, 3) or (H, W, 4)",
        )
    if image.ndim == 2 or image.shape[2] == 1:
        return _three_channels(image.reshape(image.shape[:2]))
    return image if image.shape[2] == 3 else _on_ground(image, 255)


def _is_picture(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in {1, 3, 4})


def from_pillow(image: Image.Image, name: str, *, white: int | None = None) -> NDArray[np.uint8]:
    """The pixels of a Pillow image of any mode, upright and in colour, as `read_image` gives those of a file.

    Args:
        image: left as it is, unless its pixels are still in a file.
        name: of the image, for the error.
        white: as for `read_image`.

    Returns:
        (H, W, 3) uint8, RGB, contiguous and writable.

    Raises:
        InputError: no pixels, damaged, or values that cannot be shown in 8 bits without a guess.
    """
    _check_pixels(Path(name), image, DEFAULT_MAX_PIXELS)
    with _decoding(name):
        orientation = _orientation(image)
        image.load()
        return _upright(_rgb(Path(name), image, white), orientation)


def read_mask(
    path: Path | str, *, threshold: int | None = None, max_pixels: int = DEFAULT_MAX_PIXELS
) -> NDArray[np.bool_]:
    """Read a mask file: which pixels are marked as defect, (H, W) bool, upright. See `load_mask`."""
    return load_mask(path, threshold=threshold, max_pixels=max_pixels).marks


def load_mask(
    path: Path | str, *, threshold: int | None = None, max_pixels: int = DEFAULT_MAX_PIXELS
) -> Mask:
    """Read a mask file, and by which threshold its pixels were told apart.

    A pixel counts where its value is above the threshold. The value is the grey level or the
    largest colour channel, on a scale of 0 to 255; 16-bit values are brought to that scale, and floats
    of 0 to 1 too, except at threshold 0, where the raw value decides. In a palette image at threshold 0
    the *index* decides, since annotation tools keep class numbers there: 0 is background, all others
    count. (Where index 0 has a colour and another index in use is black, black is background.)

    Args:
        path: the mask file, of any kind that `read_image` takes, or of floating-point values.
        threshold: 0 to 254; None takes the one that suits the raw values: the middle where those in between
            are soft borders, else 0 (`mask_values.suitable_threshold`).
        max_pixels: more pixels than this are refused from the header alone.

    Raises:
        InputError: as for `read_image`.
    """
    with _opened(path) as (image, orientation):
        _load(path, image, max_pixels)
        with _decoding(path):
            values = _mask_values(Path(path), image, raw=not threshold)
            used = (
                suitable_threshold(values, lossy=image.format == "JPEG") if threshold is None else threshold
            )
            return Mask(_upright(values > used, orientation), float(used), len(np.unique(values)))


def image_size(path: Path | str) -> tuple[int, int]:
    """(height, width) of an image file in pixels, upright, from its header alone.

    Raises:
        InputError: missing, unreadable or not an image. Damage behind the header goes unnoticed,
            and there is no limit to the size.
    """
    with _opened(path) as (image, orientation):
        width, height = image.size
    transposed = _ORIENTATIONS.get(orientation, (False, ()))[0]
    return (width, height) if transposed else (height, width)


def has_more_pictures(path: Path | str) -> bool:
    """Whether pages or frames follow the first one of an image file, the only one that is read.

    Raises:
        InputError: missing, unreadable or not an image.
    """
    with _opened(path) as (image, _):
        return more_pictures(image)


_PAGED = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"GIF8", b"RIFF")
"""How files of formats begin that are used for several pictures, but for PNG."""


def has_pages(path: Path | str) -> bool:
    """As `has_more_pictures`, without opening files whose first bytes say that they hold one picture.

    Raises:
        InputError: missing, unreadable or not an image.
    """
    with _file(Path(path)) as stream, _decoding(path):
        head = stream.read(256)
    paged = head.startswith(_PAGED) or (head.startswith(b"\x89PNG") and b"acTL" in head)
    return paged and has_more_pictures(path)


def more_pictures(image: Image.Image) -> bool:
    """Whether pages or frames follow the first one; what is no picture of its own is none."""
    if image.format not in _SEVERAL_PICTURES:
        return False
    try:
        image.seek(1)
    except (EOFError, OSError, ValueError, SyntaxError):
        return False
    tag, reduced = _REDUCED_PAGE
    return not (image.format == "TIFF" and image.getexif().get(tag, 0) & reduced)


def resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize a picture: pixel areas are averaged where it shrinks, bilinear where it grows.

    Args:
        image: (H, W, 3) or (H, W) uint8.
        size: (height, width) wanted, each at least 1.

    Returns:
        uint8 of that size. An axis that shrinks while the other grows is treated first.
    """
    height, width = _checked_size(size)
    shrunk = (min(height, image.shape[0]), min(width, image.shape[1]))
    return _resized(_resized(image, shrunk, cv2.INTER_AREA), (height, width), cv2.INTER_LINEAR)


def resize_heatmap(heatmap: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize a heatmap bilinearly, pixel centres at half integers, without antialiasing.

    The same as torch's `interpolate(mode="bilinear", align_corners=False, antialias=False)`.

    Args:
        heatmap: (H, W) float32.
        size: (height, width) wanted, each at least 1.

    Returns:
        float32 of that size; never outside the range of the input.
    """
    return _resized(heatmap.astype(np.float32, copy=False), _checked_size(size), cv2.INTER_LINEAR)


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"size is {size}; height and width must be at least 1")
    return height, width


def _resized(array: NDArray[Any], size: tuple[int, int], interpolation: int) -> NDArray[Any]:
    if array.shape[:2] == size:
        return array.copy()
    return np.asarray(cv2.resize(np.ascontiguousarray(array), size[::-1], interpolation=interpolation))


# ------------------------------------------------------------------------------------- opening


@contextmanager
def _opened(path: Path | str) -> Iterator[tuple[ImageFile.ImageFile, int]]:
    """The image with its header read, and the orientation that is still to be applied."""
    path = Path(path)
    with _file(path) as stream:
        yield _begun(path, stream)


def _begun(path: Path, stream: IO[bytes]) -> tuple[ImageFile.ImageFile, int]:
    with _decoding(path):
        head = stream.read(16)
        stream.seek(0)
    if not head:
        raise InputError(path, "the file is empty")
    decoder = next((decoder for magic, decoder in _DECODERS if head.startswith(magic)), None)
    if decoder is None:
        raise InputError(path, f"not an image file ({_KNOWN} are)")
    with _decoding(path):
        with _without_pillows_limit():
            image = decoder(stream)
        return image, _orientation(image)


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


def _load(path: Path | str, image: ImageFile.ImageFile, max_pixels: int) -> None:
    """Decode the pixels, if the file is sound and not too large."""
    _check_pixels(Path(path), image, max_pixels)
    with _decoding(path):
        _check_soundness(Path(path), image)
        image.load()
        if isinstance(image, _Tiff) and (palette := colour_map_of_eight_bits(image)) is not None:
            image.putpalette(palette, "RGB;L")


def _check_soundness(path: Path, image: ImageFile.ImageFile) -> None:
    stream = image.fp
    try:
        if isinstance(image, PngImagePlugin.PngImageFile):
            _from_the_start(stream, check_png)
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            _from_the_start(stream, partial(check_jpeg, pixels=image.width * image.height))
        if isinstance(image, _Tiff):
            check_tiff(image)
    except ValueError as error:
        raise InputError(path, str(error)) from error


def _from_the_start(stream: Any, check: Callable[[IO[bytes]], None]) -> None:
    place = stream.tell()
    stream.seek(0)
    check(stream)
    stream.seek(place)


@contextmanager
def _file(path: Path) -> Iterator[IO[bytes]]:
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
def _decoding(path: Path | str) -> Iterator[None]:
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


def _check_pixels(path: Path, image: Image.Image, max_pixels: int) -> None:
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


def _orientation(image: Image.Image) -> int:
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


def _upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    transposed, flipped = _ORIENTATIONS.get(orientation, (False, ()))
    if transposed:
        array = array.swapaxes(0, 1)
    if flipped:
        array = np.flip(array, flipped)
    return np.ascontiguousarray(array)


# -------------------------------------------------------------------------------------- pixels


def _rgb(path: Path, image: Image.Image, white: int | None = None) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of a decoded image of any mode."""
    mode = image.mode
    if mode in _SIXTEEN_BIT:
        return _three_channels(_grey_of_sixteen_bits(path, image, white))
    if _has_transparency(image):
        return _on_ground(np.asarray(image.convert("RGBA")), 255)
    if mode == "RGB":
        return np.array(image)
    if mode in ("1", "L"):
        return _three_channels(np.asarray(image.convert("L")))
    if mode in ("P", "RGBX", "CMYK", "YCbCr", "HSV"):
        return np.array(image.convert("RGB"))
    raise InputError(path, _unsupported(mode))


def _mask_values(path: Path, image: ImageFile.ImageFile, *, raw: bool) -> NDArray[Any]:
    """(H, W) values of a decoded mask image of any mode: as they are in the file, or on a scale of 0 to 255."""
    if image.mode in _SIXTEEN_BIT:
        return _values_as_meant(image) if raw else _grey_of_sixteen_bits(path, image, None)
    if image.mode == "F":
        return _float_values(path, np.asarray(image), raw=raw)
    if image.mode == "P" and raw and not _is_grey_ramp(image):
        return _foreground_indices(image)
    if _has_transparency(image):
        return np.asarray(_on_ground(np.asarray(image.convert("RGBA")), 0).max(axis=2))
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    return np.asarray(_rgb(path, image).max(axis=2))


def _float_values(path: Path, values: NDArray[np.float32], *, raw: bool) -> NDArray[np.float32]:
    if not np.isfinite(values).all():
        raise InputError(path, "some values are not finite; save the mask with 8 bits")
    if raw:
        return values
    high = float(values.max(initial=0.0))
    return values * np.float32(255) if high <= 1.0 else values


def _is_grey_ramp(image: Image.Image) -> bool:
    """Whether higher indices are brighter greys and the first is black, as in GIF files of grey pictures."""
    palette = np.asarray(image.getpalette("RGB") or [], dtype=np.int16).reshape(-1, 3)
    used = np.unique(np.asarray(image))
    if len(used) < _RAMP or used[-1] >= len(palette):
        return False
    colours = palette[used]
    grey = bool((colours == colours[:, :1]).all())
    return grey and int(colours[0, 0]) == 0 and bool((np.diff(colours[:, 0]) > 0).all())


def _foreground_indices(image: Image.Image) -> NDArray[np.uint8]:
    """The indices as class numbers, 0 for the background."""
    indices = np.asarray(image)
    palette = np.asarray(image.getpalette("RGB") or [0, 0, 0], dtype=np.uint8).reshape(-1, 3).max(axis=1)
    # Indices beyond the palette stay what they are: another class.
    lookup = np.concatenate([palette, np.full(256 - min(256, palette.size), 255, np.uint8)])[:256]
    used = np.bincount(indices.ravel(), minlength=256) > 0
    if palette[0] > 0 and bool((used & (lookup == 0)).any()):
        return np.asarray(lookup[indices] > 0, dtype=np.uint8)
    return np.asarray(indices > 0, dtype=np.uint8)


def _has_transparency(image: Image.Image) -> bool:
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info


def _on_ground(rgba: NDArray[np.uint8], ground: int) -> NDArray[np.uint8]:
    """(H, W, 4) over a plain ground of the given grey level, rounded: (H, W, 3)."""
    alpha = rgba[..., 3:].astype(np.uint16)
    if bool((alpha == 255).all()):
        return np.ascontiguousarray(rgba[..., :3])
    mixed = (rgba[..., :3] * alpha + ground * (255 - alpha) + 127) // 255
    return mixed.astype(np.uint8)


def _grey_of_sixteen_bits(path: Path, image: Image.Image, white: int | None) -> NDArray[np.uint8]:
    values = _sixteen_bit(path, image)
    if white is None and _largest_said(image) == WHITE and int(values.max(initial=0)) <= 255:
        return values.astype(np.uint8)
    return _to_eight_bits(values, white or WHITE)


def _largest_said(image: Image.Image) -> int:
    """The largest value that the file says it can hold: TIFF has kinds of fewer bits than 16."""
    return tiff_largest(image) if isinstance(image, _Tiff) and image.mode != "I" else WHITE


def _sixteen_bit(path: Path, image: Image.Image) -> NDArray[np.uint16]:
    values = _values_as_meant(image)
    largest = _largest_said(image)
    if largest < WHITE:
        return ((values.astype(np.uint32) * 65535 + largest // 2) // largest).astype(np.uint16)
    if image.mode == "I":
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535:
            raise InputError(
                path, f"32-bit values from {low} to {high}: their scale is unknown; save it with 8 or 16 bits"
            )
    return values.astype(np.uint16)


def _values_as_meant(image: Image.Image) -> NDArray[Any]:
    """The raw values of an image of more than eight bits, 0 for black."""
    values = np.asarray(image)
    return tiff_largest(image) - values if isinstance(image, _Tiff) and tiff_is_negative(image) else values


def _to_eight_bits(values: NDArray[np.uint16], white: int) -> NDArray[np.uint8]:
    """0 to `white` becomes 0 to 255, rounded; what is above is white."""
    return np.minimum((values.astype(np.uint32) * 255 + white // 2) // white, 255).astype(np.uint8)


def _three_channels(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(grey), cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def _unsupported(mode: str) -> str:
    if mode == "F":
        return "32-bit floating point values: their scale is unknown; save it with 8 or 16 bits"
    return f"colour mode {mode} is not supported; save it as grey or RGB"
