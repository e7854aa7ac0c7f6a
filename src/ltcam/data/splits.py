"""Which images are learned from, which choose the epoch, which measure. Groups are never torn apart.

All functions are deterministic for a seed and change nothing but the `split` of the samples.
"""

from __future__ import annotations

import csv
import io
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ltcam.data.dataset import OK, Dataset, Sample, Split
from ltcam_runtime.errors import DataError
from ltcam_runtime.writers.csv import cell_text, csv_text

DEFAULT_TEST_SHARE = 0.3
DEFAULT_VAL_SHARE = 0.2

_SIDES: dict[str, Split] = {"train": "train", "val": "val", "test": "test"}
_ATTEMPTS = 24
_COLUMNS = ("path", "label", "group", "split", "sha256")
_KSDD_TEST = frozenset(f"kos{number}" for number in range(41, 51))
_KSDD_COMMUTATOR = re.compile(r"kos\d+(?=/)", re.IGNORECASE)


@dataclass(frozen=True)
class SplitRow:
    """One row of `split.csv`: a sample as it was used. `sha256` is of the file, "" if it could not be read."""

    path: str
    label: str
    group: str
    split: Split
    sha256: str


def split_by_group(dataset: Dataset, *, val_share: float, test_share: float, seed: int) -> Dataset:
    """Give every sample a side, by group and as evenly over the classes as the groups allow.

    Sides that the data set names stay: with a test side of its own none is made, likewise for val, and
    only samples that are on no side or on train are moved. Every class that stands in two groups or more
    of these appears on both sides of a cut, unless there are too few groups for that.

    Args:
        dataset: with classes and groups; `duplicates.merge_groups` first, so that copies stay together.
        val_share: share of train and val together that becomes val, 0 to below 1; 0 makes none.
        test_share: share of all samples that becomes test, 0 to below 1; 0 makes none.
        seed: another seed, another choice of groups.

    Returns:
        The data set with a split for every sample.

    Raises:
        DataError: a cut cannot be made: a single group, or all OK or all defective images in one.
        ValueError: a share is out of range.
    """
    for name, share in (("val_share", val_share), ("test_share", test_share)):
        if not 0.0 <= share < 1.0:
            raise ValueError(f"{name} is {share}; it must be at least 0 and below 1")
    refusals: list[DataError] = []
    for aim in ("every class", "both kinds", "at all"):
        for attempt in range(_ATTEMPTS):
            try:
                return _cut(dataset, (val_share, test_share), aim, f"{seed}/{attempt}")
            except DataError as error:
                refusals.append(error)
    raise refusals[0]


def default_split(dataset: Dataset, seed: int) -> Dataset:
    """Train and test side of a data set: what a run uses unless told otherwise.

    A test side that the data set names is kept (samples on no side go to train). KolektorSDD gets the
    split of the literature. Everything else is cut 70 to 30 by group. No val side is made here:
    `split_by_group(..., test_share=0.0)` takes one out of train.

    Raises:
        DataError: the cut cannot be made (see `split_by_group`).
    """
    if any(sample.split == "test" for sample in dataset.samples):
        return _with_sides(dataset, {sample.id: sample.split or "train" for sample in dataset.samples})
    if dataset.layout == "ksdd" and _commutators(dataset) > _KSDD_TEST:
        return paper_split(dataset)
    return split_by_group(dataset, val_share=0.0, test_share=DEFAULT_TEST_SHARE, seed=seed)


def paper_split(dataset: Dataset) -> Dataset:
    """KolektorSDD as the literature splits it: test is kos41 to kos50, everything else train.

    Of the complete data set that is 42 defective and 277 OK images in train, 10 and 70 in test. The
    repeated commutators (kos01 = kos26, kos27 = kos34, kos38 = kos39) are all in train and stay there.

    Raises:
        DataError: not KolektorSDD, or some of kos41 to kos50 are missing.
    """
    if dataset.layout != "ksdd":
        raise DataError(
            f"{dataset.root}: the paper's split exists for KolektorSDD only, and this was read as "
            f"{dataset.layout}; use a split by group"
        )
    missing = sorted(_KSDD_TEST - _commutators(dataset))
    if missing:
        raise DataError(
            f"{dataset.root}: the paper's split needs kos41 to kos50, but {', '.join(missing)} are missing; "
            "complete the data set or use a split by group"
        )
    return _with_sides(
        dataset,
        {s.id: "test" if _commutator(s) in _KSDD_TEST else "train" for s in dataset.samples},
    )


def kfold(dataset: Dataset, folds: int, seed: int) -> tuple[Dataset, ...]:
    """Cross-validation over groups: every sample is on the test side of exactly one fold.

    Groups are dealt out so that the folds hold about equally many images of each class, rare classes
    first (on KolektorSDD with five folds: about ten commutators and ten defective images each). Sides that
    the data set names play no part: give `dataset.with_samples(dataset.of_split("train"))` to stay
    within train.

    Args:
        dataset: with `duplicates.merge_groups` done.
        folds: 2 or more.
        seed: another seed, another deal.

    Returns:
        `folds` data sets, each with all samples on train or test.

    Raises:
        DataError: fewer groups with OK images, or with defective ones, than folds.
        ValueError: folds is below 2.
    """
    if folds < 2:
        raise ValueError(f"folds is {folds}; it must be at least 2")
    counts = _class_counts(dataset.samples)
    for what, groups in (
        ("OK", [group for group, classes in counts.items() if classes[OK]]),
        ("defective", [group for group, classes in counts.items() if classes.total() > classes[OK]]),
    ):
        if len(groups) < folds:
            raise DataError(
                f"{dataset.root}: {folds} folds need {what} images in at least {folds} groups, there are "
                f"{len(groups)}; ask for fewer folds"
            )
    fold_of = _deal(counts, folds, seed)
    return tuple(
        _with_sides(
            dataset,
            {s.id: "test" if fold_of[s.group] == fold else "train" for s in dataset.samples},
        )
        for fold in range(folds)
    )


def straddling_groups(dataset: Dataset) -> tuple[str, ...]:
    """Groups with samples on more than one side, sorted (samples on no side are left out)."""
    sides: dict[str, set[Split]] = defaultdict(set)
    for sample in dataset.samples:
        if sample.split is not None:
            sides[sample.group].add(sample.split)
    return tuple(sorted(group for group, found in sides.items() if len(found) > 1))


def split_csv(dataset: Dataset, contents: Mapping[str, str]) -> str:
    """Text of `split.csv`: `path,label,group,split,sha256` of all samples.

    Names that a spreadsheet would compute get an apostrophe, and bytes that are no text are escaped.

    Args:
        dataset: with a split for every sample.
        contents: SHA-256 of each file by sample id, "" where it cannot be read.

    Raises:
        ValueError: a sample has no split.
    """
    undecided = [sample.id for sample in dataset.samples if sample.split is None]
    if undecided:
        raise ValueError(f"{len(undecided)} samples have no split, the first is {undecided[0]}")
    rows = ((s.id, s.label, s.group, s.split, contents[s.id]) for s in dataset.samples)
    return csv_text([_COLUMNS, *rows])


def read_split_csv(path: Path) -> tuple[SplitRow, ...]:
    """Read a file that holds what `split_csv` gave.

    Raises:
        DataError: the file is missing, of another form, or a row is wrong (with its number).
    """
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: this is not a regular file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header, *lines = [(reader.line_num, cells) for cells in reader] or [(0, [])]
    except csv.Error as error:
        raise DataError(f"{path}: row {reader.line_num}: not valid CSV ({error})") from None
    if tuple(header[1]) != _COLUMNS:
        raise DataError(f"{path}: the first row must be {','.join(_COLUMNS)}, not {','.join(header[1])}")
    rows = []
    for number, cells in lines:
        if len(cells) != len(_COLUMNS) or cells[3] not in _SIDES:
            raise DataError(
                f"{path}: row {number}: needs path, label, group, one of train, val, test, and sha256"
            )
        name, label, group = (cell_text(cell) for cell in cells[:3])
        rows.append(SplitRow(name, label, group, _SIDES[cells[3]], cells[4]))
    return tuple(rows)


def known_sides(rows: Iterable[SplitRow], contents: Mapping[str, str]) -> dict[str, Split]:
    """On which side images stood, found again by their contents, whatever they are called now.

    Args:
        rows: of a `split.csv`.
        contents: SHA-256 by sample id (`fingerprint.content_hashes`), "" where a file cannot be read.

    Returns:
        Side by sample id, of the images that the rows hold. An image that stood on several sides under
        different names counts as trained on.
    """
    sides: dict[str, Split] = {}
    order = ("test", "val", "train")
    for row in sorted(rows, key=lambda row: order.index(row.split)):
        if row.sha256:
            sides[row.sha256] = row.split
    return {name: sides[content] for name, content in contents.items() if content in sides}


# -------------------------------------------------------------------------------------- parts


def _cut(dataset: Dataset, shares: tuple[float, float], aim: str, seed: str) -> Dataset:
    val_share, test_share = shares
    named = {sample.split for sample in dataset.samples}
    sides: dict[str, Split] = {sample.id: sample.split or "train" for sample in dataset.samples}
    cuts: list[tuple[Split, float]] = [("test", test_share), ("val", val_share)]
    for side, share in cuts:
        if share > 0.0 and side not in named:
            pool = [sample for sample in dataset.samples if sides[sample.id] == "train"]
            held_out = _held_out_groups(pool, share, side, aim, f"{seed}/{side}")
            sides.update({sample.id: side for sample in pool if sample.group in held_out})
    return _with_sides(dataset, sides)


def _with_sides(dataset: Dataset, sides: Mapping[str, Split]) -> Dataset:
    return dataset.with_samples(tuple(replace(s, split=sides[s.id]) for s in dataset.samples))


def _commutator(sample: Sample) -> str:
    found = _KSDD_COMMUTATOR.match(sample.id)
    return found[0].lower() if found else ""


def _commutators(dataset: Dataset) -> set[str]:
    return {_commutator(sample) for sample in dataset.samples}


def _class_counts(samples: Iterable[Sample]) -> dict[str, Counter[str]]:
    """Group -> class -> number of samples; groups in alphabetical order."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for sample in samples:
        counts[sample.group][sample.label] += 1
    return dict(sorted(counts.items()))


def _rarest_first(counts: Mapping[str, Counter[str]]) -> list[str]:
    """Classes by the number of groups they stand in, OK behind equals, then by name."""
    spread = Counter(name for classes in counts.values() for name in classes)
    return sorted(spread, key=lambda name: (spread[name], name == OK, name))


# scikit-learn's StratifiedGroupKFold balances classes and promises none of them a side: where kinds are rare it leaves
# some with two groups or more on one side, which this never does. And the sides that a seed gives are kept in run
# folders; they may not become others.
def _held_out_groups(samples: list[Sample], share: float, side: Split, aim: str, seed: str) -> set[str]:
    """Groups to hold out, class by class, the rarest first.

    A class's share is filled from shuffled groups while one more group brings it nearer to the target, and
    with one group at least where that leaves another one in train. Where groups are few, that can take so
    many for one side that none are left for the next. Then less is aimed at: OK and defective images
    instead of every class, and at last as few groups as will do.
    """
    counts = _class_counts(samples)
    _check_separable(counts, side)
    by_class = aim == "every class"
    shared_out = counts if by_class else {group: _kinds(classes) for group, classes in counts.items()}
    order = list(counts)
    random.Random(seed).shuffle(order)  # noqa: S311 - a seeded choice, no secret
    remaining = Counter(name for classes in counts.values() for name in classes)
    held_out: set[str] = set()
    for label in _rarest_first(shared_out):
        target = 0.0 if aim == "at all" else share * sum(classes[label] for classes in shared_out.values())
        have = sum(shared_out[group][label] for group in held_out)
        for group in order:
            size = shared_out[group][label]
            last = any(remaining[name] == 1 for name in counts[group])
            if not size or group in held_out or last:
                continue
            if have == 0 or abs(have + size - target) < abs(have - target):
                held_out.add(group)
                have += size
                remaining.subtract(counts[group].keys())
    _check_both_kinds(counts, held_out, side)
    return held_out


def _kinds(classes: Counter[str]) -> Counter[str]:
    """The same counts with all defect classes taken together."""
    return +Counter({OK: classes[OK], "defective": classes.total() - classes[OK]})


def _check_separable(counts: Mapping[str, Counter[str]], side: Split) -> None:
    if not counts:
        raise DataError(f"no images are left to take a {side} side from; check the named splits")
    if len(counts) == 1:
        raise DataError(
            f"all images are in one group ({next(iter(counts))}), so no {side} side can be cut off; "
            "give images of several lots or parts, or name the splits in the data set"
        )


def _check_both_kinds(counts: Mapping[str, Counter[str]], held_out: set[str], side: Split) -> None:
    """Both OK and defective images are needed to measure anything."""
    ok = sum(counts[group][OK] for group in held_out)
    total = sum(counts[group].total() for group in held_out)
    for what, number in (("OK", ok), ("defective", total - ok)):
        if number == 0:
            raise DataError(
                f"the {side} side cannot get {what} images without taking the last group of some class "
                f"from train; give {what} images of more lots or parts, or name the splits in the data set"
            )


def _deal(counts: Mapping[str, Counter[str]], folds: int, seed: int) -> dict[str, int]:
    """Fold of every group: rarest class first, large groups first, to the fold that has least of it."""
    order = list(counts)
    random.Random(f"{seed}/folds").shuffle(order)  # noqa: S311 - a seeded choice, no secret
    filled = [Counter[str]() for _ in range(folds)]
    fold_of: dict[str, int] = {}
    for label in _rarest_first(counts):
        waiting = [group for group in order if counts[group][label] and group not in fold_of]
        for group in sorted(waiting, key=lambda name: -counts[name][label]):
            fold = min(range(folds), key=lambda k: (filled[k][label], filled[k].total(), k))
            fold_of[group] = fold
            filled[fold].update(counts[group])
    return fold_of
