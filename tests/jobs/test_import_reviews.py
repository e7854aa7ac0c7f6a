from __future__ import annotations

import errno
import hashlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ltcam.data.layouts import read_dataset
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
