"""How often a job opens each image file: once to weigh it, once to read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ltcam.data.decoded import DecodedImages
from ltcam.data.opened import OpenData
from ltcam.jobs import training as jobs
from ltcam.jobs.execution import Execution
from ltcam.training.settings import TrainingSettings
from ltcam_runtime.errors import InputError
from ltcam_runtime.images import read_image

SETTINGS = TrainingSettings(
    backbone="test_resnet",
    weights="random",
    image_size=(32, 32),
    epochs=1,
    precision="float32",
    memory_format="contiguous",
)
Opens = Callable[[Path], AbstractContextManager[Counter[str]]]
ONCE = 3  # its header: whether it has 16 bits, and fits into the memory; and its content


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """30 images, a few of them defective, with masks."""
    rng = np.random.default_rng(0)
    for number in range(30):
        label = "good" if number < 18 else "dent"
        pixels = rng.integers(90, 150, (40, 48, 3), dtype=np.uint8)
        if label == "dent":
            pixels[10:22, 5:30] = 20
        for folder in (label, f"masks/{label}"):
            (tmp_path / "set" / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "set" / label / f"{number:02}.png")
        if label == "dent":
            Image.fromarray(np.uint8(pixels[..., 0] == 20) * 255).save(
                tmp_path / "set" / "masks" / label / f"{number:02}.png"
            )
    return tmp_path / "set"


@pytest.mark.parametrize("job", [jobs.train, jobs.quick])
def test_a_training_opens_each_image_once(job: Any, root: Path, tmp_path: Path, opens_below: Opens) -> None:
    """To look for copies, to hash it, to prepare it and to choose by it."""
    with opens_below(root) as opens:
        done = job(root, tmp_path / "run", SETTINGS, execution=Execution(device="cpu"))
    assert done.run.kinds
    images = {path.relative_to(root).as_posix() for path in root.glob("*/*.png") if "masks" not in path.parts}
    sides = {
        row.split(",")[0]: row.split(",")[3]
        for row in (done.folder / "split.csv").read_text().split("\n")[1:]
        if row
    }
    assert images == sides.keys()
    assert not [name for name in images if not opens[name]]
    assert {opens[name] for name in images if sides[name] != "val"} == {ONCE}


def test_a_fold_is_not_hashed_again(root: Path, opens_below: Opens) -> None:
    data = OpenData.open(root, one_class=True)
    assert data.duplicates == ()
    fold = data.with_dataset(data.dataset)
    with opens_below(root) as opens:
        assert fold.hashes == data.hashes
        assert fold.fingerprint == data.fingerprint
    assert not opens


def test_hashes_are_the_same_with_and_without_a_search(root: Path) -> None:
    (root / "good" / "00.png").write_bytes(b"no picture")
    searched, plain = OpenData.open(root, one_class=True), OpenData.open(root, one_class=True)
    assert searched.duplicates == ()
    assert searched.hashes == plain.hashes
    assert searched.hashes["good/00.png"]


def test_what_has_no_room_is_read_anew(root: Path, opens_below: Opens) -> None:
    first, second = root / "good" / "00.png", root / "good" / "01.png"
    images = DecodedImages(room=read_image(first).nbytes)
    with opens_below(root) as opens:
        for path in (first, second, first, second):
            assert np.array_equal(images.read(path), read_image(path))
    assert opens == {"good/00.png": 1 + 2, "good/01.png": 2 + 2}
    assert images.size_of(first) == (40, 48)
    with pytest.raises(ValueError, match="read-only"):
        images.read(first)[0] = 0
    images.release(most=10**6)
    with opens_below(root) as opens:
        images.read(first)
    assert not opens
    images.release()
    with opens_below(root) as opens:
        images.read(first)
        images.read(first)
    assert opens == {"good/00.png": 2}


def test_what_cannot_be_read_says_its_file(root: Path) -> None:
    (root / "good" / "00.png").write_bytes(b"no picture")
    images = DecodedImages()
    for path, words in ((root / "good" / "00.png", "not an image"), (root / "nowhere.png", "no such file")):
        with pytest.raises(InputError, match=words) as error:
            images.read(path)
        assert error.value.path == path
