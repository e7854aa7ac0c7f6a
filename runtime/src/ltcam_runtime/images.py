"""Images in any form in, upright 8-bit RGB arrays out.

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
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ltcam_runtime.decoding import (
    DEFAULT_MAX_PIXELS,
    begun,
    check_pixels,
    decoded,
    decoding_errors,
    opened,
    orientation_of,
    upright,
)
from ltcam_runtime.errors import InputError
from ltcam_runtime.pixel_values import (
    SIXTEEN_BIT_MODES,
    on_ground,
    rgb_of,
    sixteen_bit_values,
    three_channels,
)

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jif", ".jp2", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx"}
    | {".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
"""Lower-case suffixes of the files that a search for images takes up."""


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
    path = Path(path)
    with opened(path) as (image, orientation), decoded(path, image, max_pixels):
        return upright(rgb_of(path, image, white), orientation)


def sixteen_bit_peak(path: Path | str) -> int | None:
    """The largest value of a 16-bit grey image; None of an image of another kind, which is not decoded.

    Raises:
        InputError: as for `read_image`.
    """
    path = Path(path)
    with opened(path) as (image, _):
        if image.mode not in SIXTEEN_BIT_MODES:
            return None
        with decoded(path, image, DEFAULT_MAX_PIXELS):
            return int(sixteen_bit_values(path, image).max())


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
        path = Path(name)
        opened_image, orientation = begun(path, io.BytesIO(image))
        with decoded(path, opened_image, DEFAULT_MAX_PIXELS):
            return upright(rgb_of(path, opened_image, white), orientation)
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
        return three_channels(image.reshape(image.shape[:2]))
    return image if image.shape[2] == 3 else on_ground(image, 255)


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
    check_pixels(Path(name), image, DEFAULT_MAX_PIXELS)
    with decoding_errors(name):
        orientation = orientation_of(image)
        image.load()
        return upright(rgb_of(Path(name), image, white), orientation)
