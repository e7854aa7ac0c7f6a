from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from ltcam.data.dataset import OK, Sample
from ltcam.training import images as module
from ltcam.training.images import Preparation, prepare_images
from ltcam_runtime import reading
from ltcam_runtime.errors import DataError
from ltcam_runtime.images import read_image
from ltcam_runtime.resizing import resize


@pytest.fixture
def sample(tmp_path: Path) -> Callable[..., Sample]:
    def write(name: str, size: tuple[int, int] = (40, 60), label: str = OK, mode: str = "RGB") -> Sample:
        path = tmp_path / name
        rng = np.random.default_rng(len(name))
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).convert(mode).save(path)
        return Sample(name, path, label, name, mask=tmp_path / "no such mask.png")

    return write


def test_sizes_and_colours_of_all_kinds(sample: Callable[..., Sample], tmp_path: Path) -> None:
    samples = [
        sample("a.png"),
        sample("grey.png", (13, 200), "dent", "L"),
        sample("palette.png", (64, 64), "scratch", "P"),
        sample("dot.png", (1, 1), "dent"),
    ]
    calls = []
    found = prepare_images(
        samples, Preparation((OK, "dent", "scratch"), (32, 64)), tmp_path / "x", lambda *c: calls.append(c)
    )
    assert found.images.shape == (4, 3, 32, 64)
    assert found.images.dtype == torch.uint8
    assert found.labels.tolist() == [0, 1, 2, 1]
    assert found.samples == tuple(samples)
    assert found.failed == ()
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for index, one in enumerate(samples):
        pixels = resize(read_image(one.path), (32, 64))
        assert np.array_equal(found.images[index].permute(1, 2, 0).numpy(), pixels)


def test_one_unreadable_file_does_not_stop_the_others(sample: Callable[..., Sample], tmp_path: Path) -> None:
    samples = [sample("a.png"), sample("b.png", label="dent"), sample("c.png")]
    samples[1].path.write_bytes(b"no image")
    found = prepare_images(samples, Preparation((OK, "dent"), (32, 32)), tmp_path / "x")
    assert found.samples == (samples[0], samples[2])
    assert found.labels.tolist() == [0, 0]
    ((failed, reason),) = found.failed
    assert failed == samples[1]
    assert "not an image file" in reason


def test_a_picture_that_memory_does_not_take_is_named_and_the_others_go_on(
    sample: Callable[..., Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = [sample("a.png"), sample("bomb.png", label="dent"), sample("c.png", label="dent")]
    Image.new("L", (3000, 3000)).save(samples[1].path)
    monkeypatch.setattr(reading, "available_memory", lambda: 2**20)
    found = prepare_images(samples, Preparation((OK, "dent"), (32, 32)), tmp_path / "x")
    assert found.samples == (samples[0], samples[2])
    ((failed, reason),) = found.failed
    assert failed == samples[1]
    assert "9,000,000 pixels need about" in reason


def test_no_readable_file_is_an_error(sample: Callable[..., Sample], tmp_path: Path) -> None:
    one = sample("a.png")
    one.path.write_bytes(b"")
    with pytest.raises(DataError, match=r"none of the 1 images could be read.*a.png: the file is empty"):
        prepare_images([one], Preparation((OK, "dent"), (32, 32)), tmp_path / "x")


def test_no_samples_give_no_images(tmp_path: Path) -> None:
    found = prepare_images([], Preparation((OK, "dent"), (32, 64)), tmp_path / "x")
    assert found.images.shape == (0, 3, 32, 64)
    assert found.labels.shape == (0,)


def test_more_than_memory_takes_goes_to_a_file(
    sample: Callable[..., Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = [sample("a.png"), sample("broken.png"), sample("c.png"), sample("d.png")]
    samples[1].path.write_bytes(b"no image")
    file = tmp_path / "work" / "images.bin"
    in_memory = prepare_images(samples, Preparation((OK,), (32, 32)), file)
    assert not file.exists()
    monkeypatch.setattr(module, "_LARGEST_IN_MEMORY", 3 * 32 * 32)
    in_file = prepare_images(samples, Preparation((OK,), (32, 32)), file)
    assert file.stat().st_size == 4 * 3 * 32 * 32
    assert torch.equal(in_file.images, in_memory.images)
    assert in_file.samples == in_memory.samples == (samples[0], samples[2], samples[3])


def test_a_split_that_fits_nowhere_is_refused_before_reading(
    sample: Callable[..., Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LARGEST_IN_MEMORY", 0)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=3 * 32 * 32))
    with pytest.raises(DataError, match="use a smaller `image_size`"):
        prepare_images(
            [sample("a.png"), sample("b.png")], Preparation((OK,), (32, 32)), tmp_path / "images.bin"
        )
