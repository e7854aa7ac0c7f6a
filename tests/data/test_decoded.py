"""Images that are read once, and on which scale those of 16 bits are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltcam.data.decoded import DecodedImages


def write(path: Path, values: list[int], kind: type = np.uint16) -> Path:
    Image.fromarray(np.array([values], kind)).save(path)
    return path


@pytest.mark.parametrize(
    ("largest", "white"), [(200, 255), (256, 511), (1023, 1023), (3000, 4095), (40000, 65535)]
)
def test_white_is_what_the_bits_in_use_can_hold(largest: int, white: int, tmp_path: Path) -> None:
    files = [write(tmp_path / "a.png", [0, largest // 3]), write(tmp_path / "b.png", [1, largest])]
    broken = tmp_path / "c.png"
    broken.write_bytes(b"no image")
    decoded = DecodedImages()
    assert decoded.read(files[1]).max() == (largest if largest < 256 else round(largest / 257))
    decoded.take_white_of([*files, broken])
    assert decoded.white == white
    assert decoded.read(files[1]).max() == round(largest / white * 255)


def test_images_of_eight_bits_change_nothing(tmp_path: Path) -> None:
    decoded = DecodedImages()
    decoded.take_white_of([write(tmp_path / "a.png", [3, 7], np.uint8)])
    assert decoded.white is None
