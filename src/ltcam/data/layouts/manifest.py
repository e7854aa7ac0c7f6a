"""A CSV manifest: `path,label` and optionally `split,mask,group,mask_threshold`.

    path,label,split,mask,group
    a/0001.png,ok,train,,lot1
    a/0002.png,scratch,train,m/0002.png,lot1

The columns are also found by other usual names, such as `filename,class` or `image_path;label` (`COLUMN_NAMES`). A
column that asks for defects, or for OK (`defect`, `is_ok`), may stand for the labels: yes and no, 1 and 0 answer it.
Paths are relative to the CSV file, or absolute and below its folder, which they may not leave; they are compared
without regard to Unicode form and, where no such file is there, to case. UTF-8 or UTF-16; comma, semicolon or tab;
lines that begin with # before the first row, and Excel's `sep=`, are passed over. Labels whose words mean OK
(`ltcam.data.labels`; also 0, 0.0, False) are the class without defect; every other label is a class of that name. An
empty split (or nan) means none, an empty group means the image is its own group. A file that is not there is no error
here: it is reported like any other file that cannot be read.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import stat
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath

from ltcam.data.dataset import OK, Dataset, Files, Sample, Split, make_dataset
from ltcam.data.labels import read_labels
from ltcam.data.layouts.tree import SPLIT_NAMES
from ltcam_runtime.errors import DataError
from ltcam_runtime.mask_files import name_key
from ltcam_runtime.phrases import counted, word_set

NAME = "manifest"
WANTED = "manifest.csv with the columns path,label and optionally split,mask,group"
FILE_NAME = "manifest.csv"
MOST_BYTES, MOST_COLUMNS = 256 << 20, 1000
"""Larger manifests, and wider ones, are refused."""

COLUMN_NAMES: Mapping[str, frozenset[str]] = {
    "path": word_set(
        """
        file files filename file_name filepath file_path image images imagefile image_file imagename image_name
        imagepath image_path image_filename img img_file img_name img_path
        """
    ),
    "label": word_set("labels class class_name classname category target"),
    "mask": word_set("mask_file mask_name mask_path maskpath"),
}
"""What a column may be called instead, where no column has its own name; words are joined by `_`."""

_ASK_FOR_DEFECTS = word_set(
    """
    defect defective is_defect is_defective has_defect anomaly is_anomaly anomalous faulty is_faulty damaged is_damaged
    ng is_ng nok reject rejected fail failed
    """
)
_ASK_FOR_OK = word_set("ok is_ok good is_good normal is_normal pass passed accepted")
"""Columns that answer a question instead of naming a label, where none is called so."""

_YES = word_set("yes y true t 1 1.0 ja j oui si sí sim")
_NO = word_set("no n false f 0 0.0 nein non não none")

_SPLITS: Mapping[str, Split | None] = {"": None, **SPLIT_NAMES}
_EMPTY = frozenset({"nan", "none", "null", "na", "n/a", "<na>", "nat"})  # what programs write for nothing
_DELIMITERS = ",;\t"
_MOST_SHOWN = 10


@dataclass(frozen=True)
class _Row:
    number: int
    values: dict[str, str]

    def value(self, column: str) -> str:
        return self.values.get(column, "")


def read_manifest(file: Path, ok: Collection[str] = ()) -> Dataset:
    """Read a manifest.

    Args:
        file: the CSV file.
        ok: labels that mean OK; empty: those whose words say so.

    Raises:
        DataError: the file cannot be read or has no rows, columns are missing, or rows are wrong; the
            message names up to ten of them by their line number in the file.
    """
    rows = _rows(file)
    finder = _Finder(file.parent)
    problems: list[str] = []
    elsewhere: list[tuple[int, str]] = []
    labelled = {row.number: _label(row.value("label")) for row in rows}
    labels = read_labels([label for label in labelled.values() if label], ok)
    samples: dict[str, tuple[int, Sample]] = {}
    asked = _also_asked(rows)
    for row in rows:
        try:
            label = labelled[row.number]
            if not label:
                raise DataError("label is empty")
            sample = replace(_sample(row, finder), label=labels.class_of[label])
            _refuse_contradiction(row, sample.label, asked)
            _refuse_repetition(sample, samples)
        except _ElsewhereError as error:
            elsewhere.append((row.number, str(error)))
        except DataError as error:
            problems.append(f"row {row.number}: {error}")
        else:
            samples[sample.id] = (row.number, sample)
    if elsewhere:
        raise DataError(f"{file}: {_of_another_machine(file.parent, elsewhere)}")
    if problems:
        more = f"; and {len(problems) - _MOST_SHOWN} more" if len(problems) > _MOST_SHOWN else ""
        raise DataError(f"{file}: " + "; ".join(problems[:_MOST_SHOWN]) + more)
    found = [sample for _, sample in samples.values()]
    there = {sample.path for sample in found if sample.path.is_file()}
    if not there:
        raise DataError(
            f"{file}: none of its {len(found)} image files is there; paths count from {file.parent}/ "
            f"(row {rows[0].number} says {rows[0].value('path')}){_below(file.parent, found[0].id)}"
        )
    masks = {s.mask for s in found if isinstance(s.mask, Path) and s.mask.is_file()} - there
    files = Files(images=len(there), masks=len(masks), lists=1)
    return make_dataset(file.parent, NAME, found, files=files, ok_labels=labels.ok)


class _ElsewhereError(Exception):
    """An absolute path that is not below the manifest's folder."""


def _of_another_machine(folder: Path, rows: list[tuple[int, str]]) -> str:
    """What to do with absolute paths of other folders: (row, path)."""
    number, first = rows[0]
    parts = PureWindowsPath(first).parts
    there = (start for start in range(1, len(parts)) if folder.joinpath(*parts[start:]).is_file())
    start = next(there, None)
    hint = ""
    if start is not None:
        hint = f"; {'/'.join(parts[start:])} is there: take {PureWindowsPath(*parts[:start])} off the paths"
        hint = hint if "\\" in first else hint.replace("\\", "/")
    return (
        f"{counted(len(rows), 'paths that are absolute')} and not below {folder} (row {number}: {first}); write them "
        f"as they count from there{hint}"
    )


def _below(folder: Path, name: str) -> str:
    """Where a file is that is not where its path says, in words; "" where it is in none of the folders."""
    try:
        near = sorted(part.name for part in folder.iterdir() if (part / name).is_file())
    except OSError:  # a folder that may not be listed
        near = []
    if not near:
        return ""
    return f"; {near[0]}/{name} is there: write {near[0]}/ before the paths, or move the list into {near[0]}/"


def _rows(file: Path) -> list[_Row]:
    lines, delimiter = _table(_text(file))
    skipped = _lines_before(lines)
    text = io.StringIO("".join(lines[skipped:]), newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        table = [
            (skipped + reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)
        ]
    except csv.Error as error:
        raise DataError(f"{file}: row {skipped + reader.line_num}: not valid CSV ({error})") from None
    if not table:
        raise DataError(f"{file}: the file is empty; it needs the columns path,label and one row per image")
    if len(table[0][1]) > MOST_COLUMNS:
        raise DataError(
            f"{file}: {len(table[0][1]):,} columns in the first row; it needs path,label and few others"
        )
    columns = _columns(file, table[0][1])
    question = _question(columns)
    columns = ["label" if question and name == question else name for name in columns]
    _check_columns(file, columns)
    if len(table) == 1:
        raise DataError(f"{file}: there is a header but no row; add one row per image")
    return [_row(file, number, columns, cells, question) for number, cells in table[1:]]


def _text(file: Path) -> str:
    """The text of a regular file, UTF-8 or, where it says so, UTF-16."""
    try:
        state = file.stat()
        if not stat.S_ISREG(state.st_mode):  # a pipe or a device may never end
            raise DataError(f"{file}: this is not a regular file; give a CSV file")
        if state.st_size > MOST_BYTES:
            raise DataError(f"{file}: {state.st_size:,} bytes, more than {MOST_BYTES:,}; split the list")
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        words = f"not UTF-8 text (byte {error.start}); save it as CSV UTF-8"
        raise DataError(f"{file}: {words}") from None


def _table(text: str) -> tuple[list[str], str]:
    """The lines with their ends, and what separates their cells."""
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", text)
    before = _lines_before(lines)
    named = re.match(r"\ufeff?\"?sep=(.)", lines[before - 1]) if before else None
    header = lines[before] if before < len(lines) else ""
    if named and named[1] in (*_DELIMITERS, "|"):
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


def _columns(file: Path, header: list[str]) -> list[str]:
    """The names of the columns, those of `COLUMN_NAMES` where the header says it in other words."""
    written = [cell.strip().lower() for cell in header]
    joined = [re.sub(r"[\s-]+", "_", name) for name in written]
    for column, names in COLUMN_NAMES.items():
        places = [place for place, name in enumerate(joined) if name in names]
        if column in written or not places:
            continue
        if len(places) > 1:
            several = " and ".join(written[place] for place in places)
            raise DataError(f"{file}: {several} may each be the column {column}; call one of them {column}")
        written[places[0]] = column
    return written


def _question(columns: list[str]) -> str:
    """The only column that asks for defects or for OK where none is called `label`; "" if there is none."""
    found = [name for name in columns if re.sub(r"[\s-]+", "_", name) in _ASK_FOR_DEFECTS | _ASK_FOR_OK]
    return found[0] if len(found) == 1 and "path" in columns and "label" not in columns else ""


def _answered(question: str, text: str) -> str:
    """The label that an answer stands for. A column of defects may name them instead."""
    of_ok = re.sub(r"[\s-]+", "_", question) in _ASK_FOR_OK
    if text.lower() in _YES:
        return OK if of_ok else "defect"
    if text.lower() in _NO:
        return "defect" if of_ok else OK
    return text


def _also_asked(rows: list[_Row]) -> list[str]:
    """Columns beside `label` that answer in every row whether there is a defect, or whether the part is OK."""
    names = [
        name for name in rows[0].values if re.sub(r"[\s-]+", "_", name) in _ASK_FOR_DEFECTS | _ASK_FOR_OK
    ]
    return [name for name in names if all(row.value(name).lower() in _YES | _NO for row in rows)]


def _refuse_contradiction(row: _Row, name: str, asked: list[str]) -> None:
    """A label of 1 beside an `ok` of 1 would be read as a defect."""
    for column in asked:
        if (_answered(column, row.value(column)) == OK) != (name == OK):
            raise DataError(
                f"label {row.value('label')} is read as {name}, but {column} is {row.value(column)}; correct one "
                "of the two, say with `ok` which labels mean OK, or call the column something else"
            )


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


def _row(file: Path, number: int, columns: list[str], cells: list[str], question: str) -> _Row:
    if any(cell.strip() for cell in cells[len(columns) :]):
        raise DataError(
            f"{file}: row {number}: {len(cells)} values for {len(columns)} columns; put quotes around values "
            "that contain the delimiter"
        )
    values = {name: cell.strip() for name, cell in zip(columns, cells, strict=False)}
    if question:
        values["label"] = _answered(question, values.get("label", ""))
    return _Row(number, values)


def _sample(row: _Row, finder: _Finder) -> Sample:
    identity = finder.find(row.value("path"), "path")
    mask = _unless_empty(row.value("mask"))
    return Sample(
        id=identity,
        path=finder.root / identity,
        label="",
        group=_unless_empty(row.value("group")) or identity,
        split=_split(_unless_empty(row.value("split"))),
        mask=finder.root / finder.find(mask, "mask") if mask else None,
        mask_threshold=_threshold(_unless_empty(row.value("mask_threshold"))),
    )


def _label(text: str) -> str:
    """The label without detours; "nan" is what programs write for a missing one."""
    return "" if text.lower() in ("nan", "<na>") else " ".join(text.split())


class _Finder:
    """Finds the files that paths in a manifest mean."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._inside = root.resolve()
        self._names: dict[Path, dict[str, list[str]]] = {}

    def find(self, text: str, column: str) -> str:
        """The path with forward slashes and without detours, as the file system has it, if it stays in the folder."""
        path = _relative(self._without_root(text), column)
        found = self.root
        for part in path.parts:
            found = found / self._as_written(found, part)
        if not found.resolve().is_relative_to(self._inside):
            raise DataError(f"{column} {text} leads out of the manifest's folder; move the file into it")
        return found.relative_to(self.root).as_posix()

    def _without_root(self, text: str) -> str:
        """An absolute path below the manifest's folder as it counts from there."""
        if not Path(text).is_absolute() or "\0" in text:
            return text
        for path, root in ((Path(text), self.root.absolute()), (Path(text).resolve(), self._inside)):
            if path.is_relative_to(root) and ".." not in path.parts:
                return path.relative_to(root).as_posix()
        return text

    def _as_written(self, folder: Path, name: str) -> str:
        """The name itself, or the only one in the folder that differs in Unicode form or case alone."""
        try:
            if (folder / name).exists():
                return name
            if folder not in self._names:
                names: dict[str, list[str]] = defaultdict(list)
                for entry in folder.iterdir():
                    names[name_key(entry.name)].append(entry.name)
                self._names[folder] = names
        except (OSError, ValueError):
            return name
        alike = self._names[folder].get(name_key(name), [])
        return alike[0] if len(alike) == 1 else name


def _relative(text: str, column: str) -> PurePosixPath:
    if not text:
        raise DataError(f"{column} is empty")
    if "\0" in text:
        raise DataError(f"{column} contains a NUL character")
    windows = PureWindowsPath(text)
    path = PurePosixPath(windows.as_posix())
    if path.is_absolute() or windows.drive or windows.root:
        raise _ElsewhereError(text)
    if ".." in path.parts:
        raise DataError(f"{column} {text} leads out of the manifest's folder; move the file into it")
    return path


def _unless_empty(text: str) -> str:
    return "" if text.lower() in _EMPTY else text


def _split(text: str) -> Split | None:
    if text.lower() not in _SPLITS:
        raise DataError(f"split is {text}; it must be train, val, test or empty")
    return _SPLITS[text.lower()]


def _threshold(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or int(text) > 254:
        raise DataError(f"mask_threshold is {text}; it must be a whole number, 0 to 254, or empty")
    return int(text)


def _refuse_repetition(sample: Sample, earlier: dict[str, tuple[int, Sample]]) -> None:
    if sample.id not in earlier:
        return
    number, first = earlier[sample.id]
    if first.label != sample.label:
        raise DataError(f"{sample.id} is labelled {sample.label}, but {first.label} in row {number}")
    raise DataError(f"{sample.id} is in row {number} already; keep one of the two")
