"""A generation's rows again, by DuckDB over its Parquet files: queries, drift, differences between generations."""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from ltcam.cluster.generations import Generation, generations, read_generation
from ltcam.cluster.stores import LocalStore, Store, open_store
from ltcam_runtime.errors import DataError, SettingsError

if TYPE_CHECKING:
    import duckdb

_MEMORY = "2GB"


@contextlib.contextmanager
def opened(url: str, generation: str = "") -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the view `images`: the rows of one generation. It can read nothing else.

    Args:
        url: folder or URL of the archive's results, or of one generation.
        generation: its name; "" takes the only one there is.

    Raises:
        DataError: no generation, several and none named, or one that is not complete.
    """
    import duckdb  # noqa: PLC0415  # an extra

    base, _, last = url.rstrip("/").rpartition("/")
    if last.startswith("generation-") and not generation:
        url, generation = base or ".", last
    store = open_store(url)
    name = chosen(store, generation)
    with _local_copies(store, name) as files:
        connection = duckdb.connect(config={"memory_limit": _MEMORY})
        try:
            named = ", ".join(f"'{str(file).replace(chr(39), chr(39) * 2)}'" for file in files)
            connection.execute(f"CREATE VIEW images AS SELECT * FROM read_parquet([{named}])")  # noqa: S608
            # From here on it reads these files and no others, whatever a query asks for.
            connection.execute(f"SET allowed_paths = [{named}]")
            connection.execute("SET enable_external_access = false; SET lock_configuration = true")
            yield connection
        except (duckdb.IOException, duckdb.InvalidInputException) as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"{url}/{name}: a shard is damaged: {reason}; remove it and run `ltcam archive` again"
            ) from error
        finally:
            connection.close()


def chosen(store: Store, generation: str) -> str:
    """The generation's name, complete.

    Raises:
        DataError: see `opened`.
    """
    there = generations(store)
    if not there:
        raise DataError(f"{store.url} holds no generation; give the folder that `ltcam archive` wrote")
    if not generation and len(there) > 1:
        raise DataError(
            f"{store.url} holds {len(there)} generations: {', '.join(there)}; name one with `generation`"
        )
    name = generation or there[0]
    described = read_generation(store, name)
    parts = [part for part in store.names(name) if part.endswith(".parquet")]
    if len(parts) < described.shards:
        raise DataError(
            f"{store.url}/{name}: {len(parts)} of {described.shards} shards are there; "
            "run the same `ltcam archive` again"
        )
    return name


@contextlib.contextmanager
def _local_copies(store: Store, name: str) -> Iterator[list[Path]]:
    parts = sorted(part for part in store.names(name) if part.endswith(".parquet"))
    if isinstance(store, LocalStore):
        yield [store.folder / part for part in parts]
        return
    with tempfile.TemporaryDirectory(prefix="ltcam-archive-") as folder:
        files = []
        for part in parts:
            file = Path(folder) / Path(part).name
            file.write_bytes(store.read(part))
            files.append(file)
        yield files


def failures(store: Store, generation: Generation) -> list[tuple[str, str]]:
    """(id, reason) of the images that could not be judged."""
    failed = []
    for number in range(generation.shards):
        table = pq.read_table(io.BytesIO(store.read(generation.part(number))), columns=["id", "error"])
        errors = table.filter(pc.is_valid(table["error"])).to_pylist()
        failed += [(row["id"], row["error"]) for row in errors]
    return failed


def query(connection: duckdb.DuckDBPyConnection, condition: str) -> list[dict[str, Any]]:
    """Rows that fit, such as `verdict = 'defect' and score > 0.9 order by area desc limit 50`.

    Args:
        connection: of `opened`.
        condition: what stands behind WHERE in SQL, with ORDER BY and LIMIT if wanted.

    Raises:
        SettingsError: a condition that is no SQL, or names columns that there are not.
    """
    import duckdb  # noqa: PLC0415

    try:
        found = connection.execute(f"SELECT * FROM images WHERE {condition or 'true'}")  # noqa: S608  # read-only, locked
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    except (duckdb.IOException, duckdb.InvalidInputException):
        raise  # a shard, which `opened` explains
    except duckdb.Error as error:
        raise SettingsError(f"query {condition!r}: {str(error).splitlines()[0]}") from error


def verdicts(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """How many images have each verdict, `unreadable` for those without one; the most frequent first."""
    found = connection.execute(
        "SELECT coalesce(verdict, 'unreadable') AS said, count(*) FROM images GROUP BY said ORDER BY 2 DESC, said"
    ).fetchall()
    return {str(said): int(count) for said, count in found}


def differences(old: duckdb.DuckDBPyConnection, new: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Whose verdict changed between two generations, and how many of each change.

    Returns:
        `images` in both, `only_old`, `only_new`, `changes` {"ok -> defect": n, ...}, and `rows` of those that changed,
        largest change of score first: id, address, old and new verdict, score, area and model.
    """
    columns = "id, address, verdict, score, area, model, settings, mask, height, width, error"
    before = {row[0]: row for row in old.execute(f"SELECT {columns} FROM images").fetchall()}  # noqa: S608
    changes: dict[str, int] = {}
    rows, both, only_new = [], 0, 0
    for row in new.execute(f"SELECT {columns} FROM images ORDER BY id").fetchall():  # noqa: S608
        earlier = before.pop(row[0], None)
        if earlier is None:
            only_new += 1
            continue
        both += 1
        if earlier[2] != row[2]:
            kind = f"{earlier[2] or 'unreadable'} -> {row[2] or 'unreadable'}"
            changes[kind] = changes.get(kind, 0) + 1
            rows.append(
                {
                    "id": row[0],
                    "address": row[1],
                    "old_verdict": earlier[2],
                    "new_verdict": row[2],
                    "old_score": earlier[3],
                    "new_score": row[3],
                    "old_area": earlier[4],
                    "new_area": row[4],
                    "old_mask": earlier[7],
                    "new_mask": row[7],
                    "height": row[8],
                    "width": row[9],
                    "why": _why(earlier, row),
                }
            )
    rows.sort(key=lambda r: -abs((r["new_score"] or 0) - (r["old_score"] or 0)))
    return {"images": both, "only_old": len(before), "only_new": only_new, "changes": changes, "rows": rows}


def _why(old: tuple[Any, ...], new: tuple[Any, ...]) -> str:
    if old[10] or new[10]:
        return "readable in one only"
    if old[5] != new[5]:
        return f"another model; score {old[3]:.3f} -> {new[3]:.3f}"
    return f"other settings; score {old[3]:.3f} -> {new[3]:.3f}"


_ISO_DAY = re.compile(r"\d{4}[-/.]\d\d[-/.]\d\d")
_HOURS = re.compile(r"([ T]+\d{1,2}:\d\d|T\d{4}).*$")


def day_of(time: str) -> str:
    """The day in a time, as it is written: of `2026-01-02T08:00`, `20260102T0800`, `2/1/2026 8:00`."""
    iso = _ISO_DAY.match(time)
    return iso[0] if iso else _HOURS.sub("", time.strip())


def group_name(group: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> str:
    """Day and line of a group of `drift`, in words."""
    return f"{group['day']} {group['line']}".strip() or (
        "all" if len(groups) == 1 else "neither day nor line"
    )


def drift(connection: duckdb.DuckDBPyConnection, bins: int = 20) -> dict[str, Any]:
    """Histograms of the score per day and line, to be held against the training's.

    Returns:
        `edges` (bins + 1 values from 0 to 1), `groups`: a list of {"day", "line", "images", "defect_share", "counts"}.
    """
    found = connection.execute(
        "SELECT coalesce(time, ''), coalesce(line, '') AS line, score, verdict FROM images "
        "WHERE error IS NULL ORDER BY time, line, id"
    ).fetchall()
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for time, line, score, verdict in found:
        day = day_of(time)
        group = groups.setdefault(
            (day, line), {"day": day, "line": line, "images": 0, "defective": 0, "counts": [0] * bins}
        )
        group["images"] += 1
        group["defective"] += verdict == "defect"
        group["counts"][min(bins - 1, int(score * bins))] += 1
    for group in groups.values():
        group["defect_share"] = group.pop("defective") / group["images"]
    return {
        "edges": [number / bins for number in range(bins + 1)],
        "groups": [group for _, group in sorted(groups.items())],
    }
