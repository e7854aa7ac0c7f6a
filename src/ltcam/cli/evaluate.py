"""`ltcam evaluate RUN DATA --out DIR`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ltcam.cli.config import OptionsFile
from ltcam.cli.console import (
    DONE,
    SOME_FAILED,
    called,
    command,
    print_json,
    progress,
    say,
    shell_line,
)
from ltcam.cli.options import (
    AsJson,
    Inspecting,
    Masks,
    MeasuringOptions,
    Overwrite,
)
from ltcam.cli.reading import MaskReading, open_data
from ltcam.cli.tables import print_table
from ltcam.jobs.execution import Execution
from ltcam.training.listener import Listener
from ltcam_runtime.phrases import printable

if TYPE_CHECKING:
    from ltcam.evaluation.decisions import Decisions
    from ltcam.evaluation.summary import Evaluation

_LISTED = 12

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, kw_only=True)
class _Data(MaskReading):
    """What is measured on, and how."""

    data: Annotated[
        Path, typer.Argument(help="labelled data set; masks are used to measure, where there are any")
    ]
    settings: MeasuringOptions


@dataclass(frozen=True, kw_only=True)
class _Results:
    """What is written."""

    out: Annotated[Path, typer.Option(help="folder to write the results to")]
    _config: OptionsFile = None
    overwrite: Overwrite = False
    as_json: AsJson = False


@app.command()
@command
def evaluate(
    run: Annotated[Path, typer.Argument(help="run folder of `ltcam train`")],
    written: _Results,
    source: _Data,
    masks: Masks,
    inspecting: Inspecting,
) -> int:
    """Measure masks and verdicts against the truth: metrics.json, metrics.md, images.csv and report.html."""
    overrides = masks.overrides()
    from ltcam.jobs import evaluating  # noqa: PLC0415

    with progress("measuring") as advance:
        measured = evaluating.evaluate(
            run,
            open_data(source.data, source, one_class=True, run=run),
            written.out,
            source.settings.model_copy(update={"overrides": overrides}),
            Execution(
                device=inspecting.device,
                batch_size=inspecting.batch_size,
                trust_changed_run=inspecting.trust_changed_run,
                command=called(),
                overwrite=written.overwrite,
                listener=Listener(progress=advance),
            ),
        )
    if written.as_json:
        print_json(measured.metrics)
    else:
        say(f"measured: {measured.which}")
        _print_decisions(measured.evaluation.decisions, run)
        _print_table(measured.evaluation)
    for name, reason in measured.failed:
        say(f"not measured: {name}: {reason}")
    say(f"results: {written.out} (report: {written.out / 'report.html'})")
    return SOME_FAILED if measured.failed else DONE


def _print_decisions(decisions: Decisions, run: Path) -> None:
    """What the line asks first: mistakes by name, and what other thresholds would give."""
    from ltcam.reports.html import threshold  # noqa: PLC0415

    console = Console(highlight=False)
    console.print(f"{decisions.sentence}.", markup=False)
    for word, names in (("missed", decisions.missed), ("false alarm", decisions.alarms)):
        for name in names[:_LISTED]:
            console.print(printable(f"  {word}: {name}"), markup=False)
        if len(names) > _LISTED:
            console.print(
                f"  ... and {len(names) - _LISTED} more, in images.csv and metrics.json", markup=False
            )
    rows = []
    for row in decisions.rows:
        cost = [] if row.cost is None else [f"{row.cost:g}"]
        shown = f"{row.threshold:.3f}" if row.own else threshold(row.threshold)
        missed = str(row.missed) if decisions.defective else "–"
        alarms = str(row.alarms) if decisions.ok else "–"
        cells = [shown, missed, alarms, str(row.pulled_out), *cost]
        rows.append([*cells, ", ".join(decisions.marks(row))])
    columns = (
        "threshold",
        "missed",
        "false alarms",
        "judged defective",
        *(["cost"] if decisions.costs else []),
        "",
    )
    print_table("Another threshold, on these images", columns, rows)
    better = decisions.better
    wanted = threshold(better.threshold) if better else "THRESHOLD"
    line = shell_line("ltcam", "predict", run, "IMAGES", "--verdict-threshold", wanted)
    say(f"better on these images: {line}" if better else f"to set another one: {line}")


def _print_table(evaluation: Evaluation) -> None:
    from ltcam.reports.metrics_table import metrics_table  # noqa: PLC0415

    what = "Masks and verdicts" if evaluation.images.with_mask else "Verdicts"
    rows = [
        (name, *("–" if value is None else f"{value:.3f}" for value in values))
        for name, *values in metrics_table(evaluation)
        if values[0] is not None
    ]
    title = f"{what} against the truth (95 % intervals over images)"
    print_table(title, ("metric", "value", "low", "high"), rows)
