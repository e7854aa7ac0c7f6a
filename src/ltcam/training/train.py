"""From a data set to a fitted network: sides, size, weights, fit. Image labels only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ltcam.data.dataset import Dataset, Sample
from ltcam.data.decoded import DecodedImages
from ltcam.data.opened import OpenData
from ltcam.data.sides import choose_sides
from ltcam.models.backbones import input_statistics
from ltcam.models.classifier import (
    Classifier,
    build_classifier,
    freeze_stages,
    stages_of,
)
from ltcam.models.weights import Filled, load_initial_weights
from ltcam.runs.run import Arithmetic
from ltcam.training.fit import Fitted, fit
from ltcam.training.image_size import choose_image_size
from ltcam.training.images import PreparedImages, prepare_images, usable_for_choices
from ltcam.training.listener import Listener
from ltcam.training.resume import check_same_training
from ltcam.training.settings import TrainingSettings
from ltcam_runtime.errors import DataError, InputError, SettingsError

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Mean and standard deviation per channel, of values 0 to 1."""

_HELD = 2**28  # bytes of decoded images that are held through a training, for whoever looks at them after it
_LEARNING_RATE = 1e-4
_LEARNING_RATE_WITHOUT_NORMALISATION = 5e-5  # VGG without batch normalisation diverges sooner


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A fitted classifier, and what it was fitted to.

    Attributes:
        classifier: best weights, on the CPU.
        stages: names of its stages, shallow to deep.
        statistics: of the images it wants.
        filled: where its first weights came from.
        fitted: how the training went.
        chosen_by: what chose the epoch, in words.
        image_size: (height, width) it sees.
        dataset: with the sides that were used.
        note: the sides in words.
        contents: SHA-256 of each image file by sample id, "" where it could not be read.
        fingerprint: of the data.
        train: the images that were trained on, at the network's size.
        held_back: those of the validation side.
    """

    classifier: Classifier
    stages: tuple[str, ...]
    statistics: Statistics
    filled: Filled
    fitted: Fitted
    chosen_by: str
    image_size: tuple[int, int]
    dataset: Dataset
    note: str
    contents: Mapping[str, str]
    fingerprint: str
    train: PreparedImages
    held_back: PreparedImages

    @property
    def failed(self) -> tuple[tuple[Sample, str], ...]:
        """Images that could not be read, with the reason."""
        return (*self.train.failed, *self.held_back.failed)


def train_network(
    data: OpenData,
    settings: TrainingSettings,
    work: Path,
    *,
    listener: Listener | None = None,
    device: str = "auto",
    devices: int = 1,
) -> TrainedNetwork:
    """Train a classifier on the image labels of a data set.

    Args:
        data: as scanned. Its own test side is never looked at.
        settings: of the training.
        work: folder for checkpoints; a training found there is continued.
        listener: told about progress.
        device: `auto`, `cpu` or `cuda`.
        devices: number of GPUs.

    Raises:
        DataError: labels or images that cannot be trained on.
        SettingsError: backbone, weights or stages that cannot be used.
        RunError: `work` holds a training with other settings.
    """
    listener = listener or Listener()
    begun = untrained_network(data, settings, work, listener=listener)
    validation, chosen_by = usable_for_choices(begun.held_back)
    fitted = fit(
        begun.classifier,
        begun.train,
        validation,
        settings,
        begun.statistics,
        work,
        learning_rate=settings.learning_rate or default_learning_rate(begun.classifier),
        device=device,
        devices=devices,
        progress=listener.step,
        epoch_done=listener.epoch,
    )
    return replace(begun, fitted=fitted, chosen_by=chosen_by)


def untrained_network(
    data: OpenData, settings: TrainingSettings, work: Path, *, listener: Listener | None = None
) -> TrainedNetwork:
    """What every training starts from: the data read, and a classifier with its first weights.

    Args:
        data: as scanned. Its own test side is never looked at.
        settings: of the training.
        work: folder for checkpoints.
        listener: told about progress.

    Raises:
        DataError: labels or images that cannot be trained on.
        SettingsError: backbone, weights or stages that cannot be used.
        RunError: `work` holds a training with other settings.
    """
    listener = listener or Listener()
    torch.manual_seed(settings.seed)
    sides = choose_sides(
        data.dataset,
        seed=settings.seed,
        val_share=settings.validation_share,
        duplicates=lambda: data.duplicates,
    )
    dataset, note = sides.dataset, sides.words
    listener.say(note)
    size = settings.image_size or choose_image_size(_sizes(dataset.of_split("train"), data.images))
    listener.say(f"the network sees {size[0]} x {size[1]} pixels (height x width)")
    classifier, filled, stages = _build(settings, len(dataset.classes), size)
    listener.say(filled.sentence())
    check_same_training(work, settings, size, data.fingerprint)
    parts = _read(dataset, size, data.images, work, listener)
    return TrainedNetwork(
        classifier=classifier,
        stages=stages,
        statistics=input_statistics(classifier.trunk),
        filled=filled,
        fitted=Fitted((), -1, Arithmetic(reason="float32: nothing was trained")),
        chosen_by="",
        image_size=size,
        dataset=dataset,
        note=note,
        contents=data.hashes,
        fingerprint=data.fingerprint,
        train=parts["train"],
        held_back=parts["val"],
    )


def _sizes(samples: tuple[Sample, ...], images: DecodedImages) -> list[tuple[int, int]]:
    sizes = []
    for sample in samples:
        try:
            sizes.append(images.size_of(sample.path))
        except InputError:
            continue
    if not sizes:
        raise DataError(f"none of the {len(samples)} training images could be read; run `ltcam data check`")
    return sizes


def _build(
    settings: TrainingSettings, classes: int, size: tuple[int, int]
) -> tuple[Classifier, Filled, tuple[str, ...]]:
    classifier = build_classifier(settings.backbone, classes, settings.head)
    filled = load_initial_weights(classifier.trunk, settings.backbone, settings.weights)
    try:
        stages = stages_of(classifier, size)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise SettingsError(
            f"`backbone` {settings.backbone} cannot be used at {size[0]} x {size[1]}: {error}"
        ) from error
    if settings.freeze > len(stages):
        raise SettingsError(f"`freeze` {settings.freeze}: {settings.backbone} has {len(stages)} stages")
    freeze_stages(classifier, stages, settings.freeze)
    return classifier, filled, stages


def default_learning_rate(classifier: Classifier) -> float:
    """Peak learning rate of the trunk where none is asked for."""
    normalised = any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in classifier.modules())
    return _LEARNING_RATE if normalised else _LEARNING_RATE_WITHOUT_NORMALISATION


def _read(
    dataset: Dataset, size: tuple[int, int], images: DecodedImages, work: Path, listener: Listener
) -> dict[str, PreparedImages]:
    parts = {name: dataset.of_split(name) for name in ("train", "val")}
    total = sum(len(part) for part in parts.values())
    read: dict[str, PreparedImages] = {}
    for name, part in parts.items():
        before = sum(len(p.samples) for p in read.values())
        read[name] = prepare_images(
            part,
            dataset.classes,
            size,
            work / f"images-{name}.bin",
            partial(_later, listener.reading, before, total),
            decoded=images,
        )
    images.release(_HELD)
    labels = read["train"].labels
    for kind, present in (("OK", bool((labels == 0).any())), ("defective", bool((labels > 0).any()))):
        if not present:
            raise DataError(f"{dataset.root}: no {kind} image of the training side could be read")
    return read


def _later(reading: Callable[[int, int], None], before: int, total: int, done: int, _of: int) -> None:
    reading(before + done, total)


def training_evidence(fitted: Fitted, chosen_by: str) -> dict[str, Any]:
    """What a run keeps of how its network was trained."""
    return {
        "best_epoch": fitted.best_epoch,
        "epoch_chosen_by": chosen_by,
    }
