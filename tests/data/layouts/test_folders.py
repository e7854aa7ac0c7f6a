from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.data.conftest import Paint

from ltcam.data.dataset import OK, Dataset
from ltcam.data.layouts import Reading, folders, read_dataset
from ltcam_runtime.errors import DataError
from ltcam_runtime.mask_files import FITS_SEVERAL


def masks_of(dataset: Dataset) -> dict[str, str | None]:
    return {
        s.id: s.mask.relative_to(dataset.root).as_posix() if isinstance(s.mask, Path) else None
        for s in dataset.samples
    }


@pytest.mark.parametrize("name", ["good", "OK", "Normal", "GOOD"])
def test_names_of_the_ok_folder(name: str, paint: Paint, tmp_path: Path) -> None:
    paint(f"{name}/1.png")
    paint("Dent/1.png")
    dataset = read_dataset(tmp_path)
    assert dataset.classes == (OK, "Dent")
    assert dataset.label_counts() == {OK: 1, "Dent": 1}


def test_group_is_the_folder_below_the_class_or_the_image_itself(paint: Paint, tmp_path: Path) -> None:
    for name in ("good/lot1/1.png", "dent/lot1/1.png", "dent/line2/lot9/1.png", "good/1.png"):
        paint(name)
    assert {s.id: s.group for s in read_dataset(tmp_path).samples} == {
        "good/lot1/1.png": "lot1",
        "dent/lot1/1.png": "lot1",
        "dent/line2/lot9/1.png": "line2/lot9",
        "good/1.png": "good/1.png",
    }


def test_split_folders(paint: Paint, tmp_path: Path) -> None:
    for split in ("Train", "validation", "test"):
        paint(f"{split}/good/1.png")
        paint(f"{split}/dent/lot3/1.png")
    samples = read_dataset(tmp_path).samples
    assert {s.id.split("/")[0]: s.split for s in samples} == {
        "Train": "train",
        "validation": "val",
        "test": "test",
    }
    assert {s.group for s in samples if s.defective} == {"lot3"}


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("dent/1.png", "masks/dent/1.png"),
        ("dent/1.jpg", "masks/dent/1.PNG"),
        ("dent/1.png", "masks/1.png"),
        ("dent/1.png", "ground_truth/dent/1_mask.png"),
        ("dent/lot1/1.png", "masks/dent/lot1/1.png"),
        ("dent/lot1/1.png", "masks/dent/1.png"),
        ("test/dent/1.png", "test/masks/dent/1.png"),
        ("test/dent/1.png", "masks/test/dent/1.png"),
        ("test/dent/1.png", "masks/dent/1.png"),
        ("test/dent/1.png", "test/masks/1.bmp"),
    ],
)
def test_places_of_masks(image: str, mask: str, paint: Paint, mark: Paint, tmp_path: Path) -> None:
    paint("good/ok.png")
    paint(image)
    mark(mask)
    dataset = read_dataset(tmp_path)
    assert masks_of(dataset) == {"good/ok.png": None, image: mask}
    assert dataset.classes == (OK, "dent")


def test_the_more_specific_mask_wins(paint: Paint, mark: Paint, tmp_path: Path) -> None:
    for name in ("good/1.png", "dent/1.png", "dent/2.png"):
        paint(name)
    for name in ("masks/dent/1.png", "masks/1.png", "masks/2.png"):
        mark(name)
    assert masks_of(read_dataset(tmp_path)) == {
        "dent/1.png": "masks/dent/1.png",
        "dent/2.png": "masks/2.png",
        "good/1.png": "masks/1.png",
    }


def test_shared_mask_name_belongs_to_the_defective_image(paint: Paint, mark: Paint, tmp_path: Path) -> None:
    for name in ("good/1.png", "dent/1.png"):
        paint(name)
    mark("masks/1.png")
    assert masks_of(read_dataset(tmp_path)) == {"dent/1.png": "masks/1.png", "good/1.png": None}


def test_mask_that_fits_two_defective_images_is_left_out_and_stops_nothing(
    paint: Paint, mark: Paint, tmp_path: Path
) -> None:
    for name in ("good/1.png", "dent/1.png", "pit/1.png"):
        paint(name)
    mark("masks/1.png")
    dataset = read_dataset(tmp_path)
    assert not any(sample.mask for sample in dataset.samples)
    assert left_out(dataset) == {"masks/1.png": FITS_SEVERAL}


def left_out(dataset: Dataset) -> dict[str, str]:
    return {str(entry.path): entry.reason for entry in dataset.files.left_out}


class Said(NamedTuple):
    label: str
    side: str | None
    group: str | None


def test_images_beside_the_class_folders_are_left_out_with_their_masks(
    paint: Paint, mark: Paint, tmp_path: Path
) -> None:
    for name in ("good/1.png", "dent/1.png", "overview.png", "test/2.png"):
        paint(name)
    mark("overview_mask.png")
    dataset = read_dataset(tmp_path)
    assert len(dataset.samples) == 2
    assert left_out(dataset) == {
        "overview.png": folders.OUTSIDE,
        "test/2.png": folders.OUTSIDE,
        "overview_mask.png": "masks of images that are left out",
    }


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("good/test/1.png", Said(OK, "test", None)),
        ("dent/training/lot2/1.png", Said("dent", "train", "lot2")),
        ("images/dent/lot2/1.png", Said("dent", None, "lot2")),
        ("VAL/images/dent/1.png", Said("dent", "val", None)),
        ("dent/lot2/images/1.png", Said("dent", None, "lot2")),
        ("0/1.jpe", Said(OK, None, None)),
    ],
)
def test_what_folders_say(name: str, said: Said, paint: Paint, tmp_path: Path) -> None:
    paint("good/other.png")
    paint(name.replace(".jpe", ".jpg")).rename(tmp_path / name)
    sample = next(sample for sample in read_dataset(tmp_path, one_class=True).samples if sample.id == name)
    assert (sample.label, sample.split, sample.group) == (said.label, said.side, said.group or name)


def test_two_files_of_one_stem_stop_nothing(paint: Paint, mark: Paint, tmp_path: Path) -> None:
    paint("good/1.png")
    paint("dent/1.png")
    paint("dent/1.jpg", 1)
    mark("masks/dent/1.png")
    dataset = read_dataset(tmp_path)
    assert len(dataset.samples) == 3
    assert not any(sample.mask for sample in dataset.samples)


def test_the_named_ok_folder(paint: Paint, tmp_path: Path) -> None:
    paint("left/1.png")
    paint("Right/1.png")
    dataset = read_dataset(tmp_path, reading=Reading(ok=("right",)))
    assert dataset.label_counts() == {OK: 1, "left": 1}
    assert dataset.ok_labels == ("Right",)
    with pytest.raises(DataError, match=r"`ok` rigth: .* the labels are Right, left; did you mean Right\?"):
        read_dataset(tmp_path, reading=Reading(ok=("rigth",)))


def test_groups_by_a_pattern(paint: Paint, tmp_path: Path) -> None:
    for name in ("good/part1_a.png", "good/part1_b.png", "dent/part2_a.png", "dent/other.png"):
        paint(name)
    dataset = read_dataset(tmp_path, reading=Reading(group_by=r"(part\d+)"))
    assert [s.group for s in dataset.samples] == ["dent/other.png", "part2", "part1", "part1"]
    for pattern, words in (("(", "not a regular expression"), ("xyz", "fits none of the 4 names")):
        with pytest.raises(DataError, match=words):
            read_dataset(tmp_path, reading=Reading(group_by=pattern))


PARTS = st.sampled_from(
    ["good", "dent", "Dent", "masks", "gt", "images", "test", "lot1", ".git", "out", "Pr\u00fcf"]
)
FILES = st.sampled_from(
    [
        "1.png",
        "1.jpg",
        "1_mask.png",
        "2-gt.bmp",
        "a.txt",
        "v.mp4",
        "predictions.json",
        ".x.png",
        "\udcfc.png",
        "x",
    ]
)
KINDS = st.sampled_from(["photo", "mask", "broken", "link inside", "link outside", "link to a folder"])


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.tuples(st.lists(PARTS, max_size=3), FILES).map(lambda x: "/".join([*x[0], x[1]])),
        KINDS,
        max_size=12,
    )
)
def test_read_and_left_out_add_up_for_any_arrangement(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, str]
) -> None:
    root = tmp_path_factory.mktemp("any")
    pixels = {
        kind: np.random.default_rng(len(kind)).integers(0, 255, (12, 16), np.uint8) for kind in ("photo",)
    }
    pixels["mask"] = np.eye(12, 16, dtype=np.uint8) * 255
    for name in ("good/0.png", "dent/0.png", "fold/0.png"):
        (root / name).parent.mkdir()
        (root / name).write_bytes(cv2.imencode(".png", pixels["photo"])[1].tobytes())
    for name, kind in files.items():
        path = root / name
        if path.name == "predictions.json" and "out" not in path.parent.parts[-3:]:
            continue  # all OK images might be left out
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind.startswith("link"):
            target = {"link inside": "good/0.png", "link outside": "../x.png", "link to a folder": "fold"}[
                kind
            ]
            path.symlink_to(root / target)
        else:
            path.write_bytes(cv2.imencode(".png", pixels[kind])[1].tobytes() if kind in pixels else b"broken")
    try:
        dataset = read_dataset(root)
    except DataError as error:
        if "which means OK, inside " in str(error):
            return
        raise
    there = sum(path.is_symlink() or not path.is_dir() for path in root.rglob("*"))
    assert dataset.files.there == there
    assert dataset.files.images == len(dataset.samples)
    assert len({entry.path for entry in dataset.files.left_out}) == len(dataset.files.left_out)


@pytest.mark.parametrize("side", ["eval", "test_public", "Validierung", "new", "archive 2024"])
def test_good_in_a_folder_that_is_no_known_side(side: str, paint: Paint, tmp_path: Path) -> None:
    """Its images would be trained on as defects."""
    for index, name in enumerate(("train/good", "train/bad", f"{side}/good", f"{side}/bad")):
        paint(f"{name}/{index}.png", index)
    with pytest.raises(
        DataError, match=rf"{side}/good/2\.png \(1 of them\) .* means OK, inside {side}.* train, val or test"
    ):
        read_dataset(tmp_path)


def test_lots_called_like_ok_images_below_both(paint: Paint, tmp_path: Path) -> None:
    for index, name in enumerate(("good/pass", "scratch/pass", "good/again", "scratch/again")):
        paint(f"{name}/{index}.png", index)
    assert read_dataset(tmp_path).label_counts() == {"ok": 2, "scratch": 2}


def test_folders_that_are_empty_are_noted(paint: Paint, tmp_path: Path) -> None:
    for name in ("good/a.png", "dent/b.png"):
        paint(name)
    assert read_dataset(tmp_path).notes == ()
    for name in ("chip", "dent/lot 2", ".hidden"):
        (tmp_path / name).mkdir()
    assert read_dataset(tmp_path).notes == ("Folders with nothing in them: chip/, dent/lot 2/.",)


def labels_and_groups(root: Path) -> dict[str, tuple[str, str]]:
    return {sample.id: (sample.label, sample.group) for sample in read_dataset(root).samples}


@pytest.mark.parametrize(
    "bad", ["NOK", "n.i.O.", "not ok", "Defective", "不合格品", "Ausschuss", "bad parts", "defects"]
)
def test_folders_in_one_that_only_says_defective_are_kinds(bad: str, paint: Paint, tmp_path: Path) -> None:
    for name in ("OK/1.png", f"{bad}/scratch/1.png", f"{bad}/Riß/lot7/2.png", f"{bad}/3.png"):
        paint(name)
    assert labels_and_groups(tmp_path) == {
        "OK/1.png": (OK, "OK/1.png"),
        f"{bad}/scratch/1.png": ("scratch", f"{bad}/scratch/1.png"),
        f"{bad}/Riß/lot7/2.png": ("Riß", "lot7"),
        f"{bad}/3.png": (bad, f"{bad}/3.png"),
    }
    assert read_dataset(tmp_path).notes == (
        f"Kinds of defect are read from the folders in {bad}: Riß, scratch.",
    )


def test_kinds_below_dates(paint: Paint, tmp_path: Path) -> None:
    for name in ("OK/2026-11-01/1.png", "NOK/2026-11-01/dent/1.png", "NOK/2026-11-02/dent/2.png"):
        paint(name)
    found = labels_and_groups(tmp_path)
    assert found["NOK/2026-11-01/dent/1.png"] == ("dent", "2026-11-01")
    assert found["OK/2026-11-01/1.png"] == (OK, "2026-11-01")


def test_kinds_may_be_numbered(paint: Paint, tmp_path: Path) -> None:
    for name in ("1_OK/1.png", "2_NOK/1_Kratzer/1.png", "2_NOK/2_Delle/2.png"):
        paint(name)
    assert {label for label, _ in labels_and_groups(tmp_path).values()} == {OK, "1_Kratzer", "2_Delle"}


@pytest.mark.parametrize(
    "lots",
    [
        ("left", "right"),
        ("lot7", "lot8"),
        ("A12", "B7"),
        ("A", "B"),
        ("Lot A", "Lot B"),
        ("2026-11-01", "2026-11-02"),
    ],
)
def test_folders_that_are_no_kinds_stay_groups(lots: tuple[str, str], paint: Paint, tmp_path: Path) -> None:
    """Those that OK images have too, and those with numbers."""
    for name in ("OK/left/1.png", *(f"NOK/{lot}/1.png" for lot in lots)):
        paint(name)
    found = labels_and_groups(tmp_path)
    assert {found[f"NOK/{lot}/1.png"] for lot in lots} == {("NOK", lot) for lot in lots}


def test_classes_below_days_and_shifts(paint: Paint, tmp_path: Path) -> None:
    for day in ("2026-11-01", "2026-11-02"):
        for name in ("i.O./1.png", "n.i.O./dent/1.png"):
            paint(f"{day}/Schicht 1/{name}")
    found = labels_and_groups(tmp_path)
    assert found["2026-11-01/Schicht 1/i.O./1.png"] == (OK, "2026-11-01/Schicht 1")
    assert found["2026-11-02/Schicht 1/n.i.O./dent/1.png"] == ("dent", "2026-11-02/Schicht 1")
    assert "such as 2026-11-01/Schicht 1, name groups" in read_dataset(tmp_path).notes[1]


@pytest.mark.parametrize("names", [("00", "01"), ("part_0", "part_1"), ("0", "1")])
def test_numbers_below_days_mean_nothing(names: tuple[str, str], paint: Paint, tmp_path: Path) -> None:
    """Hour 00 of a day is no class of OK images."""
    for name in names:
        paint(f"2026-11-01/{name}/1.png")
    with pytest.raises(DataError, match="no known layout"):
        read_dataset(tmp_path)


def test_days_with_and_without_shifts_are_not_put_together(paint: Paint, tmp_path: Path) -> None:
    """The shift would be a class, and its OK images defective."""
    for name in ("day1/good/1.png", "day1/dent/1.png", "day2/shift1/good/1.png", "day2/shift1/dent/1.png"):
        paint(name)
    with pytest.raises(DataError, match=r"day1, .*day2 could be read"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(("good", "ok"), [("good", ()), ("negative", ("negative",))])
def test_what_is_called_defective_is_never_ok(
    good: str, ok: tuple[str, ...], paint: Paint, tmp_path: Path
) -> None:
    for name in (f"{good}/1.png", "NOK/thread/1.png", "NOK/no_thread/1.png", f"NOK/{good}/1.png"):
        paint(name)
    dataset = read_dataset(tmp_path, reading=Reading(ok=ok))
    assert dataset.label_counts() == {OK: 1, "NOK": 3}
    (tmp_path / "NOK" / good / "1.png").unlink()
    labels = {sample.label for sample in read_dataset(tmp_path, reading=Reading(ok=ok)).samples}
    assert labels == ({OK, "NOK"} if not ok else {OK, "no_thread", "thread"})


def test_one_folder_around_all_classes_is_no_group(paint: Paint, tmp_path: Path) -> None:
    """Else all images would be one group, which no training can split."""
    for name in ("photos 2026/good/1.png", "photos 2026/good/2.png", "photos 2026/dent/lot7/3.png"):
        paint(name)
    assert {group for _, group in labels_and_groups(tmp_path).values()} == {
        "photos 2026/good/1.png",
        "photos 2026/good/2.png",
        "lot7",
    }
    assert read_dataset(tmp_path).notes == ()


def test_products_are_not_put_together(paint: Paint, tmp_path: Path) -> None:
    """Folders without numbers above the classes may be of parts that have nothing in common."""
    for name in ("bottle/good/1.png", "bottle/broken/1.png", "cable/good/1.png"):
        paint(name)
    with pytest.raises(DataError, match=r"bottle, .*cable could be read: give that folder"):
        read_dataset(tmp_path)


def test_a_folder_of_defects_alone_can_be_measured_and_not_learned_from(paint: Paint, tmp_path: Path) -> None:
    paint("NOK/1.png")
    paint("NOK/dent/2.png")
    assert read_dataset(tmp_path, one_class=True).label_counts() == {OK: 0, "NOK": 1, "dent": 1}
    with pytest.raises(DataError, match=r"a classifier needs OK images too.*`ok=dent`"):
        read_dataset(tmp_path)
    (tmp_path / "NOK" / "dent" / "2.png").unlink()
    with pytest.raises(DataError, match=r"a classifier needs OK images too.*others like them$"):
        read_dataset(tmp_path)
