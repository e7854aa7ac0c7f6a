"""Train a classifier and write its run folder: the job behind `ltcam train`, and what all who train have in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ltcam.calibration.maps import classic_cam, default_cam
from ltcam.calibration.sharpening import choose_sharpening
from ltcam.calibration.verdict import choose_verdict
from ltcam.data.dataset import Dataset, Sample
from ltcam.data.opened import Data, opened
from ltcam.data.splits import split_csv
from ltcam.jobs.execution import Execution
from ltcam.models.classifier import Classifier
from ltcam.reports.run_page import run_page
from ltcam.runs.folder import package_versions, write_run
from ltcam.runs.hardware import choose_device
from ltcam.runs.inspector import Inspector
from ltcam.runs.run import RUN_FILE, Run
from ltcam.runs.unfinished import checkpoints, claimed, work_folder
from ltcam.training.listener import Listener
from ltcam.training.memory import keep_freed_memory
from ltcam.training.settings import TrainingSettings
from ltcam.training.train import TrainedNetwork, train_network, training_evidence
from ltcam_runtime.folders import output_folder
from ltcam_runtime.settings import MAP


@dataclass(frozen=True, eq=False)
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


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A run folder that was written.

    Attributes:
        folder: where.
        run: the contents of its run.json.
        history: one entry per epoch.
        failed: (image, reason) of images that could not be read.
    """

    folder: Path
    run: Run
    history: tuple[dict[str, float], ...]
    failed: tuple[tuple[str, str], ...]

    def inspector(self, device: str = "auto") -> Inspector:
        """The run, ready to inspect."""
        return Inspector.load(self.folder, device=device)


def train(
    data: Data,
    out: str | Path,
    settings: TrainingSettings | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    execution: Execution = Execution(),  # frozen
    listener: Listener = Listener(),  # frozen
) -> TrainedRun:
    """Train a classifier on the image labels of a data set and write a run folder. Masks are not looked at.

    Args:
        data: folder of images in a known layout, a CSV manifest, or an open data set.
        out: run folder to write; whole or not there.
        settings: of the training.
        resume: continue a training that was stopped.
        overwrite: replace an existing run.
        execution: device and so on.
        listener: told about progress.

    Raises:
        DataError: labels or images that cannot be trained on.
        SettingsError: settings that cannot be used.
        OutputError: the run cannot be written there.
    """
    settings, out = settings or TrainingSettings(), Path(out)
    device = choose_device(execution.device).type
    execution = replace(execution, device=device)
    keep_freed_memory()
    if _is_helper():  # of a training on several GPUs; the first process writes the run
        train_network(
            opened(data).dataset, settings, work_folder(out), device=device, devices=execution.devices
        )
        raise SystemExit(0)
    with (
        claimed(out, resume=resume, overwrite=overwrite, say=listener.say),
        output_folder(out, marker=RUN_FILE, overwrite=overwrite) as folder,
        checkpoints(out, resume=resume) as work,
    ):
        trained = train_run(opened(data).dataset, settings, work, execution, listener)
        if not settings.classic:
            trained = with_sharpening(trained, device=device, progress=listener.choosing)
            evidence = trained.run.evidence["sharpening"]
            listener.say(f"sharpening by {trained.run.sharpening.polarity} contrast: {evidence['sentence']}")
        return write_trained(trained, folder, out)


def train_run(
    dataset: Dataset, settings: TrainingSettings, work: Path, execution: Execution, listener: Listener
) -> Trained:
    """Train a classifier and choose its verdict; its masks are not sharpened yet.

    Args:
        dataset: as read from disk.
        settings: of the training.
        work: folder for checkpoints; a training found there is continued.
        execution: device and so on.
        listener: told about progress.

    Raises:
        LtcamError: as for `train`.
    """
    network = train_network(
        dataset,
        settings,
        work,
        listener=listener,
        device=execution.device,
        devices=execution.devices,
    )
    verdict = choose_verdict(
        network.classifier, network.held_back, settings, network.statistics, listener.say
    )
    mean, std = network.statistics
    run = Run(
        classes=network.dataset.classes,
        image_size=network.image_size,
        mean=mean,
        std=std,
        backbone=settings.backbone,
        head=settings.head,
        stages=network.stages,
        maps={MAP: (classic_cam if settings.classic else default_cam)(network.stages)},
        verdict=verdict,
        arithmetic=network.fitted.arithmetic,
        seed=settings.seed,
        training=settings.model_dump(mode="json"),
        initial_weights=network.filled.to_json(),
        data=_data_facts(network),
        evidence=training_evidence(network.fitted, network.chosen_by),
        versions=package_versions(),
        command=execution.command,
    )
    return Trained(
        run, network.classifier, network.dataset, network.contents, network.fitted.history, network.failed
    )


def _data_facts(network: TrainedNetwork) -> dict[str, Any]:
    dataset = network.dataset
    return {
        "layout": dataset.layout,
        "images": len(dataset.samples),
        "labels": dataset.label_counts(),
        "split": network.note,
        "fingerprint": network.fingerprint,
    }


def _is_helper() -> bool:
    """Whether Lightning started this process to train along on another GPU."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) != "0"


def with_sharpening(
    trained: Trained,
    *,
    device: str = "auto",
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Trained:
    """The training with the sharpening that suits its images, chosen by their labels.

    Args:
        trained: its train and validation sides are looked at.
        device: `auto`, `cpu` or `cuda`.
        progress: called with (done, total) images.
    """
    samples = [sample for sample in trained.dataset.samples if sample.split in {"train", "val"}]
    choice = choose_sharpening(
        Inspector.of(trained.run, trained.classifier, device=choose_device(device)),
        [sample.path for sample in samples if sample.defective],
        [sample.path for sample in samples if not sample.defective],
        progress,
    )
    run = trained.run.model_copy(
        update={
            "sharpening": choice.sharpening,
            "mask": choice.mask,
            "evidence": {**trained.run.evidence, "sharpening": choice.evidence},
        }
    )
    return replace(trained, run=run)


def write_trained(trained: Trained, folder: Path, out: Path) -> TrainedRun:
    """Write a run folder into an existing folder.

    Args:
        trained: what to write.
        folder: empty, and renamed to `out` when all is there.
        out: where the run will be found.
    """
    failed = [{"image": sample.id, "reason": reason} for sample, reason in trained.failed]
    page = run_page(trained.run, trained.history, failed, title=out.name)
    split = split_csv(trained.dataset, trained.contents)
    write_run(folder, trained.run, trained.classifier, split, list(trained.history), page)
    reasons = tuple((sample.id, reason) for sample, reason in trained.failed)
    return TrainedRun(out, trained.run, trained.history, reasons)
