"""The tables of the history. `migrations/` makes them; a test holds the two against each other."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

inspections = Table(
    "inspections",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("id", String(32), nullable=False, unique=True),
    Column("time", String(32), nullable=False),  # ISO 8601 in UTC, so that text order is time order
    Column("name", Text, nullable=False),
    Column("lot", Text, nullable=False),
    Column("height", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("verdict", String(8), nullable=False),
    Column("score", Float(53), nullable=False),
    Column("class_scores", JSON, nullable=False),
    Column("regions", JSON, nullable=False),
    Column("image_sha256", String(64), nullable=False),
    Column("mask_sha256", String(64), nullable=False),
    Column("model_sha256", String(64), nullable=False),
    Column("settings_sha256", String(64), nullable=False),
    Column("seconds", Float(53), nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("pictures", Boolean, nullable=False),  # False once the retention has removed the files
    Index(None, "time"),
    Index(None, "verdict", "time"),
    Index(None, "lot"),
)

chain_head = Table(
    "chain_head",
    metadata,
    Column("only", Integer, primary_key=True, autoincrement=False),  # one row: 1
    Column("sequence", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
)

reviews = Table(
    "reviews",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("inspection", String(32), ForeignKey("inspections.id"), nullable=False),
    Column("time", String(32), nullable=False),
    Column("decision", String(16), nullable=False),
    Column("kind", Text, nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column(
        "painted_sha256", String(64), nullable=False
    ),  # of the painted mask's pixels, "" where none was painted
    Index(None, "inspection"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("sink", String(64), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("payload", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("problem", Text, nullable=False),
    Index(None, "sink", "number"),
)
