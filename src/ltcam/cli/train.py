"""`ltcam train DATA --out RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ltcam.cli.config import Config
from ltcam.cli.console import DONE, called, command, print_json
from ltcam.cli.options import AsJson, Device, Overwrite, Resume, TrainingOptions
from ltcam.cli.reading import LabelReading, open_data
from ltcam.cli.trained import print_plan, told, train_listener
from ltcam.jobs.execution import Execution
from ltcam.training.logs import LogName

app = typer.Typer(add_completion=False)


@app.command()
@command
def train(
    data: Annotated[Path, typer.Argument(help="folder of images in a known layout, or a CSV manifest")],
    out: Annotated[Path, typer.Option(help="run folder to write")],
    how: LabelReading,
    settings: TrainingOptions,
    _config: Config = None,
    device: Device = "auto",
    devices: Annotated[int, typer.Option(min=1, help="number of GPUs")] = 1,
    log: Annotated[
        LogName | None,
        typer.Option(help="keep the numbers of every epoch for this program, in the folder OUT-logs"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would be done, and train nothing")
    ] = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> int:
    """Train a classifier on the image labels of DATA and write a run folder.

    Masks, where DATA has any, are not looked at.
    """
    from ltcam.jobs import training  # noqa: PLC0415

    execution = Execution(device=device, devices=devices, command=called(), log=log)
    opened = open_data(data, how, one_class=False)
    if dry_run:
        plan = training.plan(opened, out, settings, resume=resume, execution=execution)
        print_plan(plan)
        if as_json:
            print_json(plan.to_json())
        return DONE
    with train_listener("training", settings.epochs) as listener:
        done = training.train(
            opened,
            out,
            settings,
            resume=resume,
            overwrite=overwrite,
            execution=execution,
            listener=listener,
        )
    return told(done, as_json=as_json)
