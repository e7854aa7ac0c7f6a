"""`ltcam train DATA --out RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ltcam.cli.console import called, command
from ltcam.cli.options import AsJson, Device, Overwrite, Resume, TrainingOptions
from ltcam.cli.reading import LabelReading, open_data
from ltcam.cli.trained import told, train_listener
from ltcam.jobs.execution import Execution

app = typer.Typer(add_completion=False)


@app.command()
@command
def train(
    data: Annotated[Path, typer.Argument(help="folder of images in a known layout, or a CSV manifest")],
    out: Annotated[Path, typer.Option(help="run folder to write")],
    how: LabelReading,
    settings: TrainingOptions,
    device: Device = "auto",
    devices: Annotated[int, typer.Option(min=1, help="number of GPUs")] = 1,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> int:
    """Train a classifier on the image labels of DATA and write a run folder.

    Masks, where DATA has any, are not looked at.
    """
    from ltcam.jobs import training  # noqa: PLC0415

    with train_listener("training", settings.epochs) as listener:
        done = training.train(
            open_data(data, how, one_class=False),
            out,
            settings,
            resume=resume,
            overwrite=overwrite,
            execution=Execution(device=device, devices=devices, command=called()),
            listener=listener,
        )
    return told(done, as_json=as_json)
