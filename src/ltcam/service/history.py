"""The history: a chain of records, one of every inspection that was answered, and what people say of them.

An inspection is answered only after its record is committed and its files are in place, so that what was answered
is there even after `kill -9`. Files are written before the record: a crash between the two leaves files that no
record names, which the next start removes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from ltcam.service.database import Database, open_database
from ltcam.service.ledger import GENESIS, Broken, Finding, Record, chained, instant, verify
from ltcam.service.outbox import put_out
from ltcam.service.pictures import Pictures, open_pictures
from ltcam.service.tables import chain_head, inspections, reviews
from ltcam_runtime.results import Decision

_LOCKED_HEAD = sa.select(chain_head).with_for_update()
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

    def __init__(self, database: Database, pictures: Pictures) -> None:
        self.database, self.pictures = database, pictures

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
        with self.database.writing() as connection:
            head = connection.execute(_LOCKED_HEAD).one()
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
            put_out(connection, records, deliveries or {})
        return records

    def check_writable(self) -> None:
        """Begin what `append` does, and write nothing.

        Raises:
            OutputError: the database cannot be written.
        """
        with self.database.writing() as connection:
            connection.execute(_LOCKED_HEAD).one()

    def get(self, id: str) -> Entry | None:  # noqa: A002  # the field's name
        """The record with this id, or None."""
        with self.database.reading() as connection:
            row = connection.execute(sa.select(inspections).where(inspections.c.id == id)).one_or_none()
            if row is None:
                return None
            return Entry(_record_of(row), row.pictures, _latest_reviews(connection, [id]).get(id))

    def search(self, wanted: Search) -> list[Entry]:
        """Records, newest first."""
        query = sa.select(inspections).order_by(inspections.c.sequence.desc()).limit(wanted.limit)
        query = query.where(*_conditions(wanted))
        with self.database.reading() as connection:
            rows = connection.execute(query).all()
            latest = _latest_reviews(connection, [row.id for row in rows])
        return [Entry(_record_of(row), row.pictures, latest.get(row.id)) for row in rows]

    def counts(self) -> dict[str, int]:
        """Number of records per verdict."""
        query = sa.select(inspections.c.verdict, sa.func.count()).group_by(inspections.c.verdict)
        with self.database.reading() as connection:
            return {name: count for name, count in connection.execute(query).all()}  # noqa: C416  # rows are no pairs to mypy

    def records(self) -> Iterator[Record]:
        """All records, oldest first, read in pages."""
        last = 0
        while True:
            query = sa.select(inspections).where(inspections.c.sequence > last)
            with self.database.reading() as connection:
                rows = connection.execute(query.order_by(inspections.c.sequence).limit(_PAGE)).all()
            if not rows:
                return
            yield from map(_record_of, rows)
            last = rows[-1].sequence

    def verify(self) -> tuple[int, Broken | None]:
        """Number of records that hold, before the first that does not where there is one, and that one.

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
        changed = [each for each in (self._changed_image(), self._changed_painting()) if each is not None]
        if not changed:
            return count, None
        first = min(changed, key=lambda each: each.sequence)
        return first.sequence - 1, first

    def _written(self) -> int:
        """Number of records that were ever written."""
        with self.database.reading() as connection:
            return int(connection.execute(sa.select(chain_head.c.sequence)).scalar_one())

    def _changed_image(self) -> Broken | None:
        columns = (inspections.c.sequence, inspections.c.id, inspections.c.image_sha256)
        with self.database.reading() as connection:
            rows = connection.execute(sa.select(*columns).order_by(inspections.c.sequence)).all()
        for row in rows:
            try:
                found = hashlib.sha256(self.pictures.file(row.id, "image").read_bytes()).hexdigest()
            except OSError:
                entry = self.get(row.id)
                if entry is None or entry.pictures:
                    return Broken(row.sequence, f"its image {row.id} is not there any more")
                continue  # its pictures were removed, as they may be
            if found != row.image_sha256:
                return Broken(row.sequence, f"its image {row.id} was changed")
        return None

    def _changed_painting(self) -> Broken | None:
        for record, review in self.reviewed():
            id_ = record.finding.id
            if review.painted_sha256 and self.pictures.painted(id_, review.painted_sha256) is None:
                return Broken(record.sequence, f"the painted mask of {id_} is not the one that was kept")
        return None

    def review(self, review: Review) -> None:
        """Keep a person's decision. Earlier ones stay; the latest counts.

        One that says nothing of a painted mask keeps what the one before it says.

        Raises:
            OutputError: the database cannot be written.
        """
        with self.database.writing() as connection:
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
        with self.database.reading() as connection:
            rows = connection.execute(query).mappings().all()
        return [(_record_from(row, inspections), _review_from(row)) for row in rows]


def open_history(url: str, folder: Path) -> History:
    """Open a history, or begin one.

    Args:
        url: of the database, as SQLAlchemy writes them: `sqlite:///history.db`, `postgresql+psycopg://...`.
        folder: for the pictures; made where it is missing.

    Raises:
        SettingsError: a URL that cannot be used.
        OutputError: database or folder cannot be opened or written.
    """
    database, pictures = open_database(url), open_pictures(folder)
    with database.writing() as connection:
        if connection.execute(sa.select(chain_head)).one_or_none() is None:
            connection.execute(chain_head.insert().values(only=1, sequence=0, hash=GENESIS))
    return History(database, pictures)


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
