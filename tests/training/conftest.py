"""Pictures with and without a dark square, as tensors and as files, and a fit of a tiny network to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ltcam.data.dataset import OK, Dataset, Sample, make_dataset
from ltcam.models.classifier import Classifier, build_classifier
from ltcam.training.fit import Fitted, Material, Running, fit
from ltcam.training.images import PreparedImages
from ltcam.training.listener import Listener
from ltcam.training.settings import TrainingSettings

Trains = Callable[..., tuple[Classifier, Fitted]]
Prepares = Callable[..., PreparedImages]
SettingsOf = Callable[..., TrainingSettings]
"""What the fixtures `trained`, `prepared` and `settings_of` give."""

SIZE = (64, 64)
STATISTICS = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def paint(seed: int, *, square: bool, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """A noisy grey picture (H, W, 3), with a dark square if asked for."""
    rng = np.random.default_rng(seed)
    picture = rng.normal(150, 15, size).clip(0, 255).astype(np.uint8)
    if square:
        top, left = (int(rng.integers(0, side - 20)) for side in size)
        picture[top : top + 20, left : left + 20] //= 5
    return np.repeat(picture[..., None], 3, axis=2)


def prepare(ok: int, defective: int, seed: int, size: tuple[int, int] = SIZE) -> PreparedImages:
    labels = [0] * ok + [1] * defective
    pictures = [paint(seed * 1000 + i, square=bool(label), size=size) for i, label in enumerate(labels)]
    samples = tuple(
        Sample(f"{seed}/{i}.png", Path(f"{seed}/{i}.png"), "dent" if label else OK, str(i))
        for i, label in enumerate(labels)
    )
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    return PreparedImages(images, torch.tensor(labels), samples, ())


@pytest.fixture(scope="session")
def prepared() -> Prepares:
    return prepare


@pytest.fixture(scope="session")
def settings_of() -> SettingsOf:
    """Settings of a training of a second."""

    def make(**values: Any) -> TrainingSettings:
        quick = {
            "backbone": "test_resnet",
            "weights": "random",
            "epochs": 3,
            "batch_size": 16,
            "memory_format": "contiguous",
            "precision": "float32",
        }
        return TrainingSettings(**{**quick, **values})

    return make


@pytest.fixture(scope="session")
def trained(prepared: Prepares, settings_of: SettingsOf) -> Trains:
    """Fit a fresh tiny classifier to pictures with and without a square."""

    def run(
        checkpoints: Path,
        settings: TrainingSettings | None = None,
        *,
        train: PreparedImages | None = None,
        validation: PreparedImages | None = None,
        listener: Listener = Listener(),  # frozen
    ) -> tuple[Classifier, Fitted]:
        settings = settings or settings_of()
        settings = settings.model_copy(update={"learning_rate": settings.learning_rate or 3e-3})
        torch.manual_seed(settings.seed)
        classifier = build_classifier(settings.backbone, 2)
        fitted = fit(
            classifier,
            Material(train or prepared(12, 8, 1, (32, 32)), STATISTICS, validation),
            settings,
            checkpoints,
            Running(device="cpu", listener=listener),
        )
        return classifier, fitted

    return run


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Dataset]:
    """A data set of files: `pictures(ok=(20, "a"), dent=(8, "b"))` is 20 OK images of group a, and so on.

    Groups and splits may be callables of the image's number, or None for a group per image.
    """

    def write(size: tuple[int, int] = SIZE, split: Any = None, **classes: tuple[int, Any]) -> Dataset:
        samples = []
        for label, (count, group) in classes.items():
            for number in range(count):
                path = tmp_path / "data" / label / f"{number:03}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                seed = hash_of(label) + number
                Image.fromarray(paint(seed, square=label != OK, size=size)).save(path)
                name = f"{label}/{number:03}.png"
                samples.append(
                    Sample(
                        name,
                        path,
                        label,
                        str(group(number)) if callable(group) else group or name,
                        split(label, number) if callable(split) else split,
                    )
                )
        return make_dataset(tmp_path / "data", "folders", samples)

    return write


def hash_of(label: str) -> int:
    return sum(ord(letter) * 1009 for letter in label)
