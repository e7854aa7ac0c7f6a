"""A generation's rows again, by DuckDB over its Parquet files: queries, drift, differences between generations."""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from ltcam.cluster.generations import FOLDER, Generation, generations, read_generation
from ltcam.cluster.stores import LocalStore, Store, open_store
from ltcam_runtime.errors import DataError, SettingsError
from ltcam_runtime.phrases import counted

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

    store, name = _found(url, generation)
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
                f"{store.url}/{name}: a shard is damaged: {reason}; remove it and run `ltcam archive` again"
            ) from error
        finally:
            connection.close()


def white_of(url: str, generation: str = "") -> int | None:
    """With which value as white a generation's 16-bit images were read. Args and errors as of `opened`."""
    return read_generation(*_found(url, generation)).white


def _found(url: str, generation: str) -> tuple[Store, str]:
    base, _, last = url.rstrip("/").rpartition("/")
    if last.startswith(FOLDER) and not generation:
        url, generation = base or ".", last
    store = open_store(url)
    return store, chosen(store, generation)


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
        SettingsError: a condition that is no SQL, holds more than one statement, adds columns or makes others of them,
            or that the database cannot answer, as where it names columns that there are not.
    """
    import duckdb  # noqa: PLC0415

    try:
        found = connection.execute(_only_statement(connection, condition))
        described = found.description or []
        rows = found.fetchall()
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        _read_all(connection)  # a damaged shard, which `opened` explains, or the condition
        raise _refused(connection, condition, error) from error
    except duckdb.Error as error:
        raise _refused(connection, condition, error) from error
    if _names_and_types(described) != _names_and_types(_described(connection)):
        raise SettingsError(f"query {condition!r}: it changes the columns; give one condition alone")
    return [dict(zip((column[0] for column in described), row, strict=True)) for row in rows]


def _only_statement(connection: duckdb.DuckDBPyConnection, condition: str) -> duckdb.Statement:
    """A query for the rows that fit. DuckDB itself tells statements apart: a `;` between quotes ends none."""
    statements = connection.extract_statements(f"SELECT * FROM images WHERE {condition or 'true'}")  # noqa: S608  # read-only, locked
    if len(statements) > 1:
        raise SettingsError(
            f"query {condition!r}: `;` begins another statement; give one condition alone, "
            "such as verdict = 'defect' limit 50"
        )
    if statements[0].named_parameters:
        raise SettingsError(
            f"query {condition!r}: `?` and `$` stand for no value here; write the value itself"
        )
    return statements[0]


def _refused(connection: duckdb.DuckDBPyConnection, condition: str, error: duckdb.Error) -> SettingsError:
    columns = ", ".join(str(column[0]) for column in _described(connection))
    return SettingsError(f"query {condition!r}: {str(error).splitlines()[0]}; the columns are {columns}")


def _described(connection: duckdb.DuckDBPyConnection) -> list[Any]:
    return connection.execute("SELECT * FROM images LIMIT 0").description or []


def _names_and_types(described: list[Any]) -> list[tuple[str, str]]:
    return [(str(column[0]), str(column[1])) for column in described]


def _read_all(connection: duckdb.DuckDBPyConnection) -> None:
    """Every value once, which fails where a shard is damaged."""
    connection.execute("SELECT max(COLUMNS(*)) FROM images").fetchall()


def verdicts(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """How many images have each verdict, `unreadable` for those without one; the most frequent first."""
    found = connection.execute(
        "SELECT coalesce(verdict, 'unreadable') AS said, count(*) FROM images GROUP BY said ORDER BY 2 DESC, said"
    ).fetchall()
    return {str(said): int(count) for said, count in found}


@dataclass(frozen=True)
class Difference:
    """An image whose verdict is another one in a newer generation, and why."""

    id: str
    address: str
    old_verdict: str | None
    new_verdict: str | None
    old_score: float | None
    new_score: float | None
    old_area: int | None
    new_area: int | None
    old_mask: str | None
    new_mask: str | None
    height: int | None
    width: int | None
    why: str


@dataclass(frozen=True)
class Differences:
    """How two generations differ.

    Attributes:
        images: in both.
        only_old: images of the older one alone.
        only_new: images of the newer one alone.
        changes: how many of each change, such as `ok -> defect`.
        rows: the images that changed, largest change of score first.
    """

    images: int
    only_old: int
    only_new: int
    changes: dict[str, int]
    rows: tuple[Difference, ...]


def differences(old: duckdb.DuckDBPyConnection, new: duckdb.DuckDBPyConnection) -> Differences:
    """Whose verdict changed between two generations, and how many of each change."""
    columns = "id, address, verdict, score, area, model, settings, mask, height, width, error"
    before = {row[0]: row for row in old.execute(f"SELECT {columns} FROM images").fetchall()}  # noqa: S608
    rows, both, only_new = [], 0, 0
    for row in new.execute(f"SELECT {columns} FROM images ORDER BY id").fetchall():  # noqa: S608
        earlier = before.pop(row[0], None)
        if earlier is None:
            only_new += 1
            continue
        both += 1
        if earlier[2] != row[2]:
            said, scores, areas, masks = ((earlier[place], row[place]) for place in (2, 3, 4, 7))
            pairs = (*said, *scores, *areas, *masks)
            rows.append(Difference(row[0], row[1], *pairs, row[8], row[9], _why(earlier, row)))
    changes = Counter(f"{r.old_verdict or 'unreadable'} -> {r.new_verdict or 'unreadable'}" for r in rows)
    rows.sort(key=lambda r: -abs((r.new_score or 0) - (r.old_score or 0)))
    return Differences(both, len(before), only_new, dict(changes), tuple(rows))


def _why(old: tuple[Any, ...], new: tuple[Any, ...]) -> str:
    if old[10] or new[10]:
        return "readable in one only"
    if old[5] != new[5]:
        return f"another model; score {old[3]:.3f} -> {new[3]:.3f}"
    if old[6] != new[6]:
        return f"other settings; score {old[3]:.3f} -> {new[3]:.3f}"
    return f"another image under this name, or another machine; score {old[3]:.3f} -> {new[3]:.3f}"


_MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "mär": 3, "apr": 4, "may": 5, "mai": 5, "jun": 6, "jul": 7, "aug": 8,
    "sep": 9, "oct": 10, "okt": 10, "nov": 11, "dec": 12, "dez": 12,
}  # fmt: skip
_MONTH = f"((?:{'|'.join(_MONTHS)})[a-zä]*)"
_YEAR_FIRST = (
    re.compile(r"(\d{4})([-/.:])(\d{1,2})\2(\d{1,2})(?!\d)"),
    re.compile(r"((?:19|20)\d\d)()(\d\d)(\d\d)(?=(?:\d{4}|\d{6})?(?!\d))"),
)
_DAY_FIRST = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(?!\d)")
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(?:\d{4}|\d\d)(?!\d)")
_CLOCK = re.compile(r"(?:[01]?\d|2[0-3])\.[0-5]\d\.[0-5]\d(?!\d)(?![ ,;_T]+\d{1,2}[.:]\d\d)")
"""Hours, minutes and seconds with dots between them. In front of another clock time they are a day."""
_WEEKDAY = r"(?:[a-z]{2,9}\.?,? +)?"
_NAMED_DAY_FIRST = re.compile(rf"{_WEEKDAY}(\d{{1,2}})\.?[ -]{_MONTH}\.?[ -](\d{{4}})(?!\d)", re.IGNORECASE)
_NAMED_MONTH_FIRST = re.compile(rf"{_WEEKDAY}{_MONTH}\.? (\d{{1,2}}),? (\d{{4}})(?!\d)", re.IGNORECASE)
_CTIME = re.compile(
    rf"[a-z]{{3}} {_MONTH} +(\d{{1,2}}) [\d:]+ (?:[a-z]+ )?(\d{{4}})(?!\d)", re.IGNORECASE
)  # of C's function and of the command `date`: the year stands behind the hours


def day_of(time: str) -> str:
    """The day in a time: as `2026-01-31` where it can be read without doubt; or "".

    It can where the year comes first, where a name says the month, and in `31.1.2026`. A day that may be the month
    (`2/1/2026`, `2.1.26`) stays as it is written. Of three numbers with dots that may be a time of day (`8.10.15`)
    no day is made.
    """
    text = time.strip()
    for pattern in _YEAR_FIRST:
        if (found := pattern.match(text)) and _may_be_month_and_day(found[3], found[4]):
            return _iso(found[1], found[3], found[4])
    if (found := _DAY_FIRST.match(text)) and _may_be_month_and_day(found[2], found[1]):
        return _iso(found[3], found[2], found[1])
    last = None if _CLOCK.match(text) else _YEAR_LAST.match(text)
    if last and (_may_be_month_and_day(last[1], last[3]) or _may_be_month_and_day(last[3], last[1])):
        return last[0]
    return _named_day(text)


def _named_day(text: str) -> str:
    if found := _NAMED_DAY_FIRST.match(text):
        day, month, year = found.groups()
    elif found := _NAMED_MONTH_FIRST.match(text) or _CTIME.match(text):
        month, day, year = found.groups()
    else:
        return ""
    number = str(_MONTHS[month[:3].casefold()])
    return _iso(year, number, day) if _may_be_month_and_day(number, day) else ""


def _iso(year: str, month: str, day: str) -> str:
    return f"{int(year):04}-{int(month):02}-{int(day):02}"


def _chronological(group: tuple[str, str]) -> tuple[int, str, str]:
    """No day first, then those that were read, then those that may be another one, as they are written."""
    day, line = group
    return (0 if not day else 1 if re.fullmatch(r"\d{4}-\d\d-\d\d", day) else 2, day, line)


def _may_be_month_and_day(month: str, day: str) -> bool:
    return 1 <= int(month) <= 12 and 1 <= int(day) <= 31


@dataclass(frozen=True)
class DriftGroup:
    """The images of one day and line.

    Attributes:
        day: as of `day_of`; "" where none is given, or what is given holds no date.
        line: likewise.
        images: how many.
        counts: of them in each bin of the score.
        defect_share: of them that is judged defective.
    """

    day: str
    line: str
    images: int
    counts: tuple[int, ...]
    defect_share: float


@dataclass(frozen=True)
class Drift:
    """Histograms of the score per day and line.

    Attributes:
        edges: of the bins, from 0 to 1.
        groups: by day and line; days that may be another one (`2/1/2026`) behind the others.
        undated: how many images have a time that holds no date.
        undated_time: the first such time, or "".
    """

    edges: tuple[float, ...]
    groups: tuple[DriftGroup, ...]
    undated: int = 0
    undated_time: str = ""

    def name(self, group: DriftGroup) -> str:
        """Day and line of a group, in words."""
        none = "all" if len(self.groups) == 1 else "neither day nor line"
        return f"{group.day} {group.line}".strip() or none

    def undated_words(self) -> str:
        """How many times hold no date, and what to do; "" where all do."""
        if not self.undated:
            return ""
        images = counted(self.undated, "images")
        return (
            f"{images} with a time that holds no date, such as {self.undated_time}: write days as 2026-01-31"
        )


def drift(connection: duckdb.DuckDBPyConnection, bins: int = 20) -> Drift:
    """Histograms of the score per day and line, to be held against the training's."""
    found = connection.execute(
        "SELECT coalesce(time, ''), coalesce(line, '') AS line, score, verdict FROM images "
        "WHERE error IS NULL ORDER BY time, line, id"
    ).fetchall()
    judged: dict[tuple[str, str], list[tuple[float, str]]] = {}
    undated = []
    for time, line, score, verdict in found:
        day = day_of(time)
        if time.strip() and not day:
            undated.append(time)
        judged.setdefault((day, line), []).append((score, verdict))
    groups = []
    for day, line in sorted(judged, key=_chronological):
        images = judged[day, line]
        places = Counter(min(bins - 1, int(score * bins)) for score, _ in images)
        share = sum(verdict == "defect" for _, verdict in images) / len(images)
        counts = tuple(places[place] for place in range(bins))
        groups.append(DriftGroup(day, line, len(images), counts, share))
    edges = tuple(number / bins for number in range(bins + 1))
    return Drift(edges, tuple(groups), len(undated), next(iter(undated), ""))
