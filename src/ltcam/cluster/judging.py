"""The shard function: images in, one Parquet file out. The same bytes on every engine."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ltcam.cluster.manifest import Listed, read_bytes
from ltcam.jobs.models import Model
from ltcam_runtime.errors import DataError, InputError
from ltcam_runtime.images import read_image, to_pixels
from ltcam_runtime.resizing import resize
from ltcam_runtime.results import Inspection
from ltcam_runtime.writers.coco import compress, run_lengths

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("address", pa.string()),
        ("time", pa.string()),
        ("line", pa.string()),
        ("verdict", pa.string()),
        ("score", pa.float64()),
        ("class_scores", pa.string()),
        ("regions", pa.string()),
        ("region_count", pa.int32()),
        ("area", pa.int64()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("mask", pa.string()),
        ("look", pa.string()),
        ("model", pa.string()),
        ("settings", pa.string()),
        ("error", pa.string()),
    ]
)
"""A row per image. `class_scores` and `regions` are JSON, `mask` COCO's compressed run lengths; `area` counts the
mask's pixels; `look` is a difference hash, equal for copies and near-copies; `error` says why an image could not be
judged, then the verdict and what follows from it are null."""

_SCORE_DIGITS = 6


def judge(images: Sequence[Listed], model: Model, batch_size: int = 8) -> bytes:
    """Judge the images of a shard.

    Args:
        images: in their order.
        model: inspects them.
        batch_size: images per pass of the network.

    Returns:
        A Parquet file with the columns of `SCHEMA`, one row per image in the same order.
    """
    rows: list[dict[str, Any]] = []
    for start in range(0, len(images), batch_size):
        rows += _judge_batch(images[start : start + batch_size], model)
    for row in rows:
        row.update(model=model.sha256, settings=model.settings_sha256)
    return to_parquet(pa.Table.from_pylist(rows, SCHEMA))


def to_parquet(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file; equal tables give equal bytes."""
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd", write_statistics=True)
    return stream.getvalue()


def _judge_batch(images: Sequence[Listed], model: Model) -> list[dict[str, Any]]:
    rows = [
        {"id": _text(i.id), "address": _text(i.address), "time": _text(i.time), "line": _text(i.line)}
        for i in images
    ]
    pixels: list[NDArray[np.uint8]] = []
    readable: list[int] = []
    for place, image in enumerate(images):
        try:
            if image.fault:
                raise InputError(image.id, image.fault)
            pixels.append(read_address(image.address, model.white))
            readable.append(place)
        except InputError as error:
            rows[place]["error"] = _text(error.reason)
    if pixels:
        found = model.inspector.inspect_batch(pixels, [images[place].id for place in readable])
        for place, seen, inspection in zip(readable, pixels, found, strict=True):
            rows[place].update(_found(inspection) | {"look": difference_hash(seen)})
    return rows


def read_address(address: str, white: int | None = None) -> NDArray[np.uint8]:
    """An image from a path or URL.

    Args:
        address: of the image.
        white: as for `ltcam_runtime.images.read_image`.

    Raises:
        InputError: it cannot be had or read.
    """
    if "://" not in address:
        return read_image(address, white=white)
    try:
        content = read_bytes(address)
    except DataError as error:
        raise InputError(address, str(error)) from error
    return to_pixels(content, address, white=white)


def _found(inspection: Inspection) -> dict[str, Any]:
    height, width = inspection.size
    scores = {name: round(float(score), _SCORE_DIGITS) for name, score in inspection.class_scores.items()}
    return {
        "verdict": inspection.verdict,
        "score": round(float(inspection.score), _SCORE_DIGITS),
        "class_scores": json.dumps(scores),
        "regions": json.dumps([region.to_json() for region in inspection.regions]),
        "region_count": len(inspection.regions),
        "area": int(inspection.mask.sum()),
        "height": height,
        "width": width,
        "mask": compress(run_lengths(inspection.mask, (0, 0), inspection.size)),
        "error": None,
    }


def difference_hash(image: NDArray[np.uint8]) -> str:
    """64 bits, in hexadecimal: whether each cell of an 8 x 8 grid is darker than its right neighbour (dHash).

    Args:
        image: (H, W, 3) uint8.
    """
    grey = resize(image, (8, 9)).mean(axis=2)
    bits = (grey[:, 1:] > grey[:, :-1]).ravel()
    return np.packbits(bits).tobytes().hex()


def _text(value: str) -> str:
    """Text that is valid UTF-8, whatever bytes a file name holds."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
