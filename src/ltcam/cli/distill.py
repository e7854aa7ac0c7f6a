"""`ltcam distill RUN DATA --out RUN2`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ltcam.cli.config import Config
from ltcam.cli.console import called, command
from ltcam.cli.options import AsJson, Device, Overwrite, Resume, StudentOptions, TrustChangedRun
from ltcam.cli.reading import LabelReading, open_data
from ltcam.cli.trained import told, train_listener
from ltcam.jobs.execution import Execution

app = typer.Typer(add_completion=False)


@app.command()
@command
def distill(
    run: Annotated[Path, typer.Argument(help="run folder of `ltcam train`: the teacher")],
    data: Annotated[Path, typer.Argument(help="the data set that it was trained on")],
    out: Annotated[Path, typer.Option(help="run folder to write: the student")],
    how: LabelReading,
    settings: StudentOptions,
    _config: Config = None,
    device: Device = "auto",
    resume: Resume = False,
    trust_changed_run: TrustChangedRun = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> int:
    """Train a student that draws RUN's masks in one forward pass, without gradients.

    It learns from the masks that RUN makes of its own training images. Masks in DATA, where it has any, are not
    looked at.
    """
    from ltcam.jobs import distilling  # noqa: PLC0415

    with train_listener("distilling", settings.epochs) as listener:
        done = distilling.distill(
            run,
            open_data(data, how, one_class=False, run=run),
            out,
            settings,
            resume=resume,
            overwrite=overwrite,
            execution=Execution(trust_changed_run=trust_changed_run, device=device, command=called()),
            listener=listener,
        )
    return told(done, as_json=as_json)
