"""Steps that bring a history of an older version up to date (Alembic)."""
