"""The outbox: what is to be delivered of the records, kept until a sink has had it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from ltcam.service.database import Database
from ltcam.service.ledger import Record
from ltcam.service.tables import outbox


def put_out(
    connection: Connection, records: Sequence[Record], deliveries: Mapping[str, Sequence[str]]
) -> None:
    """Put texts into the outbox, in the transaction that keeps the records.

    Args:
        connection: of that transaction.
        records: that the texts are about.
        deliveries: per sink, one text per record.
    """
    queued = [
        {"sink": sink, "sequence": record.sequence, "payload": payload, "attempts": 0, "problem": ""}
        for sink, payloads in deliveries.items()
        for record, payload in zip(records, payloads, strict=True)
    ]
    if queued:
        connection.execute(outbox.insert(), queued)


@dataclass(frozen=True)
class Outbox:
    """What the sinks take from."""

    database: Database

    def pending(self, sink: str, limit: int) -> list[tuple[int, str]]:
        """(number, text) of what a sink has not had yet, oldest first."""
        query = sa.select(outbox.c.number, outbox.c.payload).where(outbox.c.sink == sink)
        with self.database.reading() as connection:
            rows = connection.execute(query.order_by(outbox.c.number).limit(limit)).all()
        return [(number, payload) for number, payload in rows]

    def delivered(self, numbers: Sequence[int]) -> None:
        """These need not be delivered again."""
        with self.database.writing() as connection:
            connection.execute(outbox.delete().where(outbox.c.number.in_(numbers)))

    def undelivered(self, number: int, problem: str) -> None:
        """This could not be delivered now."""
        with self.database.writing() as connection:
            connection.execute(
                outbox.update()
                .where(outbox.c.number == number)
                .values(attempts=outbox.c.attempts + 1, problem=problem[:500])
            )

    def waiting(self) -> dict[str, int]:
        """Number of undelivered texts per sink."""
        query = sa.select(outbox.c.sink, sa.func.count()).group_by(outbox.c.sink)
        with self.database.reading() as connection:
            return {name: count for name, count in connection.execute(query).all()}  # noqa: C416  # rows are no pairs to mypy
