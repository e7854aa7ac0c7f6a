"""Pictures to the bytes of files, as fast as they can be made: the encoder shares its cores with the inference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def png_options(strategy: int, filter_name: str, level: int = 1) -> list[int]:
    """Options for a PNG, by default at the fastest level that compresses (0 writes the bytes as they are).

    One fixed filter instead of a choice per row is three times as fast; older OpenCV has no such option.
    """
    options = [cv2.IMWRITE_PNG_COMPRESSION, level, cv2.IMWRITE_PNG_STRATEGY, strategy]
    if hasattr(cv2, "IMWRITE_PNG_FILTER"):
        options += [cv2.IMWRITE_PNG_FILTER, getattr(cv2, f"IMWRITE_PNG_FILTER_{filter_name}")]
    return options


def encoded(suffix: str, picture: NDArray[Any], options: Sequence[int] = ()) -> bytes:
    """The bytes of a picture's file.

    Args:
        suffix: of the format: .png, .jpg or .webp.
        picture: (H, W) or (H, W, 3) RGB, uint8 or (PNG only) uint16.
        options: pairs for OpenCV's encoder.

    Raises:
        ValueError: the picture cannot be encoded. (OpenCV's own `imencode` may only return False.)
    """
    stored = np.ascontiguousarray(picture)
    if picture.ndim == 3:
        stored = cv2.cvtColor(stored, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(suffix, stored, list(options))
    if not done:
        raise ValueError(f"a picture of shape {picture.shape} cannot be written as {suffix}")
    return data.tobytes()


def write_picture(path: Path, picture: NDArray[Any], options: Sequence[int]) -> None:
    """Encode a picture by its path's suffix and write it; missing folders are made.

    Args:
        path: a .png or .jpg file.
        picture: as for `encoded`.
        options: as for `encoded`.

    Raises:
        OSError: the file cannot be written.
        ValueError: the picture cannot be encoded.
    """
    content = encoded(path.suffix, picture, options)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
