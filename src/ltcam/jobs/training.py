"""Train a classifier and write its run folder: the jobs behind `ltcam train` and `ltcam quick`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ltcam.calibration.maps import classic_cam, default_cam
from ltcam.calibration.scores import calibrated_verdict, logits_of
from ltcam.calibration.verdict import choose_verdict
from ltcam.data.opened import Data, OpenData, opened
from ltcam.jobs.choosing import with_kinds
from ltcam.jobs.execution import Execution
from ltcam.jobs.previewing import previewed
from ltcam.jobs.trained import Trained, TrainedRun, with_validation, write_trained
from ltcam.models.logits import scores_of
from ltcam.runs.folder import package_versions
from ltcam.runs.hardware import check_number, choose_device
from ltcam.runs.memory import keep_freed_memory
from ltcam.runs.run import Arithmetic, Run
from ltcam.runs.unfinished import Place
from ltcam.training.fit import Running, finished_epochs
from ltcam.training.images import PreparedImages, usable_for_choices
from ltcam.training.listener import Listener
from ltcam.training.logs import Log
from ltcam.training.plan import Plan
from ltcam.training.seeding import (
    Asked,
    add_peaks,
    seed_cam,
    seed_map,
    seed_taps,
    verdicts_by_peaks,
    with_seed_maps,
)
from ltcam.training.settings import TrainingSettings
from ltcam.training.train import ReadyNetwork, begin, train_network, training_evidence, untrained_network
from ltcam_runtime.settings import MAP, VerdictSettings


def train(
    data: Data,
    out: str | Path,
    settings: TrainingSettings | None = None,
    execution: Execution = Execution(),  # frozen
) -> TrainedRun:
    """Train a classifier on the image labels of a data set and write a run folder. Masks are not looked at.

    Args:
        data: folder of images in a known layout, a CSV manifest, or an open data set.
        out: run folder to write; whole or not there.
        settings: of the training.
        execution: device, what becomes of a run that is there, who is told about progress.

    Raises:
        DataError: labels or images that cannot be trained on.
        SettingsError: settings that cannot be used.
        OutputError: the run cannot be written there.
    """
    settings, out, listener = settings or TrainingSettings(), Path(out), execution.listener
    device = str(_device(execution))
    running = Running(device, execution.devices, listener, _log(out, execution), previewed(listener))
    keep_freed_memory()
    if _is_helper():  # of a training on several GPUs; the first process writes the run
        train_network(
            _with_white(data), settings, Place(out).work, replace(running, listener=Listener(), look=None)
        )
        raise SystemExit(0)
    with Place(out, execution.resume, execution.overwrite).taken(listener.say) as (folder, work):
        data = _with_white(data)
        trained = train_run(data, settings, work, running, execution.command)
        if not settings.classic:
            trained = with_kinds(trained, device=device, listener=listener, decoded=data.images)
        data.images.release()
        done = write_trained(with_validation(trained, device, listener), folder, out)
        if running.log is not None:
            listener.say(f"numbers of every epoch: {running.log.look}")
        return done


def plan(
    data: Data,
    out: str | Path,
    settings: TrainingSettings | None = None,
    execution: Execution = Execution(),  # frozen
) -> Plan:
    """What `train` would do, from labels and sizes of the images alone. Nothing is trained, and nothing written.

    Args:
        data: as for `train`.
        out: where the run would be written.
        settings: of the training.
        execution: device and so on.

    Raises:
        LtcamError: as for `train`, where it would stop before the first epoch.
    """
    settings, place = settings or TrainingSettings(), Place(Path(out), execution.resume, execution.overwrite)
    _log(place.out, execution)
    device = _device(execution)
    place.check()
    finished = finished_epochs(place.work) if place.resume else 0
    begun = begin(opened(data, one_class=False), settings)
    return begun.plan(settings, device, finished=finished, timed=execution.devices == 1)


def _device(execution: Execution) -> torch.device:
    device = choose_device(execution.device)
    check_number(device, execution.device, execution.devices)
    return device


def _with_white(data: Data) -> OpenData:
    """The data set, its 16-bit images read by the bits that they use."""
    data = opened(data, one_class=False)
    data.images.take_white_of(sample.path for sample in data.dataset.samples)
    return data


def _log(out: Path, execution: Execution) -> Log | None:
    """Where the numbers of every epoch go: a folder beside the run."""
    return Log(execution.log, out.with_name(f"{out.name}-logs"), out.name) if execution.log else None


def quick(
    data: Data,
    out: str | Path,
    settings: TrainingSettings | None = None,
    execution: Execution = Execution(),  # frozen
) -> TrainedRun:
    """First masks within a minute: a run from image labels without training a network.

    Seed maps of the backbone's own features tell places of defects from places of OK images; verdicts are made of
    their peaks. Else it is a run like any other.

    Args:
        data: as for `train`.
        out: as for `train`.
        settings: backbone, weights, image size, validation share, seed and bound on misses count; the rest is of
            a training.
        execution: the command that is kept, what becomes of a run that is there, who is told about progress.

    Raises:
        LtcamError: as for `train`.
    """
    settings, out, listener = settings or TrainingSettings(), Path(out), execution.listener
    keep_freed_memory()
    with Place(out, resume=None, overwrite=execution.overwrite).taken(listener.say) as (folder, work):
        data = _with_white(data)
        network = untrained_network(data, settings, work, listener)
        nothing = network.classifier.head
        nn.init.zeros_(nothing.weight)
        nn.init.zeros_(nothing.bias)
        fit = _Fit(Arithmetic(reason="float32: nothing was trained"), {"verdicts_by": "peaks"})
        trained = _with_seed_maps(network, settings, execution.command, listener, fit)
        trained = with_kinds(trained, device="cpu", listener=listener, decoded=data.images)
        data.images.release()
        return write_trained(with_validation(trained, "cpu", listener), folder, out)


def train_run(
    data: OpenData, settings: TrainingSettings, work: Path, running: Running, command: str = ""
) -> Trained:
    """Train a classifier and choose its verdict; its masks are not sharpened yet.

    Args:
        data: as scanned.
        settings: of the training.
        work: folder for checkpoints; a training found there is continued.
        running: device, and who is told about progress.
        command: how the job was called, kept in the results.

    Raises:
        LtcamError: as for `train`.
    """
    network, fitted, chosen_by = train_network(data, settings, work, running)
    listener = running.listener
    fit = _Fit(fitted.arithmetic, training_evidence(fitted, chosen_by), fitted.history)
    if not settings.classic:
        return _with_seed_maps(network, settings, command, listener, fit)
    scores = scores_of(logits_of(network.classifier, network.held_back, network.statistics))
    verdict = choose_verdict(network.held_back, scores, settings, listener.say)
    warn_uncalibrated(network.held_back, listener)
    return _trained(network, _run(network, settings, verdict, fit, command), fit)


@dataclass(frozen=True)
class _Fit:
    """What a run keeps of the fit of its network.

    Attributes:
        arithmetic: how it was computed.
        evidence: what its choices rest on.
        history: one entry per epoch.
    """

    arithmetic: Arithmetic
    evidence: Mapping[str, Any]
    history: tuple[dict[str, float], ...] = ()


def _with_seed_maps(
    network: ReadyNetwork, settings: TrainingSettings, command: str, listener: Listener, fit: _Fit
) -> Trained:
    """Seed maps beside the classifier, and scores that read as probabilities."""
    listener.begun("fitting a map to each kind")
    taps = seed_taps(network.stages)
    classifier, seed = with_seed_maps(network.classifier, taps, network.images, settings.seed)
    asked, held_back = (
        Asked(classifier, part, network.statistics) for part in (network.train, network.held_back)
    )
    if classifier.has_trained_head:
        fit = replace(fit, evidence={**fit.evidence, "peaks_share": add_peaks(asked, held_back)})
    else:
        verdicts_by_peaks(asked, held_back)
    logits = held_back.logits().numpy()
    verdict = calibrated_verdict(classifier, network.held_back, logits, settings, listener.say)
    warn_uncalibrated(network.held_back, listener)
    classes = network.dataset.classes
    fit = replace(fit, evidence={**fit.evidence, "seed_maps": seed.evidence(classes)})
    run = _run(network, settings, verdict, fit, command)
    seeds = {
        seed_map(name): seed_cam(taps, number) for number, name in enumerate(seed.names(classes), start=1)
    }
    run = run.model_copy(update={"taps": taps, "maps": {**run.maps, **seeds}})
    return _trained(replace(network, classifier=classifier), run, fit)


def warn_uncalibrated(held_back: PreparedImages, listener: Listener) -> None:
    """Say it where the verdict's threshold rests on nothing."""
    if usable_for_choices(held_back)[0] is None:
        listener.warn(
            "the verdict's threshold is not calibrated: no OK and defective images were held back; look at the scores "
            "of some known images before you rely on verdicts"
        )


def _run(
    network: ReadyNetwork, settings: TrainingSettings, verdict: VerdictSettings, fit: _Fit, command: str
) -> Run:
    mean, std = network.statistics
    return Run(
        classes=network.dataset.classes,
        image_size=network.image_size,
        mean=mean,
        std=std,
        backbone=settings.backbone,
        head=settings.head,
        stages=network.stages,
        maps={MAP: (classic_cam if settings.classic else default_cam)(network.stages)},
        verdict=verdict,
        white=network.white,
        arithmetic=fit.arithmetic,
        seed=settings.seed,
        training=settings.model_dump(mode="json"),
        initial_weights=network.filled.to_json(),
        data=_data_facts(network),
        evidence=dict(fit.evidence),
        versions=package_versions(),
        command=command,
    )


def _trained(network: ReadyNetwork, run: Run, fit: _Fit) -> Trained:
    return Trained(
        run=run,
        classifier=network.classifier,
        dataset=network.dataset,
        contents=network.contents,
        history=fit.history,
        failed=network.failed,
        held_back=network.held_back,
    )


def _data_facts(network: ReadyNetwork) -> dict[str, Any]:
    dataset = network.dataset
    return {
        "layout": dataset.layout,
        "images": len(dataset.samples),
        "labels": dataset.label_counts(),
        "split": network.note,
        "fingerprint": network.fingerprint,
        "reading": {
            "layout": network.reading.layout,
            "ok": list(network.reading.ok),
            "group_by": network.reading.group_by,
        },
    }


def _is_helper() -> bool:
    """Whether Lightning started this process to train along on another GPU."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) != "0"
