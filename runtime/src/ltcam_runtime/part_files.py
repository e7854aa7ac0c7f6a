"""The file that `ltcam export` writes: a graph, and in its metadata all that an inspector needs.

    part.ltcam.onnx
      graph       images (N, H, W, 3) uint8 -> logits, probabilities, heatmap (one per map)
      metadata    ltcam           `Part` as JSON: image size, settings of the inspection, golden images
                  ltcam_sha256    of all bytes of the file, itself read as zeros

or, with the same settings, OpenVINO's own form of a graph: `part.ltcam.zip`, see `openvino_files`.

Reading executes nothing, and hands nothing to a library that was not looked through.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, ValidationInfo, field_validator

from ltcam_runtime.encoding import encoded
from ltcam_runtime.errors import RunError
from ltcam_runtime.files import why_not_read
from ltcam_runtime.onnx_files import DamagedError, check, metadata
from ltcam_runtime.openvino_files import ARCHIVE_SUFFIX, SETTINGS, is_archive, unpack_archive
from ltcam_runtime.settings import WHITE, CamSettings, InspectionSettings, NetworkSize, Settings, first_field

PART_SCHEMA_VERSION = 2
PART_SUFFIX = ".ltcam.onnx"
PART_KEY, DIGEST_KEY = "ltcam", "ltcam_sha256"
NO_DIGEST = "0" * 64

MOST_GOLDEN = 64
"""Golden images in a file."""

IMAGES, LOGITS, PROBABILITIES, HEATMAP = "images", "logits", "probabilities", "heatmap"
"""Names of the graph's input and outputs; of several heatmaps, `heatmap:NAME`."""

_LARGEST_FILE = 2**31 - 1  # protobuf's own limit
_LARGEST_PICTURE = 2**24  # pixels of a golden image

EngineName = Literal["onnxruntime", "openvino"]
Picture = Annotated[str, Field(max_length=2**26)]
"""A PNG file in base64."""


class GoldenMap(Settings):
    """A heatmap (h, w): a PNG of 16 bits, 0 standing for `low` and 65535 for `high`."""

    levels: Picture
    low: float
    high: float


class Golden(Settings):
    """One image, and what the trained network itself says of it. Masks are those of a verdict that is not OK."""

    name: str
    image: Picture
    probabilities: tuple[float, ...]
    verdict: Literal["ok", "unsure", "defect"]
    heatmaps: dict[str, GoldenMap]
    mask: Picture


class Origin(Settings):
    """Which run it was made of, and by what."""

    run: str
    weights_sha256: str
    versions: dict[str, str] = Field(default_factory=dict)


class Part(Settings):
    """What a file says of itself.

    `maps`: how each of the graph's heatmaps is made, by name; fixed in the graph.
    `engine`: what runs it unless asked otherwise, by measurement. `precision`: of its weights. `tolerance`: how far
    heatmaps may be from the golden ones on average, as a share of their range.
    """

    schema_version: Literal[2] = 2
    image_size: NetworkSize
    inspection: InspectionSettings
    maps: dict[str, CamSettings] = Field(min_length=1)
    engine: EngineName = "onnxruntime"
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    tolerance: float = Field(default=1e-3, gt=0, lt=1)
    origin: Origin
    golden: tuple[Golden, ...] = Field(min_length=1, max_length=MOST_GOLDEN)

    @field_validator("maps")
    @classmethod
    def _all_drawn_from(cls, value: dict[str, CamSettings], info: ValidationInfo) -> dict[str, CamSettings]:
        inspection = info.data.get("inspection")
        unknown = [name for name in inspection.maps if name not in value] if inspection is not None else []
        if unknown:
            raise ValueError(
                f"the settings draw from maps that the graph does not make: {', '.join(unknown)}"
            )
        return value


@dataclass(frozen=True, eq=False)
class PartFile:
    """A file that was read and looked through.

    Attributes:
        path: of the file.
        content: its bytes.
        part: what it says of itself.
    """

    path: Path
    content: bytes
    part: Part

    @property
    def engines(self) -> tuple[EngineName, ...]:
        """What can run it."""
        return ("openvino",) if is_archive(self.content) else get_args(EngineName)


def output_name(map_name: str, maps: tuple[str, ...]) -> str:
    """The graph's output of a map."""
    return HEATMAP if len(maps) == 1 else f"{HEATMAP}:{map_name}"


def is_part_file(path: Path) -> bool:
    """Whether a path is called like an exported inspector."""
    return path.name.endswith((".onnx", ARCHIVE_SUFFIX))


def read_part(path: str | Path) -> PartFile:
    """Read a file, and look it through.

    Raises:
        RunError: missing, damaged, changed, foreign, of a newer schema, or one that reaches outside of itself.
    """
    path = Path(path)
    content = _read(path)
    try:
        settings, written = _texts(path, content)
    except DamagedError as error:
        raise RunError(f"{path} cannot be used: {error}") from error
    if not written or digest(content, written) != written:
        raise RunError(
            f"{path} was changed or damaged after its export: its checksum is another; copy it again"
        )
    return PartFile(path, content, _part(path, settings))


def _texts(path: Path, content: bytes) -> tuple[str, str]:
    """The settings that a file carries, and its digest; the rest is looked through."""
    if is_archive(content):
        entries, comment = unpack_archive(content)
        return entries[SETTINGS].decode(errors="replace"), comment
    texts = metadata(content)
    if PART_KEY not in texts or DIGEST_KEY not in texts:
        raise RunError(f"{path} is an ONNX file, but not one that `ltcam export` wrote; export the run again")
    check(content)
    return texts[PART_KEY], texts[DIGEST_KEY]


def digest(content: bytes, written: str) -> str:
    """SHA-256 of a file, its own digest read as zeros."""
    if len(written) != len(NO_DIGEST) or not written.isascii():
        return ""
    return hashlib.sha256(content.replace(written.encode(), NO_DIGEST.encode(), 1)).hexdigest()


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "is not there"
            raise RunError(f"{path} {what}; give a file that `ltcam export` wrote")
        size = path.stat().st_size
        if size > _LARGEST_FILE:
            raise RunError(f"{path} has {size:,} bytes; an exported inspector has at most {_LARGEST_FILE:,}")
        return path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} {why_not_read(error)}") from error


def _part(path: Path, text: str) -> Part:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: its settings are damaged: {error}") from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > PART_SCHEMA_VERSION:
        raise RunError(
            f"{path} has schema version {version}, this ltcam-runtime reads up to {PART_SCHEMA_VERSION}; update it"
        )
    try:
        return Part.model_validate(_upgraded(values))
    except ValidationError as error:
        raise RunError(f"{path}: {first_field(error)}") from error


def _upgraded(values: Any) -> Any:
    """What a file says, as one of today's schema does: in version 1, `white` was 65535 also where nobody knew."""
    if not isinstance(values, dict) or values.get("schema_version", 1) != 1:
        return values
    inspection = values.get("inspection")
    if isinstance(inspection, dict) and inspection.get("white") == WHITE:
        inspection = {**inspection, "white": None}
    return {**values, "schema_version": PART_SCHEMA_VERSION, "inspection": inspection}


# --------------------------------------------------------------------------------------- pictures


def pack(picture: NDArray[np.uint8] | NDArray[np.uint16]) -> str:
    """A picture (H, W) or (H, W, 3) RGB as a PNG in base64."""
    return base64.b64encode(encoded(".png", picture)).decode("ascii")


def unpack(text: str) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The picture that `pack` took.

    Raises:
        ValueError: no such picture, or a larger one than a golden image can be.
    """
    content = base64.b64decode(text, validate=True)
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 24:
        raise ValueError("it is no PNG")
    width, height = (int.from_bytes(content[place : place + 4], "big") for place in (16, 20))
    if not 0 < width * height <= _LARGEST_PICTURE:
        raise ValueError(f"it has {width} x {height} pixels")
    found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.dtype not in (np.uint8, np.uint16):
        raise ValueError("it is damaged")
    pixels = found[..., ::-1] if found.ndim == 3 else found
    if pixels.dtype == np.uint16:
        return np.ascontiguousarray(pixels, np.uint16)
    return np.ascontiguousarray(pixels, np.uint8)


def pack_map(heatmap: NDArray[np.float32]) -> GoldenMap:
    """A heatmap (h, w) in 65536 steps of its range."""
    low, high = float(heatmap.min()), float(heatmap.max())
    steps = (heatmap.astype(np.float64) - low) / (high - low or 1) * 65535
    return GoldenMap(levels=pack(np.rint(steps).astype(np.uint16)), low=low, high=high)


def unpack_map(golden: GoldenMap) -> NDArray[np.float64]:
    """The heatmap that `pack_map` took, up to half a step.

    Raises:
        ValueError: as `unpack`.
    """
    return unpack(golden.levels).astype(np.float64) / 65535 * (golden.high - golden.low) + golden.low
