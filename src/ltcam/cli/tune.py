"""`ltcam tune RUN DATA --out DIR`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ltcam.cli.console import command, progress, setting
from ltcam.cli.measured import tell
from ltcam.cli.options import (
    PositiveActivations,
    Results,
    Resumable,
)
from ltcam.cli.reading import MaskReading, open_data
from ltcam.cli.tables import print_table
from ltcam_runtime.errors import SettingsError
from ltcam_runtime.settings import Overrides, Scope, TruncationReading

if TYPE_CHECKING:
    from ltcam.experiments.tune.tuning import Tuning

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, kw_only=True)
class _Data(MaskReading):
    """What is measured on."""

    data: Annotated[Path, typer.Argument(help="the data set it was trained on, with masks to measure with")]


@dataclass(frozen=True, kw_only=True)
class _Maps:
    """What is tried, and on how much."""

    percentiles: Annotated[
        str | None, typer.Option(help="rising whole numbers from 0 to 100; default: 0,10,20,...,90,95,99")
    ] = None
    scope: Annotated[Scope, setting(Overrides, "scope")] = "channel"
    reading: Annotated[TruncationReading, setting(Overrides, "reading")] = "gradient"
    positive_activations: PositiveActivations = False
    fullgrad: Annotated[
        bool, typer.Option("--fullgrad/--no-fullgrad", help="LTFullGrad too: the slowest of the three")
    ] = True
    train_images: Annotated[
        int | None, typer.Option(min=1, help="masks of the training side to measure, at most; default: all")
    ] = None
    rule_images: Annotated[
        int, typer.Option(min=1, help="defective training images, at most, that the label-free rules look at")
    ] = 16


@app.command()
@command
def tune(
    run: Annotated[Path, typer.Argument(help="run folder of `ltcam train`")],
    written: Results,
    source: _Data,
    tried: _Maps,
    machine: Resumable,
) -> int:
    """Choose the truncation's percentile (the paper's delta): by true masks, as there, and by rules without any.

    Writes the curves of IoU against it on the training and the test side: tune.json, .csv, .md, report.html,
    curves.svg and curves.png.
    """
    chosen = None if tried.percentiles is None else _numbers(tried.percentiles)
    from ltcam.experiments.opened import Source  # noqa: PLC0415  # torch is slow to import
    from ltcam.experiments.tune.measure import TuneSettings, tune_run  # noqa: PLC0415
    from ltcam.experiments.tune.percentile_maps import PERCENTILES, PercentileMaps  # noqa: PLC0415
    from ltcam.training.listener import Listener  # noqa: PLC0415

    maps = PercentileMaps(
        chosen or PERCENTILES, tried.scope, tried.reading, tried.positive_activations, tried.fullgrad
    )
    settings = TuneSettings(maps, tried.train_images, tried.rule_images, written.bootstrap)
    data = open_data(source.data, source, one_class=True, run=run)
    opened = Source.open(run, data, device=machine.device)
    with progress("tuning") as advance:
        execution = written.execution(Listener(progress=advance), resume=machine.resume)
        found = tune_run(opened, written.out, settings, execution)
    return tell(found, written, _print_table)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SettingsError(
            f"`percentiles` {text!r}: give rising whole numbers from 0 to 100, such as 0,50,90"
        ) from None


def _print_table(tuning: Tuning) -> None:
    from ltcam.experiments.tune.page import HEAD, choice_rows  # noqa: PLC0415

    measured = {side: found.measured for side, found in tuning.sides.items()}
    title = f"Percentile: chosen on {measured['train']}, measured on {measured['test']} images"
    print_table(title, HEAD, choice_rows(tuning), words=3)
