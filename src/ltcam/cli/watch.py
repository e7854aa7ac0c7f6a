"""`ltcam watch RUN FOLDER --out DIR`."""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from ltcam.cli.console import DONE, SOME_FAILED, command, say
from ltcam.cli.options import Device

app = typer.Typer(add_completion=False)


@app.command()
@command
def watch(
    model: Annotated[Path, typer.Argument(metavar="RUN|FILE.onnx", help="run folder or exported file")],
    folder: Annotated[Path, typer.Argument(help="folder that the camera writes into")],
    out: Annotated[Path, typer.Option(help="folder for masks, overlays and the journal")],
    every: Annotated[float, typer.Option(min=0.05, max=3600, help="seconds between two looks")] = 0.5,
    device: Device = "auto",
) -> int:
    """Inspect complete files as they arrive, each once, also over restarts. Ctrl-C or SIGTERM ends it.

    Prints a line of JSON per image on the output stream; the same lines are kept in --out/inspections.jsonl.

    Example: ltcam watch run camera --out inspected
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    from ltcam.jobs.models import load_model  # noqa: PLC0415
    from ltcam.jobs.watch import Pace, opened_journal  # noqa: PLC0415
    from ltcam.jobs.watch import watch as watch_folder  # noqa: PLC0415  # torch is slow to import
    from ltcam.service.watching import inspect_and_write  # noqa: PLC0415

    used = load_model(model, device)
    with opened_journal(folder, out) as journal:
        inspect = inspect_and_write(used, journal)
        say(f"watching {folder}; Ctrl-C ends it")
        watched = watch_folder(folder, journal, inspect, _print_line, Pace(stop, every))
    say(f"{watched.inspected} images inspected, {len(watched.failed)} failed; results: {out}")
    return SOME_FAILED if watched.failed else DONE


def _print_line(line: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(line, allow_nan=False)}\n")
    sys.stdout.flush()
