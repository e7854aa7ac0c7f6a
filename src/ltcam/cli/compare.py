"""`ltcam compare RUN DATA --out DIR`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ltcam.cli.console import command, listed, progress
from ltcam.cli.measured import tell
from ltcam.cli.options import (
    BatchSize,
    PositiveActivations,
    ProbingBfloat16,
    Results,
    Resumable,
    Split,
)
from ltcam.cli.reading import MaskReading, open_data
from ltcam.cli.tables import print_table
from ltcam_runtime.errors import SettingsError

if TYPE_CHECKING:
    from ltcam.experiments.compare.comparison import Comparison

app = typer.Typer(add_completion=False)

WIDE = 130
"""Columns of a terminal that has room for intervals and the paper's numbers."""


@dataclass(frozen=True, kw_only=True)
class _Data(MaskReading):
    """What is measured on."""

    data: Annotated[
        Path, typer.Argument(help="labelled data set; its defective images with a mask are measured")
    ]
    split: Split = "auto"


@dataclass(frozen=True, kw_only=True)
class _Maps:
    """What is compared."""

    methods: Annotated[
        str | None,
        typer.Option(
            help="map methods, separated by commas: grad-cam,lift-cam; own ones as MODULE:NAME; default: every "
            "gradient method, and FullGrad"
        ),
    ] = None
    percentile: Annotated[
        float, typer.Option(min=0, max=100, help="truncation of the LT forms, 0 to 100")
    ] = 50
    probing: Annotated[
        bool,
        typer.Option(
            "--probing",
            help="also Score-CAM and Ablation-CAM; slow: they ask the network once per channel of the last stage",
        ),
    ] = False
    probing_bfloat16: ProbingBfloat16 = False
    positive_activations: PositiveActivations = False
    batch_size: BatchSize = 4


@app.command()
@command
def compare(
    run: Annotated[Path, typer.Argument(help="run folder of `ltcam train`")],
    written: Results,
    source: _Data,
    compared: _Maps,
    machine: Resumable,
) -> int:
    """Measure a run's masks by many map methods side by side: compare.json, .csv, .md and report.html."""
    from ltcam.experiments.compare.contenders import ContenderSettings  # noqa: PLC0415  # torch is slow to import
    from ltcam.experiments.compare.measure import CompareSettings, compare_run  # noqa: PLC0415
    from ltcam.experiments.opened import Source  # noqa: PLC0415
    from ltcam.training.listener import Listener  # noqa: PLC0415

    maps = ContenderSettings(
        named_methods(compared.methods),
        compared.percentile,
        compared.probing,
        compared.probing_bfloat16,
        compared.positive_activations,
    )
    settings = CompareSettings(maps, source.split, written.bootstrap)
    data = open_data(source.data, source, one_class=True, run=run)
    opened = Source.open(run, data, device=machine.device)
    with progress("comparing") as advance:
        execution = written.execution(Listener(progress=advance), resume=machine.resume)
        found = compare_run(opened, written.out, settings, replace(execution, batch_size=compared.batch_size))
    return tell(found, written, _print_table)


def _print_table(comparison: Comparison) -> None:
    from ltcam.experiments.compare.page import HEAD, NARROW, compare_rows  # noqa: PLC0415

    shown = HEAD if Console().width >= WIDE else NARROW
    measured, percentile = comparison.images.measured, comparison.settings.percentile
    print_table(
        f"Masks of {measured} defective images ({comparison.split}); LT: percentile {percentile:g}",
        shown,
        [[row[HEAD.index(column)] for column in shown] for row in compare_rows(comparison)],
        words=2,
    )


def named_methods(text: str | None) -> tuple[str, ...] | None:
    """Names of methods, own ones imported and registered; None for none given.

    Raises:
        SettingsError: a module that cannot be imported, or a name in it that is no method.
    """
    if text is None:
        return None
    from ltcam.cam import Method, list_methods, register_method  # noqa: PLC0415  # torch is slow to import

    found = []
    for name in listed(text):
        module, _, attribute = name.partition(":")
        if not attribute:
            found.append(name)
            continue
        if not all(part.isidentifier() for part in (*module.split("."), attribute)):
            raise SettingsError(
                f"`methods` {name}: give the name of a method, or MODULE:NAME of one of your own"
            )
        try:
            method = getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise SettingsError(f"`methods` {name}: cannot be imported ({error})") from None
        if not isinstance(method, Method):
            raise SettingsError(f"`methods` {name}: is no method; give a GradientMethod, say")
        if method not in list_methods():
            register_method(method)
        found.append(method.name)
    return tuple(found)
