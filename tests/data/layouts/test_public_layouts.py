"""KSDD, KSDD2, MVTec AD, MVTec LOCO and Magnetic-Tile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.conftest import Paint

from ltcam.data.dataset import OK
from ltcam.data.layouts import Reading, magnetic_tile, read_dataset
from ltcam.data.truth import read_truth
from ltcam_runtime.errors import DataError, InputError


def test_ksdd_labels_groups_and_masks(paint: Paint, mark: Paint, tmp_path: Path) -> None:
    for commutator in ("kos02", "kos10"):
        for part in range(3):
            paint(f"{commutator}/Part{part}.jpg")
            mark(f"{commutator}/Part{part}_label.bmp", value=int(part == 1))
    dataset = read_dataset(tmp_path)
    assert dataset.classes == (OK, "defect")
    assert {s.id: (s.label, s.group, s.split) for s in dataset.samples} == {
        f"{c}/Part{p}.jpg": ("defect" if p == 1 else OK, c, None)
        for c in ("kos02", "kos10")
        for p in range(3)
    }
    assert dataset.samples[0].mask == tmp_path / "kos02/Part0_label.bmp"
    assert dataset.samples[0].mask_threshold == 0


def test_ksdd_label_in_palette_file_with_index_one(paint: Paint, mark: Paint, tmp_path: Path) -> None:
    paint("kos01/Part0.jpg")
    mark("kos01/Part0_label.bmp", 0)
    paint("kos01/Part1.jpg")
    label = Image.new("P", (64, 48))
    label.putpalette([0, 0, 0, 0, 0, 0, 255, 255, 255])  # index 1 is black too: the index counts
    label.putpixel((5, 5), 1)
    label.save(tmp_path / "kos01/Part1_label.bmp")
    assert [s.label for s in read_dataset(tmp_path).samples] == [OK, "defect"]


def test_ksdd_missing_and_broken_label_files_are_named(paint: Paint, mark: Paint, tmp_path: Path) -> None:
    paint("kos01/Part0.jpg")
    mark("kos01/Part0_label.bmp")
    paint("kos01/Part1.jpg")
    with pytest.raises(DataError, match=r"1 image\(s\) without the label file .*kos01/Part1.jpg"):
        read_dataset(tmp_path)
    (tmp_path / "kos01/Part1_label.bmp").write_bytes(b"BM")
    with pytest.raises(DataError, match=r"1 label file\(s\) cannot be read.*Part1_label.bmp"):
        read_dataset(tmp_path)


def test_ksdd2_splits_labels_and_groups(paint: Paint, mark: Paint, tmp_path: Path) -> None:
    for split, name, value in (
        ("train", "10", 0),
        ("train", "11", 255),
        ("test", "11", 3),  # numbers begin anew: another piece
        ("test", "21", 0),
    ):
        paint(f"{split}/{name}.png")
        mark(f"{split}/{name}_GT.png", value)
    paint("train/11_GT (copy).png")
    dataset = read_dataset(tmp_path)
    assert [(s.id, s.label, s.split, s.group) for s in dataset.samples] == [
        ("test/11.png", "defect", "test", "test/11.png"),
        ("test/21.png", OK, "test", "test/21.png"),
        ("train/10.png", OK, "train", "train/10.png"),
        ("train/11.png", "defect", "train", "train/11.png"),
    ]


def test_mvtec_keeps_no_split_and_finds_masks(paint: Paint, mark: Paint, tmp_path: Path) -> None:
    paint("train/good/000.png")
    for name in ("good/000", "hole/000", "hole/001", "bent/000"):
        paint(f"test/{name}.png")
    mark("ground_truth/hole/000_mask.png")
    mark("ground_truth/bent/000_mask.png")
    dataset = read_dataset(tmp_path)
    assert dataset.layout == "mvtec"
    assert dataset.classes == (OK, "bent", "hole")
    assert {s.split for s in dataset.samples} == {None}
    assert len({s.group for s in dataset.samples}) == 5
    masks = {s.id: s.mask for s in dataset.samples}
    assert masks["test/hole/000.png"] == tmp_path / "ground_truth/hole/000_mask.png"
    assert masks["test/hole/001.png"] is None
    assert masks["test/good/000.png"] is None


def test_mvtec_in_other_words(paint: Paint, mark: Paint, tmp_path: Path) -> None:
    """Capital letters, another name of OK, masks called as their images: a training side without defects still."""
    for name in ("Train/OK/000", "Test/OK/000", "Test/Hole/000", "Test/hole/001"):
        paint(f"{name}.PNG")
    mark("Ground_Truth/Hole/000.PNG")
    mark("Ground_Truth/hole/001_Mask.PNG")
    dataset = read_dataset(tmp_path)
    assert dataset.layout == "mvtec"
    assert [(s.id, s.label, s.split, s.mask is not None) for s in dataset.samples] == [
        ("Test/Hole/000.PNG", "Hole", None, True),
        ("Test/OK/000.PNG", OK, None, False),
        ("Test/hole/001.PNG", "Hole", None, True),
        ("Train/OK/000.PNG", OK, None, False),
    ]
    assert not dataset.files.left_out


def test_mvtec_loco_unites_the_masks_of_an_image(paint: Paint, tmp_path: Path) -> None:
    for name in ("train/good/000", "validation/good/000", "test/good/000", "test/logical_anomalies/000"):
        paint(f"{name}.png", size=(48, 64))
    for name in ("test/structural_anomalies/000", "test/structural_anomalies/001"):
        paint(f"{name}.png", size=(48, 64))
    truth = tmp_path / "ground_truth" / "logical_anomalies" / "000"
    truth.mkdir(parents=True)
    for number, value in enumerate((255, 3)):
        marks = np.zeros((48, 64), np.uint8)
        marks[10 * number : 10 * number + 5, 7:9] = value
        Image.fromarray(marks).save(truth / f"{number:03d}.png")
    other = tmp_path / "ground_truth" / "structural_anomalies" / "000" / "000.png"
    other.parent.mkdir(parents=True)
    Image.fromarray(np.full((64, 48), 255, np.uint8)).save(other)
    dataset = read_dataset(tmp_path)
    assert dataset.layout == "mvtec"
    assert dataset.classes == (OK, "logical_anomalies", "structural_anomalies")
    assert {s.split for s in dataset.samples} == {None}
    assert (dataset.files.images, dataset.files.masks, dataset.files.left_out) == (6, 3, ())
    samples = {s.id: s for s in dataset.samples}
    united = read_truth(samples["test/logical_anomalies/000.png"], (48, 64))
    assert united is not None
    assert united.sum() == united[0:5, 7:9].sum() + united[10:15, 7:9].sum() == 20
    assert samples["test/structural_anomalies/001.png"].mask is None
    with pytest.raises(
        InputError, match=r"structural_anomalies/000: the mask 000.png is 64 x 48; the image is 48 x 64"
    ):
        read_truth(samples["test/structural_anomalies/000.png"], (48, 64))
    other.write_bytes(b"broken")
    with pytest.raises(InputError, match=r"structural_anomalies/000/000.png"):
        read_truth(samples["test/structural_anomalies/000.png"], (48, 64))


def test_a_threshold_for_masks_counts_for_each_mask_of_an_image(paint: Paint, tmp_path: Path) -> None:
    for name in ("train/good/000", "test/good/000", "test/logical_anomalies/000"):
        paint(f"{name}.png", size=(48, 64))
    truth = tmp_path / "ground_truth" / "logical_anomalies" / "000"
    truth.mkdir(parents=True)
    for number, value in enumerate((200, 100)):
        marks = np.zeros((48, 64), np.uint8)
        marks[10 * number, 7:9] = value
        Image.fromarray(marks).save(truth / f"{number:03d}.png")
    for threshold, count in ((None, 4), (0, 4), (150, 2), (220, 0)):
        dataset = read_dataset(tmp_path, reading=Reading(mask_threshold=threshold))
        sample = next(s for s in dataset.samples if s.id == "test/logical_anomalies/000.png")
        marked = read_truth(sample, (48, 64))
        assert marked is not None
        assert marked.sum() == count


def test_folders_with_defects_in_train_are_not_mvtec(paint: Paint, tmp_path: Path) -> None:
    for name in ("train/good/0", "train/hole/0", "test/good/0", "test/hole/0"):
        paint(f"{name}.png")
    dataset = read_dataset(tmp_path)
    assert dataset.layout == "folders"
    assert [s.split for s in dataset.samples] == ["test", "test", "train", "train"]


def test_magnetic_tile_classes_masks_and_threshold(paint: Paint, mark: Paint, tmp_path: Path) -> None:
    for folder in ("MT_Free", "MT_Blowhole", "MT_Uneven"):
        paint(f"{folder}/Imgs/exp1_num_5.jpg")
        mark(f"{folder}/Imgs/exp1_num_5.png")
    dataset = read_dataset(tmp_path)
    assert dataset.classes == (OK, "blowhole", "uneven")
    assert {s.mask_threshold for s in dataset.samples} == {127}
    assert {s.mask.suffix for s in dataset.samples if isinstance(s.mask, Path)} == {".png"}
    assert {s.path.suffix for s in dataset.samples} == {".jpg"}


def test_magnetic_tile_lightings_of_one_tile_are_one_group(paint: Paint, mark: Paint, tmp_path: Path) -> None:
    names = ["exp3_num_36246", "exp6_num_36280", "exp1_num_36290", "exp2_num_36302", "exp1_num_40410", "odd"]
    for index, name in enumerate(names):
        paint(f"{'MT_Free' if index % 2 else 'MT_Break'}/Imgs/{name}.jpg")
    groups = {s.path.stem: s.group for s in read_dataset(tmp_path).samples}
    assert {groups[name] for name in names[:4]} == {"num36246"}
    assert groups["exp1_num_40410"] == "num40410"
    assert groups["odd"] == "MT_Free/Imgs/odd.jpg"


def test_magnetic_tile_chains_up_to_the_largest_step() -> None:
    step = magnetic_tile.LARGEST_STEP
    groups = magnetic_tile.series_of([10, 10 + step, 10 + 2 * step + 1, 9000])
    assert groups == {10: "num10", 10 + step: "num10", 11 + 2 * step: f"num{11 + 2 * step}", 9000: "num9000"}
