"""A CSV manifest: `path,label` and optionally `split,mask,group`.

    path,label,split,mask,group
    a/0001.png,ok,train,,lot1
    a/0002.png,scratch,train,m/0002.png,lot1

Paths are relative to the CSV file and may not leave its folder. UTF-8, comma or semicolon. `ok`, `good`,
`normal` and `0` (upper or lower case) are the class without defect; every other label is a class of
that name. An empty split means none, an empty group means the image is its own group. A file that
is not there is no error here: it is reported like any other file that cannot be read.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from ltcam.data.dataset import OK, Dataset, Sample, Split, make_dataset
from ltcam.data.layouts.tree import OK_NAMES
from ltcam_runtime.errors import DataError

NAME = "manifest"
WANTED = "manifest.csv with the columns path,label and optionally split,mask,group"
FILE_NAME = "manifest.csv"

_SPLITS: dict[str, Split | None] = {"": None, "train": "train", "val": "val", "test": "test"}
_MOST_SHOWN = 10


@dataclass(frozen=True)
class _Row:
    number: int
    values: dict[str, str]

    def value(self, column: str) -> str:
        return self.values.get(column, "")


def read_manifest(file: Path) -> Dataset:
    """Read a manifest.

    Raises:
        DataError: the file cannot be read or has no rows, columns are missing, or rows are wrong; the
            message names up to ten of them by their line number in the file.
    """
    rows = _rows(file)
    root = file.parent
    inside = root.resolve()
    problems: list[str] = []
    samples: dict[str, tuple[int, Sample]] = {}
    for row in rows:
        try:
            sample = _sample(row, root, inside)
            _refuse_repetition(sample, samples)
        except DataError as error:
            problems.append(f"row {row.number}: {error}")
        else:
            samples[sample.id] = (row.number, sample)
    if problems:
        more = f"; and {len(problems) - _MOST_SHOWN} more" if len(problems) > _MOST_SHOWN else ""
        raise DataError(f"{file}: " + "; ".join(problems[:_MOST_SHOWN]) + more)
    found = [sample for _, sample in samples.values()]
    if not any(sample.path.is_file() for sample in found):
        raise DataError(
            f"{file}: none of its {len(found)} image files is there; paths count from {root}/ "
            f"(row {rows[0].number} says {rows[0].value('path')})"
        )
    return make_dataset(root, NAME, found)


def _rows(file: Path) -> list[_Row]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text (byte {error.start}); save it as CSV UTF-8") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    header = text.split("\n", 1)[0]
    delimiter = ";" if header.count(";") > header.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise DataError(f"{file}: row {reader.line_num}: not valid CSV ({error})") from None
    if not lines:
        raise DataError(f"{file}: the file is empty; it needs the columns path,label and one row per image")
    columns = [cell.strip().lower() for cell in lines[0][1]]
    _check_columns(file, columns)
    if len(lines) == 1:
        raise DataError(f"{file}: there is a header but no row; add one row per image")
    return [_row(file, number, columns, cells) for number, cells in lines[1:]]


def _check_columns(file: Path, columns: list[str]) -> None:
    missing = [name for name in ("path", "label") if name not in columns]
    if missing:
        raise DataError(
            f"{file}: column(s) {', '.join(missing)} missing in the first row, which has: "
            f"{', '.join(columns)}; the first row must name the columns path,label[,split,mask,group]"
        )
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise DataError(f"{file}: column(s) {', '.join(twice)} twice in the first row; keep one of each")


def _row(file: Path, number: int, columns: list[str], cells: list[str]) -> _Row:
    if len(cells) > len(columns):
        raise DataError(
            f"{file}: row {number}: {len(cells)} values for {len(columns)} columns; put quotes around values "
            "that contain the delimiter"
        )
    return _Row(number, {name: cell.strip() for name, cell in zip(columns, cells, strict=False)})


def _sample(row: _Row, root: Path, inside: Path) -> Sample:
    identity = _relative(row.value("path"), "path", root, inside)
    mask = row.value("mask")
    return Sample(
        id=identity,
        path=root / identity,
        label=_label(row.value("label")),
        group=row.value("group") or identity,
        split=_split(row.value("split")),
        mask=root / _relative(mask, "mask", root, inside) if mask else None,
    )


def _relative(text: str, column: str, root: Path, inside: Path) -> str:
    """The path with forward slashes and without detours, if it stays in the manifest's folder."""
    if not text:
        raise DataError(f"{column} is empty")
    if "\0" in text:
        raise DataError(f"{column} contains a NUL character")
    windows = PureWindowsPath(text)
    path = PurePosixPath(windows.as_posix())
    if path.is_absolute() or windows.drive or windows.root:
        raise DataError(f"{column} {text} is absolute; paths must be relative to the manifest's folder")
    if ".." in path.parts or not (root / path).resolve().is_relative_to(inside):
        raise DataError(f"{column} {text} leads out of the manifest's folder; move the file into it")
    return str(path)


def _label(text: str) -> str:
    if not text:
        raise DataError("label is empty")
    return OK if text.lower() in OK_NAMES or text == "0" else text


def _split(text: str) -> Split | None:
    if text.lower() not in _SPLITS:
        raise DataError(f"split is {text}; it must be train, val, test or empty")
    return _SPLITS[text.lower()]


def _refuse_repetition(sample: Sample, earlier: dict[str, tuple[int, Sample]]) -> None:
    if sample.id not in earlier:
        return
    number, first = earlier[sample.id]
    if first.label != sample.label:
        raise DataError(f"{sample.id} is labelled {sample.label}, but {first.label} in row {number}")
    raise DataError(f"{sample.id} is in row {number} already; keep one of the two")
