"""`ltcam predict RUN|FILE.onnx INPUT... --out DIR`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ltcam.cli.config import OptionsFile
from ltcam.cli.console import DONE, NOTHING_DONE, SOME_FAILED, command, print_json, progress, say
from ltcam.cli.options import AsJson, Inspecting, Masks, Overwrite
from ltcam.jobs.execution import Execution
from ltcam.training.listener import Listener

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, kw_only=True)
class _Results:
    """What is written."""

    out: Annotated[Path, typer.Option(help="folder to write the results to")]
    _config: OptionsFile = None
    save: Annotated[
        str,
        typer.Option(
            metavar="KINDS",
            help="what to write beside tables and page, separated by commas: masks, overlays, heatmaps, "
            "heatmaps-raw, crops, yolo, label-studio, cvat, labelme; or none",
        ),
    ] = "masks,overlays"
    overwrite: Overwrite = False
    as_json: AsJson = False


@dataclass(frozen=True, kw_only=True)
class _Inspecting(Inspecting):
    """How a run, or what was exported of it, looks at images."""

    threads: Annotated[int | None, typer.Option(min=1, help="threads of the network; default: all cores")] = (
        None
    )
    cascade: Annotated[
        bool,
        typer.Option(
            "--cascade", help="verdict first, maps only of images that are not OK: faster where most are"
        ),
    ] = False


@app.command()
@command
def predict(
    run: Annotated[
        Path, typer.Argument(metavar="RUN|FILE.onnx", help="run folder, or file of `ltcam export`")
    ],
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="files, folders, globs or CSV manifests")
    ],
    written: _Results,
    masks: Masks,
    inspecting: _Inspecting,
) -> int:
    """Inspect images: verdict, score, mask and regions of each.

    Writes report.html, predictions.csv, predictions.json, coco.json and the folders masks and overlays.
    """
    overrides = masks.overrides()
    from ltcam.jobs import predicting  # noqa: PLC0415  # torch is slow to import

    with progress("inspecting") as advance:
        summary = predicting.predict(
            run,
            inputs,
            written.out,
            predicting.PredictionSettings(
                predicting.kinds_to_save(written.save), masks.px_per_mm, overrides=overrides
            ),
            Execution(
                device=inspecting.device,
                batch_size=inspecting.batch_size,
                threads=inspecting.threads,
                cascade=inspecting.cascade,
                trust_changed_run=inspecting.trust_changed_run,
                overwrite=written.overwrite,
                listener=Listener(progress=advance),
            ),
        )
    for sentence in summary.sentences():
        say(sentence)
    if written.as_json:
        print_json(summary.to_json())
    if not summary.inspected:
        return NOTHING_DONE
    return SOME_FAILED if summary.failed else DONE
