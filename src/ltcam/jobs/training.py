"""Train a classifier and write its run folder: the job behind `ltcam train`, and what all who train have in common."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from ltcam.calibration.kinds import MOST_JUDGED, KindChoice, choose_kinds
from ltcam.calibration.looks import Look, look_at, shuffled
from ltcam.calibration.maps import classic_cam, default_cam
from ltcam.calibration.scores import calibrated_verdict
from ltcam.calibration.shown import Shown, shown
from ltcam.calibration.smallest import (
    MOST_LOOKED_AT,
    Smallest,
    smallest_pieces,
    with_smallest,
    with_smallest_pieces_of,
)
from ltcam.calibration.verdict import choose_verdict
from ltcam.data.dataset import Dataset, Sample
from ltcam.data.decoded import DecodedImages
from ltcam.data.opened import Data, OpenData, opened
from ltcam.data.splits import split_csv
from ltcam.jobs.execution import Execution
from ltcam.jobs.previewing import previewed
from ltcam.jobs.validating import validate
from ltcam.models.classifier import Classifier
from ltcam.models.seeded import SeededClassifier
from ltcam.reports.examples import ExamplePicture, outlined
from ltcam.reports.run_page import run_page
from ltcam.reports.settings_rows import drawing_words, share_of_score
from ltcam.runs.folder import package_versions, write_run
from ltcam.runs.hardware import choose_device
from ltcam.runs.inspector import Inspector
from ltcam.runs.network import TorchNetwork
from ltcam.runs.run import REPORT_FILE, RUN_FILE, Run
from ltcam.runs.unfinished import checkpoints, claimed, work_folder
from ltcam.training.fit import Running, finished_epochs
from ltcam.training.images import PreparedImages, usable_for_choices
from ltcam.training.listener import Listener
from ltcam.training.logs import Log
from ltcam.training.memory import keep_freed_memory
from ltcam.training.plan import Plan
from ltcam.training.seeding import add_peaks, seed_cam, seed_map, seed_taps, verdicts_by_peaks, with_seed_maps
from ltcam.training.settings import TrainingSettings
from ltcam.training.train import TrainedNetwork, begin, train_network, training_evidence, untrained_network
from ltcam_runtime.errors import DataError, SettingsError
from ltcam_runtime.folders import output_folder
from ltcam_runtime.pages.notebook import facts_html
from ltcam_runtime.settings import MAP, CamSettings, VerdictSettings, part_name


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
        held_back: images of the validation side, at the network's size.
        pictures: images with their masks, for the page.
        shown: by kind, what was chosen for its masks beside what was not, for the page.
    """

    run: Run
    classifier: Classifier
    dataset: Dataset
    contents: Mapping[str, str]
    history: tuple[dict[str, float], ...]
    failed: tuple[tuple[Sample, str], ...]
    held_back: PreparedImages
    pictures: tuple[ExamplePicture, ...] = ()
    shown: Mapping[str, Shown] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, repr=False)
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

    def __repr__(self) -> str:
        left_out = f", {len(self.failed)} images not used" if self.failed else ""
        return f"TrainedRun({str(self.folder)!r}, {len(self.history)} epochs{left_out})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        facts = [
            ("classes", ", ".join(self.run.classes)),
            ("epochs", str(len(self.history))),
            ("defective from a score of", f"{self.run.verdict.threshold:.4g}"),
            ("images not used", str(len(self.failed))),
            ("report", str(self.folder / REPORT_FILE)),
        ]
        return facts_html(f"Run {self.folder}", facts)

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
    device = str(choose_device(execution.device))
    if execution.devices > 1 and ":" in device:
        raise SettingsError(
            f"`devices` {execution.devices} and `device` {device}: one GPU by name, or several"
        )
    running = Running(device, execution.devices, listener, _log(out, execution), previewed(listener))
    keep_freed_memory()
    if _is_helper():  # of a training on several GPUs; the first process writes the run
        train_network(
            _with_white(data), settings, work_folder(out), replace(running, listener=Listener(), look=None)
        )
        raise SystemExit(0)
    with (
        claimed(out, resume=resume, overwrite=overwrite, say=listener.say),
        output_folder(out, marker=RUN_FILE, overwrite=overwrite) as folder,
        checkpoints(out, resume=resume) as work,
    ):
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
    *,
    resume: bool = False,
    execution: Execution = Execution(),  # frozen
) -> Plan:
    """What `train` would do, from labels and sizes of the images alone. Nothing is trained, and nothing written.

    Args:
        data: as for `train`.
        out: run folder that would be written.
        settings: of the training.
        resume: whether a stopped training that is kept for it would go on.
        execution: device and so on.

    Raises:
        LtcamError: as for `train`, where it would stop before the first epoch.
    """
    settings = settings or TrainingSettings()
    _log(Path(out), execution)
    finished = finished_epochs(work_folder(Path(out))) if resume else 0
    begun = begin(opened(data), settings)
    return begun.plan(
        settings, choose_device(execution.device), finished=finished, timed=execution.devices == 1
    )


def _with_white(data: Data) -> OpenData:
    """The data set, its 16-bit images read by the bits that they use."""
    data = opened(data)
    data.images.take_white_of(sample.path for sample in data.dataset.samples)
    return data


def _log(out: Path, execution: Execution) -> Log | None:
    """Where the numbers of every epoch go: a folder beside the run."""
    return Log(execution.log, out.with_name(f"{out.name}-logs"), out.name) if execution.log else None


def quick(
    data: Data,
    out: str | Path,
    settings: TrainingSettings | None = None,
    *,
    overwrite: bool = False,
    execution: Execution = Execution(),  # frozen
    listener: Listener = Listener(),  # frozen
) -> TrainedRun:
    """First masks within a minute: a run from image labels without training a network.

    Seed maps of the backbone's own features tell places of defects from places of OK images; verdicts are made of
    their peaks. Else it is a run like any other.

    Args:
        data: as for `train`.
        out: as for `train`.
        settings: backbone, weights, image size, validation share, seed and bound on misses count; the rest is of
            a training.
        overwrite: replace an existing run.
        execution: the command that is kept.
        listener: told about progress.

    Raises:
        LtcamError: as for `train`.
    """
    settings, out = settings or TrainingSettings(), Path(out)
    keep_freed_memory()
    with (
        claimed(out, resume=False, overwrite=overwrite, say=listener.say),
        output_folder(out, marker=RUN_FILE, overwrite=overwrite) as folder,
        checkpoints(out, resume=False) as work,
    ):
        data = _with_white(data)
        network = untrained_network(data, settings, work, listener)
        nothing = network.classifier.head
        nn.init.zeros_(nothing.weight)
        nn.init.zeros_(nothing.bias)
        trained = _with_seed_maps(network, settings, execution.command, listener, {"verdicts_by": "peaks"})
        trained = with_kinds(trained, device="cpu", listener=listener, decoded=data.images)
        data.images.release()
        return write_trained(with_validation(trained, "cpu", listener), folder, out)


LAST = "last stage"
"""Name of the map of the last stage alone, for kinds that are large."""


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
    network, listener = train_network(data, settings, work, running), running.listener
    evidence = training_evidence(network.fitted, network.chosen_by)
    if not settings.classic:
        return _with_seed_maps(network, settings, command, listener, evidence)
    verdict = choose_verdict(
        network.classifier, network.held_back, settings, network.statistics, listener.say
    )
    warn_uncalibrated(network.held_back, listener)
    return _trained(network, _run(network, settings, verdict, evidence, command))


def _with_seed_maps(
    network: TrainedNetwork,
    settings: TrainingSettings,
    command: str,
    listener: Listener,
    evidence: dict[str, Any],
) -> Trained:
    """Seed maps beside the classifier, and scores that read as probabilities."""
    listener.begun("fitting a map to each kind")
    taps = seed_taps(network.stages)
    classifier, seed = with_seed_maps(
        network.classifier, taps, network.train, network.held_back, network.statistics, settings.seed
    )
    if classifier.has_trained_head:
        share = add_peaks(classifier, network.train, network.held_back, network.statistics)
        evidence = {**evidence, "peaks_share": share}
    else:
        verdicts_by_peaks(classifier, network.train, network.held_back, network.statistics)
    verdict = calibrated_verdict(classifier, network.held_back, settings, network.statistics, listener.say)
    warn_uncalibrated(network.held_back, listener)
    classes = network.dataset.classes
    evidence = {**evidence, "seed_maps": seed.evidence(classes)}
    run = _run(network, settings, verdict, evidence, command)
    seeds = {
        seed_map(name): seed_cam(taps, number) for number, name in enumerate(seed.names(classes), start=1)
    }
    run = run.model_copy(update={"taps": taps, "maps": {**run.maps, **seeds}})
    return _trained(replace(network, classifier=classifier), run)


def warn_uncalibrated(held_back: PreparedImages, listener: Listener) -> None:
    """Say it where the verdict's threshold rests on nothing."""
    if usable_for_choices(held_back)[0] is None:
        listener.warn(
            "the verdict's threshold is not calibrated: no OK and defective images were held back; look at the scores "
            "of some known images before you rely on verdicts"
        )


def _run(
    network: TrainedNetwork,
    settings: TrainingSettings,
    verdict: VerdictSettings,
    evidence: Mapping[str, Any],
    command: str,
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
        arithmetic=network.fitted.arithmetic,
        seed=settings.seed,
        training=settings.model_dump(mode="json"),
        initial_weights=network.filled.to_json(),
        data=_data_facts(network),
        evidence=dict(evidence),
        versions=package_versions(),
        command=command,
    )


def _trained(network: TrainedNetwork, run: Run) -> Trained:
    return Trained(
        run=run,
        classifier=network.classifier,
        dataset=network.dataset,
        contents=network.contents,
        history=network.fitted.history,
        failed=network.failed,
        held_back=network.held_back,
    )


def _data_facts(network: TrainedNetwork) -> dict[str, Any]:
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


def with_kinds(
    trained: Trained,
    *,
    device: str = "auto",
    listener: Listener = Listener(),
    decoded: DecodedImages | None = None,
) -> Trained:
    """The training with map, contrast, cut and smallest piece that suit each kind of its defects, by image labels.

    Args:
        trained: its train and validation sides are looked at.
        device: `auto`, `cpu` or `cuda`.
        listener: told about progress, and what was chosen.
        decoded: what reads the images; None reads each anew.
    """
    run = trained.run
    maps, most = _chosen_from(trained)
    network = TorchNetwork.of(run, judge_of(trained.classifier), choose_device(device)).with_maps(maps)
    samples = _learned(trained)
    listener.begun("choosing what is drawn of each kind")
    listener.choosing(0, len(run.classes) - 1)
    try:
        choice = choose_kinds(
            network,
            {kind: [s.path for s in samples if s.label == kind] for kind in run.classes[1:]},
            [s.path for s in samples if not s.defective],
            listener.choosing,
            held_back=[s.path for s in samples if s.split == "val"],
            most=most,
            decoded=decoded,
        )
    except DataError as error:
        listener.say(f"nothing was chosen by kind of defect: {error}")
        evidence = {**run.evidence, "kinds": {"sentence": str(error)}}
        return replace(trained, run=run.model_copy(update={"evidence": evidence}))
    _say_what_is_drawn(choice, listener)
    trained = _with_choice(trained, maps, choice)
    return _with_smallest_pieces(trained, device, listener, decoded)


def _chosen_from(trained: Trained) -> tuple[dict[str, CamSettings], int]:
    """The maps that may be chosen, and on how many images of a kind their masks are judged at most."""
    run, classifier = trained.run, trained.classifier
    if isinstance(classifier, SeededClassifier) and not classifier.has_trained_head:
        # Gradients of a peak say what the seed map says; and it shall be done in a minute.
        return {name: cam for name, cam in run.maps.items() if name != MAP}, MOST_JUDGED // 4
    last = CamSettings(method="grad-cam", stages=run.stages[-1:], fusion="sum", positive_activations=False)
    return {**run.maps, LAST: last}, MOST_JUDGED


def _say_what_is_drawn(choice: KindChoice, listener: Listener) -> None:
    """Of each kind and of its parts."""
    for kind, settings in choice.kinds.items():
        listener.say(f"{kind}: {drawing_words(settings)}{_explained(choice.evidence[kind])}")
        if settings.parts:
            listener.say(f"{kind}: {choice.evidence[kind]['parts']}")
        for place, part in enumerate(settings.parts):
            name = part_name(kind, place)
            listener.say(f"{name}: {drawing_words(part)}{_explained(choice.evidence[name])}")


def _with_choice(trained: Trained, maps: Mapping[str, CamSettings], choice: KindChoice) -> Trained:
    """The training with what was chosen of these maps, and with pictures of it."""
    run = trained.run
    beside = {kind: shown(kind, judged, LAST) for kind, judged in choice.judged.items()}
    drawn = {kind: each for kind, each in beside.items() if each is not None}
    why = {
        kind: {**each, "shown": list(drawn[kind].rows)} if kind in drawn else each
        for kind, each in choice.evidence.items()
    }
    used = {MAP, *(name for settings in choice.kinds.values() for name in settings.all_maps)}
    run = run.model_copy(
        update={
            "maps": {name: cam for name, cam in {**run.maps, **maps}.items() if name in used},
            "kinds": dict(choice.kinds),
            "sharpening": choice.default.sharpening,
            "mask": choice.default.mask,
            "evidence": {**run.evidence, "kinds": why},
        }
    )
    return replace(trained, run=run, classifier=trained.classifier.cpu(), shown=drawn)


def _with_smallest_pieces(
    trained: Trained, device: str, listener: Listener, decoded: DecodedImages | None
) -> Trained:
    """The training with the smallest piece of a mask that is kept, of each kind of its defects."""
    run = trained.run
    drawn = {name: run.maps[name] for kind in run.kinds.values() for name in kind.all_maps}
    network = TorchNetwork.of(run, trained.classifier, choose_device(device)).with_maps(drawn)
    samples = _learned(trained)
    listener.begun("choosing the smallest piece of a mask")

    def looks(files: Sequence[Path], most: int) -> list[Look]:
        return look_at(network, shuffled(files, run.seed), most, decoded)

    ok = looks([sample.path for sample in samples if not sample.defective], MOST_LOOKED_AT)
    found: dict[str, Smallest] = {}
    for kind, settings in run.kinds.items():
        most = MOST_JUDGED * max(1, len(settings.parts))
        of_kind = looks([s.path for s in samples if s.label == kind], most)
        found |= smallest_pieces(kind, settings, ok, of_kind)
    kinds = {kind: with_smallest_pieces_of(kind, settings, found) for kind, settings in run.kinds.items()}
    words = ", ".join(f"{kind} {each.area_px} px" for kind, each in found.items())
    listener.say(f"smaller pieces are left out of masks: {words}; `--min-area` of predict takes another size")
    update = {
        "kinds": kinds,
        "mask": with_smallest(run.inspection.default, min(each.area_px for each in found.values())).mask,
        "evidence": {**run.evidence, "smallest_pieces": {kind: asdict(each) for kind, each in found.items()}},
    }
    run = run.model_copy(update=update)
    return replace(trained, run=run, classifier=trained.classifier.cpu())


def _learned(trained: Trained) -> list[Sample]:
    """Images of the train and validation sides."""
    return [sample for sample in trained.dataset.samples if sample.split in {"train", "val"}]


def with_validation(trained: Trained, device: str, listener: Listener) -> Trained:
    """The training with what its run says of the images that were held back, and pictures of some.

    Args:
        trained: with all that was chosen.
        device: `auto`, `cpu`, `cuda`, or one of several GPUs.
        listener: told about progress, and whether a person should look at some images.
    """
    inspector = Inspector.of(trained.run, trained.classifier, device=choose_device(device))
    found, pictures = validate(inspector, trained.held_back, trained.dataset, listener)
    if "unsure" in found:
        listener.say(found["unsure"]["sentence"])
    evidence = {**trained.run.evidence, **({"validation": found} if found else {})}
    run = trained.run.model_copy(update={"evidence": evidence})
    return replace(trained, run=run, classifier=trained.classifier.cpu(), pictures=pictures)


def judge_of(classifier: Classifier) -> Classifier:
    """The classifier without its seed maps' peaks, where it can do without them: a peak that is pasted stays a peak."""
    if not isinstance(classifier, SeededClassifier) or not classifier.has_trained_head:
        return classifier
    judge = deepcopy(classifier)
    nn.init.zeros_(judge.peaks.weight)
    return judge


def _explained(why: Mapping[str, Any]) -> str:
    """How far masks explain the verdict, in words; empty where nobody knows."""
    if "trust" not in why:
        return ""
    return f"; masks explain {share_of_score(why['explained'])} of the score ({why['trust']})"


def write_trained(trained: Trained, folder: Path, out: Path) -> TrainedRun:
    """Write a run folder into an existing folder.

    Args:
        trained: what to write.
        folder: empty, and renamed to `out` when all is there.
        out: where the run will be found.
    """
    failed = [{"image": sample.id, "reason": reason} for sample, reason in trained.failed]
    outlines = {kind: outlined(each.image, each.masks) for kind, each in trained.shown.items()}
    page = run_page(trained.run, trained.history, failed, trained.pictures, outlines=outlines, title=out.name)
    split = split_csv(trained.dataset, trained.contents)
    run = write_run(folder, trained.run, trained.classifier, split, list(trained.history), page)
    reasons = tuple((sample.id, reason) for sample, reason in trained.failed)
    return TrainedRun(out, run, trained.history, reasons)
