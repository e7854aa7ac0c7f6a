"""`ltcam predict RUN INPUT... --out DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ltcam.cli.console import DONE, NOTHING_DONE, SOME_FAILED, command, print_json, progress, say
from ltcam_runtime.errors import SettingsError

app = typer.Typer(add_completion=False)


@app.command()
@command
def predict(
    run: Annotated[Path, typer.Argument(help="run folder of `ltcam train`")],
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="files, folders, globs or CSV manifests")
    ],
    out: Annotated[Path, typer.Option(help="folder to write the results to")],
    method: Annotated[str | None, typer.Option(help="map method; default: the run's")] = None,
    percentile: Annotated[str | None, typer.Option(help="truncation, 0 to 100, or none")] = None,
    stages: Annotated[
        str | None, typer.Option(help="stages, by number (1 is the shallowest) or name: 2,3,4")
    ] = None,
    fusion: Annotated[str | None, typer.Option(help="sum, mean, max or product")] = None,
    threshold: Annotated[
        str | None, typer.Option(help="of the mask: otsu, or a share of the heatmap's range, 0 to 1")
    ] = None,
    verdict_threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="score from which an image is a defect")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=1024, help="images per pass of the network")] = 4,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="threads of the network; default: all cores")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace existing results")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print a summary as JSON")] = False,
) -> int:
    """Inspect images: verdict, score, mask, heatmap, overlay and regions of each.

    Writes predictions.csv, predictions.json, coco.json and the folders masks, heatmaps and overlays.
    """
    cam = overrides(method, percentile, stages, fusion)
    mask = mask_overrides(threshold)
    from ltcam.predicting import predict_files  # noqa: PLC0415  # torch is slow to import

    with progress("inspecting") as advance:
        summary = predict_files(
            run,
            inputs,
            out,
            cam=cam,
            mask=mask,
            verdict_threshold=verdict_threshold,
            batch_size=batch_size,
            device=device,
            threads=threads,
            overwrite=overwrite,
            progress=advance,
        )
    for failure in summary.failed[:20]:
        say(f"failed: {failure[0]}: {failure[1]}")
    if len(summary.failed) > 20:
        say(f"... and {len(summary.failed) - 20} more; all are listed in predictions.csv")
    verdicts = ", ".join(f"{count} {name}" for name, count in summary.verdicts.items())
    say(f"{summary.inspected} images inspected ({verdicts}), {len(summary.failed)} failed; results: {out}")
    if as_json:
        print_json(summary.to_json())
    if not summary.inspected:
        return NOTHING_DONE
    return SOME_FAILED if summary.failed else DONE


def overrides(
    method: str | None, percentile: str | None, stages: str | None, fusion: str | None
) -> dict[str, Any]:
    """Options to fields of the map settings; only what was given.

    Raises:
        SettingsError: a percentile that is no number.
    """
    values: dict[str, Any] = {"method": method, "fusion": fusion}
    if stages is not None:
        values["stages"] = [part.strip() for part in stages.split(",") if part.strip()]
    given = {name: value for name, value in values.items() if value is not None}
    if percentile is not None:
        given["percentile"] = None if percentile.lower() == "none" else _number("--percentile", percentile)
    return given


def mask_overrides(threshold: str | None) -> dict[str, Any]:
    """Options to fields of the mask settings; only what was given.

    Raises:
        SettingsError: a threshold that is neither `otsu` nor a number.
    """
    if threshold is None:
        return {}
    return {"threshold": "otsu" if threshold.lower() == "otsu" else _number("--threshold", threshold)}


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"{option} {text!r} is not a number") from None
