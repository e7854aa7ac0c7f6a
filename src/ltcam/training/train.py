"""From a data set to a run: split, size, weights, fit, verdict threshold. Image labels only."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ltcam.data.dataset import Dataset, Sample
from ltcam.data.fingerprint import content_hashes, fingerprint
from ltcam.data.sides import choose_sides
from ltcam.models.backbones import input_statistics
from ltcam.models.classifier import (
    Classifier,
    build_classifier,
    freeze_stages,
    stages_of,
)
from ltcam.models.weights import Filled, load_initial_weights
from ltcam.runs.folder import package_versions
from ltcam.runs.run import Run
from ltcam.training.fit import Fitted, fit
from ltcam.training.image_size import choose_image_size
from ltcam.training.images import PreparedImages, prepare_images
from ltcam.training.memory import keep_freed_memory
from ltcam.training.settings import TrainingSettings
from ltcam.training.verdict import choose_verdict, usable_for_choices
from ltcam_runtime.errors import DataError, InputError, RunError, SettingsError
from ltcam_runtime.folders import write_file
from ltcam_runtime.images import image_size
from ltcam_runtime.settings import MAP, CamSettings

SETTINGS_FILE = "settings.json"

_CHOSEN_AFTERWARDS = {"max_miss", "confidence"}  # settings that play no part in the training itself
_LEARNING_RATE = 1e-4
_LEARNING_RATE_WITHOUT_NORMALISATION = 5e-5  # VGG without batch normalisation diverges sooner


@dataclass(frozen=True)
class Listener:
    """Whom to tell how far a training is. All do nothing by default.

    Attributes:
        say: a sentence worth reading.
        reading: images read and resized so far, of how many.
        masking: images whose mask a student will learn from, so far, of how many.
        step: epoch, epochs, step, steps.
        epoch: the history's entry of a finished epoch.
    """

    say: Callable[[str], None] = lambda _sentence: None
    reading: Callable[[int, int], None] = lambda _done, _total: None
    masking: Callable[[int, int], None] = lambda _done, _total: None
    step: Callable[[int, int, int, int], None] = lambda *_numbers: None
    epoch: Callable[[dict[str, float]], None] = lambda _entry: None


@dataclass(frozen=True)
class Trained:
    """What a training leaves behind: all that a run folder holds.

    Attributes:
        run: settings and evidence.
        classifier: best weights, on the CPU.
        dataset: with the split that was used.
        contents: SHA-256 of each image file by sample id, "" where it could not be read.
        history: one entry per epoch.
        failed: images that could not be read, with the reason.
    """

    run: Run
    classifier: Classifier
    dataset: Dataset
    contents: Mapping[str, str]
    history: tuple[dict[str, float], ...]
    failed: tuple[tuple[Sample, str], ...]


def train(
    dataset: Dataset,
    settings: TrainingSettings,
    work: Path,
    cam: Callable[[tuple[str, ...]], CamSettings],
    *,
    listener: Listener | None = None,
    device: str = "auto",
    devices: int = 1,
    command: str = "",
) -> Trained:
    """Train a classifier on the image labels of a data set.

    Args:
        dataset: as read from disk. Its own test side is never looked at.
        settings: of the training.
        work: folder for checkpoints; a training found there is gone on with.
        cam: stage names to the settings of the run's map.
        listener: told about progress.
        device: `auto`, `cpu` or `cuda`.
        devices: number of GPUs.
        command: kept in the run.

    Raises:
        DataError: labels or images that cannot be trained on.
        SettingsError: backbone, weights or stages that cannot be used.
        RunError: `work` holds a training with other settings.
    """
    keep_freed_memory()
    listener = listener or Listener()
    torch.manual_seed(settings.seed)
    dataset, note = prepare_split(dataset, settings)
    listener.say(note)
    size = settings.image_size or choose_image_size(_sizes(dataset.of_split("train")))
    listener.say(f"the network sees {size[0]} x {size[1]} pixels (height x width)")
    classifier, filled, stages = _build(settings, len(dataset.classes), size)
    listener.say(filled.sentence())
    contents = content_hashes(dataset)
    print_of_data = fingerprint(dataset, contents)
    check_same_training(work, settings, size, print_of_data)
    parts = _read(dataset, size, work, listener)
    validation, chosen_by = usable_for_choices(parts["val"])
    mean, std = input_statistics(classifier.trunk)
    fitted = fit(
        classifier,
        parts["train"],
        validation,
        settings,
        (mean, std),
        work,
        learning_rate=settings.learning_rate or default_learning_rate(classifier),
        device=device,
        devices=devices,
        progress=listener.step,
        epoch_done=listener.epoch,
    )
    verdict = choose_verdict(classifier, parts["val"], settings, (mean, std), listener.say)
    run = Run(
        classes=dataset.classes,
        image_size=size,
        mean=mean,
        std=std,
        backbone=settings.backbone,
        head=settings.head,
        stages=stages,
        maps={MAP: cam(stages)},
        arithmetic=fitted.arithmetic,
        verdict=verdict,
        seed=settings.seed,
        training=settings.model_dump(mode="json"),
        initial_weights=filled.to_json(),
        data=_data_facts(dataset, print_of_data, note),
        evidence=training_evidence(fitted, chosen_by),
        versions=package_versions(),
        command=command,
    )
    failed = tuple(failure for part in parts.values() for failure in part.failed)
    return Trained(run, classifier, dataset, contents, fitted.history, failed)


def prepare_split(dataset: Dataset, settings: TrainingSettings) -> tuple[Dataset, str]:
    """Train, validation and test sides, copies of one photograph on one side; and a sentence about it.

    Raises:
        DataError: no OK or no defective image to train on.
    """
    sides = choose_sides(dataset, seed=settings.seed, val_share=settings.validation_share)
    return sides.dataset, sides.words


def _sizes(samples: tuple[Sample, ...]) -> list[tuple[int, int]]:
    sizes = []
    for sample in samples:
        try:
            sizes.append(image_size(sample.path))
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
            f"--backbone {settings.backbone} cannot be used at {size[0]} x {size[1]}: {error}"
        ) from error
    if settings.freeze > len(stages):
        raise SettingsError(f"--freeze {settings.freeze}: {settings.backbone} has {len(stages)} stages")
    freeze_stages(classifier, stages, settings.freeze)
    return classifier, filled, stages


def default_learning_rate(classifier: Classifier) -> float:
    """Peak learning rate of the trunk where none is asked for."""
    normalised = any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in classifier.modules())
    return _LEARNING_RATE if normalised else _LEARNING_RATE_WITHOUT_NORMALISATION


def check_same_training(work: Path, settings: TrainingSettings, size: tuple[int, int], data: str) -> None:
    """A resumed training must be the one that was begun."""
    values = {"settings": settings.model_dump(mode="json"), "image_size": list(size), "data": data}
    file = work / SETTINGS_FILE
    if not file.is_file():
        write_file(file, json.dumps(values, indent=2))
        return
    try:
        begun = json.loads(file.read_text(encoding="utf-8"))
        begun_settings = dict(begun["settings"])
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"--resume: {file} is damaged; start anew with --overwrite") from error
    for name, value in settings.model_dump(mode="json", exclude=_CHOSEN_AFTERWARDS).items():
        if begun_settings.get(name) != value:
            option = "--" + name.replace("_", "-")
            raise RunError(
                f"--resume: the training in {work} was begun with {option} {begun_settings.get(name)}, not {value}; "
                "give the same options, or start anew with --overwrite"
            )
    for name, words in (("data", "other images or labels"), ("image_size", "another image size")):
        if begun.get(name) != values[name]:
            raise RunError(
                f"--resume: the training in {work} was begun with {words}; start anew with --overwrite"
            )


def _read(
    dataset: Dataset, size: tuple[int, int], work: Path, listener: Listener
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
        )
    labels = read["train"].labels
    for kind, present in (("OK", bool((labels == 0).any())), ("defective", bool((labels > 0).any()))):
        if not present:
            raise DataError(f"{dataset.root}: no {kind} image of the training side could be read")
    return read


def _later(reading: Callable[[int, int], None], before: int, total: int, done: int, _of: int) -> None:
    reading(before + done, total)


def _data_facts(dataset: Dataset, print_of_data: str, note: str) -> dict[str, Any]:
    return {
        "layout": dataset.layout,
        "images": len(dataset.samples),
        "labels": dataset.label_counts(),
        "split": note,
        "fingerprint": print_of_data,
    }


def training_evidence(fitted: Fitted, chosen_by: str) -> dict[str, Any]:
    """What a run keeps of how its network was trained."""
    return {
        "best_epoch": fitted.best_epoch,
        "epoch_chosen_by": chosen_by,
    }
