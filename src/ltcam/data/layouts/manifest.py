"""A CSV manifest: `path,label` and optionally `split,mask,group,mask_threshold`.

    path,label,split,mask,group
    a/0001.png,ok,train,,lot1
    a/0002.png,scratch,train,m/0002.png,lot1

The columns are also found by other usual names, such as `filename,class` or `image_path;label`, in any dialect of CSV
(`ltcam.data.tables`). A column that asks for defects, or for OK (`defect`, `is_ok`), may stand for the labels: yes and
no, 1 and 0 answer it. So may a column for each kind (`path,ok,scratch,dent`). An image of several kinds, in one row or
in several, has the one that it is said to have most often, or that stands first; how many there are is noted.
Paths are relative to the CSV file, or absolute and below its folder, which they may not leave; they are compared
without regard to Unicode form and, where no such file is there, to case, and may lack the ending of an image. Labels
whose words mean OK (`ltcam.data.labels`; also 0, 0.0, False) are the class without defect; every other label is a
class of that name. An empty split (or nan) means none, an empty group means the image is its own group. A file that
is not there is no error here: it is reported like any other file that cannot be read.
"""

from __future__ import annotations

import posixpath
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath

from ltcam.data.dataset import OK, Dataset, Files, Sample, Split, make_dataset, several_kinds
from ltcam.data.labels import Labels, label_key, means_any_defect, means_ok, read_labels
from ltcam.data.layouts.tree import SPLIT_NAMES
from ltcam.data.tables import cells_by_column, decoded, joined_words, named_columns, rows_of
from ltcam_runtime.errors import DataError
from ltcam_runtime.files import why_not_read
from ltcam_runtime.mask_files import name_key
from ltcam_runtime.phrases import counted, first_few, word_set
from ltcam_runtime.searching import is_image

NAME = "manifest"
WANTED = "manifest.csv with the columns path,label and optionally split,mask,group"
FILE_NAME = "manifest.csv"
MOST_BYTES = 256 << 20
"""Larger manifests are refused."""

_COLUMNS = ("path", "label", "mask", "group")
"""That are also found by other names."""

_ASK_FOR_DEFECTS = word_set(
    """
    defect defective is_defect is_defective has_defect anomaly is_anomaly anomalous faulty is_faulty damaged is_damaged
    ng is_ng nok nio reject rejected fail failed defekt fehler fehlerhaft
    """
)
_ASK_FOR_OK = word_set("ok is_ok io good is_good normal is_normal pass passed accepted")
"""Columns that answer a question instead of naming a label, where none is called so."""

_RESULTS = word_set(
    """
    result results status state quality verdict decision judgement judgment choice grade outcome condition inspection
    ergebnis prüfergebnis pruefergebnis urteil qualität qualitaet zustand entscheidung beurteilung
    résultat resultat résultats état qualité resultado estado calidad risultato esito stato qualità
    """
)
"""Columns that name labels where no other does, if what they say are words for OK."""

_NAME_DEFECTS = (
    "defect",
    "defekt",
    "fehler",
    "mangel",
    "défaut",
    "defaut",
    "difett",
    "defeito",
    "flaw",
    "fault",
    "damage",
)
"""How words begin in the names of columns that name defects."""

_NOTHING = frozenset({"", "-", "--", "keine", "kein", "keiner", "aucun", "ninguno", "nessuno", "nothing"})
"""Written where there is no defect."""

_NO_KINDS = frozenset({"", *SPLIT_NAMES}) | word_set(
    """
    path label mask split group mask_threshold id index fold is_train is_val is_valid is_validation is_test lot batch
    station camera augmented is_augmented synthetic reviewed verified labelled labeled annotated has_mask
    shift night_shift reworked rework repaired checked inspected approved duplicate is_duplicate
    """
)
"""Columns of 0 and 1 with these names say something else."""

_MAY_GROUP = word_set(
    """
    lot lot_id lot_no lot_number batch batch_id batch_no batch_number los losnummer charge chargennummer chargen_nr
    part part_id part_no part_number serial serial_no serial_number sn teil teilenummer bauteil bauteilnummer
    seriennummer
    """
)
"""Columns that may say which images belong together; only a person knows whether they do."""

_YES = word_set("yes y true t 1 1.0 1,0 ja j wahr oui vrai si sí sim verdadero vero")
_NO = word_set("no n false f 0 0.0 0,0 nein falsch non faux não none falso")

_SLIPS = 0.1
"""Of a kind's images, the most that may be called OK for that to be a slip."""

_SPLITS: Mapping[str, Split | None] = {"": None, **SPLIT_NAMES}
_EMPTY = frozenset({"nan", "none", "null", "na", "n/a", "<na>", "nat"})  # what programs write for nothing
_MOST_SHOWN = 10


@dataclass(frozen=True)
class _Row:
    """A row: its last line in the file, its cells by column, and the labels that it gives its image."""

    number: int
    values: dict[str, str]
    labels: tuple[str, ...] = ()

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
    rows, about_columns = _labelled(_rows(file), file)
    about_columns += _about_groups(rows)
    labels = read_labels([label for row in rows for label in row.labels], ok)
    images = _Images(labels, _also_asked(rows))
    _each(rows, images.add, file)
    found = images.samples()
    there = {sample.path for sample in found if sample.path.is_file()}
    if not there:
        raise DataError(
            f"{file}: none of its {len(found)} image files is there; paths count from {file.parent}/ "
            f"(row {rows[0].number} says {rows[0].value('path')}){_below(file.parent, found[0].id)}"
        )
    masks = {s.mask for s in found if isinstance(s.mask, Path) and s.mask.is_file()} - there
    files = Files(images=len(there), masks=len(masks), lists=1)
    dataset = make_dataset(file.parent, NAME, found, files=files, ok_labels=labels.ok)
    return replace(dataset, notes=(*about_columns, *several_kinds(images.of_several_kinds)))


def listed_images(file: Path) -> list[tuple[str, Path]]:
    """Id and path of the images of a manifest, which needs no labels for that.

    Raises:
        DataError: as of `read_manifest`.
    """
    finder = _Finder(file.parent)
    found: dict[str, Path] = {}

    def add(row: _Row, _finder: _Finder) -> None:
        identity = finder.find(row.value("path"), "path")
        found.setdefault(identity, finder.root / identity)

    _each(_rows(file, ("path",)), add, file)
    return list(found.items())


def has_paths(file: Path) -> bool:
    """Whether a file reads as a manifest as far as its first row names the column of paths."""
    try:
        return bool(_rows(file, ("path",)))
    except DataError:
        return False


def _each(rows: Sequence[_Row], take: Callable[[_Row, _Finder], None], file: Path) -> None:
    """Take up every row, and name up to ten of those that are wrong."""
    finder = _Finder(file.parent)
    problems: list[str] = []
    elsewhere: list[tuple[int, str]] = []
    for row in rows:
        try:
            take(row, finder)
        except _ElsewhereError as error:
            elsewhere.append((row.number, str(error)))
        except DataError as error:
            problems.append(f"row {row.number}: {error}")
    if elsewhere:
        raise DataError(f"{file}: {_of_another_machine(file.parent, elsewhere)}")
    if problems:
        more = f"; and {len(problems) - _MOST_SHOWN} more" if len(problems) > _MOST_SHOWN else ""
        raise DataError(f"{file}: " + "; ".join(problems[:_MOST_SHOWN]) + more)


class _Images:
    """The images of a manifest, each from all its rows."""

    def __init__(self, labels: Labels, asked: Sequence[str]) -> None:
        self._labels = labels
        self._asked = asked
        self._first: dict[str, tuple[int, Sample]] = {}
        self._kinds: dict[str, list[str]] = {}

    def add(self, row: _Row, finder: _Finder) -> None:
        """Take up a row.

        Raises:
            DataError: it is wrong, or does not go with an earlier one of its image.
        """
        if not row.labels:
            raise DataError("label is empty")
        kinds = [self._labels.class_of[label] for label in row.labels]
        if OK in kinds and {*kinds} != {OK}:
            raise DataError(
                f"it is {' and '.join(row.labels)} at once; correct one, or leave out a column that names no defect"
            )
        sample = _sample(row, finder, kinds[0])
        _refuse_contradiction(row, sample.label, self._asked)
        if sample.id in self._first:
            _refuse_repetition(sample, *self._first[sample.id])
        self._first.setdefault(sample.id, (row.number, sample))
        self._kinds.setdefault(sample.id, []).extend(kinds)

    def samples(self) -> list[Sample]:
        """Each with its kind of defect: the most frequent, of equals the first."""
        return [
            replace(sample, label=Counter(self._kinds[identity]).most_common(1)[0][0])
            for identity, (_, sample) in self._first.items()
        ]

    @property
    def of_several_kinds(self) -> int:
        """How many images there are of more than one kind of defect."""
        return sum(len({*kinds}) > 1 for kinds in self._kinds.values())


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


def _rows(file: Path, wanted: Collection[str] = _COLUMNS) -> list[_Row]:
    """The rows below the names of the columns, which are the wanted ones where another usual name is written."""
    table = rows_of(decoded(_content(file), file), file)
    if not table:
        raise DataError(f"{file}: the file is empty; it needs the columns path,label and one row per image")
    columns = named_columns(table[0][1], wanted, file)
    _check_columns(file, columns, ["path"], [name for name in ("path", "label") if name in wanted])
    if len(table) == 1:
        raise DataError(f"{file}: there is a header but no row; add one row per image")
    return [_Row(row[0], cells_by_column(row, columns, file)) for row in table[1:]]


def _content(file: Path) -> bytes:
    try:
        state = file.stat()
        if not stat.S_ISREG(state.st_mode):  # a pipe or a device may never end
            raise DataError(f"{file}: this is not a regular file; give a CSV file")
        if state.st_size > MOST_BYTES:
            raise DataError(f"{file}: {state.st_size:,} bytes, more than {MOST_BYTES:,}; split the list")
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: {why_not_read(error)}") from None


def _labelled(rows: list[_Row], file: Path) -> tuple[list[_Row], list[str]]:
    """The rows with their labels: those of `label`, else of a column that asks, and of kinds; and what to say of it."""
    columns = list(dict.fromkeys(name for row in rows for name in row.values))
    if "label" in columns:
        return [replace(row, labels=_given(_label(row.value("label")))) for row in rows], []
    asking = [name for name in columns if joined_words(name) in _ASK_FOR_DEFECTS | _ASK_FOR_OK]
    results = [] if asking else [name for name in columns if _is_of_results(name, rows)]
    asking = asking or results
    yes_or_no = _yes_or_no(rows, [name for name in columns if name not in asking])
    unclear = len(yes_or_no) < 2 or any(joined_words(name) in _RESULTS for name in yes_or_no)
    if len(asking) > 1 or (not asking and unclear):
        _check_columns(file, columns, ["path", "label"])
    if not asking:
        return [replace(row, labels=_yes(row, yes_or_no) or (OK,)) for row in rows], _about_columns(yes_or_no)
    _refuse_other_defects(rows, asking[0], file)
    kinds = _kinds(rows, yes_or_no, asking[0])
    notes = [f"Labels are read from the column {name}." for name in results]
    notes += _about_columns(kinds, [name for name in yes_or_no if name not in kinds])
    return [replace(row, labels=_answers(row, asking[0], kinds)) for row in rows], notes


def _about_groups(rows: Sequence[_Row]) -> list[str]:
    """A column that repeats what may be a lot or a part, where none says which images belong together."""
    if any(row.value("group") for row in rows):
        return []
    found = []
    for name in rows[0].values:
        values = [row.value(name) for row in rows]
        if joined_words(name) in _MAY_GROUP and 1 < len(set(values)) < len(values):
            found.append(name)
    return [
        f"The column {name} is not read: call it group where images of the same {name} belong together, as those of "
        "one part do; they stay on one side then."
        for name in found[:1]
    ]


def _is_of_results(column: str, rows: Sequence[_Row]) -> bool:
    """Whether a column is called like one of results, and says in words of some images that they are OK.

    Of yes and no, 1 and 0, nobody knows which is good: a `quality` of 0, or a `result` of 0.
    """
    if joined_words(column) not in _RESULTS:
        return False
    said = {row.value(column).lower() for row in rows}
    return said.isdisjoint(_YES | _NO) and any(map(means_ok, said))


def _refuse_other_defects(rows: Sequence[_Row], question: str, file: Path) -> None:
    """Nothing is OK of which another column names a defect: a `condition` of normal may be that of the light."""
    for row in rows:
        answer = row.value(question)
        others = row.values.items() if means_ok(_answered(question, _label(answer))) else ()
        for column, said in others:
            if column != question and _names_a_defect(joined_words(column), said.lower()):
                raise DataError(
                    f"{file}: row {row.number}: {question} is {answer}, but {column} is {said}; correct one of the "
                    "two, or leave one of the columns out"
                )


def _names_a_defect(column: str, said: str) -> bool:
    """Whether a cell does: a word of a column of defects, or one for defects in a column of results."""
    if column in _RESULTS:
        return means_any_defect(said)
    named = any(word.startswith(_NAME_DEFECTS) for word in column.split("_"))
    nothing = said in _YES | _NO | _EMPTY | _NOTHING or means_ok(said)
    return named and not nothing and any(map(str.isalpha, said))


def _yes_or_no(rows: list[_Row], columns: Sequence[str]) -> list[str]:
    """The columns that say yes or no in every row, maybe of a kind of defect."""
    return [
        name
        for name in columns
        if joined_words(name) not in _NO_KINDS and all(row.value(name).lower() in _YES | _NO for row in rows)
    ]


def _kinds(rows: list[_Row], columns: Sequence[str], question: str) -> list[str]:
    """The columns whose yes names a kind of defect.

    Not those that say yes of OK images too, like `reworked` or `night_shift`; a few of these are slips, which are
    refused. Nor one that repeats the question beside kinds that answer it, nor one that means OK beside others, like
    `no_burr` beside `burr`.
    """
    keys = set(map(label_key, columns))
    columns = [name for name in columns if not means_ok(name, keys)]
    said = {name: {row.number for row in rows if row.value(name).lower() in _YES} for name in columns}
    ok = {row.number for row in rows if means_ok(_answered(question, _label(row.value(question))))}
    kinds = [name for name in columns if len(said[name] & ok) <= max(1, len(said[name]) * _SLIPS)]
    defective = {row.number for row in rows} - ok
    for name in list(kinds):
        named = {number for other in kinds if other != name for number in said[other]}
        if said[name] == defective <= named:
            kinds.remove(name)
    return kinds


def _yes(row: _Row, columns: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in columns if row.value(name).lower() in _YES)


def _answers(row: _Row, question: str, kinds: Sequence[str]) -> tuple[str, ...]:
    found = _yes(row, kinds)
    answer = _answered(question, _label(row.value(question)))
    return (answer, *found) if means_ok(answer) else found or _given(answer)


def _about_columns(kinds: Sequence[str], others: Sequence[str] = ()) -> list[str]:
    notes = []
    if kinds:
        notes.append(f"Kinds of defect are read from the columns {first_few(kinds, 12)}.")
    if others:
        notes.append(
            "Columns of yes and no that are taken for no kinds of defect, since they say yes of OK images too or of "
            f"every defect: {first_few(others, 12)}."
        )
    return notes


def _given(label: str) -> tuple[str, ...]:
    return (label,) if label else ()


def _answered(question: str, text: str) -> str:
    """The label that an answer stands for. A column of defects may name them instead."""
    of_ok = joined_words(question) in _ASK_FOR_OK
    if text.lower() in _YES:
        return OK if of_ok else "defect"
    if text.lower() in _NO:
        return "defect" if of_ok else OK
    return text


def _also_asked(rows: list[_Row]) -> list[str]:
    """Columns beside `label` that answer in every row whether there is a defect, or whether the part is OK."""
    names = [name for name in rows[0].values if joined_words(name) in _ASK_FOR_DEFECTS | _ASK_FOR_OK]
    labelled = "label" in rows[0].values
    return [name for name in names if labelled and all(row.value(name).lower() in _YES | _NO for row in rows)]


def _refuse_contradiction(row: _Row, name: str, asked: Sequence[str]) -> None:
    """A label of 1 beside an `ok` of 1 would be read as a defect."""
    for column in asked:
        if (_answered(column, row.value(column)) == OK) != (name == OK):
            raise DataError(
                f"label {row.value('label')} is read as {name}, but {column} is {row.value(column)}; correct one "
                "of the two, say with `ok` which labels mean OK, or call the column something else"
            )


def _check_columns(
    file: Path, columns: list[str], needed: Sequence[str], named: Sequence[str] = ("path", "label")
) -> None:
    """Refuse a table without the columns that are needed; all that have to be there are named."""
    if any(name not in columns for name in needed):
        missing = [name for name in named if name not in columns]
        optional = "[,split,mask,group]" if "label" in named else ""
        raise DataError(
            f"{file}: column(s) {', '.join(missing)} missing in the first row, which has: "
            f"{first_few(columns, 12)}; the first row must name the columns {','.join(named)}{optional}"
        )


def _sample(row: _Row, finder: _Finder, label: str) -> Sample:
    identity = finder.find(row.value("path"), "path")
    mask = _unless_empty(row.value("mask"))
    return Sample(
        id=identity,
        path=finder.root / identity,
        label=label,
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
        """The name itself, or the only one in the folder that differs in Unicode form, case or its ending alone.

        An ending may be left out where an image file has it.
        """
        try:
            if (folder / name).exists():
                return name
            if folder not in self._names:
                names: dict[str, list[str]] = defaultdict(list)
                for entry in folder.iterdir():
                    names[name_key(entry.name)].append(entry.name)
                    if is_image(PurePosixPath(entry.name)):
                        names[name_key(entry.stem)].append(entry.name)
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
    path = PurePosixPath(posixpath.normpath(path))
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


def _refuse_repetition(sample: Sample, number: int, first: Sample) -> None:
    """Rows of one image may name several kinds of defect, and differ in nothing else."""
    if (first.label == OK) != (sample.label == OK):
        raise DataError(f"{sample.id} is labelled {sample.label}, but {first.label} in row {number}")
    if sample.label == OK:
        raise DataError(f"{sample.id} is in row {number} already; keep one of the two")
    if replace(sample, label=first.label) != first:
        raise DataError(
            f"{sample.id} is in row {number} with another split, mask or group; make them one row"
        )
