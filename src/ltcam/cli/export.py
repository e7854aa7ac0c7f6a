"""`ltcam export RUN --out part.ltcam.onnx`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ltcam.cli.console import DONE, SOME_FAILED, command, print_json, progress, say, warn
from ltcam.cli.options import AsJson, MaskOptions, Overwrite, TrustChangedRun
from ltcam_runtime.folders import write_file

if TYPE_CHECKING:
    from ltcam.evaluation.engines import Verification
    from ltcam.export.export import Exported, ExportSettings

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, kw_only=True)
class _File:
    """How the file is, and what it is tried on."""

    format: Annotated[
        str | None,
        typer.Option(
            help="onnx, which ONNX Runtime and OpenVINO open, or openvino's own; default: by the name of the file, "
            "part.ltcam.onnx or part.ltcam.zip"
        ),
    ] = None
    precision: Annotated[
        str,
        typer.Option(
            help="of the weights: fp32; fp16 for half the size; int8 for speed, of students and seed maps, where there "
            "is a gain"
        ),
    ] = "fp32"
    calibration: Annotated[
        list[str] | None,
        typer.Option(metavar="IMAGES", help="OK and defective images that int8 is measured and judged on"),
    ] = None
    golden: Annotated[
        list[Path] | None,
        typer.Option(help="image to compare with wherever the file is loaded; may be given several times"),
    ] = None
    verify: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IMAGES",
            help="images to compare run and file on, with every runtime; writes a page and JSON beside the file",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class _Ending:
    """What may be read and replaced, and how it is told."""

    trust_changed_run: TrustChangedRun = False
    overwrite: Overwrite = False
    as_json: AsJson = False


@app.command()
@command
def export(
    run: Annotated[Path, typer.Argument(help="run folder of `ltcam train` or `ltcam distill`")],
    out: Annotated[Path, typer.Option(help="file to write, such as part.ltcam.onnx")],
    overrides: MaskOptions,
    file: _File,
    ending: _Ending,
) -> int:
    """Write a run's whole inspection into one file that runs without torch.

    The file is written only if the runtime that is to open it says of the golden images what the run says.
    """
    from ltcam.export.export import ExportSettings, export_run  # noqa: PLC0415  # torch is slow to import

    settings = ExportSettings(
        file.format or ("openvino" if out.suffix == ".zip" else "onnx"),
        file.precision,  # type: ignore[arg-type]  # refused if it is none of them
        golden=tuple(file.golden or ()),
        calibration=_files(file.calibration or ()),
        overrides=overrides,
        trust_changed_run=ending.trust_changed_run,
        overwrite=ending.overwrite,
    )
    done = export_run(run, out, settings, progress=lambda step: say(f"{step} ..."))
    for engine, comparisons in done.parity.items():
        worst = max(comparison.mean for comparison in comparisons)
        iou = min(comparison.mask_iou for comparison in comparisons)
        say(
            f"{engine}: {len(comparisons)} golden images agree; heatmaps to {worst:.1e} of their range on average, "
            f"masks to {iou:.1%}"
        )
    if done.note:
        say(done.note)
    say(
        f"{done.path}: {done.size / 1e6:.1f} MB, {done.part.precision}; "
        f"try: ltcam-run {done.path} IMAGES... --out results"
    )
    verified = _verify(run, done.path, file.verify, settings) if file.verify else None
    if ending.as_json:
        print_json(_summary(done) | ({"verification": verified.to_json()} if verified else {}))
    return SOME_FAILED if verified and verified.failed else DONE


def _files(inputs: Sequence[str]) -> tuple[Path, ...]:
    """The images that inputs stand for."""
    if not inputs:
        return ()
    from ltcam.jobs.predicting import find_inputs  # noqa: PLC0415

    found = find_inputs(inputs)
    for name, reason in found.failed:
        warn(f"{name}: {reason}")
    return tuple(path for _, path in found.files)


def _verify(run: Path, file: Path, inputs: list[str], settings: ExportSettings) -> Verification:
    from ltcam.jobs.verifying import verify as compare  # noqa: PLC0415
    from ltcam.reports.html import write_page  # noqa: PLC0415
    from ltcam.reports.verify_page import verify_page  # noqa: PLC0415

    with progress("comparing") as advance:
        found = compare(run, file, inputs, settings, advance)
    page = file.with_name(f"{file.stem}-verified.html")
    write_page(page, verify_page(found))
    write_file(
        file.with_name(f"{file.stem}-verified.json"),
        json.dumps(found.to_json(), indent=2, allow_nan=False) + "\n",
    )
    torch, *others = found.engines
    for engine in others:
        say(
            f"{engine.engine}: {found.images} images; {len(engine.verdict_changes)} other verdicts, masks to "
            f"{engine.mean_mask_iou:.2%}, {engine.near:.2%} of heatmap pixels within 1e-4 of exact ones "
            f"({torch.near:.2%} with torch), {engine.milliseconds:.0f} ms ({torch.milliseconds:.0f} with torch)"
        )
    say(f"look at: {page}")
    return found


def _summary(done: Exported) -> dict[str, Any]:
    return {
        "out": str(done.path),
        "bytes": done.size,
        "engine": done.part.engine,
        "precision": done.part.precision,
        "note": done.note,
        "maps": {name: cam.model_dump(mode="json") for name, cam in done.part.maps.items()},
        "parity": {
            engine: [vars(comparison) for comparison in comparisons]
            for engine, comparisons in done.parity.items()
        },
    }
