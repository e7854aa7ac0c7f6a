"""`ltcam serve RUN|FILE.onnx`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ltcam.cli.console import DONE, command, say
from ltcam.cli.options import Device

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a service is reached, and where it keeps its history."""

    state: Annotated[Path, typer.Option(help="folder for history and pictures")] = Path("ltcam-service")
    host: Annotated[
        str, typer.Option(help="address to listen at; others than this machine need LTCAM_TOKEN")
    ] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8000
    allow_host: Annotated[
        list[str] | None, typer.Option(help="name under which others reach it (Host header)")
    ] = None
    database: Annotated[
        str,
        typer.Option(help="URL of the history, such as postgresql+psycopg://...; default: a file in --state"),
    ] = ""


@dataclass(frozen=True, kw_only=True)
class _Batches:
    """How many images wait for each other."""

    batch_size: Annotated[
        int, typer.Option(min=1, max=256, help="most images in one pass of the network")
    ] = 16
    gather: Annotated[float, typer.Option(min=0, max=1000, help="milliseconds to wait for others")] = 5.0
    waiting: Annotated[int, typer.Option(min=1, help="images in line; more are answered 503")] = 64


@dataclass(frozen=True, kw_only=True)
class _Pictures:
    """How long pictures are kept, who is told of findings, and what the studio may show."""

    keep_days: Annotated[
        float | None, typer.Option(min=0, help="remove pictures older than this; records stay")
    ] = None
    sink: Annotated[
        list[str] | None,
        typer.Option(help="also send findings to http(s)://..., mqtt://HOST/TOPIC or csv:FILE"),
    ] = None
    data_root: Annotated[
        Path | None, typer.Option(help="folder whose sub-folders the studio may train on")
    ] = None
    examples: Annotated[
        Path | None, typer.Option(help="data set of which a few images are inspected if the history is empty")
    ] = None


@app.command()
@command
def serve(
    model: Annotated[Path, typer.Argument(metavar="RUN|FILE.onnx", help="run folder or exported file")],
    place: _Place,
    batches: _Batches,
    pictures: _Pictures,
    device: Device = "auto",
) -> int:
    """Serve a run: inspections over HTTP, their history, and the studio. Ctrl-C ends it.

    Environment: LTCAM_TOKEN (asked of every request), LTCAM_WEBHOOK_SECRET (signs webhooks).

    Example: ltcam serve run --state line1
    """
    from ltcam.jobs.models import load_model  # noqa: PLC0415
    from ltcam.service import serving  # noqa: PLC0415
    from ltcam.service.batching import Budget  # noqa: PLC0415  # an extra, and slow to import

    settings = serving.ServeSettings(
        model=model,
        state=place.state,
        host=place.host,
        port=place.port,
        token=os.environ.get("LTCAM_TOKEN", ""),
        allow_hosts=frozenset(name.lower() for name in place.allow_host or ()),
        database=place.database,
        budget=Budget(batches.batch_size, batches.gather / 1000, batches.waiting),
        keep_days=pictures.keep_days,
        sinks=tuple(pictures.sink or ()),
        data_root=pictures.data_root,
        examples=pictures.examples,
        webhook_secret=os.environ.get("LTCAM_WEBHOOK_SECRET", ""),
    )
    serving.serve(
        settings, lambda path: load_model(path, device), lambda address: say(f"listening at {address}")
    )
    return DONE
