"""Images and labels from memory: what scikit-learn's users expect."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ltcam.data.dataset import OK, Sample, make_dataset
from ltcam.data.labels import read_labels
from ltcam.data.opened import OpenData
from ltcam.jobs import training
from ltcam.jobs.execution import Execution
from ltcam.runs.inspector import Inspector
from ltcam.training.settings import TrainingSettings
from ltcam_runtime.encoding import encoded
from ltcam_runtime.errors import DataError
from ltcam_runtime.images import ImageLike, to_pixels
from ltcam_runtime.phrases import first_few
from ltcam_runtime.results import Inspection


@dataclass(frozen=True, eq=False)
class Classifier:
    """Learns from images and labels, and then inspects: `Classifier().fit(images, labels).predict(images)`.

    Attributes:
        settings: of the training.
        quick: a first run without training a network, as `ltcam quick` makes it.
        execution: device and so on.
        inspector: of the run; None before `fit`.
    """

    settings: TrainingSettings = field(default_factory=TrainingSettings)
    quick: bool = False
    execution: Execution = field(default_factory=Execution)
    inspector: Inspector | None = None

    def fit(
        self,
        images: Sequence[ImageLike],
        labels: Sequence[str | int | bool],
        *,
        run: str | Path | None = None,
    ) -> Classifier:
        """A fitted classifier; this one stays as it is.

        Args:
            images: files, bytes, Pillow images or arrays.
            labels: one per image: 0, False, `ok`, `good` and `normal` mean no defect, every other text is a kind of
                defect, and so is every other number; 1 and True are `defect` where there are no further numbers.
            run: folder to keep the run in; None keeps it in memory only.

        Raises:
            DataError: numbers of images and labels differ, a label says nothing, or a training cannot be made of them.
            InputError: an image that cannot be read.
        """
        if len(images) != len(labels):
            raise DataError(f"{len(images)} images but {len(labels)} labels; give one label per image")
        classes = classes_of(labels)
        with tempfile.TemporaryDirectory(prefix="ltcam-") as scratch:
            root = Path(scratch)
            samples = [
                _kept(root, number, image, name)
                for number, (image, name) in enumerate(zip(images, classes, strict=True))
            ]
            data = OpenData(root, make_dataset(root, "manifest", samples))
            out = Path(run) if run is not None else root / "run"
            make: Callable[..., object] = training.quick if self.quick else training.train
            make(data, out, self.settings, execution=self.execution)
            return replace(self, inspector=Inspector.load(out, device=self.execution.device))

    def inspect(self, images: Sequence[ImageLike]) -> list[Inspection]:
        """Verdict, score, mask and regions of each image.

        Raises:
            DataError: before `fit`; one image in place of several.
        """
        if self.inspector is None:
            raise DataError("this classifier has learnt nothing yet; call fit(images, labels) first")
        if _is_one(images):
            raise DataError("one image was given; give a list of images, [image] for one")
        return [self.inspector.inspect(image, f"image {number}") for number, image in enumerate(images)]

    def predict(self, images: Sequence[ImageLike]) -> NDArray[np.str_]:
        """The verdict of each image: `ok`, `unsure` or `defect`."""
        return np.array([found.verdict for found in self.inspect(images)])

    def predict_proba(self, images: Sequence[ImageLike]) -> NDArray[np.float64]:
        """(N, K) probability per image and class; classes as in `classes_`."""
        rows = [[found.class_scores[name] for name in self.classes_] for found in self.inspect(images)]
        return np.array(rows, np.float64).reshape(len(images), len(self.classes_))

    def masks(self, images: Sequence[ImageLike]) -> list[NDArray[np.bool_]]:
        """The mask of each image, (H, W) bool at its own size."""
        return [found.mask for found in self.inspect(images)]

    @property
    def classes_(self) -> tuple[str, ...]:
        """The classes; the first is OK."""
        if self.inspector is None:
            raise DataError("this classifier has learnt nothing yet; call fit(images, labels) first")
        return self.inspector.run.classes


def classes_of(labels: Sequence[str | int | bool]) -> list[str]:
    """The class of every image.

    Args:
        labels: as for `Classifier.fit`; scalars of NumPy and torch count as what they hold.

    Raises:
        DataError: a label that says nothing, or no OK ones, or OK ones only.
    """
    values = [_value(number, label) for number, label in enumerate(labels)]
    two = all(value in (0, 1) for value in values if isinstance(value, int))
    texts = [("defect" if value else OK) if value in (0, 1) and two else str(value) for value in values]
    class_of = read_labels(texts).class_of
    names = {class_of[text] for text in texts}
    if OK not in names or len(names) < 2:
        found = first_few(sorted(names)) or "none"
        raise DataError(f"labels: {found}; a classifier needs images that are OK (0, False, ok) and others")
    return [class_of[text] for text in texts]


def _is_one(images: Any) -> bool:
    """Whether this is a single image; of arrays (H, W) and (H, W, 3), for no grey images are three pixels wide."""
    shape = getattr(images, "shape", (0, 0, 0, 0))
    of_colour = len(shape) == 3 and shape[2] in (3, 4)
    return isinstance(images, (str, bytes, Path, Image.Image)) or len(shape) < 3 or of_colour


def _value(number: int, label: Any) -> str | int:
    value = label.item() if getattr(label, "shape", None) == () else label  # a scalar of NumPy or torch
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, (int, float)) and float(value).is_integer():
        return int(value)
    raise DataError(f"label {number} is {label!r}; give a text, a whole number or a truth value")


def _kept(root: Path, number: int, image: ImageLike, label: str) -> Sample:
    """The image as a file, for a training reads files."""
    name = f"{number:06}.png"
    pixels = to_pixels(image, f"image {number}")
    (root / name).write_bytes(encoded(".png", pixels))
    return Sample(id=name, path=root / name, label=label, group=name)
