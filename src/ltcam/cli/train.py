"""`ltcam train DATA --out RUN`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import typer

from ltcam.cli.console import DONE, called, command, print_json
from ltcam.cli.options import Resumable, RunFolder, TrainingOptions
from ltcam.cli.reading import LabelledData, open_data
from ltcam.cli.trained import print_plan, told, train_listener
from ltcam.jobs.execution import Execution
from ltcam.training.logs import LogName

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, kw_only=True)
class _Logged(RunFolder):
    """Where a run goes, and its logs."""

    log: Annotated[
        LogName | None,
        typer.Option(help="keep the numbers of every epoch for this program, in the folder OUT-logs"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class _Machine(Resumable):
    """Where a run is trained, and how much of it."""

    devices: Annotated[int, typer.Option(min=1, help="number of GPUs")] = 1
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done, and train nothing")] = (
        False
    )


@app.command()
@command
def train(
    written: _Logged,
    source: LabelledData,
    settings: TrainingOptions,
    machine: _Machine,
) -> int:
    """Train a classifier on the image labels of DATA and write a run folder.

    Masks, where DATA has any, are not looked at.
    """
    from ltcam.jobs import training  # noqa: PLC0415

    execution = Execution(
        device=machine.device,
        devices=machine.devices,
        command=called(),
        log=written.log,
        resume=machine.resume,
        overwrite=written.overwrite,
    )
    opened = open_data(source.data, source, one_class=False)
    if machine.dry_run:
        plan = training.plan(opened, written.out, settings, execution)
        print_plan(plan)
        if written.as_json:
            print_json(plan.to_json())
        return DONE
    with train_listener("training", settings.epochs) as listener:
        done = training.train(opened, written.out, settings, replace(execution, listener=listener))
    return told(done, source.data, as_json=written.as_json)
