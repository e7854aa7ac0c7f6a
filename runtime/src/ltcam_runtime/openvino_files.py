"""OpenVINO's own form of a graph, with all that an inspector needs, as one file.

    part.ltcam.zip
      graph.xml, graph.bin    OpenVINO's intermediate representation
      ltcam.json              `Part` as JSON
      the archive's comment   SHA-256 of all bytes of the file, the comment itself read as zeros

Entries are stored as they are, so none is larger than the file; nothing is unpacked to anywhere.
"""

from __future__ import annotations

import io
import struct
import zipfile

from ltcam_runtime.onnx_files import DamagedError

ARCHIVE_SUFFIX = ".ltcam.zip"
GRAPH, WEIGHTS, SETTINGS = "graph.xml", "graph.bin", "ltcam.json"

_NAMES = (SETTINGS, GRAPH, WEIGHTS)
_DIGITS = 64  # of the comment
_END = struct.Struct("<4s4H2LH")  # of the directory
_LOCATOR = 20  # bytes before it, which may point to a larger directory
_LARGEST_DIRECTORY = 2**10  # bytes; three short names
_BEGINNING = (1980, 1, 1, 0, 0, 0)  # of zip's time: equal runs give equal files


def is_archive(content: bytes) -> bool:
    """Whether a file is an archive, and no ONNX file."""
    return content[:4] == b"PK\x03\x04"


def pack_archive(graph: bytes, weights: bytes, settings: str, comment: str) -> bytes:
    """The file of a graph.

    Args:
        graph: OpenVINO's XML.
        weights: the numbers that it refers to.
        settings: `Part` as JSON.
        comment: what stands in the place of the digest.
    """
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", zipfile.ZIP_STORED) as archive:
        for name, content in zip(_NAMES, (settings.encode(), graph, weights), strict=True):
            archive.writestr(zipfile.ZipInfo(name, _BEGINNING), content)
        archive.comment = comment.encode("ascii")
    return found.getvalue()


def unpack_archive(content: bytes) -> tuple[dict[str, bytes], str]:
    """Its entries by name, and its comment.

    Raises:
        DamagedError: no such archive.
    """
    _check_end(content)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if tuple(entry.filename for entry in entries) != _NAMES:
                raise DamagedError("it is an archive, but not one that `ltcam export` wrote")
            if any(
                entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(content)
                for entry in entries
            ):
                raise DamagedError("its entries are compressed, which no exported inspector's are")
            return {entry.filename: archive.read(entry) for entry in entries}, archive.comment.decode("ascii")
    except DamagedError:
        raise
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, EOFError, struct.error) as error:
        raise DamagedError(f"it is damaged or cut short ({error})") from error


def _check_end(content: bytes) -> None:
    """Look at the end before anything reads a directory: one of millions of entries takes minutes, and all memory."""
    place = len(content) - _END.size - _DIGITS
    if place >= 0 and content[-_DIGITS:].isalnum():  # no other end can be hidden in such a comment
        mark, *_, entries, directory, _, comment = _END.unpack_from(content, place)
        larger = content[max(0, place - _LOCATOR) : place].startswith(b"PK\x06\x07")
        whole = mark == b"PK\x05\x06" and comment == _DIGITS and not larger
        if whole and entries == len(_NAMES) and directory <= _LARGEST_DIRECTORY:
            return
    raise DamagedError("it is an archive, but damaged or cut short, or not one that `ltcam export` wrote")
