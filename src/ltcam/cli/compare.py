"""`ltcam compare RUN DATA --out DIR`."""

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
from ltcam.cli.options import BatchSize, Device, ProbingBfloat16

app = typer.Typer(add_completion=False)

WIDE = 130
"""Columns of a terminal that has room for intervals and the paper's numbers."""


@app.command()
@command
def compare(
    run: Annotated[Path, typer.Argument(help="run folder of `ltcam train`")],
    data: Annotated[
        Path, typer.Argument(help="labelled data set; its defective images with a mask are measured")
    ],
    out: Annotated[Path, typer.Option(help="folder to write the results to")],
    layout: Annotated[str | None, typer.Option(help="layout of DATA; default: found out")] = None,
    split: Annotated[
        str, typer.Option(help="train, val, test, all, or auto: what the run was not trained on")
    ] = "auto",
    percentile: Annotated[
        float, typer.Option(min=0, max=100, help="truncation of the LT forms, 0 to 100")
    ] = 50,
    probing: Annotated[
        bool,
        typer.Option(
            "--probing",
            help="also Score-CAM and Ablation-CAM; slow: they ask the network once per channel of the last stage",
        ),
    ] = False,
    probing_bfloat16: ProbingBfloat16 = False,
    positive_activations: Annotated[
        bool,
        typer.Option(
            "--positive-activations",
            help="leave negative activations out of all methods but FullGrad; default: as published, used",
        ),
    ] = False,
    batch_size: BatchSize = 4,
    device: Device = "auto",
    bootstrap: Annotated[int, typer.Option(min=1, help="resamples of the intervals")] = 1000,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with a comparison that was stopped")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace existing results, and unfinished ones")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="print the comparison as JSON instead of a table")
    ] = False,
) -> int:
    """Measure a run's masks by many map methods side by side: compare.json, .csv, .md and report.html."""
    from ltcam.experiments.compare.measure import compare_run  # noqa: PLC0415  # torch is slow to import

    with progress("comparing") as advance:
        compared = compare_run(
            run,
            data,
            out,
            layout=layout,
            split=split,
            percentile=percentile,
            probing=probing,
            probing_bfloat16=probing_bfloat16,
            positive_activations=positive_activations,
            batch_size=batch_size,
            device=device,
            bootstrap=bootstrap,
            resume=resume,
            overwrite=overwrite,
            command=shlex.join(["ltcam", *sys.argv[1:]]),
            progress=advance,
        )
    return tell(compared, out, _print_table, as_json=as_json)


def _print_table(comparison: dict[str, Any]) -> None:
    from ltcam.experiments.compare.page import HEAD, NARROW, compare_rows  # noqa: PLC0415

    console = Console()
    shown = HEAD if console.width >= WIDE else NARROW
    measured = comparison["images"]["measured"]
    table = Table(
        title=f"Masks of {measured} defective images ({comparison['split']}); LT: delta "
        f"{comparison['settings']['percentile']:g}",
        box=SIMPLE_HEAD,
    )
    for place, column in enumerate(shown):
        table.add_column(column, justify="left" if place < 2 else "right")
    for row in compare_rows(comparison):
        table.add_row(*(row[HEAD.index(column)] for column in shown))
    console.print(table)
