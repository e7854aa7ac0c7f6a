"""`ltcam quick DATA --out RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ltcam.cli.console import called, command, parse_size, setting
from ltcam.cli.trained import told, train_listener
from ltcam.jobs.execution import Execution
from ltcam.training.settings import TrainingSettings

app = typer.Typer(add_completion=False)


@app.command()
@command
def quick(
    data: Annotated[Path, typer.Argument(help="folder of images in a known layout, or a CSV manifest")],
    out: Annotated[Path, typer.Option(help="run folder to write")],
    layout: Annotated[str | None, typer.Option(help="layout of DATA; default: found out")] = None,
    backbone: Annotated[str, setting(TrainingSettings, "backbone")] = TrainingSettings().backbone,
    weights: Annotated[str | None, setting(TrainingSettings, "weights")] = None,
    image_size: Annotated[str | None, setting(TrainingSettings, "image_size", metavar="HxW")] = None,
    validation_share: Annotated[
        float, setting(TrainingSettings, "validation_share")
    ] = TrainingSettings().validation_share,
    max_miss: Annotated[float | None, setting(TrainingSettings, "max_miss")] = None,
    seed: Annotated[int, setting(TrainingSettings, "seed")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an existing run")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> int:
    """First masks within a minute: a run from the image labels of DATA without training a network.

    Seed maps of the backbone's own features tell defects from OK surface; what suits each kind is chosen by image
    labels. The run is inspected like any other; `ltcam train` makes better ones and takes longer.
    """
    settings = TrainingSettings(
        backbone=backbone,
        weights=weights,
        image_size=None if image_size is None else parse_size(image_size),
        validation_share=validation_share,
        max_miss=max_miss,
        seed=seed,
    )
    from ltcam.data.opened import OpenData  # noqa: PLC0415  # after the options are known to be right
    from ltcam.jobs import training  # noqa: PLC0415

    with train_listener("reading and choosing", 1) as listener:
        done = training.quick(
            OpenData.open(data, layout, one_class=False),
            out,
            settings,
            overwrite=overwrite,
            execution=Execution(command=called()),
            listener=listener,
        )
    return told(done, as_json=as_json)
