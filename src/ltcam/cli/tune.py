"""`ltcam tune RUN DATA --out DIR`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ltcam.cli.console import command, progress
from ltcam.cli.measured import tell
from ltcam.cli.options import Device
from ltcam_runtime.errors import SettingsError

app = typer.Typer(add_completion=False)

KEPT = "images measured so far are kept, go on with --resume"


@app.command()
@command
def tune(
    run: Annotated[Path, typer.Argument(help="run folder of `ltcam train`")],
    data: Annotated[Path, typer.Argument(help="the data set it was trained on, with masks to measure with")],
    out: Annotated[Path, typer.Option(help="folder to write the results to")],
    layout: Annotated[str | None, typer.Option(help="layout of DATA; default: found out")] = None,
    deltas: Annotated[
        str | None, typer.Option(help="percentiles, rising; default: 0,10,20,...,90,95,99")
    ] = None,
    scope: Annotated[
        Literal["channel", "stage"], typer.Option(help="whose gradients the percentile is of")
    ] = "channel",
    reading: Annotated[
        Literal["gradient", "mask"],
        typer.Option(help="what truncation acts on: gradient (eq. 9) or mask (eq. 11)"),
    ] = "gradient",
    positive_activations: Annotated[
        bool,
        typer.Option("--positive-activations", help="leave negative activations out of all but LTFullGrad"),
    ] = False,
    fullgrad: Annotated[
        bool, typer.Option("--fullgrad/--no-fullgrad", help="LTFullGrad too: the slowest of the three")
    ] = True,
    train_images: Annotated[
        int | None, typer.Option(min=1, help="masks of the training side to measure, at most; default: all")
    ] = None,
    rule_images: Annotated[
        int, typer.Option(min=1, help="defective training images, at most, that the label-free rules look at")
    ] = 16,
    device: Device = "auto",
    bootstrap: Annotated[int, typer.Option(min=1, help="resamples of the intervals")] = 1000,
    resume: Annotated[bool, typer.Option("--resume", help="go on with a tuning that was stopped")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace existing results")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="print the tuning as JSON instead of a table")
    ] = False,
) -> int:
    """Choose delta, the percentile of the truncation: by true masks, as the paper does, and by rules without any.

    Writes the curves of IoU against delta on the training and the test side: tune.json, .csv, .md, report.html,
    curves.svg and curves.png.
    """
    chosen = None if deltas is None else _numbers(deltas)
    from ltcam.experiments.tune.measure import tune_run  # noqa: PLC0415
    from ltcam.experiments.tune.percentile_maps import DELTAS, DeltaMaps  # noqa: PLC0415  # torch is slow to import

    maps = DeltaMaps(chosen or DELTAS, scope, reading, positive_activations, fullgrad)
    with progress("tuning") as advance:
        try:
            tuned = tune_run(
                run,
                data,
                out,
                layout=layout,
                maps=maps,
                train_images=train_images,
                rule_images=rule_images,
                device=device,
                bootstrap=bootstrap,
                resume=resume,
                overwrite=overwrite,
                command=shlex.join(["ltcam", *sys.argv[1:]]),
                progress=advance,
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(KEPT) from None
    return tell(tuned, out, _print_table, as_json=as_json)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SettingsError(
            f"--deltas {text!r}: give rising whole numbers from 0 to 100, such as 0,50,90"
        ) from None


def _print_table(tuning: dict[str, Any]) -> None:
    from ltcam.experiments.tune.page import HEAD, choice_rows  # noqa: PLC0415

    sides = tuning["sides"]
    table = Table(
        title=f"Delta: chosen on {sides['train']['measured']}, measured on {sides['test']['measured']} images",
        box=SIMPLE_HEAD,
    )
    for place, column in enumerate(HEAD):
        table.add_column(column, justify="left" if place < 3 else "right")
    for row in choice_rows(tuning):
        table.add_row(*row)
    Console().print(table)
