"""Images and labels from memory: fitted, kept, inspected."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ltcam
from ltcam.jobs.fitting import classes_of
from ltcam.training.settings import TrainingSettings
from ltcam_runtime.errors import DataError

SETTINGS = TrainingSettings(
    backbone="test_resnet",
    weights="random",
    image_size=(64, 96),
    epochs=2,
    precision="float32",
    memory_format="contiguous",
)


def parts(number: int) -> tuple[list[np.ndarray], list[str]]:
    """Grey plates of noise, every second one with a dark hole."""
    rng = np.random.default_rng(3)
    images, labels = [], []
    for index in range(number):
        image = rng.integers(110, 150, (64, 96, 3), dtype=np.uint8)
        if index % 2:
            y, x = rng.integers(8, 40), rng.integers(8, 70)
            image[y : y + 14, x : x + 14] = 10
        images.append(image)
        labels.append("hole" if index % 2 else "ok")
    return images, labels


def test_fit_and_predict(tmp_path: Path) -> None:
    images, labels = parts(24)
    fresh = ltcam.Classifier(SETTINGS)
    fitted = fresh.fit(images, labels, run=tmp_path / "run")
    assert fresh.inspector is None
    assert (tmp_path / "run" / "run.json").is_file()
    assert fitted.classes_ == ("ok", "hole")
    picture, stream = Image.fromarray(images[1]), io.BytesIO()
    picture.save(stream, "PNG")
    shown: list[Any] = [images[0], picture, stream.getvalue()]
    verdicts = fitted.predict(shown)
    assert verdicts.shape == (3,)
    assert set(verdicts.tolist()) <= {"ok", "unsure", "defect"}
    probabilities = fitted.predict_proba(shown)
    assert probabilities.shape == (3, 2)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert np.array_equal(probabilities[1], probabilities[2])  # one image in two forms
    assert [mask.shape for mask in fitted.masks(shown)] == [(64, 96)] * 3


@pytest.mark.parametrize("kind", ["array", "grey", "path", "picture", "bytes"])
def test_one_image_is_no_list_of_rows(kind: str) -> None:
    image = parts(1)[0][0]
    one: Any = {
        "array": image,
        "grey": image[..., 0],
        "path": Path("a.png"),
        "picture": Image.fromarray(image),
        "bytes": b"x",
    }[kind]
    classifier = replace(ltcam.Classifier(SETTINGS), inspector=Any)  # type: ignore[arg-type]
    for ask in (classifier.inspect, classifier.predict, classifier.masks):
        with pytest.raises(DataError, match=r"one image was given; give a list of images"):
            ask(one)


def test_what_cannot_be_fitted() -> None:
    images, labels = parts(4)
    with pytest.raises(ltcam.DataError, match="4 images but 3 labels"):
        ltcam.Classifier(SETTINGS).fit(images, labels[:3])
    with pytest.raises(ltcam.DataError, match="call fit"):
        ltcam.Classifier().predict(images)
    with pytest.raises(ltcam.InputError, match="image 1"):
        ltcam.Classifier(SETTINGS).fit([images[0], b"no image"], [0, 1])


@pytest.mark.parametrize("label", [None, float("nan"), 0.5, "", " ", [1], np.zeros(1), b"ok"])
def test_a_label_that_says_nothing_is_refused(label: Any) -> None:
    """None and NaN were read as OK and as a defect."""
    images, labels = parts(4)
    with pytest.raises(ltcam.DataError, match=r"label 2 is .*; give a text, a whole number or a truth value"):
        ltcam.Classifier(SETTINGS).fit(images, [*labels[:2], label, labels[3]])


@pytest.mark.parametrize(
    ("labels", "found"), [([0, 0], "ok"), (["dent"] * 2, "dent"), ([-1, 1], "-1, 1"), ([], "none")]
)
def test_labels_of_one_sort_only(labels: Any, found: str) -> None:
    images, _ = parts(len(labels))
    with pytest.raises(ltcam.DataError, match=f"labels: {found}; a classifier needs"):
        ltcam.Classifier(SETTINGS).fit(images, labels)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([0, 1, 0, 1], ["ok", "defect", "ok", "defect"]),
        (np.array([False, True, False, True]), ["ok", "defect", "ok", "defect"]),
        (torch.tensor([0.0, 1.0, 0.0, 1.0]), ["ok", "defect", "ok", "defect"]),
        (np.array([0, 1, 2, 2]), ["ok", "1", "2", "2"]),
        (np.array(["OK", "Scratch", "scratch ", "scratch "]), ["ok", "scratch", "scratch", "scratch"]),
        (["no_burr", "burr", 0, "burr"], ["ok", "burr", "ok", "burr"]),
    ],
)
def test_classes_of_labels(labels: Any, classes: list[str]) -> None:
    assert classes_of(labels) == classes
