"""From a decoded image of any mode to its pixels or values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from ltcam_runtime.errors import InputError
from ltcam_runtime.settings import WHITE
from ltcam_runtime.soundness import tiff_is_negative, tiff_largest

SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def rgb_of(path: Path, image: Image.Image, white: int | None = None) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of a decoded image of any mode.

    Args:
        path: for the error.
        image: decoded.
        white: value of 16-bit grey that becomes 255; None where nobody knows.

    Raises:
        InputError: values whose scale is unknown, or a mode that is not supported.
    """
    mode = image.mode
    if mode in SIXTEEN_BIT_MODES:
        return three_channels(grey_of_sixteen_bits(path, image, white))
    if has_transparency(image):
        return on_ground(np.asarray(image.convert("RGBA")), 255)
    if mode == "RGB":
        return np.array(image)
    if mode in ("1", "L"):
        return three_channels(np.asarray(image.convert("L")))
    if mode in ("P", "RGBX", "CMYK", "YCbCr", "HSV"):
        return np.array(image.convert("RGB"))
    raise InputError(path, _unsupported(mode))


def has_transparency(image: Image.Image) -> bool:
    """Whether some of its pixels may not be opaque."""
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info


def on_ground(rgba: NDArray[np.uint8], ground: int) -> NDArray[np.uint8]:
    """(H, W, 4) over a plain ground of the given grey level, rounded: (H, W, 3)."""
    alpha = rgba[..., 3:].astype(np.uint16)
    if bool((alpha == 255).all()):
        return np.ascontiguousarray(rgba[..., :3])
    mixed = (rgba[..., :3] * alpha + ground * (255 - alpha) + 127) // 255
    return mixed.astype(np.uint8)


def grey_of_sixteen_bits(path: Path, image: Image.Image, white: int | None) -> NDArray[np.uint8]:
    """(H, W) grey levels of an image of `SIXTEEN_BIT_MODES`, with `white` at 255; None where nobody said what is.

    Raises:
        InputError: as `sixteen_bit_values`.
    """
    values = sixteen_bit_values(path, image)
    if white is None and _largest_said(image) == WHITE and int(values.max(initial=0)) <= 255:
        return values.astype(np.uint8)
    return _to_eight_bits(values, white or WHITE)


def _largest_said(image: Image.Image) -> int:
    """The largest value that the file says it can hold: TIFF has kinds of fewer bits than 16."""
    return tiff_largest(image) if isinstance(image, TiffImageFile) and image.mode != "I" else WHITE


def sixteen_bit_values(path: Path, image: Image.Image) -> NDArray[np.uint16]:
    """(H, W) values of an image of `SIXTEEN_BIT_MODES`; those of nine to fifteen bits are brought to sixteen.

    Raises:
        InputError: values of 32 bits beyond 0 to 65535.
    """
    values = values_as_meant(image)
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


def values_as_meant(image: Image.Image) -> NDArray[Any]:
    """The raw values of an image of more than eight bits, 0 for black."""
    values = np.asarray(image)
    return (
        tiff_largest(image) - values
        if isinstance(image, TiffImageFile) and tiff_is_negative(image)
        else values
    )


def _to_eight_bits(values: NDArray[np.uint16], white: int) -> NDArray[np.uint8]:
    """0 to `white` becomes 0 to 255, rounded; what is above is white."""
    return np.minimum((values.astype(np.uint32) * 255 + white // 2) // white, 255).astype(np.uint8)


def three_channels(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) grey as (H, W, 3) RGB."""
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(grey), cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def _unsupported(mode: str) -> str:
    if mode == "F":
        return "32-bit floating point values: their scale is unknown; save it with 8 or 16 bits"
    return f"colour mode {mode} is not supported; save it as grey or RGB"
