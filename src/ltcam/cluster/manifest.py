"""Which images an archive holds: a Parquet or CSV manifest, a folder, or an object store, as (id, address) rows."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from ltcam.cluster.stores import open_store
from ltcam.data.tables import cells_by_column, decoded, named_columns, rows_of
from ltcam.jobs.predicting import find_inputs
from ltcam_runtime.errors import DataError, OutputError
from ltcam_runtime.files import why_not_read
from ltcam_runtime.phrases import counted
from ltcam_runtime.searching import CLOSED, LeftOut, is_image, is_table

_ID, _PATH = "id", "path"
_COLUMNS = (_ID, _PATH, "time", "line")
_NO_IMAGE = "objects whose names do not end as those of images"


@dataclass(frozen=True)
class Listed:
    """One image of an archive.

    Attributes:
        id: unique in the archive; its path where no other is given.
        address: absolute path or URL of the image, or "" where its row names none.
        time: when it was taken, as the manifest says it, or "".
        line: which line it was taken at, or "".
        fault: why it cannot be judged, which its row or its folder shows already, or "".
    """

    id: str
    address: str
    time: str = ""
    line: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Manifest:
    """All images of an archive, in an order that does not change.

    Attributes:
        source: as the user gave it.
        images: sorted by id.
        left_out: everything else that stands in a folder or store.
    """

    source: str
    images: tuple[Listed, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def sha256(self) -> str:
        """Of ids, addresses, times and lines, and of the faults of rows without an address."""
        digest = hashlib.sha256(b"ltcam archive manifest 1\n")
        for image in self.images:
            row = (image.id, image.address, image.time, image.line)
            text = repr(row if image.address else (*row, image.fault))
            digest.update(text.encode("utf-8", "surrogateescape") + b"\n")
        return digest.hexdigest()

    def shards(self, size: int) -> Iterator[tuple[int, tuple[Listed, ...]]]:
        """Fixed slices: (number, images)."""
        for number, start in enumerate(range(0, len(self.images), size)):
            yield number, self.images[start : start + size]


def read_archive_manifest(source: str) -> Manifest:
    """Read a manifest, or list a folder or object store.

    Args:
        source: FILE.parquet or FILE.csv (.tsv, .txt) with the columns `path` and optionally `id`, `time`, `line` (or
            what `ltcam.data.tables` takes for them); a folder; `s3://bucket/prefix`. Paths are relative to the
            manifest's folder, or absolute, or URLs.

    Returns:
        Every row. One that names no image, or holds too many values, is among them with its fault and what else of it
        fits the columns, and is `row N` where it has no id.

    Raises:
        DataError: it cannot be read, names no image, or an id stands in two rows.
    """
    left_out: tuple[LeftOut, ...] = ()
    if Path(source).is_dir():
        images, left_out = _folder(Path(source))
    elif source.lower().endswith(".parquet"):
        images = _parquet(source)
    elif is_table(PurePosixPath(source)):
        images = _csv(source)
    elif "://" in source:
        images, left_out = _objects(source)
    else:
        raise DataError(f"{source} is no folder, FILE.csv, FILE.parquet or URL such as s3://bucket/prefix")
    if all(image.fault for image in images):
        raise DataError("; ".join([f"{source} names no image", *(image.fault for image in images[:1])]))
    ordered = tuple(sorted(images, key=lambda image: image.id))
    _refuse_repetition(source, ordered)
    return Manifest(source, ordered, left_out)


def _refuse_repetition(source: str, images: Sequence[Listed]) -> None:
    repeated = [one.id for one, other in itertools.pairwise(images) if one.id == other.id]
    if repeated:
        shown = ", ".join(repr(id_) for id_ in dict.fromkeys(repeated[:10]))
        raise DataError(
            f"{source}: {counted(len(repeated), 'ids')} in more than one row, such as {shown}; ids must be unique"
        )


def _folder(folder: Path) -> tuple[list[Listed], tuple[LeftOut, ...]]:
    """What `predict` would inspect in it: no masks, nothing hidden. What is no file becomes a row that says so."""
    found = find_inputs([str(folder)])
    for name, reason in found.failed:
        if reason == CLOSED:
            raise DataError(f"{name}: {reason}")
    broken = [
        Listed(Path(name).relative_to(folder).as_posix(), str(Path(name).absolute()), fault=reason)
        for name, reason in found.failed
    ]
    listed = [*(Listed(name, str(path.absolute())) for name, path in found.files), *broken]
    return listed, found.left_out


def _objects(url: str) -> tuple[list[Listed], tuple[LeftOut, ...]]:
    base = url.rstrip("/")
    names = [PurePosixPath(name) for name in open_store(base).names("")]
    others = tuple(LeftOut(name, _NO_IMAGE) for name in names if not is_image(name))
    return [Listed(str(name), f"{base}/{name}") for name in names if is_image(name)], others


def read_bytes(source: str) -> bytes:
    """A file's content, by path or URL.

    Raises:
        DataError: it cannot be read.
    """
    try:
        if "://" not in source:
            if Path(source).exists() and not Path(source).is_file():  # a pipe or a device may never end
                raise DataError(f"{source} is not a regular file")
            return Path(source).read_bytes()
        folder, _, name = source.rpartition("/")
        return open_store(folder).read(name)
    except FileNotFoundError as error:
        raise DataError(f"{source}: there is no such file; check the path") from error
    except OSError as error:
        raise DataError(
            f"{source} {why_not_read(error)}; check its permissions, or give another file"
        ) from error
    except OutputError as error:
        raise DataError(f"{source} cannot be read: {error}") from error


def _parquet(source: str) -> list[Listed]:
    import pyarrow as pa  # noqa: PLC0415  # an extra
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        table = pq.read_table(io.BytesIO(read_bytes(source)))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{source} is no readable Parquet file: {error}") from error
    columns = _columns(table.column_names, source)
    rows = table.rename_columns(columns).select([name for name in _COLUMNS if name in columns]).to_pylist()
    return [
        _listed(source, number, {name: "" if value is None else str(value) for name, value in row.items()})
        for number, row in enumerate(rows, start=1)
    ]


def _csv(source: str) -> list[Listed]:
    table = rows_of(decoded(read_bytes(source), source), source)
    columns = _columns(table[0][1], source) if table else []
    images = []
    for row in table[1:]:
        try:
            images.append(_listed(source, row[0], cells_by_column(row, columns, source)))
        except DataError as error:  # of this row alone
            number, cells = row
            fitting = cells_by_column((number, cells[: len(columns)]), columns, source)
            fault = str(error).removeprefix(f"{source}: ")
            images.append(Listed(_id_of(number, fitting), "", *_rest_of(fitting), fault=fault))
    return images


def _columns(header: Sequence[str], source: str) -> list[str]:
    columns = named_columns(header, _COLUMNS, source)
    if _PATH not in columns:
        raise DataError(f"{source} has no column `path`; it has {', '.join(columns)}")
    return columns


def _listed(source: str, number: int, row: Mapping[str, str]) -> Listed:
    """What a row names; its number is that of the line in a CSV file, and counts from 1 in Parquet."""
    path = row.get(_PATH, "")
    if not path:
        return Listed(_id_of(number, row), "", *_rest_of(row), fault=f"row {number} has no path")
    return Listed(row.get(_ID) or path, _address(source, path), *_rest_of(row))


def _id_of(number: int, row: Mapping[str, str]) -> str:
    return row.get(_ID) or f"row {number}"


def _rest_of(row: Mapping[str, str]) -> tuple[str, str]:
    return row.get("time", ""), row.get("line", "")


def _address(source: str, path: str) -> str:
    if "://" in path or Path(path).is_absolute():
        return path
    base = source.rpartition("/")[0]
    if "://" in source:
        return f"{base}/{path}"
    file = Path(source).parent / path
    if "\\" in path and not os.path.exists(file):  # noqa: PTH110  # a name too long is no error; written on Windows
        file = Path(source).parent / PureWindowsPath(path).as_posix()
    return str(file.absolute())
