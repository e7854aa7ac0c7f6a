"""`ltcam train DATA --out RUN`."""

from __future__ import annotations

import hashlib
import math
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    validated,
)
from ltcam.training.settings import MemoryFormat, Precision, TrainingSettings
from ltcam_runtime.errors import OutputError

if TYPE_CHECKING:
    from ltcam.data.dataset import Dataset
    from ltcam.training.train import Trained

RUN_FILE = "run.json"  # as in ltcam.runs, which takes seconds to import

app = typer.Typer(add_completion=False)

_DEFAULTS = {name: field.default for name, field in TrainingSettings.model_fields.items()}


@app.command()
@command
def train(
    data: Annotated[Path, typer.Argument(help="folder of images in a known layout, or a CSV manifest")],
    out: Annotated[Path, typer.Option(help="run folder to write")],
    layout: Annotated[str | None, typer.Option(help="layout of DATA; default: found out")] = None,
    backbone: Annotated[str, setting(TrainingSettings, "backbone")] = _DEFAULTS["backbone"],
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
    settings = validated(
        TrainingSettings,
        {
            "backbone": backbone,
            "weights": weights,
            "image_size": None if image_size is None else parse_size(image_size),
            "freeze": freeze,
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
            "augment": augment,
            "validation_share": validation_share,
            "max_miss": max_miss,
            "confidence": confidence,
            "seed": seed,
            "precision": precision,
            "memory_format": memory_format,
        },
    )
    from ltcam.data.layouts import read_dataset  # noqa: PLC0415  # after the options are known to be right
    from ltcam_runtime.folders import output_folder  # noqa: PLC0415

    work = _work_folder(out)
    if _is_helper():
        _fit(read_dataset(data, layout), settings, work, device, devices, classic=classic)
        return DONE
    _check_unfinished(work, out, resume=resume, overwrite=overwrite)
    try:
        with output_folder(out, marker=RUN_FILE, overwrite=overwrite) as folder:
            dataset = read_dataset(data, layout)
            if not resume:
                shutil.rmtree(work, ignore_errors=True)
            trained = _fit(dataset, settings, work, device, devices, classic=classic)
            if not classic:
                trained = _sharpened(trained, device)
            summary = _write(trained, out, folder)
    except BaseException:
        if not _resumable(work):
            shutil.rmtree(work, ignore_errors=True)
        raise
    shutil.rmtree(work, ignore_errors=True)
    for failure in summary["failed"]:
        say(f"not used: {failure['image']}: {failure['reason']}")
    say(f"run folder: {out} (report: {out / 'report.html'})")
    if as_json:
        print_json(summary)
    return SOME_FAILED if summary["failed"] else DONE


def _write(trained: Trained, out: Path, folder: Path) -> dict[str, Any]:
    """Write the run into `folder`, which becomes `out`."""
    from ltcam.learning import write_trained  # noqa: PLC0415  # torch is slow to import

    failed = write_trained(trained, folder, title=out.name)
    return {
        "run": str(out),
        "best_epoch": trained.run.evidence["best_epoch"],
        "history": [_without_nan(entry) for entry in trained.history],
        "failed": failed,
    }


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
    from ltcam.inspector import choose_device  # noqa: PLC0415
    from ltcam.training.train import Listener, train  # noqa: PLC0415

    kind = choose_device(device).type
    with progress("training") as steps:
        listener = Listener(
            say=say,
            reading=lambda done, total: steps(done, total) if done < total else None,
            step=lambda epoch, epochs, step, of: steps(epoch * of + step, epochs * of),
            epoch=lambda entry: say(_epoch_line(entry, settings.epochs)),
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


def _work_folder(out: Path) -> Path:
    """Where checkpoints are kept until the run is whole: hidden beside it, always under the same name."""
    target = out.resolve()
    digest = hashlib.sha256(os.fsencode(target)).hexdigest()[:8]
    return target.parent / f".{target.name[:60]}.{digest}.training"


def _resumable(work: Path) -> bool:
    return (work / "last.ckpt").is_file()


def _check_unfinished(work: Path, out: Path, *, resume: bool, overwrite: bool) -> None:
    """An epoch of work is neither thrown away unasked nor said to be there when it is not."""
    if resume and not _resumable(work):
        say(f"{out}: there is no unfinished training to go on with; starting at the first epoch")
        shutil.rmtree(work, ignore_errors=True)
    if not resume and not overwrite and _resumable(work):
        raise OutputError(
            f"{out}: an unfinished training is kept for it; go on with --resume, or start anew with --overwrite"
        )


def _without_nan(entry: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN, which stands for what was not measured."""
    return {name: value if math.isfinite(value) else None for name, value in entry.items()}


def _epoch_line(entry: dict[str, float], epochs: int) -> str:
    validation = f", validation AP {entry['val_ap']:.3f}" if entry["val_ap"] == entry["val_ap"] else ""
    return f"epoch {int(entry['epoch']) + 1}/{epochs}: loss {entry['train_loss']:.4f}{validation}"
