"""`ltcam distill RUN DATA --out RUN2`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

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
from ltcam.cli.unfinished import check_unfinished, checkpoints, forget
from ltcam.training.settings import TrainingSettings

app = typer.Typer(add_completion=False)

_DEFAULTS = {name: field.default for name, field in TrainingSettings.model_fields.items()}


@app.command()
@command
def distill(
    run: Annotated[Path, typer.Argument(help="run folder of `ltcam train`: the teacher")],
    data: Annotated[Path, typer.Argument(help="the data set that it was trained on")],
    out: Annotated[Path, typer.Option(help="run folder to write: the student")],
    layout: Annotated[str | None, typer.Option(help="layout of DATA; default: found out")] = None,
    rounds: Annotated[
        int, typer.Option(min=1, max=9, help="in every later round the student before is the teacher")
    ] = 1,
    image_size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="height and width the student sees; default: the teacher's"),
    ] = None,
    freeze: Annotated[int, setting(TrainingSettings, "freeze")] = _DEFAULTS["freeze"],
    epochs: Annotated[int, setting(TrainingSettings, "epochs")] = _DEFAULTS["epochs"],
    batch_size: Annotated[int, setting(TrainingSettings, "batch_size")] = _DEFAULTS["batch_size"],
    learning_rate: Annotated[float | None, setting(TrainingSettings, "learning_rate")] = None,
    weight_decay: Annotated[float, setting(TrainingSettings, "weight_decay")] = _DEFAULTS["weight_decay"],
    augment: Annotated[bool, setting(TrainingSettings, "augment", "--augment/--no-augment")] = True,
    max_miss: Annotated[float | None, setting(TrainingSettings, "max_miss")] = None,
    confidence: Annotated[float, setting(TrainingSettings, "confidence")] = _DEFAULTS["confidence"],
    seed: Annotated[int, setting(TrainingSettings, "seed")] = _DEFAULTS["seed"],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="go on with a training that was stopped")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an existing run")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> int:
    """Train a student that draws RUN's masks in one forward pass, without gradients.

    It learns from the masks that RUN makes of its own training images. Masks in DATA, where it has any, are not
    looked at.
    """
    settings = TrainingSettings(
        image_size=None if image_size is None else parse_size(image_size),
        freeze=freeze,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        augment=augment,
        max_miss=max_miss,
        confidence=confidence,
        seed=seed,
    )
    from ltcam.distilling import distill as train_student  # noqa: PLC0415  # torch is slow to import
    from ltcam.training.train import Listener  # noqa: PLC0415
    from ltcam_runtime.folders import output_folder  # noqa: PLC0415

    check_unfinished(out, resume=resume, overwrite=overwrite)
    with (
        output_folder(out, marker=RUN_FILE, overwrite=overwrite) as folder,
        checkpoints(out, resume=resume) as work,
    ):
        with progress("distilling") as steps:
            trained = train_student(
                run,
                data,
                work,
                settings,
                layout=layout,
                rounds=rounds,
                listener=Listener(
                    say=say,
                    masking=steps,
                    step=lambda epoch, of_epochs, step, of: steps(epoch * of + step, of_epochs * of),
                    epoch=lambda entry: say(epoch_line(entry, settings.epochs)),
                ),
                device=device,
                command=shlex.join(["ltcam", *sys.argv[1:]]),
            )
        summary = finish(trained, out, folder)
    forget(out)
    if as_json:
        print_json(summary)
    return SOME_FAILED if summary["failed"] else DONE
