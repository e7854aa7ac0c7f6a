"""`ltcam questions RUN [RUN ...] DATA --out DIR`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ltcam.cli.console import command, progress
from ltcam.cli.measured import tell
from ltcam.cli.options import Device, PositiveActivations, Results, Split
from ltcam.cli.reading import MaskReading, open_data
from ltcam.cli.tables import print_table
from ltcam_runtime.errors import SettingsError

if TYPE_CHECKING:
    from ltcam.experiments.ablation.answers import Answers

app = typer.Typer(add_completion=False)

WIDE = 110
"""Columns of a terminal that has room for intervals."""

KEPT = "stage maps made so far are kept, the same command goes on from them"


@dataclass(frozen=True, kw_only=True)
class _Maps:
    """What is asked, and where stage maps are kept."""

    maps: Annotated[
        Path | None, typer.Option(help="folder to keep stage maps in; default: none is kept in the end")
    ] = None
    split: Split = "auto"
    positive_activations: PositiveActivations = False


@app.command()
@command
def questions(
    places: Annotated[
        list[Path],
        typer.Argument(metavar="RUN... DATA", help="run folders, and last the data set to measure on"),
    ],
    written: Results,
    how: MaskReading,
    asked: _Maps,
    device: Device = "auto",
) -> int:
    """Answer what the paper leaves open by measurement: each choice varied alone, true masks measure.

    Several runs (folds, or another head or input size) stand side by side, with mean and spread. Writes
    questions.json, .csv, .md, gains.csv, report.html, effects.svg and effects.png.
    """
    if len(places) < 2:
        raise SettingsError("RUN... DATA: give at least one run folder, and last the data set")
    from ltcam.experiments.ablation.measure import AblationSettings, ablate_runs  # noqa: PLC0415  # torch is slow
    from ltcam.experiments.opened import Source  # noqa: PLC0415
    from ltcam.training.listener import Listener  # noqa: PLC0415

    *runs, root = places
    data = open_data(root, how, one_class=True, run=runs[0])
    sources = [Source.open(run, data, device=device) for run in runs]
    settings = AblationSettings(asked.split, asked.positive_activations, written.bootstrap)
    with progress("asking") as advance:
        try:
            execution = written.execution(Listener(progress=advance))
            answered = ablate_runs(sources, written.out, settings, execution, maps=asked.maps)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(KEPT) from None
    return tell(answered, written, _print_tables)


def _print_tables(found: Answers) -> None:
    from ltcam.experiments.ablation import page  # noqa: PLC0415

    wide = Console().width >= WIDE
    head, gain_head = (page.HEAD, page.GAIN_HEAD) if wide else (page.NARROW, page.GAIN_NARROW)
    for title, shown, rows in (
        ("Each choice alone, against the base setting", head, page.answer_rows(found)),
        ("LTGrad-CAM over Grad-CAM, all stages", gain_head, page.gain_rows(found)),
    ):
        print_table(title, shown, [row[: len(shown)] for row in rows], words=2)
