"""The run folder: everything needed to inspect again. The only code that reads or writes it.

    RUN/run.json              settings with the evidence for each choice (schema below)
    RUN/weights.safetensors   the classifier
    RUN/split.csv             path, label, group, split, sha256: what was trained on
    RUN/history.csv           metrics per epoch
    RUN/report.html           self-contained

Reading executes nothing and validates everything.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ltcam.models.classifier import Classifier, build_classifier
from ltcam.models.seeded import build_seeded
from ltcam.models.student import build_student
from ltcam.runs.run import (
    HISTORY_FILE,
    REPORT_FILE,
    RUN_FILE,
    RUN_SCHEMA_VERSION,
    SPLIT_FILE,
    WEIGHTS_FILE,
    Run,
    upgraded,
)
from ltcam_runtime.errors import RunError, SettingsError
from ltcam_runtime.files import file_sha256, why_not_read
from ltcam_runtime.folders import write_file
from ltcam_runtime.settings import first_field
from ltcam_runtime.writers.csv import csv_text

_ANSWERS = ("head.weight", "peaks.weight")
"""What the logits are made with: a run without training answers by the peaks of its seed maps alone, others may do
without them."""

_LARGEST_RUN_FILE = 4 * 2**20  # bytes


@dataclass(frozen=True)
class TrainingRecord:
    """What a run folder keeps of its training beside settings and weights.

    Attributes:
        split: text of split.csv.
        history: one entry per epoch.
        report: text of report.html.
    """

    split: str = ""
    history: Sequence[dict[str, float]] = ()
    report: str = ""


def write_run(
    folder: Path,
    run: Run,
    classifier: Classifier,
    record: TrainingRecord = TrainingRecord(),  # frozen
) -> Run:
    """Write a run into an existing folder (a temporary one that is renamed when all is there).

    Args:
        folder: where to write.
        run: settings.
        classifier: whose weights are kept.
        record: of its training.

    Returns:
        The settings as they were written: tied to the weights, and to themselves, by their hashes.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.state_dict().items()}
    # One entry only: safetensors writes several in random order, and equal trainings shall give equal files.
    save_file(state, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    run = run.model_copy(update={"weights_sha256": file_sha256(folder / WEIGHTS_FILE), "settings_sha256": ""})
    values = run.model_dump(mode="json")
    run = run.model_copy(update={"settings_sha256": _settings_sha256(values)})
    values["settings_sha256"] = run.settings_sha256
    write_file(folder / RUN_FILE, json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    # The library makes it for its owner alone; the others follow what the user has set.
    (folder / WEIGHTS_FILE).chmod((folder / RUN_FILE).stat().st_mode)
    write_file(folder / SPLIT_FILE, record.split)
    write_file(folder / HISTORY_FILE, _history_csv(record.history))
    write_file(folder / REPORT_FILE, record.report)
    return run


def _settings_sha256(values: Mapping[str, Any]) -> str:
    """SHA-256 of the contents of a run.json, however they are laid out, without this hash itself."""
    others = {name: value for name, value in values.items() if name != "settings_sha256"}
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    names = ("ltcam", "torch", "timm", "lightning", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def _history_csv(history: Sequence[dict[str, float]]) -> str:
    """With all digits."""
    rows = ([str(entry[name]) for name in history[0]] for entry in history)
    return csv_text([history[0], *rows], guarded=False) if history else ""


def read_history(folder: Path) -> tuple[dict[str, float], ...]:
    """Metrics per epoch of a run folder; none where they are missing.

    Raises:
        RunError: the file is damaged.
    """
    file = folder / HISTORY_FILE
    with _readable(file):
        rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8")))) if file.is_file() else []
    try:
        return tuple({name: float(value) for name, value in row.items()} for row in rows)
    except (TypeError, ValueError) as error:
        raise RunError(f"{file} is damaged: {error}") from error


def scores_held_back(folder: Path) -> tuple[float, ...]:
    """Scores of the images that a run's training held back, OK and defective ones.

    Raises:
        RunError: no run, or one without such scores.
    """
    validation = read_run(folder).evidence.get("validation", {})
    scores = tuple(float(score) for each in validation.get("scores", {}).values() for score in each)
    if not scores:
        raise RunError(f"{folder} keeps no scores of images that were held back; leave the run out")
    return scores


def read_run(folder: Path) -> Run:
    """Settings of a run folder, validated.

    Raises:
        RunError: no run folder, damaged, or written by a newer version; the message names the field.
    """
    file = folder / RUN_FILE
    with _readable(file):
        if not file.is_file():
            what = "there is no such folder" if not folder.exists() else f"it holds no {RUN_FILE}"
            raise RunError(f"{folder} is not a run folder: {what}; give the folder that `ltcam train` wrote")
        if file.stat().st_size > _LARGEST_RUN_FILE:
            raise RunError(f"{file} is {file.stat().st_size} bytes long; a run.json is far smaller")
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise RunError(f"{file} is damaged: {error}") from error
    if not isinstance(values, dict):
        raise RunError(f"{file} is damaged: it holds no settings")
    version = values.get("schema_version")
    if isinstance(version, int) and version > RUN_SCHEMA_VERSION:
        raise RunError(
            f"{file} has schema version {version}, this ltcam reads up to {RUN_SCHEMA_VERSION}; update ltcam"
        )
    try:
        return Run.model_validate(upgraded(values))
    except ValidationError as error:
        raise RunError(f"{file}: {first_field(error)}") from error


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """What the system says against reading a run's file, as the library that reads it may not say it."""
    try:
        yield
    except PermissionError as error:
        raise RunError(
            f"{file}: no permission to read it; ask its owner, or whoever trained, to let others read it"
        ) from error
    except OSError as error:
        raise RunError(f"{file} {why_not_read(error)}") from error


def ok_labels(folder: Path) -> tuple[str, ...]:
    """Labels that were named as meaning OK when a run was trained; none where the run cannot be read."""
    try:
        reading = read_run(folder).data.get("reading")
    except RunError:  # said by whoever needs the run
        return ()
    named = reading.get("ok") if isinstance(reading, dict) else None
    return tuple(label for label in named if isinstance(label, str)) if isinstance(named, list) else ()


def check_unchanged(folder: Path) -> None:
    """Refuse a run whose settings or weights are not those that were written together. Runs of schema 1 were not tied.

    Raises:
        RunError: naming the file.
    """
    values = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    if values.get("schema_version", 1) == 1:
        return
    hashes = (
        (RUN_FILE, "settings_sha256", _settings_sha256(values)),
        (WEIGHTS_FILE, "weights_sha256", file_sha256(folder / WEIGHTS_FILE)),
    )
    for name, field, found in hashes:
        if values.get(field) != found:
            raise RunError(
                f"{folder / name} was changed after the training, or damaged; restore it, or take the run as it is "
                "with `trust_changed_run=True`"
            )


def read_classifier(folder: Path, run: Run) -> Classifier:
    """The classifier of a run, in evaluation mode with frozen parameters.

    Raises:
        RunError: weights that are missing, damaged, not finite, all zero, or of another network.
    """
    file = folder / WEIGHTS_FILE
    with _readable(file):
        if not file.is_file():
            raise RunError(f"{folder} holds no {WEIGHTS_FILE}; the run folder is incomplete")
        file.open("rb").close()  # safetensors says of all it may not read that it is not there
        try:
            state = load_file(file)
        except SafetensorError as error:
            raise RunError(f"{file} is not a readable safetensors file: {error}") from error
    try:
        classifier = _built(run, state)
    except SettingsError as error:
        raise RunError(f"{folder / RUN_FILE}: field 'backbone', 'head' or 'taps': {error}") from error
    _check_tensors(file, state, classifier.state_dict())
    try:
        classifier.load_state_dict(state)
    except RuntimeError as error:
        raise RunError(
            f"{file} does not fit backbone {run.backbone}: {str(error).splitlines()[-1].strip()}"
        ) from error
    return classifier.eval().requires_grad_(False)


def _built(run: Run, state: Mapping[str, Tensor]) -> Classifier:
    """A network of the run's kind, random; `state` are the weights that it is for."""
    if run.network == "student":
        return build_student(run.backbone, len(run.classes), run.head)
    if run.taps:
        return build_seeded(run.backbone, len(run.classes), run.head, run.taps, state)
    return build_classifier(run.backbone, len(run.classes), run.head)


def _check_tensors(file: Path, state: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> None:
    """Refuse numbers that no training of this network ends with."""
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise RunError(f"{file}: tensor {name!r} holds NaN or infinite values")
        if name in own and tensor.is_floating_point() != own[name].is_floating_point():
            raise RunError(f"{file}: tensor {name!r} is {tensor.dtype}; expected {own[name].dtype}")
        may_be_zero = name in _ANSWERS or (
            name in own and not bool(own[name].any())
        )  # begins so, and may end so
        if tensor.ndim > 1 and not may_be_zero and not bool(tensor.any()):
            raise RunError(f"{file}: tensor {name!r} is all zero")
    answers = [name for name in _ANSWERS if name in state]
    if answers and not any(bool(state[name].any()) for name in answers):
        raise RunError(f"{file}: tensor {' and '.join(map(repr, answers))} is all zero")
