"""Mask files to boolean masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from ltcam_runtime.decoding import DEFAULT_MAX_PIXELS, decoded, opened, upright
from ltcam_runtime.errors import InputError
from ltcam_runtime.mask_values import suitable_threshold
from ltcam_runtime.pixel_values import (
    SIXTEEN_BIT_MODES,
    grey_of_sixteen_bits,
    has_transparency,
    on_ground,
    rgb_of,
    values_as_meant,
)

_RAMP = 16  # fewer greys in a palette may be classes


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
    path = Path(path)
    with opened(path) as (image, orientation), decoded(path, image, max_pixels):
        values = _mask_values(path, image, raw=not threshold)
        used = suitable_threshold(values, lossy=image.format == "JPEG") if threshold is None else threshold
        return Mask(upright(values > used, orientation), float(used), len(np.unique(values)))


def _mask_values(path: Path, image: ImageFile.ImageFile, *, raw: bool) -> NDArray[Any]:
    """(H, W) values of a decoded mask image of any mode: as they are in the file, or on a scale of 0 to 255."""
    if image.mode in SIXTEEN_BIT_MODES:
        return values_as_meant(image) if raw else grey_of_sixteen_bits(path, image, None)
    if image.mode == "F":
        return _float_values(path, np.asarray(image), raw=raw)
    if image.mode == "P" and raw and not _is_grey_ramp(image):
        return _foreground_indices(image)
    if has_transparency(image):
        return np.asarray(on_ground(np.asarray(image.convert("RGBA")), 0).max(axis=2))
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    return np.asarray(rgb_of(path, image).max(axis=2))


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
