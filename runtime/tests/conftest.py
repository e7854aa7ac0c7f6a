"""Small pictures, and a line to write one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

RNG = np.random.default_rng(7)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
RGB = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    """Write an image; where it lies now."""
    image.save(path, **options)
    return path
