"""`ltcam distill RUN DATA --out RUN2`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ltcam.cli.console import called, command, parse_size, setting
from ltcam.cli.options import TrustChangedRun
from ltcam.cli.reading import GroupBy, OkLabels, open_data
from ltcam.cli.reading import reading as how_to_read
from ltcam.cli.trained import told, train_listener
from ltcam.jobs.execution import Execution
from ltcam.training.settings import StudentSettings

app = typer.Typer(add_completion=False)

_DEFAULTS = {name: field.default for name, field in StudentSettings.model_fields.items()}


@app.command()
@command
def distill(
    run: Annotated[Path, typer.Argument(help="run folder of `ltcam train`: the teacher")],
    data: Annotated[Path, typer.Argument(help="the data set that it was trained on")],
    out: Annotated[Path, typer.Option(help="run folder to write: the student")],
    layout: Annotated[str | None, typer.Option(help="layout of DATA; default: found out")] = None,
    ok: OkLabels = None,
    group_by: GroupBy = None,
    rounds: Annotated[int, setting(StudentSettings, "rounds")] = _DEFAULTS["rounds"],
    image_size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="height and width the student sees; default: the teacher's"),
    ] = None,
    freeze: Annotated[int, setting(StudentSettings, "freeze")] = _DEFAULTS["freeze"],
    epochs: Annotated[int, setting(StudentSettings, "epochs")] = _DEFAULTS["epochs"],
    batch_size: Annotated[int, setting(StudentSettings, "batch_size")] = _DEFAULTS["batch_size"],
    learning_rate: Annotated[float | None, setting(StudentSettings, "learning_rate")] = None,
    weight_decay: Annotated[float, setting(StudentSettings, "weight_decay")] = _DEFAULTS["weight_decay"],
    augment: Annotated[bool, setting(StudentSettings, "augment", "--augment/--no-augment")] = True,
    max_miss: Annotated[float | None, setting(StudentSettings, "max_miss")] = None,
    confidence: Annotated[float, setting(StudentSettings, "confidence")] = _DEFAULTS["confidence"],
    seed: Annotated[int, setting(StudentSettings, "seed")] = _DEFAULTS["seed"],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="continue a training that was stopped")] = False,
    trust_changed_run: TrustChangedRun = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an existing run")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> int:
    """Train a student that draws RUN's masks in one forward pass, without gradients.

    It learns from the masks that RUN makes of its own training images. Masks in DATA, where it has any, are not
    looked at.
    """
    settings = StudentSettings(
        rounds=rounds,
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
    from ltcam.jobs import distilling  # noqa: PLC0415

    with train_listener("distilling", settings.epochs) as listener:
        done = distilling.distill(
            run,
            open_data(data, how_to_read(layout, ok, group_by), one_class=False),
            out,
            settings,
            resume=resume,
            overwrite=overwrite,
            execution=Execution(trust_changed_run=trust_changed_run, device=device, command=called()),
            listener=listener,
        )
    return told(done, as_json=as_json)
