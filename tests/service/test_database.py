from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from ltcam.service.database import open_database
from ltcam.service.history import History
from ltcam.service.tables import metadata
from ltcam_runtime.errors import OutputError, SettingsError


@pytest.fixture
def database(any_database: str) -> str:
    """The tables are made on both."""
    return any_database


def test_migrations_make_the_tables(history: History) -> None:
    with history.database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_database_that_cannot_be_opened_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"history sqlite:///.*cannot be opened"):
        open_database(f"sqlite:///{tmp_path}/missing/h.db")
    with pytest.raises(SettingsError) as caught:
        open_database("nosuch://user:secret@host/db")
    assert "secret" not in str(caught.value)
