"""The database behind the history: opened, brought up to date, read and written in transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from ltcam_runtime.errors import OutputError, SettingsError


@dataclass(frozen=True)
class Database:
    """An open database. Safe to use from several threads, and by several processes."""

    engine: Engine

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads, and waits for no writer."""
        with self.engine.connect() as connection:
            yield connection.execution_options(reading=True)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is committed when the block ends well.

        Raises:
            OutputError: the database cannot be written.
        """
        try:
            with self.engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise OutputError(f"the history cannot be written: {_reason(error)}") from error

    @property
    def folder(self) -> Path | None:
        """Where the database's file lies; None where it has none that is known here."""
        file = self.engine.url.database
        if self.engine.dialect.name != "sqlite" or not file or file.startswith((":memory:", "file:")):
            return None
        return Path(file).absolute().parent

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def open_database(url: str) -> Database:
    """Open a database, or make one, and bring its tables up to date.

    Args:
        url: as SQLAlchemy writes them: `sqlite:///history.db`, `postgresql+psycopg://...`.

    Raises:
        SettingsError: a URL that cannot be used.
        OutputError: it cannot be opened or written.
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
        with engine.begin() as connection:
            _upgrade(connection)
    except SQLAlchemyError as error:
        raise OutputError(
            f"the history {_without_password(url)} cannot be opened: {_reason(error)}"
        ) from error
    return Database(engine)


def _upgrade(connection: Connection) -> None:
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


def _reason(error: SQLAlchemyError) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
