"""CSV as programs and people write it: one reader of its dialects, and of the usual names of columns.

UTF-8 or UTF-16; comma, semicolon, tab or, where the names of the columns have none of these, a bar; lines that begin
with # before the first row, and Excel's `sep=`, are passed over.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ltcam_runtime.errors import DataError
from ltcam_runtime.phrases import word_set

MOST_COLUMNS = 1000
"""Wider tables are refused."""

COLUMN_NAMES: Mapping[str, frozenset[str]] = {
    "path": word_set(
        """
        file files filename file_name filepath file_path image images imagefile image_file imagename image_name
        imagepath image_path image_filename img img_file img_name img_path imageid image_id
        datei dateiname datei_name dateipfad bild bild_name bilddatei bildname pfad
        fichier chemin archivo fichero imagen ruta percorso
        """
    ),
    "label": word_set(
        """
        labels class class_name classname classid class_id category target
        klasse etikett bewertung befund classe clase etiqueta étiquette etichetta
        """
    ),
    "mask": word_set("mask_file mask_name mask_path maskpath"),
    "group": word_set("groups group_id group_name gruppe gruppen_id groupe grupo gruppo"),
    "time": word_set("timestamp datetime date_time date zeit zeitstempel zeitpunkt datum"),
    "line": word_set("production_line station linie anlage ligne línea linea"),
}
"""What a column may be called instead, where no column has its own name; words are joined by `_`."""

_DELIMITERS = ",;\t|"


def decoded(content: bytes, source: Path | str) -> str:
    """The text of a file, UTF-8 or, where it says so, UTF-16.

    Raises:
        DataError: it is neither.
    """
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: not UTF-8 text (byte {error.start}); save it as CSV UTF-8") from None


def rows_of(text: str, source: Path | str) -> list[tuple[int, list[str]]]:
    """The rows that hold anything: the line in the file at which each ends, and its cells.

    Raises:
        DataError: it is no CSV, or has too many columns.
    """
    lines, delimiter = _lines(text)
    skipped = _lines_before(lines)
    reader = csv.reader(io.StringIO("".join(lines[skipped:]), newline=""), delimiter=delimiter, strict=True)
    try:
        found = [
            (skipped + reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)
        ]
        if found and all(len(cells) == 1 for _, cells in found) and "," in found[0][1][0]:
            # Whole rows in quotes, as spreadsheets write what they took for one column.
            found = [(number, next(csv.reader(cells), [])) for number, cells in found]
    except csv.Error as error:
        raise DataError(f"{source}: row {skipped + reader.line_num}: not valid CSV ({error})") from None
    if found and len(found[0][1]) > MOST_COLUMNS:
        raise DataError(
            f"{source}: {len(found[0][1]):,} columns in the first row; it needs path and few others"
        )
    return found


def named_columns(header: Sequence[str], wanted: Collection[str], source: Path | str) -> list[str]:
    """The names of columns in small letters, those that are wanted by their own name where another is written.

    Raises:
        DataError: several columns may be the one that is wanted, or are called alike.
    """
    written = [cell.strip().lower() for cell in header]
    joined = [joined_words(name) for name in written]
    for column in wanted:
        places = [place for place, name in enumerate(joined) if name in COLUMN_NAMES.get(column, ())]
        if column in written or not places:
            continue
        if len(places) > 1:
            several = " and ".join(written[place] for place in places)
            raise DataError(f"{source}: {several} may each be the column {column}; call one of them {column}")
        written[places[0]] = column
    twice = sorted({name for name in written if name and written.count(name) > 1})
    if twice:
        raise DataError(f"{source}: column(s) {', '.join(twice)} twice in the first row; keep one of each")
    return written


def joined_words(name: str) -> str:
    """`is defect`, `is-defect` and `is_defect` are one."""
    return re.sub(r"[\s-]+", "_", name)


def cells_by_column(row: tuple[int, list[str]], columns: Sequence[str], source: Path | str) -> dict[str, str]:
    """The cells of a row by the names of their columns.

    Raises:
        DataError: it has more cells than there are columns.
    """
    number, cells = row
    if any(cell.strip() for cell in cells[len(columns) :]):
        raise DataError(
            f"{source}: row {number}: {len(cells)} values for {len(columns)} columns; put quotes around values "
            "that contain the delimiter"
        )
    return {name: cell.strip() for name, cell in zip(columns, cells, strict=False)}


def _lines(text: str) -> tuple[list[str], str]:
    """The lines with their ends, and what separates their cells."""
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", text)
    before = _lines_before(lines)
    named = re.match(r"\ufeff?\"?sep=(.)", lines[before - 1]) if before else None
    header = lines[before] if before < len(lines) else ""
    if named and named[1] in _DELIMITERS:
        return lines, named[1]
    return lines, max(_DELIMITERS, key=header.count)


def _lines_before(lines: list[str]) -> int:
    """How many lines stand before the names of the columns: comments, `sep=;`, empty ones."""
    count = 0
    for line in lines:
        if line.strip() and not line.startswith(("#", "sep=", '"sep=')):
            break
        count += 1
    return count
