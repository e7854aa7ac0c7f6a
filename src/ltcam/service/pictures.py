"""The pictures of the inspections: files in a folder, in sub-folders by the first two digits of their id."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from ltcam.service.database import Database
from ltcam.service.ledger import instant
from ltcam.service.tables import inspections, reviews
from ltcam_runtime.errors import InputError, OutputError
from ltcam_runtime.folders import why_not_written
from ltcam_runtime.mask_reading import read_mask

REMOVED = ("image", "mask", "heatmap")
"""Files of an inspection that go with their time; what a person painted is kept."""


_PAINTED = "painted-"  # and the hash of its pixels


@dataclass(frozen=True)
class Pictures:
    """Where the files of the inspections lie."""

    folder: Path

    def file(self, id: str, what: str) -> Path:  # noqa: A002
        """Where a file of an inspection lies; it need not exist.

        Args:
            id: of the inspection; only hexadecimal digits, so that it never leads out of the folder.
            what: `image`, `mask` or `heatmap`.

        Raises:
            ValueError: an id that is none.
        """
        if not (len(id) == 32 and all(letter in "0123456789abcdef" for letter in id)):
            raise ValueError(f"{id!r} is no id of an inspection")
        return self.folder / id[:2] / f"{id}.{what}"

    def painted(self, id: str, sha256: str) -> Path | None:  # noqa: A002
        """The file of a painted mask, or None where it is not there, or not the one with these pixels."""
        return next(
            (file for file in (self.to_paint(id, sha256), self.file(id, "painted")) if _shows(file, sha256)),
            None,
        )

    def to_paint(self, id: str, sha256: str) -> Path:  # noqa: A002
        """Where a painted mask of these pixels is written: never over another one, which a review may name.

        (Earlier versions had one file `ID.painted`, which is still read.)
        """
        return self.file(id, f"{_PAINTED}{sha256}")


def _shows(file: Path, sha256: str) -> bool:
    try:
        return hash_of_mask(read_mask(file)) == sha256
    except InputError:
        return False


def open_pictures(folder: Path) -> Pictures:
    """The pictures in a folder, which is made where it is missing.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the history's folder {folder} cannot be made: {why_not_written(error)}"
        ) from error
    return Pictures(folder)


def remove_pictures(database: Database, pictures: Pictures, before: datetime) -> int:
    """Remove the files of inspections older than this; records and reviews stay.

    Returns:
        Number of inspections whose files went.
    """
    condition = sa.and_(inspections.c.pictures, inspections.c.time < instant(before))
    with database.writing() as connection:
        ids = connection.scalars(sa.select(inspections.c.id).where(condition)).all()
        connection.execute(inspections.update().where(condition).values(pictures=False))
    for id_ in ids:
        for what in REMOVED:
            pictures.file(id_, what).unlink(missing_ok=True)
    return len(ids)


def sweep(database: Database, pictures: Pictures) -> int:
    """Remove files that no record or review names: what a crash left between files and records, written or removed.

    Only to be called while nothing else writes to this history.

    Returns:
        Number of files removed.
    """
    removed = 0
    for folder in sorted(pictures.folder.glob("[0-9a-f][0-9a-f]")):
        files = [file for file in folder.iterdir() if file.is_file()]
        ids = {file.name.partition(".")[0] for file in files}
        known, painted = _known(database, ids), _painted(database, ids)
        for file in files:
            id_, _, what = file.name.partition(".")
            unknown = id_ not in known or (what.startswith(_PAINTED) and file.name not in painted)
            if unknown or file.suffix == ".part" or (what in REMOVED and not known[id_]):
                file.unlink(missing_ok=True)
                removed += 1
    return removed


def _known(database: Database, ids: Collection[str]) -> dict[str, bool]:
    """The ids that there are records of, and whether their files are kept."""
    query = sa.select(inspections.c.id, inspections.c.pictures).where(inspections.c.id.in_(ids))
    with database.reading() as connection:
        return {row.id: row.pictures for row in connection.execute(query)}


def _painted(database: Database, ids: Collection[str]) -> set[str]:
    """Names of the files of all masks that were painted, by the reviews."""
    query = sa.select(reviews.c.inspection, reviews.c.painted_sha256).where(reviews.c.inspection.in_(ids))
    with database.reading() as connection:
        return {f"{row.inspection}.{_PAINTED}{row.painted_sha256}" for row in connection.execute(query)}


def hash_of_mask(mask: NDArray[np.bool_]) -> str:
    """SHA-256 over a mask's pixels, one byte of 0 or 1 each, row by row."""
    return hashlib.sha256(np.ascontiguousarray(mask, dtype=np.uint8).tobytes()).hexdigest()
