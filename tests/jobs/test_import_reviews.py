from __future__ import annotations

import errno
import hashlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ltcam.data.layouts import Reading, read_dataset
from ltcam.data.truth import read_marks
from ltcam.jobs.import_reviews import ReviewedImage, import_reviews
from ltcam_runtime.errors import DataError, OutputError


def image(file: Path, seed: int) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), np.random.default_rng(seed).integers(0, 255, (16, 16, 3), np.uint8))
    return file


def reviewed(file: Path, decision: str, number: int = 1, **fields: object) -> ReviewedImage:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    values = {"kind": "dent", "lot": "", "painted": None, **fields}
    return ReviewedImage(f"{number:032x}", file, digest, decision, **values)  # type: ignore[arg-type]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for number in range(4):
        image(tmp_path / "data" / "good" / f"{number}.png", number)
        image(tmp_path / "data" / "dent" / f"{number}.png", 10 + number)
    return tmp_path / "data"


def test_labels_are_corrected_and_new_images_added(data: Path, tmp_path: Path) -> None:
    wrong = data / "good" / "2.png"
    new = image(tmp_path / "pictures" / "x.image.png", 99)
    items = [
        reviewed(wrong, "missed", 1),
        reviewed(data / "dent" / "0.png", "false_alarm", 2),
        reviewed(data / "dent" / "1.png", "confirmed", 3),
        reviewed(new, "confirmed", 4, kind="scratch", lot="L1"),
        replace(reviewed(new, "ok", 5), image=tmp_path / "gone", image_sha256="0" * 64),
    ]
    before = {file: file.read_bytes() for file in data.rglob("*.png")}
    imported = import_reviews(items, read_dataset(data))
    assert imported.corrected == (("good/2.png", "ok", "dent"), ("dent/0.png", "dent", "ok"))
    assert (imported.added, imported.agreed, len(imported.without_image)) == (1, 1, 1)
    after = {sample.id: sample for sample in read_dataset(imported.manifest).samples}
    assert len(after) == 9
    assert after["good/2.png"].label == "dent"
    assert after["dent/0.png"].label == "ok"
    added = after[f"reviewed/{4:032x}.png"]
    assert (added.label, added.group, added.path.read_bytes()) == ("scratch", "L1", new.read_bytes())
    assert all(file.read_bytes() == content for file, content in before.items())


def test_painted_masks_are_for_measuring(data: Path, tmp_path: Path) -> None:
    painted = image(tmp_path / "p.png", 5)
    items = [
        reviewed(data / "dent" / "0.png", "confirmed", 1, painted=painted),
        reviewed(data / "dent" / "1.png", "false_alarm", 2, painted=painted),
    ]
    after = {s.id: s for s in read_dataset(import_reviews(items, read_dataset(data)).manifest).samples}
    assert after["dent/0.png"].mask is not None
    mask = after["dent/0.png"].mask
    assert isinstance(mask, Path)
    assert mask.read_bytes() == painted.read_bytes()
    assert after["dent/1.png"].mask is None


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """A set as MVTec LOCO: image 0 has one mask file, 1 has two, 2 and 3 have faulty ones."""
    root = tmp_path / "loco"
    names = ("train/good/0", "test/good/0", "test/dent/0", "test/dent/1", "test/dent/2", "test/dent/3")
    for seed, name in enumerate(names):
        image(root / f"{name}.png", seed)
    for number, files in enumerate(
        ([(2, 9)], [(2, 255), (5, 7)], [(2, 255), (5, 255)], [(2, 255), (5, 255)])
    ):
        for place, (row, value) in enumerate(files):
            marks = np.zeros((16, 16), np.uint8)
            marks[row, 3:6] = value
            marks[8, 3] = 3  # so that the suiting threshold would be another one
            file = root / "ground_truth" / "dent" / str(number) / f"{place}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), marks[:9] if number == 2 else marks)
    (root / "test" / "dent" / "3.png").write_bytes(b"broken")
    return root


def test_several_masks_of_an_image_become_one_file(several: Path) -> None:
    dataset = read_dataset(several, reading=Reading(mask_threshold=5))
    done = import_reviews([reviewed(several / "test" / "good" / "0.png", "ok")], dataset)
    truths = {sample.id: sample for sample in dataset.samples}
    after = {sample.id: sample for sample in read_dataset(done.manifest).samples}
    assert after["test/dent/0.png"].mask == several / "ground_truth" / "dent" / "0" / "0.png"
    assert after["test/dent/1.png"].mask == several / "reviewed" / "masks" / "test" / "dent" / "1.png.png"
    for name, count in (("test/dent/0.png", 3), ("test/dent/1.png", 6)):
        marked = read_marks(after[name])
        assert marked is not None
        assert marked.sum() == count
        assert np.array_equal(marked, read_marks(truths[name]))  # type: ignore[arg-type]
    assert [after[f"test/dent/{number}.png"].mask for number in (2, 3)] == [None, None]
    assert [name for name, _ in done.masks_left_out] == ["test/dent/2.png", "test/dent/3.png"]
    assert "the mask 0.png is 9 x 16; the image is 16 x 16" in done.masks_left_out[0][1]


def test_masks_of_a_set_keep_their_threshold(data: Path, tmp_path: Path) -> None:
    marks = np.zeros((16, 16), np.uint8)
    marks[2, 3:6], marks[5] = 200, 100
    (data / "masks" / "dent").mkdir(parents=True)
    cv2.imwrite(str(data / "masks" / "dent" / "0.png"), marks)
    dataset = read_dataset(data, reading=Reading(mask_threshold=150))
    manifest = import_reviews([reviewed(data / "good" / "0.png", "ok")], dataset).manifest
    sample = next(s for s in read_dataset(manifest).samples if s.id == "dent/0.png")
    marked = read_marks(sample)
    assert marked is not None
    assert marked.sum() == 3


def test_an_earlier_import_is_kept_unless_asked(data: Path) -> None:
    item = reviewed(data / "dent" / "0.png", "ok")
    import_reviews([item], read_dataset(data))
    with pytest.raises(OutputError, match="`overwrite=True`"):
        import_reviews([item], read_dataset(data))
    import_reviews([item], read_dataset(data), overwrite=True)


def test_a_full_disk_is_said_with_what_to_do(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = image(tmp_path / "new.png", 99)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match=r"reviewed/.*\.png cannot be written: the disk is full; make room"):
        import_reviews([reviewed(new, "confirmed")], read_dataset(data))
    assert [file for file in (data / "reviewed").iterdir() if file.is_file()] == []


def test_nothing_reviewed(data: Path) -> None:
    with pytest.raises(DataError, match="nothing was reviewed"):
        import_reviews([], read_dataset(data))
