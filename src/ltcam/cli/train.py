"""`ltcam train DATA --out RUN`."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ltcam.cli.console import (
    DONE,
    SOME_FAILED,
    command,
    parse_size,
    print_json,
    progress,
    say,
    setting,
)
from ltcam.cli.trained import RUN_FILE, epoch_line, finish
from ltcam.cli.unfinished import check_unfinished, checkpoints, forget, work_folder
from ltcam.models.names import Head
from ltcam.training.settings import MemoryFormat, Precision, TrainingSettings

if TYPE_CHECKING:
    from ltcam.data.dataset import Dataset
    from ltcam.training.train import Trained

app = typer.Typer(add_completion=False)

_DEFAULTS = {name: field.default for name, field in TrainingSettings.model_fields.items()}


@app.command()
@command
def train(
    data: Annotated[Path, typer.Argument(help="folder of images in a known layout, or a CSV manifest")],
    out: Annotated[Path, typer.Option(help="run folder to write")],
    layout: Annotated[str | None, typer.Option(help="layout of DATA; default: found out")] = None,
    backbone: Annotated[str, setting(TrainingSettings, "backbone")] = _DEFAULTS["backbone"],
    head: Annotated[Head, setting(TrainingSettings, "head")] = "pooled",
    weights: Annotated[str | None, setting(TrainingSettings, "weights")] = None,
    image_size: Annotated[str | None, setting(TrainingSettings, "image_size", metavar="HxW")] = None,
    freeze: Annotated[int, setting(TrainingSettings, "freeze")] = _DEFAULTS["freeze"],
    epochs: Annotated[int, setting(TrainingSettings, "epochs")] = _DEFAULTS["epochs"],
    batch_size: Annotated[int, setting(TrainingSettings, "batch_size")] = _DEFAULTS["batch_size"],
    learning_rate: Annotated[float | None, setting(TrainingSettings, "learning_rate")] = None,
    weight_decay: Annotated[float, setting(TrainingSettings, "weight_decay")] = _DEFAULTS["weight_decay"],
    augment: Annotated[bool, setting(TrainingSettings, "augment", "--augment/--no-augment")] = True,
    validation_share: Annotated[float, setting(TrainingSettings, "validation_share")] = _DEFAULTS[
        "validation_share"
    ],
    max_miss: Annotated[float | None, setting(TrainingSettings, "max_miss")] = None,
    confidence: Annotated[float, setting(TrainingSettings, "confidence")] = _DEFAULTS["confidence"],
    seed: Annotated[int, setting(TrainingSettings, "seed")] = _DEFAULTS["seed"],
    precision: Annotated[Precision, setting(TrainingSettings, "precision")] = "auto",
    memory_format: Annotated[MemoryFormat, setting(TrainingSettings, "memory_format")] = "auto",
    classic: Annotated[
        bool,
        typer.Option("--classic", help="the paper's pipeline: LTGrad-CAM of all stages, Otsu, no sharpening"),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="number of GPUs")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="go on with a training that was stopped")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an existing run")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> int:
    """Train a classifier on the image labels of DATA and write a run folder.

    Masks, where DATA has any, are not looked at.
    """
    settings = TrainingSettings(
        backbone=backbone,
        head=head,
        weights=weights,
        image_size=None if image_size is None else parse_size(image_size),
        freeze=freeze,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        augment=augment,
        validation_share=validation_share,
        max_miss=max_miss,
        confidence=confidence,
        seed=seed,
        precision=precision,
        memory_format=memory_format,
    )
    from ltcam.data.layouts import read_dataset  # noqa: PLC0415  # after the options are known to be right
    from ltcam_runtime.folders import output_folder  # noqa: PLC0415

    if _is_helper():
        _fit(read_dataset(data, layout), settings, work_folder(out), device, devices, classic=classic)
        return DONE
    check_unfinished(out, resume=resume, overwrite=overwrite)
    with output_folder(out, marker=RUN_FILE, overwrite=overwrite) as folder:
        dataset = read_dataset(data, layout)
        with checkpoints(out, resume=resume) as work:
            trained = _fit(dataset, settings, work, device, devices, classic=classic)
            if not classic:
                trained = _sharpened(trained, device)
            summary = finish(trained, out, folder)
    forget(out)
    if as_json:
        print_json(summary)
    return SOME_FAILED if summary["failed"] else DONE


def _sharpened(trained: Trained, device: str) -> Trained:
    """The training with the sharpening that suits its images, chosen by their labels."""
    from ltcam.learning import with_sharpening  # noqa: PLC0415  # torch is slow to import

    with progress("choosing the sharpening") as advance:
        sharpened = with_sharpening(trained, device=device, progress=advance)
    evidence = sharpened.run.evidence["sharpening"]
    say(f"sharpening by {sharpened.run.sharpening.polarity} contrast: {evidence['sentence']}")
    return sharpened


def _fit(
    dataset: Dataset, settings: TrainingSettings, work: Path, device: str, devices: int, *, classic: bool
) -> Trained:
    """Train, and tell how far it is."""
    from ltcam.defaults import classic_cam, default_cam  # noqa: PLC0415  # torch is slow to import
    from ltcam.runs.hardware import choose_device  # noqa: PLC0415
    from ltcam.training.train import Listener, train  # noqa: PLC0415

    kind = choose_device(device).type
    with progress("training") as steps:
        listener = Listener(
            say=say,
            reading=lambda done, total: steps(done, total) if done < total else None,
            step=lambda epoch, epochs, step, of: steps(epoch * of + step, epochs * of),
            epoch=lambda entry: say(epoch_line(entry, settings.epochs)),
        )
        return train(
            dataset,
            settings,
            work,
            classic_cam if classic else default_cam,
            listener=Listener() if _is_helper() else listener,
            device=kind,
            devices=devices,
            command=shlex.join(["ltcam", *sys.argv[1:]]),
        )


def _is_helper() -> bool:
    """Whether Lightning started this process to train along on another GPU; the first one writes the run."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) != "0"
