"""`ltcam predict RUN|FILE.onnx INPUT... --out DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ltcam.cli.config import OptionsFile
from ltcam.cli.console import DONE, NOTHING_DONE, SOME_FAILED, command, print_json, progress, say
from ltcam.cli.options import (
    AsJson,
    BatchSize,
    Device,
    MaskOptions,
    MinArea,
    Overwrite,
    PxPerMm,
    TrustChangedRun,
    min_area_px,
)
from ltcam.jobs.execution import Execution
from ltcam_runtime.settings import changed

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
    overrides: MaskOptions,
    _config: OptionsFile = None,
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
            "heatmaps-raw, crops, yolo, label-studio, cvat, labelme; or none",
        ),
    ] = "masks,overlays",
    cascade: Annotated[
        bool,
        typer.Option(
            "--cascade", help="verdict first, maps only of images that are not OK: faster where most are"
        ),
    ] = False,
    trust_changed_run: TrustChangedRun = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> int:
    """Inspect images: verdict, score, mask and regions of each.

    Writes report.html, predictions.csv, predictions.json, coco.json and the folders masks and overlays.
    """
    overrides = changed(overrides, {"min_area_px": min_area_px(min_area, px_per_mm)})
    from ltcam.jobs import predicting  # noqa: PLC0415  # torch is slow to import

    with progress("inspecting") as advance:
        summary = predicting.predict(
            run,
            inputs,
            out,
            overrides=overrides,
            writing=predicting.Writing(predicting.kinds_to_save(save), px_per_mm),
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
