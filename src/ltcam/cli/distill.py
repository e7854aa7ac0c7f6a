"""`ltcam distill RUN DATA --out RUN2`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ltcam.cli.console import called, command
from ltcam.cli.options import (
    Resumable,
    RunFolder,
    StudentOptions,
    TrustChangedRun,
)
from ltcam.cli.reading import LabelReading, open_data
from ltcam.cli.trained import told, train_listener
from ltcam.jobs.execution import Execution

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, kw_only=True)
class _Data(LabelReading):
    """What the teacher was trained on."""

    data: Annotated[Path, typer.Argument(help="the data set that it was trained on")]


@dataclass(frozen=True, kw_only=True)
class _Student(RunFolder):
    """Where the student goes."""

    out: Annotated[Path, typer.Option(help="run folder to write: the student")]


@dataclass(frozen=True, kw_only=True)
class _Machine(Resumable):
    """Where a student is trained."""

    trust_changed_run: TrustChangedRun = False


@app.command()
@command
def distill(
    run: Annotated[Path, typer.Argument(help="run folder of `ltcam train`: the teacher")],
    written: _Student,
    source: _Data,
    settings: StudentOptions,
    machine: _Machine,
) -> int:
    """Train a student that draws RUN's masks in one forward pass, without gradients.

    It learns from the masks that RUN makes of its own training images. Masks in DATA, where it has any, are not
    looked at.
    """
    from ltcam.jobs import distilling  # noqa: PLC0415

    with train_listener("distilling", settings.epochs) as listener:
        done = distilling.distill(
            run,
            open_data(source.data, source, one_class=False, run=run),
            written.out,
            settings,
            Execution(
                device=machine.device,
                trust_changed_run=machine.trust_changed_run,
                command=called(),
                resume=machine.resume,
                overwrite=written.overwrite,
                listener=listener,
            ),
        )
    return told(done, source.data, as_json=written.as_json)
