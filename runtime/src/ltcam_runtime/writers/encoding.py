"""Pictures to files, as fast as they can be made: the encoder shares its cores with the inference."""

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


def write_picture(path: Path, picture: NDArray[Any], options: Sequence[int]) -> None:
    """Encode a picture by its path's suffix and write it; missing folders are made.

    Args:
        path: a .png or .jpg file.
        picture: (H, W) or (H, W, 3) BGR, uint8 or (PNG only) uint16.
        options: pairs for OpenCV's encoder.

    Raises:
        OSError: the file cannot be written. (OpenCV's own `imwrite` would only return False.)
        ValueError: the picture cannot be encoded.
    """
    done, data = cv2.imencode(path.suffix, np.ascontiguousarray(picture), list(options))
    if not done:
        raise ValueError(f"a picture of shape {picture.shape} cannot be written as {path.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())
