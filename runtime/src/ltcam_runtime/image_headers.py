"""What the first bytes of an image file say, without its pixels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import Image

from ltcam_runtime.decoding import decoding_errors, is_transposed, opened, opened_file

_SEVERAL_PICTURES = frozenset({"TIFF", "GIF", "WEBP", "PNG"})  # a second JPEG in one file is its preview
_REDUCED_PAGE = (254, 1)  # NewSubfileType of TIFF, and its bit that says "a smaller copy of another page"
_PNG = b"\x89PNG\r\n\x1a\n"
_PAGED = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"GIF8", b"RIFF")
"""How files of formats begin that are used for several pictures, but for PNG."""


@dataclass(frozen=True)
class Header:
    """What an image file says of itself.

    Attributes:
        mode: how its pixels are stored, in Pillow's names.
        more_pictures: whether pages or frames follow the first one, the only one that is read.
    """

    mode: str
    more_pictures: bool


def header(path: Path | str) -> Header:
    """What an image file says of itself before its pixels.

    Raises:
        InputError: missing, unreadable or not an image.
    """
    with opened(path) as (image, _):
        return Header(image.mode, _more_pictures(image))


def has_pages(path: Path | str) -> bool:
    """As `Header.more_pictures`, without a decoder where the first bytes say that there is one picture.

    Raises:
        InputError: missing, unreadable or not an image.
    """
    with opened_file(Path(path)) as stream, decoding_errors(path):
        head = stream.read(8)
        paged = _is_animated(stream) if head == _PNG else head.startswith(_PAGED)
    return paged and header(path).more_pictures


def _is_animated(stream: IO[bytes]) -> bool:
    """Whether a PNG has an `acTL` chunk before its pixels, by a walk over the chunks behind its signature."""
    while len(start := stream.read(8)) == 8 and (kind := start[4:]) != b"IDAT":
        if kind == b"acTL":
            return True
        stream.seek(int.from_bytes(start[:4]) + 4, os.SEEK_CUR)  # its content and checksum
    return False


def image_size(path: Path | str) -> tuple[int, int]:
    """(height, width) of an image file in pixels, upright, from its header alone.

    Raises:
        InputError: missing, unreadable or not an image. Damage behind the header goes unnoticed,
            and there is no limit to the size.
    """
    with opened(path) as (image, orientation):
        width, height = image.size
    return (width, height) if is_transposed(orientation) else (height, width)


def _more_pictures(image: Image.Image) -> bool:
    """Whether pages or frames follow the first one; what is no picture of its own is none."""
    if image.format not in _SEVERAL_PICTURES:
        return False
    try:
        image.seek(1)
    except (EOFError, OSError, ValueError, SyntaxError):
        return False
    tag, reduced = _REDUCED_PAGE
    return not (image.format == "TIFF" and image.getexif().get(tag, 0) & reduced)
