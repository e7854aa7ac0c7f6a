from __future__ import annotations

import shutil
from pathlib import Path

from tests.data.conftest import Paint

from ltcam.data.dataset import Dataset
from ltcam.data.fingerprint import content_hashes
from ltcam.data.fingerprint import fingerprint as fingerprint_of
from ltcam.data.layouts import read_dataset


def build(paint: Paint, mark: Paint) -> None:
    for index, name in enumerate(("good/a.png", "good/b.png", "dent/a.png")):
        paint(name, index)
    mark("masks/dent/a.png")


def fingerprint(dataset: Dataset) -> str:
    return fingerprint_of(dataset, content_hashes(dataset))


def test_fingerprint_follows_contents_not_place_or_masks(paint: Paint, mark: Paint, tmp_path: Path) -> None:
    build(paint, mark)
    first = fingerprint(read_dataset(tmp_path))
    assert len(first) == 64
    assert int(first, 16) >= 0
    elsewhere = tmp_path.parent / f"{tmp_path.name}-copy"
    shutil.copytree(tmp_path, elsewhere)
    assert fingerprint(read_dataset(elsewhere)) == first
    shutil.rmtree(elsewhere / "masks")
    assert fingerprint(read_dataset(elsewhere)) == first


def test_fingerprint_sees_every_change(paint: Paint, mark: Paint, tmp_path: Path) -> None:
    build(paint, mark)
    seen = {fingerprint(read_dataset(tmp_path))}
    paint("good/b.png", 7)  # other pixels
    seen.add(fingerprint(read_dataset(tmp_path)))
    (tmp_path / "good/b.png").rename(tmp_path / "good/c.png")  # another name
    seen.add(fingerprint(read_dataset(tmp_path)))
    (tmp_path / "dent").rename(tmp_path / "pit")  # another label
    seen.add(fingerprint(read_dataset(tmp_path)))
    dataset = read_dataset(tmp_path)
    (tmp_path / "good/c.png").unlink()  # gone meanwhile
    seen.add(fingerprint(dataset))
    assert len(seen) == 5
