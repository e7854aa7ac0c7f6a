"""From a data set to a fitted network: sides, size, weights, fit. Image labels only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ltcam.data.dataset import Dataset, Sample
from ltcam.data.decoded import DecodedImages
from ltcam.data.layouts import Reading
from ltcam.data.opened import OpenData
from ltcam.data.sides import Sides, choose_sides
from ltcam.models.backbones import Statistics, input_statistics
from ltcam.models.classifier import (
    Classifier,
    build_classifier,
    freeze_stages,
    stages_of,
)
from ltcam.models.weights import Filled, load_initial_weights
from ltcam.runs.hardware import choose_device
from ltcam.training.arithmetic import choose_arithmetic
from ltcam.training.fit import Fitted, Material, Running, finished_epochs, fit
from ltcam.training.image_size import choose_image_size
from ltcam.training.images import BothSides, Preparation, PreparedImages, prepare_images, usable_for_choices
from ltcam.training.listener import Listener
from ltcam.training.plan import Plan, seconds_of_epoch, seconds_of_step, typical_size
from ltcam.training.resume import check_same_training
from ltcam.training.sampling import epoch_length
from ltcam.training.settings import TrainingSettings
from ltcam_runtime.errors import DataError, InputError, SettingsError
from ltcam_runtime.phrases import counted
from ltcam_runtime.zooming import too_small_to_see

_HELD = 2**28  # bytes of decoded images that are held through a training, for whoever looks at them after it


@dataclass(frozen=True, eq=False)
class ReadyNetwork:
    """A classifier, and the images that were read for it.

    Attributes:
        classifier: with its first weights; after a training with the best ones, on the CPU.
        stages: names of its stages, shallow to deep.
        statistics: of the images it wants.
        filled: where its first weights came from.
        image_size: (height, width) it sees.
        dataset: with the sides that were used.
        note: the sides in words.
        reading: how the data set was read.
        contents: SHA-256 of each image file by sample id, "" where it could not be read.
        fingerprint: of the data.
        train: the images to train on, at the network's size.
        held_back: those of the validation side.
        white: as for `ltcam_runtime.images.read_image`.
    """

    classifier: Classifier
    stages: tuple[str, ...]
    statistics: Statistics
    filled: Filled
    image_size: tuple[int, int]
    dataset: Dataset
    note: str
    reading: Reading
    contents: Mapping[str, str]
    fingerprint: str
    train: PreparedImages
    held_back: PreparedImages
    white: int | None = None

    @property
    def images(self) -> BothSides:
        """Of both sides."""
        return BothSides(self.train, self.held_back, self.statistics)

    @property
    def failed(self) -> tuple[tuple[Sample, str], ...]:
        """Images that could not be read, with the reason."""
        return (*self.train.failed, *self.held_back.failed)


@dataclass(frozen=True, eq=False)
class Begun:
    """A training of which no pixel has been read yet.

    Attributes:
        sides: which image is on which side.
        image_size: (height, width) that the network sees.
        images_size: (height, width) of the images to train on, typically.
        classifier: with its first weights.
        filled: where these came from.
        stages: names of its stages, shallow to deep.
    """

    sides: Sides
    image_size: tuple[int, int]
    images_size: tuple[int, int]
    classifier: Classifier
    filled: Filled
    stages: tuple[str, ...]

    def plan(
        self, settings: TrainingSettings, device: torch.device, *, finished: int = 0, timed: bool = False
    ) -> Plan:
        """What a training with these settings will do.

        Args:
            settings: of the training; one without epochs trains no network.
            device: where it will run; the classifier is moved there.
            finished: epochs that a stopped training has behind it.
            timed: whether to try how long a step takes.
        """
        counts = self.sides.counts
        arithmetic = choose_arithmetic(
            self.classifier.to(device),
            device,
            precision=settings.precision,
            memory_format=settings.memory_format,
        )
        defective = sum(counts[kind]["train"] for kind in self.sides.dataset.classes[1:])
        steps = math.ceil(epoch_length(defective) / settings.batch_size)
        seconds = None
        if timed:
            step = seconds_of_step(self.classifier, self.image_size, settings, arithmetic)
            held_back = len(self.sides.dataset.of_split("val"))
            seconds = seconds_of_epoch(step, steps, held_back, settings.batch_size)
        return Plan(
            sides=counts,
            missing=self.sides.missing,
            backbone=settings.backbone,
            weights=self.filled.sentence(),
            image_size=self.image_size,
            images_size=self.images_size,
            epochs=settings.epochs,
            steps=steps,
            batch_size=settings.batch_size,
            arithmetic=arithmetic,
            device=str(device),
            finished=finished,
            seconds=seconds,
            concerns=(
                *self._contradictions(),
                *self.sides.concerns,
                *too_small_to_see(
                    self.images_size, self.image_size, "`image_size` makes the network's picture larger"
                ),
            ),
        )

    def _contradictions(self) -> list[str]:
        found = self.sides.contradictory
        words = f"{counted(found, 'sets of equal images')} with several labels each; `ltcam data check` lists them"
        return [words] if found else []


def begin(data: OpenData, settings: TrainingSettings) -> Begun:
    """Sides, image size and first weights: all that is settled before images are read.

    Args:
        data: as scanned. Its own test side is never looked at.
        settings: of the training.

    Raises:
        DataError: labels that cannot be trained on.
        SettingsError: backbone, weights or stages that cannot be used.
    """
    torch.manual_seed(settings.seed)
    sides = choose_sides(
        data.dataset,
        seed=settings.seed,
        val_share=settings.validation_share,
        duplicates=lambda: data.duplicates,
    )
    sizes = _sizes(sides.dataset.of_split("train"), data.images)
    size = settings.image_size or choose_image_size(sizes)
    classifier, filled, stages = _build(settings, len(sides.dataset.classes), size)
    return Begun(sides, size, typical_size(sizes), classifier, filled, stages)


def train_network(
    data: OpenData,
    settings: TrainingSettings,
    work: Path,
    running: Running,
) -> tuple[ReadyNetwork, Fitted, str]:
    """Train a classifier on the image labels of a data set.

    Args:
        data: as scanned. Its own test side is never looked at.
        settings: of the training.
        work: folder for checkpoints; a training found there is continued.
        running: device, and who is told about progress.

    Returns:
        The network, how its training went, and what chose the epoch, in words.

    Raises:
        DataError: labels or images that cannot be trained on.
        SettingsError: backbone, weights or stages that cannot be used.
        RunError: `work` holds a training with other settings.
    """
    begun = begin(data, settings)
    check_same_training(work, settings, begun.image_size, data.fingerprint)
    listener = running.listener
    plan = begun.plan(
        settings,
        choose_device(running.device),
        finished=finished_epochs(work),
        timed=running.devices == 1,
    )
    listener.planned(plan)
    network = _with_images(begun, data, work, listener)
    validation, chosen_by = usable_for_choices(network.held_back)
    listener.begun("training")
    material = Material(network.train, network.statistics, validation)
    return network, fit(network.classifier, material, settings, work, running), chosen_by


def untrained_network(
    data: OpenData, settings: TrainingSettings, work: Path, listener: Listener
) -> ReadyNetwork:
    """What every training starts from: the data read, and a classifier with its first weights.

    Args:
        data: as scanned. Its own test side is never looked at.
        settings: of the training.
        work: folder for checkpoints.
        listener: told about progress.

    Raises:
        DataError: labels or images that cannot be trained on.
        SettingsError: backbone, weights or stages that cannot be used.
    """
    begun = begin(data, settings)
    plan = begun.plan(settings, torch.device("cpu"))
    listener.planned(replace(plan, epochs=0))
    return _with_images(begun, data, work, listener)


def _with_images(begun: Begun, data: OpenData, work: Path, listener: Listener) -> ReadyNetwork:
    """The network, not trained yet, with the images of both sides read at its size."""
    listener.begun("reading images")
    dataset = begun.sides.dataset
    parts = _read(dataset, begun.image_size, data.images, work, listener)
    return ReadyNetwork(
        classifier=begun.classifier,
        stages=begun.stages,
        statistics=input_statistics(begun.classifier.trunk),
        filled=begun.filled,
        image_size=begun.image_size,
        dataset=dataset,
        note=begun.sides.words,
        reading=data.reading,
        contents=data.hashes,
        fingerprint=data.fingerprint,
        train=parts["train"],
        held_back=parts["val"],
        white=data.images.white,
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
    freeze_stages(classifier, stages, settings.freeze)
    return classifier, filled, stages


def _read(
    dataset: Dataset, size: tuple[int, int], images: DecodedImages, work: Path, listener: Listener
) -> dict[str, PreparedImages]:
    parts = {name: dataset.of_split(name) for name in ("train", "val")}
    total = sum(len(part) for part in parts.values())
    read: dict[str, PreparedImages] = {}
    preparation = Preparation(dataset.classes, size, images)
    for name, part in parts.items():
        before = sum(len(p.samples) for p in read.values())
        told = partial(_later, listener.progress, before, total)
        read[name] = prepare_images(part, preparation, work / f"images-{name}.bin", told)
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
