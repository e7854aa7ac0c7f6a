"""`ltcam predict RUN|FILE.onnx INPUT... --out DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ltcam.cli.console import DONE, NOTHING_DONE, SOME_FAILED, command, print_json, progress, say
from ltcam.cli.options import (
    BatchSize,
    Device,
    Fusion,
    Method,
    MinArea,
    Percentile,
    PxPerMm,
    Reading,
    Scope,
    Sharpen,
    Stages,
    Threshold,
    TrustChangedRun,
    Unsure,
    VerdictThreshold,
    min_area_px,
)
from ltcam.jobs.execution import Execution
from ltcam_runtime.settings import Overrides

app = typer.Typer(add_completion=False)


@app.command()
@command
def predict(
    run: Annotated[
        Path, typer.Argument(metavar="RUN|FILE.onnx", help="run folder, or file of `ltcam export`")
    ],
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="files, folders, globs or CSV manifests")
    ],
    out: Annotated[Path, typer.Option(help="folder to write the results to")],
    method: Method = None,
    percentile: Percentile = None,
    scope: Scope = None,
    reading: Reading = None,
    stages: Stages = None,
    fusion: Fusion = None,
    threshold: Threshold = None,
    sharpen: Sharpen = None,
    verdict_threshold: VerdictThreshold = None,
    unsure_margin: Unsure = None,
    min_area: MinArea = None,
    px_per_mm: PxPerMm = None,
    batch_size: BatchSize = 4,
    device: Device = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="threads of the network; default: all cores")
    ] = None,
    save: Annotated[
        str,
        typer.Option(
            metavar="KINDS",
            help="what to write beside tables and page, separated by commas: masks, overlays, heatmaps, "
            "heatmaps-raw, crops, yolo, label-studio, cvat",
        ),
    ] = "masks,overlays",
    cascade: Annotated[
        bool,
        typer.Option(
            "--cascade", help="verdict first, maps only of images that are not OK: faster where most are"
        ),
    ] = False,
    trust_changed_run: TrustChangedRun = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace existing results")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print a summary as JSON")] = False,
) -> int:
    """Inspect images: verdict, score, mask and regions of each.

    Writes report.html, predictions.csv, predictions.json, coco.json and the folders masks and overlays.
    """
    overrides = Overrides(
        method=method,
        percentile=percentile,
        scope=scope,
        reading=reading,
        stages=stages,
        fusion=fusion,
        threshold=threshold,
        sharpen=sharpen,
        verdict_threshold=verdict_threshold,
        unsure_margin=unsure_margin,
        min_area_px=min_area_px(min_area, px_per_mm),
    )
    from ltcam.jobs import predicting  # noqa: PLC0415  # torch is slow to import

    with progress("inspecting") as advance:
        summary = predicting.predict(
            run,
            inputs,
            out,
            overrides=overrides,
            writing=predicting.Writing(
                tuple(part.strip() for part in save.split(",") if part.strip()), px_per_mm
            ),
            overwrite=overwrite,
            execution=Execution(
                trust_changed_run=trust_changed_run,
                device=device,
                batch_size=batch_size,
                threads=threads,
                cascade=cascade,
            ),
            progress=advance,
        )
    for sentence in summary.sentences():
        say(sentence)
    if as_json:
        print_json(summary.to_json())
    if not summary.inspected:
        return NOTHING_DONE
    return SOME_FAILED if summary.failed else DONE
