"""`ltcam quick DATA --out RUN`."""

from __future__ import annotations

from typing import Annotated

import typer

from ltcam.cli.console import called, command
from ltcam.cli.options import RunFolder, training_group
from ltcam.cli.reading import LabelledData, open_data
from ltcam.cli.trained import told, train_listener
from ltcam.jobs.execution import Execution
from ltcam.training.settings import TrainingSettings

app = typer.Typer(add_completion=False)


@app.command()
@command
def quick(
    written: RunFolder,
    source: LabelledData,
    settings: Annotated[
        TrainingSettings,
        training_group("backbone", "weights", "image_size", "validation_share", "max_miss", "seed"),
    ],
) -> int:
    """First masks within a minute: a run from the image labels of DATA without training a network.

    Seed maps of the backbone's own features tell defects from OK surface; what suits each kind is chosen by image
    labels. The run is inspected like any other; `ltcam train` makes better ones and takes longer.
    """
    from ltcam.jobs import training  # noqa: PLC0415  # after the options are known to be right

    with train_listener("reading and choosing", 1) as listener:
        done = training.quick(
            open_data(source.data, source, one_class=False),
            written.out,
            settings,
            Execution(command=called(), overwrite=written.overwrite, listener=listener),
        )
    return told(done, source.data, as_json=written.as_json)
