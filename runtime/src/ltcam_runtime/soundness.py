"""What decoders do not look at: checksums, the cost of decoding, and kinds of TIFF that would come out wrong.

Each check raises ValueError with a reason that fits behind the file's name, and leaves the stream where it was.
"""

from __future__ import annotations

import re
import zlib
from typing import IO

from PIL.TiffImagePlugin import TiffImageFile

_MOST_SCANS = 100  # of a JPEG; encoders make about ten
_MOST_SCANNED = 4_000_000_000  # pixels times scans; some 40 seconds of one core
_PIECE = 2**20  # bytes read at once

_BITS, _PHOTOMETRIC, _FILL_ORDER, _SAMPLES, _PLANAR = 258, 262, 266, 277, 284
_COLOUR_MAP, _INK_SET, _SAMPLE_FORMAT = 320, 332, 339
_WHITE_IS_ZERO, _SEPARATED = 0, 5

# A marker that is neither a stuffed byte, a restart marker nor padding.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def check_png(stream: IO[bytes]) -> None:
    """Compare the checksum of every chunk: the decoder takes pixels as they come.

    Raises:
        ValueError: a checksum that does not hold, or a file that is cut short.
    """
    begin = stream.tell()
    stream.seek(begin + 8)
    kind = b""
    while kind != b"IEND":
        head = stream.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8 or length >= 2**31:
            raise ValueError("the file is cut short; copy it again from its source")
        checksum = zlib.crc32(kind)
        while length > 0:
            piece = stream.read(min(length, _PIECE))
            if not piece:
                raise ValueError("the file is cut short; copy it again from its source")
            checksum = zlib.crc32(piece, checksum)
            length -= len(piece)
        if stream.read(4) != checksum.to_bytes(4, "big"):
            name = kind.decode("ascii", "backslashreplace")
            raise ValueError(
                f"damaged: the checksum of its {name} chunk is wrong; copy it again from its source"
            )
    stream.seek(begin)


def check_jpeg(stream: IO[bytes], pixels: int) -> None:
    """Count the scans: a small progressive file can have thousands, and each goes over all pixels.

    Args:
        stream: of the file.
        pixels: of the image.

    Raises:
        ValueError: more than any encoder makes.
    """
    begin = stream.tell()
    scans, content = 0, stream.read()
    stream.seek(begin)
    place = 2
    while (found := _JPEG_MARKER.search(content, place)) is not None:
        marker, place = content[found.start() + 1], found.end()
        if marker == 0xD9:  # end of the image
            break
        if marker == 0xDA:
            scans += 1
        if marker not in (0x01, 0xD8):  # all others have a length
            place += max(2, int.from_bytes(content[place : place + 2], "big"))
    if scans > _MOST_SCANS or scans * pixels > _MOST_SCANNED:
        raise ValueError(
            f"its {scans} scans of {pixels:,} pixels would take very long; save it as baseline JPEG"
        )


def check_tiff(image: TiffImageFile) -> None:
    """Refuse what Pillow decodes to wrong pixels without a word, found by comparing it with a second decoder.

    Raises:
        ValueError: such a file.
    """
    tags = image.tag_v2
    bits = max(tags.get(_BITS, (1,)), default=1)
    formats = set(tags.get(_SAMPLE_FORMAT, (1,)))
    planar = tags.get(_PLANAR, 1) == 2 and tags.get(_SAMPLES, 1) > 1
    reversed_bits = tags.get(_FILL_ORDER, 1) == 2
    if planar and bits != 8:
        raise ValueError(
            f"{bits}-bit samples in separate planes are not supported; save it with interleaved colours"
        )
    if reversed_bits and (planar or bits > 8):
        raise ValueError("a reversed order of bits (FillOrder 2) is not supported here; save it as PNG")
    if bits < 32 and formats - {1, 4}:
        raise ValueError(
            f"{bits}-bit values with a sign or a point: their scale is unknown; save it with 8 or 16 bits"
        )
    if tags.get(_PHOTOMETRIC) == _SEPARATED and tags.get(_INK_SET, 1) != 1:
        raise ValueError("inks other than CMYK are not supported; save it as RGB")


def tiff_is_negative(image: TiffImageFile) -> bool:
    """Whether a decoded TIFF has 0 for white still: Pillow inverts up to eight bits, not sixteen."""
    return image.mode.startswith("I;16") and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def tiff_largest(image: TiffImageFile) -> int:
    """The value that stands for full in a TIFF of nine to sixteen bits, as decoded."""
    bits = max(image.tag_v2.get(_BITS, (16,)), default=16)
    return int(2 ** min(max(bits, 1), 16) - 1)


def colour_map_of_eight_bits(image: TiffImageFile) -> bytes | None:
    """The palette of a TIFF that keeps it in 8 bits, against the standard, as R..., G..., B...; else None."""
    values = image.tag_v2.get(_COLOUR_MAP)
    if image.mode not in ("P", "PA") or not values or max(values) > 255 or max(values) == 0:
        return None
    return bytes(values)
