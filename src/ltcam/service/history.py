"""The history: every inspection that was answered, in a database, with its pictures in files beside it.

An inspection is answered only after its record is committed and its files are in place, so that what was answered
is there even after `kill -9`. Files are written before the record: a crash between the two leaves files that no
record names, which the next start removes.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, Row, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from ltcam.service.ledger import GENESIS, Broken, Finding, Record, chained, instant, verify
from ltcam.service.tables import chain_head, inspections, outbox, reviews
from ltcam_runtime.errors import InputError, OutputError, SettingsError
from ltcam_runtime.mask_reading import read_mask
from ltcam_runtime.results import Decision

REMOVED = ("image", "mask", "heatmap")
"""Files of an inspection that go with their time; what a person painted is kept."""

_PAGE = 500  # records per query when a whole history is read


@dataclass(frozen=True)
class Review:
    """What a person said of an inspection.

    Attributes:
        inspection: id of the inspection.
        time: in UTC.
        decision: what it says.
        kind: class of the defect, or "" where it is the one that was found, or none.
        reviewer: who, or "".
        note: free text.
        painted_sha256: of the painted mask's pixels; "" where none was painted, or none with this review.
    """

    inspection: str
    time: datetime
    decision: Decision
    kind: str = ""
    reviewer: str = ""
    note: str = ""
    painted_sha256: str = ""

    @property
    def defective(self) -> bool:
        """Whether the part has a defect, by this review."""
        return self.decision in {"confirmed", "missed"}


@dataclass(frozen=True)
class Entry:
    """A record as the history lists it.

    Attributes:
        record: the record.
        pictures: whether its files are still kept.
        review: the latest review, or None.
    """

    record: Record
    pictures: bool
    review: Review | None


@dataclass(frozen=True)
class Search:
    """Which records to list, newest first.

    Attributes:
        verdict: only this verdict.
        since: at this time or later.
        until: before this time.
        lot: only this lot.
        text: somewhere in the image's name, upper or lower case.
        reviewed: only those with (True) or without (False) a review.
        lowest: of the score, 0 to 1.
        highest: of the score, 0 to 1.
        before: only numbers smaller than this; the last of one page asks for the next.
        limit: at most this many, 1 to 1000.
    """

    verdict: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    lot: str | None = None
    text: str | None = None
    reviewed: bool | None = None
    lowest: float | None = None
    highest: float | None = None
    before: int | None = None
    limit: int = 50


class History:
    """An open history. Safe to use from several threads, and several processes on one database."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._reading = engine.execution_options(reading=True)
        self.folder = folder

    def append(
        self, findings: Sequence[Finding], deliveries: Mapping[str, Sequence[str]] | None = None
    ) -> list[Record]:
        """Add findings at the end of the chain, all or none, and what is to be delivered of them.

        Args:
            findings: in the order that they get their numbers in. Their files are in place already.
            deliveries: per sink, one text per finding; kept in the outbox in the same transaction.

        Raises:
            OutputError: the database cannot be written.
        """
        with self._writing() as connection:
            head = connection.execute(sa.select(chain_head).with_for_update()).one()
            sequence, previous = head.sequence, head.hash
            records = []
            for finding in findings:
                sequence += 1
                record = chained(sequence, finding, previous)
                previous = record.hash
                records.append(record)
            if records:
                connection.execute(inspections.insert(), [_row_of(record) for record in records])
                connection.execute(chain_head.update().values(sequence=sequence, hash=previous))
            queued = [
                {"sink": sink, "sequence": record.sequence, "payload": payload, "attempts": 0, "problem": ""}
                for sink, payloads in (deliveries or {}).items()
                for record, payload in zip(records, payloads, strict=True)
            ]
            if queued:
                connection.execute(outbox.insert(), queued)
        return records

    def get(self, id: str) -> Entry | None:  # noqa: A002  # the field's name
        """The record with this id, or None."""
        with self._reading.connect() as connection:
            row = connection.execute(sa.select(inspections).where(inspections.c.id == id)).one_or_none()
            if row is None:
                return None
            return Entry(_record_of(row), row.pictures, _latest_reviews(connection, [id]).get(id))

    def search(self, wanted: Search) -> list[Entry]:
        """Records, newest first."""
        query = sa.select(inspections).order_by(inspections.c.sequence.desc()).limit(wanted.limit)
        query = query.where(*_conditions(wanted))
        with self._reading.connect() as connection:
            rows = connection.execute(query).all()
            latest = _latest_reviews(connection, [row.id for row in rows])
        return [Entry(_record_of(row), row.pictures, latest.get(row.id)) for row in rows]

    def counts(self) -> dict[str, int]:
        """Number of records per verdict."""
        query = sa.select(inspections.c.verdict, sa.func.count()).group_by(inspections.c.verdict)
        with self._reading.connect() as connection:
            return {name: count for name, count in connection.execute(query).all()}  # noqa: C416  # rows are no pairs to mypy

    def records(self) -> Iterator[Record]:
        """All records, oldest first, read in pages."""
        last = 0
        while True:
            query = sa.select(inspections).where(inspections.c.sequence > last)
            with self._reading.connect() as connection:
                rows = connection.execute(query.order_by(inspections.c.sequence).limit(_PAGE)).all()
            if not rows:
                return
            yield from map(_record_of, rows)
            last = rows[-1].sequence

    def verify(self) -> tuple[int, Broken | None]:
        """Number of records that hold, and the first that does not.

        Beside the chain itself: records cut off at its end, and images and painted masks that are not those of their
        record and review. Reviews themselves, and for how long pictures are kept, stand beside the chain. What is
        written or removed meanwhile, by a service that goes on, is no change.
        """
        before = self._written()
        count, broken = verify(self.records())
        if broken is not None:
            return count, broken
        written = self._written()
        if not before <= count <= written:
            return count, Broken(count + 1, f"missing: {written} records were written, {count} are left")
        return count, self._changed_picture()

    def _written(self) -> int:
        """Number of records that were ever written."""
        with self._reading.connect() as connection:
            return int(connection.execute(sa.select(chain_head.c.sequence)).scalar_one())

    def _changed_picture(self) -> Broken | None:
        columns = (inspections.c.sequence, inspections.c.id, inspections.c.image_sha256)
        with self._reading.connect() as connection:
            rows = connection.execute(sa.select(*columns).order_by(inspections.c.sequence)).all()
        for row in rows:
            try:
                found = hashlib.sha256(self.picture(row.id, "image").read_bytes()).hexdigest()
            except OSError:
                entry = self.get(row.id)
                if entry is None or entry.pictures:
                    return Broken(row.sequence, f"its image {row.id} is not there any more")
                continue  # its pictures were removed, as they may be
            if found != row.image_sha256:
                return Broken(row.sequence, f"its image {row.id} was changed")
        return self._changed_painting()

    def _changed_painting(self) -> Broken | None:
        for record, review in self.reviewed():
            id_ = record.finding.id
            if review.painted_sha256 and self.painted(id_, review.painted_sha256) is None:
                return Broken(record.sequence, f"the painted mask of {id_} is not the one that was kept")
        return None

    def painted(self, id: str, sha256: str) -> Path | None:  # noqa: A002
        """The file of a painted mask, or None where it is not there, or not the one with these pixels."""
        file = self.picture(id, "painted")
        try:
            return file if hash_of_mask(read_mask(file)) == sha256 else None
        except InputError:
            return None

    def review(self, review: Review) -> None:
        """Keep a person's decision. Earlier ones stay; the latest counts.

        One that says nothing of a painted mask keeps what the one before it says.

        Raises:
            OutputError: the database cannot be written.
        """
        with self._writing() as connection:
            last = _latest_reviews(connection, [review.inspection]).get(review.inspection)
            connection.execute(
                reviews.insert().values(
                    inspection=review.inspection,
                    time=instant(review.time),
                    decision=review.decision,
                    kind=review.kind,
                    reviewer=review.reviewer,
                    note=review.note,
                    painted_sha256=review.painted_sha256 or (last.painted_sha256 if last else ""),
                )
            )

    def reviewed(self) -> list[tuple[Record, Review]]:
        """Every record that was reviewed, with its latest review, oldest record first."""
        latest = sa.select(sa.func.max(reviews.c.number)).group_by(reviews.c.inspection)
        query = (
            sa.select(inspections, reviews)
            .join(reviews, reviews.c.inspection == inspections.c.id)
            .where(reviews.c.number.in_(latest))
            .order_by(inspections.c.sequence)
        )
        with self._reading.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return [(_record_from(row, inspections), _review_from(row)) for row in rows]

    def picture(self, id: str, what: str) -> Path:  # noqa: A002
        """Where a file of an inspection lies; it need not exist.

        Args:
            id: of the inspection; only hexadecimal digits, so that it never leads out of the folder.
            what: `image`, `mask`, `heatmap` or `painted`.

        Raises:
            ValueError: an id that is none.
        """
        if not (len(id) == 32 and all(letter in "0123456789abcdef" for letter in id)):
            raise ValueError(f"{id!r} is no id of an inspection")
        return self.folder / id[:2] / f"{id}.{what}"

    def remove_pictures(self, before: datetime) -> int:
        """Remove the files of inspections older than this; records and reviews stay.

        Returns:
            Number of inspections whose files went.
        """
        condition = sa.and_(inspections.c.pictures, inspections.c.time < instant(before))
        with self._writing() as connection:
            ids = connection.scalars(sa.select(inspections.c.id).where(condition)).all()
            connection.execute(inspections.update().where(condition).values(pictures=False))
        for id_ in ids:
            for what in REMOVED:
                self.picture(id_, what).unlink(missing_ok=True)
        return len(ids)

    def sweep(self) -> int:
        """Remove files that no record names: what a crash left between files and records, written or removed.

        Only to be called while nothing else writes to this history.

        Returns:
            Number of files removed.
        """
        removed = 0
        for folder in sorted(self.folder.glob("[0-9a-f][0-9a-f]")):
            files = [file for file in folder.iterdir() if file.is_file()]
            query = sa.select(inspections.c.id, inspections.c.pictures)
            ids = {file.name.partition(".")[0] for file in files}
            with self._reading.connect() as connection:
                known = {
                    row.id: row.pictures for row in connection.execute(query.where(inspections.c.id.in_(ids)))
                }
            for file in files:
                id_, _, what = file.name.partition(".")
                if id_ not in known or file.suffix == ".part" or (what in REMOVED and not known[id_]):
                    file.unlink(missing_ok=True)
                    removed += 1
        return removed

    def pending(self, sink: str, limit: int) -> list[tuple[int, str]]:
        """(number, text) of what a sink has not had yet, oldest first."""
        query = sa.select(outbox.c.number, outbox.c.payload).where(outbox.c.sink == sink)
        with self._reading.connect() as connection:
            rows = connection.execute(query.order_by(outbox.c.number).limit(limit)).all()
        return [(number, payload) for number, payload in rows]

    def delivered(self, numbers: Sequence[int]) -> None:
        """These need not be delivered again."""
        with self._writing() as connection:
            connection.execute(outbox.delete().where(outbox.c.number.in_(numbers)))

    def undelivered(self, number: int, problem: str) -> None:
        """This could not be delivered now."""
        with self._writing() as connection:
            connection.execute(
                outbox.update()
                .where(outbox.c.number == number)
                .values(attempts=outbox.c.attempts + 1, problem=problem[:500])
            )

    def waiting(self) -> dict[str, int]:
        """Number of undelivered texts per sink."""
        query = sa.select(outbox.c.sink, sa.func.count()).group_by(outbox.c.sink)
        with self._reading.connect() as connection:
            return {name: count for name, count in connection.execute(query).all()}  # noqa: C416  # rows are no pairs to mypy

    def ready(self) -> None:
        """Raises SQLAlchemyError where the database does not answer."""
        self._written()

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise OutputError(f"the history cannot be written: {reason}") from error


def hash_of_mask(mask: NDArray[np.bool_]) -> str:
    """SHA-256 over a mask's pixels, one byte of 0 or 1 each, row by row."""
    return hashlib.sha256(np.ascontiguousarray(mask, dtype=np.uint8).tobytes()).hexdigest()


def open_history(url: str, folder: Path) -> History:
    """Open a history, or begin one, and bring its tables up to date.

    Args:
        url: of the database, as SQLAlchemy writes them: `sqlite:///history.db`, `postgresql+psycopg://...`.
        folder: for the pictures; made where it is missing.

    Raises:
        SettingsError: a URL that cannot be used.
        OutputError: database or folder cannot be opened or written.
    """
    try:
        engine = create_engine(url, pool_pre_ping=True)
    except (SQLAlchemyError, ImportError, ValueError) as error:
        raise SettingsError(
            f"database {_without_password(url)}: {error}; give sqlite:///FILE or postgresql+psycopg://..."
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _settle_sqlite)
        event.listen(engine, "begin", _begin)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with engine.begin() as connection:
            upgrade(connection)
            if connection.execute(sa.select(chain_head)).one_or_none() is None:
                connection.execute(chain_head.insert().values(only=1, sequence=0, hash=GENESIS))
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise OutputError(f"the history {_without_password(url)} cannot be opened: {reason}") from error
    except OSError as error:
        raise OutputError(f"the history's folder {folder} cannot be made: {error.strerror}") from error
    return History(engine, folder)


def upgrade(connection: Connection) -> None:
    """Bring the tables behind a connection up to date."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _settle_sqlite(connection: Any, _record: object) -> None:
    # The driver must not begin transactions by itself: `_begin` takes the write lock of a writer at once, so that
    # two writers wait for each other instead of failing half way.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=15000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _without_password(url: str) -> str:
    try:
        return sa.make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return "(not a URL)"


def _conditions(wanted: Search) -> list[sa.ColumnElement[bool]]:
    column = inspections.c
    found: list[sa.ColumnElement[bool]] = []
    if wanted.verdict is not None:
        found.append(column.verdict == wanted.verdict)
    if wanted.since is not None:
        found.append(column.time >= instant(wanted.since))
    if wanted.until is not None:
        found.append(column.time < instant(wanted.until))
    if wanted.lot is not None:
        found.append(column.lot == wanted.lot)
    if wanted.text:
        found.append(column.name.icontains(wanted.text, autoescape=True))
    if wanted.reviewed is not None:
        known = column.id.in_(sa.select(reviews.c.inspection))
        found.append(known if wanted.reviewed else ~known)
    if wanted.lowest is not None:
        found.append(column.score >= wanted.lowest)
    if wanted.highest is not None:
        found.append(column.score <= wanted.highest)
    if wanted.before is not None:
        found.append(column.sequence < wanted.before)
    return found


def _latest_reviews(connection: Connection, ids: Sequence[str]) -> dict[str, Review]:
    query = sa.select(reviews).where(reviews.c.inspection.in_(ids)).order_by(reviews.c.number)
    return {row["inspection"]: _review_from(row) for row in connection.execute(query).mappings()}


def _review_from(row: Mapping[Any, Any]) -> Review:
    column = reviews.c
    return Review(
        row[column.inspection],
        datetime.fromisoformat(row[column.time]).astimezone(UTC),
        row[column.decision],
        row[column.kind],
        row[column.reviewer],
        row[column.note],
        row[column.painted_sha256],
    )


def _row_of(record: Record) -> dict[str, Any]:
    return {
        **record.finding.content(),
        "sequence": record.sequence,
        "seconds": record.finding.seconds,
        "previous": record.previous,
        "hash": record.hash,
        "pictures": True,
    }


def _record_of(row: Row[Any]) -> Record:
    return _record_from(row._mapping, inspections)


def _record_from(row: Mapping[Any, Any], table: sa.Table) -> Record:
    column = table.c
    finding = Finding(
        id=row[column.id],
        time=datetime.fromisoformat(row[column.time]).astimezone(UTC),
        name=row[column.name],
        lot=row[column.lot],
        height=row[column.height],
        width=row[column.width],
        verdict=row[column.verdict],
        score=row[column.score],
        class_scores=row[column.class_scores],
        regions=tuple(row[column.regions]),
        image_sha256=row[column.image_sha256],
        mask_sha256=row[column.mask_sha256],
        model_sha256=row[column.model_sha256],
        settings_sha256=row[column.settings_sha256],
        seconds=row[column.seconds],
    )
    return Record(row[column.sequence], finding, row[column.previous], row[column.hash])
