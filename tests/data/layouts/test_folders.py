from __future__ import annotations

import pytest

from ltcam.data.dataset import OK
from ltcam.data.layouts import read_dataset
from ltcam_runtime.errors import DataError


def masks_of(dataset):
    return {
        s.id: None if s.mask is None else s.mask.relative_to(dataset.root).as_posix() for s in dataset.samples
    }


@pytest.mark.parametrize("name", ["good", "OK", "Normal", "GOOD"])
def test_names_of_the_ok_folder(name, paint, tmp_path):
    paint(f"{name}/1.png")
    paint("Dent/1.png")
    dataset = read_dataset(tmp_path)
    assert dataset.classes == (OK, "Dent")
    assert dataset.label_counts() == {OK: 1, "Dent": 1}


def test_group_is_the_folder_below_the_class_or_the_image_itself(paint, tmp_path):
    for name in ("good/lot1/1.png", "dent/lot1/1.png", "dent/line2/lot9/1.png", "good/1.png"):
        paint(name)
    assert {s.id: s.group for s in read_dataset(tmp_path).samples} == {
        "good/lot1/1.png": "lot1",
        "dent/lot1/1.png": "lot1",
        "dent/line2/lot9/1.png": "line2/lot9",
        "good/1.png": "good/1.png",
    }


def test_split_folders(paint, tmp_path):
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
def test_places_of_masks(image, mask, paint, mark, tmp_path):
    paint("good/ok.png")
    paint(image)
    mark(mask)
    dataset = read_dataset(tmp_path)
    assert masks_of(dataset) == {"good/ok.png": None, image: mask}
    assert dataset.classes == (OK, "dent")


def test_the_more_specific_mask_wins(paint, mark, tmp_path):
    for name in ("good/1.png", "dent/1.png", "dent/2.png"):
        paint(name)
    for name in ("masks/dent/1.png", "masks/1.png", "masks/2.png"):
        mark(name)
    assert masks_of(read_dataset(tmp_path)) == {
        "dent/1.png": "masks/dent/1.png",
        "dent/2.png": "masks/2.png",
        "good/1.png": "masks/1.png",
    }


def test_shared_mask_name_belongs_to_the_defective_image(paint, mark, tmp_path):
    for name in ("good/1.png", "dent/1.png"):
        paint(name)
    mark("masks/1.png")
    assert masks_of(read_dataset(tmp_path)) == {"dent/1.png": "masks/1.png", "good/1.png": None}


def test_mask_that_fits_two_defective_images_is_refused(paint, mark, tmp_path):
    for name in ("good/1.png", "dent/1.png", "pit/1.png"):
        paint(name)
    mark("masks/1.png")
    with pytest.raises(DataError, match=r"masks/1.png: fits several images \(dent/1.png, pit/1.png\)"):
        read_dataset(tmp_path)


def test_images_beside_the_class_folders_are_no_samples(paint, tmp_path):
    for name in ("good/1.png", "dent/1.png", "overview.png"):
        paint(name)
    assert len(read_dataset(tmp_path).samples) == 2
