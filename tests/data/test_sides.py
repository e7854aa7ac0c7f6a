from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.data.conftest import Paint

from ltcam.data.dataset import Dataset, Sample, Split, make_dataset
from ltcam.data.layouts import read_dataset
from ltcam.data.sides import FEWEST_FOR_VALIDATION, Sides, choose_sides
from ltcam_runtime.errors import DataError


def test_copies_stay_together_where_the_data_names_train_and_test(paint: Paint, tmp_path: Path) -> None:
    """The validation side is cut here, so it is here that copies must not be torn apart."""
    for kind in ("good", "dent"):
        for index in range(24):
            path = paint(f"train/{kind}/{index}.png", index + (100 if kind == "dent" else 0))
            shutil.copy(path, path.with_name(f"copy{index}.png"))
        paint(f"test/{kind}/x.png", 999 + len(kind))
    sides = choose_sides(read_dataset(tmp_path))
    side_of = {sample.id: sample.split for sample in sides.dataset.samples}
    assert sides.missing == {}
    for name, side in side_of.items():
        if "copy" in name:
            assert side == side_of[name.replace("copy", "")]
    assert Counter(side_of.values())["test"] == 2
    assert Counter(side_of.values())["val"] > 4


def test_why_a_side_is_missing(dataset_of: Callable[..., Dataset]) -> None:
    few = dataset_of(*[(f"g{i}", "ok") for i in range(20)], *[(f"d{i}", "dent") for i in range(5)])
    sides = choose_sides(few, duplicates=tuple)
    assert "val" in sides.missing
    assert f"fewer than {FEWEST_FOR_VALIDATION}" in sides.words
    one_lot = dataset_of(*[("a", "ok")] * 20, *[("a", "dent")] * 20)
    sides = choose_sides(one_lot, duplicates=tuple)
    assert sides.words.startswith("train 40 images (20 defective); no test side: all images are in one group")
    assert "; no validation side: all images are in one group" in sides.words
    assert "none is asked for" in choose_sides(few, duplicates=tuple, val_share=0.0).words


def test_a_training_side_of_one_kind_is_refused(dataset_of: Callable[..., Dataset]) -> None:
    dataset = dataset_of(("a", "ok"), ("b", "dent"))
    dataset = dataset.with_samples(
        tuple(replace(s, split="test" if s.defective else "train") for s in dataset.samples)
    )
    with pytest.raises(DataError, match="the training side has no defective image"):
        choose_sides(dataset, duplicates=tuple)


def counted_sides(train: int, val: int, *, ok_val: int = 9, missing: dict[Split, str] | None = None) -> Sides:
    def samples(label: str, side: Split, count: int) -> list[Sample]:
        names = [f"{label}-{side}-{number}" for number in range(count)]
        return [Sample(name, Path(name), label, name, side) for name in names]

    dataset = make_dataset(
        Path("x"),
        "folders",
        [
            *samples("ok", "train", 40),
            *samples("ok", "val", ok_val),
            *samples("dent", "train", train),
            *samples("dent", "val", val),
        ],
    )
    return Sides(dataset, missing or {}, "")


def test_enough_images_make_nobody_hesitate() -> None:
    assert counted_sides(20, 5).concerns == ()


def test_what_should_make_one_hesitate() -> None:
    assert "only 5 defective images to train on" in counted_sides(5, 5).concerns[0]
    assert "only 1 defective image to" in counted_sides(1, 5).concerns[0]
    (found,) = counted_sides(20, 0, ok_val=0, missing={"val": "one lot"}).concerns
    assert "no validation side (one lot)" in found
    assert "stays at 0.5" in found
    assert "has no defective image" in counted_sides(20, 0).concerns[0]
    assert "rest on 2 defective images only" in counted_sides(20, 2).concerns[0]
    assert "dent has no image to train on" in counted_sides(0, 5).concerns


def test_equal_images_with_several_labels(paint: Paint, tmp_path: Path) -> None:
    for index in range(12):
        paint(f"good/{index}.png", index)
        paint(f"dent/{index}.png", index if index < 3 else 50 + index)
    assert choose_sides(read_dataset(tmp_path)).contradictory == 3
