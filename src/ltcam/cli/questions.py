"""`ltcam questions RUN [RUN ...] DATA --out DIR`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ltcam.cli.console import command, progress
from ltcam.cli.measured import tell
from ltcam.cli.options import Device
from ltcam_runtime.errors import SettingsError

app = typer.Typer(add_completion=False)

WIDE = 110
"""Columns of a terminal that has room for intervals."""

KEPT = "stage maps made so far are kept, the same command goes on from them"


@app.command()
@command
def questions(
    places: Annotated[
        list[Path],
        typer.Argument(metavar="RUN... DATA", help="run folders, and last the data set to measure on"),
    ],
    out: Annotated[Path, typer.Option(help="folder to write the results to")],
    maps: Annotated[
        Path | None, typer.Option(help="folder to keep stage maps in; default: none is kept in the end")
    ] = None,
    layout: Annotated[str | None, typer.Option(help="layout of DATA; default: found out")] = None,
    split: Annotated[
        str, typer.Option(help="train, val, test, all, or auto: what the run was not trained on")
    ] = "auto",
    positive_activations: Annotated[
        bool, typer.Option("--positive-activations", help="leave negative activations out")
    ] = False,
    device: Device = "auto",
    bootstrap: Annotated[int, typer.Option(min=1, help="resamples of the intervals")] = 1000,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace existing results")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="print the answers as JSON instead of tables")
    ] = False,
) -> int:
    """Answer what the paper leaves open by measurement: each choice varied alone, true masks measure.

    Several runs (folds, or another head or input size) stand side by side, with mean and spread. Writes
    questions.json, .csv, .md, gains.csv, report.html, effects.svg and effects.png.
    """
    if len(places) < 2:
        raise SettingsError("RUN... DATA: give at least one run folder, and last the data set")
    from ltcam.experiments.ablation.measure import ask_runs  # noqa: PLC0415  # torch is slow to import

    *runs, data = places
    with progress("asking") as advance:
        try:
            answered = ask_runs(
                runs,
                data,
                out,
                maps=maps,
                layout=layout,
                split=split,
                positive_activations=positive_activations,
                device=device,
                bootstrap=bootstrap,
                overwrite=overwrite,
                command=shlex.join(["ltcam", *sys.argv[1:]]),
                progress=advance,
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(KEPT) from None
    return tell(answered, out, _print_tables, as_json=as_json)


def _print_tables(found: dict[str, Any]) -> None:
    from ltcam.experiments.ablation import page  # noqa: PLC0415

    console = Console()
    wide = console.width >= WIDE
    for title, head, rows in (
        (
            "Each choice alone, against the base setting",
            page.HEAD if wide else page.NARROW,
            page.answer_rows(found),
        ),
        (
            "LTGrad-CAM over Grad-CAM, all stages",
            page.GAIN_HEAD if wide else page.GAIN_NARROW,
            page.gain_rows(found),
        ),
    ):
        table = Table(title=title, box=SIMPLE_HEAD)
        for place, column in enumerate(head):
            table.add_column(column, justify="left" if place < 2 else "right")
        for row in rows:
            table.add_row(*row[: len(head)])
        console.print(table)
