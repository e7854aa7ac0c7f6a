from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ltcam.data import splits
from ltcam.data.dataset import OK, Dataset, Sample, Split, make_dataset
from ltcam.data.layouts import read_dataset
from ltcam.data.splits import (
    SplitRow,
    default_split,
    kfold,
    known_sides,
    paper_split,
    read_split_csv,
    split_by_group,
    split_csv,
    straddling_groups,
)
from ltcam_runtime.errors import DataError

Row = tuple[str, str, Split | None]


def make(rows: Sequence[Row], layout: str = "folders") -> Dataset:
    samples = [
        Sample(f"{g}/{i:04}.png", Path(f"{i}"), label, g, side) for i, (g, label, side) in enumerate(rows)
    ]
    return make_dataset(Path("/nowhere"), layout, samples)


def counts(dataset: Dataset) -> Counter[tuple[str | None, str]]:
    return Counter((s.split, s.label) for s in dataset.samples)


def parts(number: int, ok: int = 4, defective: int = 1, label: str = "dent") -> list[Row]:
    """Groups with some OK and some defective images each."""
    return [(f"p{n:02}", name, None) for n in range(number) for name in [OK] * ok + [label] * defective]


def ksdd_like(numbers: Sequence[int] = range(1, 51)) -> Dataset:
    rows = [(f"kos{n:02}", label, None) for n in numbers for label in [OK] * 7 + ["defect"]]
    return make(rows, layout="ksdd")


GROUPED = st.lists(
    st.tuples(st.integers(0, 11), st.sampled_from([OK, OK, OK, "dent", "pit"])), min_size=6, max_size=80
).map(lambda rows: make([(f"g{g}", label, None) for g, label in rows]))


SIDES = ("train", "val", "test")


def is_possible(dataset: Dataset, side_of: Any) -> bool:
    """Whether a cut has OK and defective images on each side, and every class in train."""
    found = {(side_of[s.group], s.defective) for s in dataset.samples}
    trained = {s.label for s in dataset.samples if side_of[s.group] == "train"}
    return len(found) == 6 and trained == {s.label for s in dataset.samples}


@settings(max_examples=150)
@given(GROUPED, st.integers(0, 5), st.sampled_from([0.1, 0.3, 0.5]))
def test_split_by_group_properties(dataset: Dataset, seed: int, share: float) -> None:
    try:
        result = split_by_group(dataset, val_share=0.2, test_share=share, seed=seed)
    except DataError:
        groups = sorted({s.group for s in dataset.samples})
        assume(len(groups) <= 6)
        assert not any(
            is_possible(dataset, dict(zip(groups, sides, strict=True)))
            for sides in product(SIDES, repeat=len(groups))
        )
        return
    assert [s.id for s in result.samples] == [s.id for s in dataset.samples]
    assert {replace(s, split=None) for s in result.samples} == set(dataset.samples)
    assert straddling_groups(result) == ()
    assert result == split_by_group(dataset, val_share=0.2, test_share=share, seed=seed)
    for side in ("train", "val", "test"):
        labels = {s.defective for s in result.of_split(side)}
        assert labels == {True, False}
    for name in dataset.classes[1:]:
        assert any(s.label == name for s in result.of_split("train")) or name not in {
            s.label for s in dataset.samples
        }


def test_shares_are_met_per_class() -> None:
    rows = parts(20, ok=4, defective=1) + [
        (f"q{n:02}", name, None) for n in range(20) for name in [OK] * 4 + ["pit"]
    ]
    result = split_by_group(make(rows), val_share=0.25, test_share=0.25, seed=3)
    found = counts(result)
    assert found["test", "dent"] == found["test", "pit"] == 5
    assert found["val", "dent"] == found["val", "pit"] == 4
    assert found["train", "dent"] == found["train", "pit"] == 11
    assert found["test", OK] == 40


def test_every_class_with_two_groups_is_on_both_sides() -> None:
    rows = [*parts(30), ("r1", "rare", None), ("r2", "rare", None), ("lone", "single", None)]
    for seed in range(10):
        found = counts(split_by_group(make(rows), val_share=0.0, test_share=0.1, seed=seed))
        assert found["train", "rare"] == found["test", "rare"] == 1
        assert found["train", "single"] == 1


def test_seed_changes_the_choice() -> None:
    dataset = make(parts(20))
    chosen = {
        tuple(
            s.group for s in split_by_group(dataset, val_share=0, test_share=0.3, seed=seed).of_split("test")
        )
        for seed in range(6)
    }
    assert len(chosen) > 3


def test_order_of_groups_in_the_data_set_names_does_not_matter_for_counts() -> None:
    dataset = make(parts(10))
    assert counts(split_by_group(dataset, val_share=0.2, test_share=0.3, seed=0))["test", "dent"] == 3


def test_named_sides_stay() -> None:
    rows: list[Row] = [(g, label, "test" if int(g[1:]) < 4 else "train") for g, label, _ in parts(12)]
    dataset = make(rows)
    result = split_by_group(dataset, val_share=0.25, test_share=0.5, seed=0)
    assert {s.group for s in result.of_split("test")} == {"p00", "p01", "p02", "p03"}
    assert len({s.group for s in result.of_split("val")}) == 2
    val_named = make([(g, label, "val" if int(g[1:]) < 2 else None) for g, label, _ in parts(12)])
    result = split_by_group(val_named, val_share=0.25, test_share=0.3, seed=0)
    assert {s.group for s in result.of_split("val")} == {"p00", "p01"}
    assert len({s.group for s in result.of_split("test")}) == 3


def test_no_share_no_side() -> None:
    result = split_by_group(make(parts(3)), val_share=0.0, test_share=0.0, seed=0)
    assert {s.split for s in result.samples} == {"train"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("one", OK, None), ("one", "dent", None)], r"all images are in one group \(one\)"),
        ([(f"g{i}", OK, None) for i in range(5)] + [("d", "dent", None)], "cannot get defective images"),
        ([(f"g{i}", "dent", None) for i in range(5)] + [("d", OK, None)], "cannot get OK images"),
        ([("a", OK, "test"), ("b", "dent", "val")], "no images are left"),
    ],
)
def test_impossible_cuts(rows: list[Row], message: str) -> None:
    dataset = make(rows)
    side = (
        {"val_share": 0.2, "test_share": 0.3} if rows[0][2] is None else {"val_share": 0.0, "test_share": 0.3}
    )
    if rows[0][2] is not None:
        dataset = dataset.with_samples(tuple(replace(s, split="val") for s in dataset.samples))
    with pytest.raises(DataError, match=message):
        split_by_group(dataset, **side, seed=0)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_shares_out_of_range(share: float) -> None:
    with pytest.raises(ValueError, match="val_share"):
        split_by_group(make(parts(4)), val_share=share, test_share=0.3, seed=0)


def test_default_split_by_group_when_nothing_is_named() -> None:
    result = default_split(make(parts(10)), seed=0)
    assert counts(result) == {
        ("train", OK): 28, ("train", "dent"): 7, ("test", OK): 12, ("test", "dent"): 3,
    }  # fmt: skip


def test_default_split_keeps_a_named_test_side() -> None:
    rows: list[Row] = [(g, label, "test" if g == "p00" else None) for g, label, _ in parts(3)]
    result = default_split(make(rows), seed=0)
    assert {s.group for s in result.of_split("test")} == {"p00"}
    assert {s.split for s in result.samples} == {"train", "test"}


def test_default_split_of_ksdd_is_the_papers_and_else_by_group() -> None:
    result = default_split(ksdd_like(), seed=5)
    assert {s.group for s in result.of_split("test")} == {f"kos{n}" for n in range(41, 51)}
    assert {s.group for s in default_split(ksdd_like(range(1, 21)), seed=5).of_split("test")} < {
        f"kos{n:02}" for n in range(1, 21)
    }
    only_test = default_split(ksdd_like(range(41, 51)), seed=5)
    assert {s.split for s in only_test.samples} == {"train", "test"}


def test_paper_split_goes_by_commutator_even_after_merging() -> None:
    dataset = ksdd_like()
    merged = dataset.with_samples(tuple(replace(s, group="all") for s in dataset.samples))
    assert counts(paper_split(merged)) == counts(paper_split(dataset))
    assert counts(paper_split(dataset))["test", "defect"] == 10


def test_paper_split_refuses_other_data() -> None:
    with pytest.raises(DataError, match="KolektorSDD only, and this was read as folders"):
        paper_split(make(parts(3)))
    with pytest.raises(DataError, match=r"kos41, kos42 are missing"):
        paper_split(ksdd_like([*range(1, 41), *range(43, 51)]))


@settings(max_examples=80)
@given(GROUPED, st.integers(2, 4), st.integers(0, 3))
def test_kfold_properties(dataset: Dataset, folds: int, seed: int) -> None:
    homes = [{s.group for s in dataset.samples if s.defective == kind} for kind in (False, True)]
    if min(len(groups) for groups in homes) < folds:
        with pytest.raises(DataError, match=f"{folds} folds need"):
            kfold(dataset, folds, seed)
        return
    result = kfold(dataset, folds, seed)
    assert len(result) == folds
    assert result == kfold(dataset, folds, seed)
    tested = Counter(s.id for fold in result for s in fold.of_split("test"))
    assert tested == Counter({s.id: 1 for s in dataset.samples})
    assert all(straddling_groups(fold) == () for fold in result)


def test_kfold_is_even() -> None:
    result = kfold(ksdd_like(), 5, seed=1)
    for fold in result:
        assert counts(fold) == {
            ("test", "defect"): 10, ("test", OK): 70, ("train", "defect"): 40, ("train", OK): 280,
        }  # fmt: skip
    assert result != kfold(ksdd_like(), 5, seed=2)


def test_kfold_with_one_fold() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        kfold(ksdd_like(), 1, 0)


def test_straddling_groups() -> None:
    dataset = make(
        [("a", OK, "train"), ("a", OK, "test"), ("b", OK, "train"), ("c", OK, "val"), ("c", OK, None)]
    )
    assert straddling_groups(dataset) == ("a",)


def test_split_csv_round_trip(tmp_path: Path) -> None:
    rows: list[Row] = [("lot 1", OK, "train"), ('lot "2", b', "Öse", "val"), ("x;y\u2028z", "dent", "test")]
    dataset = make(rows)
    contents = {s.id: f"hash of {s.id}" for s in dataset.samples}
    text = split_csv(dataset, contents)
    (tmp_path / "split.csv").write_text(text, encoding="utf-8", newline="")
    read = read_split_csv(tmp_path / "split.csv")
    assert read == tuple(
        SplitRow(s.id, s.label, s.group, s.split, contents[s.id])
        for s in dataset.samples
        if s.split is not None
    )


def test_split_csv_needs_sides() -> None:
    with pytest.raises(ValueError, match=r"1 samples have no split, the first is a/0000\.png"):
        split_csv(make([("a", OK, None), ("b", OK, "test")]), {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first row must be"),
        ("path,label\n", "first row must be"),
        ("path,label,group,split,sha256\na,ok,g,dev,1\n", "row 2: needs"),
        ("path,label,group,split,sha256\na,ok,g,train,1\na,ok\n", "row 3: needs"),
    ],
)
def test_damaged_split_csv(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_split_csv(tmp_path / "split.csv")


def test_a_split_csv_that_never_ends(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "split.csv")
    with pytest.raises(DataError, match="not a regular file"):
        read_split_csv(tmp_path / "split.csv")


def test_missing_split_csv(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_split_csv(tmp_path / "split.csv")


def test_known_sides_follow_contents_not_names() -> None:
    rows = [
        SplitRow("a", OK, "g", "train", "1"),
        SplitRow("b", OK, "g", "test", "2"),
        SplitRow("copy of a", OK, "h", "test", "1"),
        SplitRow("unreadable", OK, "h", "train", ""),
    ]
    now = {"renamed a": "1", "a": "3", "b": "2", "broken": ""}
    assert known_sides(rows, now) == {"renamed a": "train", "b": "test"}


def test_default_shares_are_shares() -> None:
    assert 0 < splits.DEFAULT_VAL_SHARE < 1
    assert 0 < splits.DEFAULT_TEST_SHARE < 1


@pytest.mark.ksdd
def test_ksdd_paper_split(ksdd_folder: Path) -> None:
    assert counts(default_split(read_dataset(ksdd_folder), seed=0)) == {
        ("train", "defect"): 42, ("train", OK): 277, ("test", "defect"): 10, ("test", OK): 70,
    }  # fmt: skip


def test_names_that_a_spreadsheet_computes_or_that_are_no_text(tmp_path: Path) -> None:
    names = [
        "=cmd|calc!A0.png",
        "+1",
        "-x",
        "@a",
        "\udcfcx.png",
        "new\nline.png",
        "'quoted",
        "a,b",
        "Pru\u0308f",
    ]
    dataset = make([(name, "+1+1", "train") for name in names])
    contents = {sample.id: "" for sample in dataset.samples}
    text = split_csv(dataset, contents)
    (tmp_path / "split.csv").write_bytes(text.encode("utf-8"))
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\n"))]
    read = read_split_csv(tmp_path / "split.csv")
    assert {row.label for row in read} == {"+1+1"}
    assert {row.path for row in read} == {
        sample.id.replace("\udcfc", "\\udcfc") for sample in dataset.samples
    }


def test_a_field_without_end_is_named(tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text("path,label,group,split,sha256\n" + "x" * 140_000 + ",ok,g,train,\n")
    with pytest.raises(DataError, match=r"split.csv: row 2: not valid CSV .*field larger"):
        read_split_csv(tmp_path / "split.csv")
