"""`ltcam train DATA --out RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ltcam.cli.console import called, command, parse_size, setting
from ltcam.cli.reading import GroupBy, OkLabels, open_data
from ltcam.cli.reading import reading as how_to_read
from ltcam.cli.trained import told, train_listener
from ltcam.jobs.execution import Execution
from ltcam.models.names import Head
from ltcam.training.settings import MemoryFormat, Precision, TrainingSettings

app = typer.Typer(add_completion=False)

_DEFAULTS = {name: field.default for name, field in TrainingSettings.model_fields.items()}


@app.command()
@command
def train(
    data: Annotated[Path, typer.Argument(help="folder of images in a known layout, or a CSV manifest")],
    out: Annotated[Path, typer.Option(help="run folder to write")],
    layout: Annotated[str | None, typer.Option(help="layout of DATA; default: found out")] = None,
    ok: OkLabels = None,
    group_by: GroupBy = None,
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
    classic: Annotated[bool, setting(TrainingSettings, "classic", "--classic")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="number of GPUs")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="continue a training that was stopped")] = False,
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
        classic=classic,
    )
    from ltcam.jobs import training  # noqa: PLC0415

    with train_listener("training", settings.epochs) as listener:
        done = training.train(
            open_data(data, how_to_read(layout, ok, group_by), one_class=False),
            out,
            settings,
            resume=resume,
            overwrite=overwrite,
            execution=Execution(device=device, devices=devices, command=called()),
            listener=listener,
        )
    return told(done, as_json=as_json)
