"""Distil a run's masks into a student that draws them in one forward pass: the job behind `ltcam distill`.

The run, the teacher, makes masks of the defective images it was trained on; OK images have none. A student that starts
from the teacher's own classifier learns the verdicts from image labels and the drawing from these masks. Masks
drawn by people are never opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logit
from torch import Tensor

from ltcam.calibration.comparison import compare
from ltcam.calibration.judge import filled_in
from ltcam.calibration.looks import Learned
from ltcam.calibration.scores import calibrated_verdict, logits_of
from ltcam.data.dataset import Dataset, Split
from ltcam.data.decoded import DecodedImages
from ltcam.data.fingerprint import fingerprint
from ltcam.data.opened import Data, OpenData, opened
from ltcam.data.splits import known_sides, read_split_csv
from ltcam.jobs.choosing import judge_of
from ltcam.jobs.execution import Execution
from ltcam.jobs.trained import Trained, TrainedRun, with_validation, write_trained
from ltcam.jobs.training import warn_uncalibrated
from ltcam.models.classifier import freeze_stages
from ltcam.models.student import STUDENT, Student, student_of
from ltcam.runs.folder import ok_labels, package_versions, read_history
from ltcam.runs.hardware import choose_device
from ltcam.runs.inspector import Inspector
from ltcam.runs.memory import keep_freed_memory
from ltcam.runs.network import TorchNetwork
from ltcam.runs.run import SPLIT_FILE, WEIGHTS_FILE
from ltcam.runs.unfinished import Place
from ltcam.training.fit import Material, Running, default_learning_rate, fit
from ltcam.training.images import Preparation, PreparedImages, prepare_images
from ltcam.training.listener import Listener
from ltcam.training.pasting import Patch, cut_patches
from ltcam.training.resume import check_same_training
from ltcam.training.settings import StudentSettings
from ltcam.training.student_module import StudentModule
from ltcam.training.train import training_evidence
from ltcam_runtime.errors import DataError
from ltcam_runtime.files import file_sha256
from ltcam_runtime.resizing import resize
from ltcam_runtime.settings import MAP, CamSettings, MaskSettings, SharpeningSettings

LEAST_EPOCH = 256
"""Images in an epoch: what is thin or tiny is drawn too narrow at first, and few masks would make a short training."""

_EDGE_PX = 2  # at the student's size: how far around a mask nobody knows


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a student learns from.

    Attributes:
        targets: (N, 2, H, W) uint8: share of each pixel that is defect, and what is known of it; 0 to 255.
        patches: defects that masks were sure of.
        masked: number of defective images with a mask.
    """

    targets: Tensor
    patches: tuple[Patch, ...]
    masked: int


def distill(
    run: str | Path,
    data: Data,
    out: str | Path,
    settings: StudentSettings | None = None,
    execution: Execution = Execution(),  # frozen
) -> TrainedRun:
    """Train a student on what a run's masks say of its own training images, and write its run folder.

    Args:
        run: the teacher's run folder.
        data: the data set that it was trained on.
        out: run folder to write; whole or not there.
        settings: of the student's training.
        execution: device, what becomes of a run that is there, who is told about progress.

    Raises:
        DataError: images that the run was not trained on, or no mask to learn from.
        LtcamError: run or settings that cannot be used.
    """
    out, listener = Path(out), execution.listener
    keep_freed_memory()
    with Place(out, execution.resume, execution.overwrite).taken(listener.say) as (folder, work):
        source = _Source(Path(run), opened(data, one_class=False, remembered=ok_labels(Path(run))), execution)
        trained = _student_of(source, settings or StudentSettings(), work, listener)
        return write_trained(with_validation(trained, execution.device, listener), folder, out)


@dataclass(frozen=True, eq=False)
class _Source:
    """What a student learns from: the run and its data, and how both are used."""

    run: Path
    data: OpenData
    execution: Execution

    def teacher(self) -> Inspector:
        """The run, loaded anew: a student's training goes on with its teacher's own trunk."""
        return Inspector.load(
            self.run, device=self.execution.device, trust_changed_run=self.execution.trust_changed_run
        )


@dataclass(frozen=True, eq=False)
class _Course:
    """What all rounds have in common: images by side at the student's size, and how it is trained."""

    parts: Mapping[Split, PreparedImages]
    settings: StudentSettings
    listener: Listener


def _student_of(source: _Source, settings: StudentSettings, work: Path, listener: Listener) -> Trained:
    run, teacher = source.run, source.teacher()
    torch.manual_seed(settings.seed)
    settings = settings.model_copy(
        update={"backbone": teacher.run.backbone, "head": teacher.run.head, "weights": None}
    )
    dataset, contents = _as_trained(source.data, run)
    size = settings.image_size or teacher.run.image_size
    work.mkdir(parents=True, exist_ok=True)
    check_same_training(work, settings, size, f"{fingerprint(dataset, contents)} by {_weights_of(run)}")
    listener.begun("reading images")
    classes, decoded = teacher.run.classes, DecodedImages(0, teacher.run.white)

    def prepared(side: Split, size: tuple[int, int]) -> PreparedImages:
        overflow = work / f"images-{side}-{size[0]}x{size[1]}.bin"
        preparation = Preparation(classes, size, decoded)
        return prepare_images(dataset.of_split(side), preparation, overflow, listener.progress)

    sides: tuple[Split, ...] = ("train", "val")
    parts = {side: prepared(side, size) for side in sides}
    course = _Course(parts, settings, listener)
    student, history = _taught(source, course, size, work)
    kept, judged = _better_of(source, student, dataset, course)
    if kept is not student:
        history = read_history(run)
    # The teacher's own size need not be the student's.
    shown = kept.run.image_size
    held_back = parts["val"] if shown == size else prepared("val", shown)
    final = kept.run.model_copy(
        update={
            "evidence": {
                **kept.run.evidence,
                "teacher": {"run": run.name, "weights_sha256": _weights_of(run)},
                "rounds": settings.rounds,
                **judged,
            },
            "versions": package_versions(),
            "command": source.execution.command,
        }
    )
    warn_uncalibrated(parts["val"], listener)
    failed = tuple(failure for part in parts.values() for failure in part.failed)
    return Trained(
        run=final,
        classifier=kept.network.classifier.cpu(),
        dataset=dataset,
        contents=contents,
        history=history,
        failed=failed,
        held_back=held_back,
    )


def _taught(
    source: _Source, course: _Course, size: tuple[int, int], work: Path
) -> tuple[Inspector, tuple[dict[str, float], ...]]:
    """The student of the last round, and its history; in every later round the one before is the teacher."""
    student = source.teacher()
    history: tuple[dict[str, float], ...] = ()
    rounds, images = course.settings.rounds, course.parts["train"]
    for number in range(1, rounds + 1):
        lesson = make_lesson(student, images, size, course.listener)
        course.listener.say(
            f"round {number} of {rounds}: masks of {lesson.masked} defective images, "
            f"{len(lesson.patches)} pieces to paste"
        )
        if not lesson.masked:
            raise DataError(_no_mask(source.run, number, len(images.samples)))
        student, history = _learn(course, student, lesson, work / f"round-{number}")
    return student, history


def _better_of(
    source: _Source, student: Inspector, dataset: Dataset, course: _Course
) -> tuple[Inspector, dict[str, Any]]:
    """The student, or its teacher where the judge values the teacher's masks higher; and the evidence."""
    teacher, listener = source.teacher(), course.listener
    judge = TorchNetwork.of(
        teacher.run, judge_of(teacher.network.classifier), choose_device(source.execution.device)
    )
    listener.begun("comparing its masks with the teacher's")
    try:
        found = compare(judge, teacher, student, Learned.of(dataset, dataset.classes[1:]))
    except DataError as error:
        listener.say(f"the student was not compared with its teacher: {error}")
        return student, {"judged": {"sentence": str(error)}}
    keep_student = found.keeps_up or course.settings.keep == "student"
    sentence = f"on {found.images} images the judge values the student's masks {found.gain:+.2f} against the teacher's"
    if not found.keeps_up:
        listener.warn(
            f"{sentence}: what is written is "
            + ("the student all the same" if keep_student else "the teacher as it was")
            + "; more `epochs`, or `keep=student`, may help"
        )
    else:
        listener.say(sentence)
    kept = "student" if keep_student else "teacher"
    evidence = {
        "sentence": sentence,
        "kept": kept,
        "teacher": dict(found.teacher),
        "student": dict(found.student),
    }
    return (student if keep_student else teacher), {"judged": evidence}


def make_lesson(
    teacher: Inspector, images: PreparedImages, size: tuple[int, int], listener: Listener
) -> Lesson:
    """Masks of the defective images by the teacher, empty ones for the OK images, and what nobody knows.

    Nothing is known of a mask's edge, nor of a defective image that the teacher judges OK. Pieces to paste come
    from masks without which the image is OK to the teacher.

    Args:
        teacher: whose masks are learned.
        images: of the training side, at the student's size.
        size: the student's (height, width).
        listener: told about progress.
    """
    targets = torch.zeros(len(images.samples), 2, *size, dtype=torch.uint8)
    targets[:, 1] = 255
    patches: list[Patch] = []
    masked = 0
    defective = [index for index, label in enumerate(images.labels.tolist()) if label]
    files = [(str(index), images.samples[index].path) for index in defective]
    listener.begun("making masks to learn from")
    for done, item in enumerate(teacher.inspect_files(files, batch_size=1), start=1):
        listener.progress(done, len(files))
        index = int(item.name)
        mask = None if item.inspection is None else item.inspection.mask
        if mask is None or not mask.any() or item.image is None:
            targets[index, 1] = 0
            continue
        share = np.asarray(
            cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA), np.float32
        )
        targets[index] = torch.from_numpy(_target(share))
        masked += 1
        if _is_the_defect(teacher, item.image, mask):
            pixels = np.ascontiguousarray(images.images[index].permute(1, 2, 0).numpy())
            patches += cut_patches(pixels, filled_in(pixels, mask), share)
    return Lesson(targets, tuple(patches), masked)


def _no_mask(run: Path, round_number: int, images: int) -> str:
    """Why there is nothing to learn, and what to do."""
    if round_number > 1:
        return (
            f"the student of round {round_number - 1} finds a defect in none of the {images} training images, so there "
            "is no mask to learn from; give fewer `rounds` or more `epochs`"
        )
    return (
        f"{run} finds a defect in none of the {images} training images, so there is no mask to learn from; lower its "
        "threshold (`ltcam evaluate` says which suits), or train it longer or on more defective images"
    )


def _target(share: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(2, H, W) uint8 of the share of each pixel that is defect: that share, and what is known."""
    around = cv2.dilate(share, np.ones((3, 3), np.uint8), iterations=_EDGE_PX)
    known = (around == 0) | (share > 0)
    return np.stack([np.rint(255 * share), 255 * known]).astype(np.uint8)


def _is_the_defect(teacher: Inspector, image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> bool:
    """Whether the image looks OK to the teacher once the mask is filled in."""
    shrunk = resize(image, teacher.run.image_size)
    before, after = teacher.network.defect_scores([shrunk, filled_in(shrunk, mask)])
    cut = float(logit(teacher.run.verdict.threshold))
    return before > cut > after


def _learn(
    course: _Course, teacher: Inspector, lesson: Lesson, folder: Path
) -> tuple[Inspector, tuple[dict[str, float], ...]]:
    """One round: a student of the teacher, ready to inspect, and its history."""
    parts, settings, listener = course.parts, course.settings, course.listener
    statistics = (teacher.run.mean, teacher.run.std)
    classifier = teacher.network.classifier.cpu().requires_grad_(True)
    # Of the classifier: the decoder's layers say nothing of it.
    rate = settings.learning_rate or default_learning_rate(classifier)
    student = classifier if isinstance(classifier, Student) else student_of(classifier)
    student.train()
    freeze_stages(student, teacher.run.stages, settings.freeze)
    listener.begun("training")
    material = Material(
        parts["train"],
        statistics,
        along=[lesson.targets],
        least_epoch=LEAST_EPOCH,
        make_module=partial(StudentModule, patches=lesson.patches),
    )
    fitted = fit(
        student,
        material,
        settings.model_copy(update={"learning_rate": rate}),
        folder,
        Running(device=str(teacher.network.device), listener=listener),
    )
    # Trained to the end it is surer than it is right, however its teacher was calibrated.
    logits = logits_of(student, parts["val"], statistics)
    verdict = calibrated_verdict(student, parts["val"], logits, settings, listener.say)
    run = teacher.run.model_copy(
        update={
            "network": "student",
            "taps": (),
            "image_size": (int(lesson.targets.shape[2]), int(lesson.targets.shape[3])),
            "maps": {MAP: CamSettings(method=STUDENT.name, stages=teacher.run.stages)},
            "map": MAP,
            "sharpening": SharpeningSettings(),
            "mask": MaskSettings(threshold=0.5, of="value", min_area_px=teacher.run.mask.min_area_px),
            "kinds": {},
            "verdict": verdict,
            "seed": settings.seed,
            "training": settings.model_dump(mode="json"),
            "arithmetic": fitted.arithmetic,
            "evidence": training_evidence(
                fitted, "being the last, since drawing goes on improving after the verdicts"
            ),
        }
    )
    return Inspector.of(run, student, device=teacher.network.device), fitted.history


def _as_trained(data: OpenData, run: Path) -> tuple[Dataset, Mapping[str, str]]:
    """The data set with the sides of the run that it trained, and the contents of its files.

    Raises:
        DataError: it holds none of the run's training images, or classes the run does not know.
    """
    dataset, contents = data.dataset, data.hashes
    sides = known_sides(read_split_csv(run / SPLIT_FILE), contents)
    if "train" not in sides.values():
        raise DataError(
            f"{dataset.root} holds none of the images that {run} was trained on; give the data set of `ltcam train`"
        )
    samples = tuple(replace(sample, split=sides.get(sample.id, "test")) for sample in dataset.samples)
    return dataset.with_samples(samples), contents


def _weights_of(run: Path) -> str:
    return file_sha256(run / WEIGHTS_FILE)
