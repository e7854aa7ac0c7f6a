"""Options that `predict` and `evaluate` share: how to make maps and masks other than the run does."""

from __future__ import annotations

import math
import re
from typing import Annotated

import typer

from ltcam.cli.console import setting
from ltcam_runtime.errors import SettingsError
from ltcam_runtime.settings import Overrides

Method = Annotated[str | None, setting(Overrides, "method")]
Percentile = Annotated[str | None, setting(Overrides, "percentile")]
Scope = Annotated[str | None, setting(Overrides, "scope")]
Reading = Annotated[str | None, setting(Overrides, "reading")]
Stages = Annotated[str | None, setting(Overrides, "stages")]
Fusion = Annotated[str | None, setting(Overrides, "fusion")]
Threshold = Annotated[str | None, setting(Overrides, "threshold")]
Sharpen = Annotated[str | None, setting(Overrides, "sharpen")]
VerdictThreshold = Annotated[float | None, setting(Overrides, "verdict_threshold")]
Unsure = Annotated[
    float | None, setting(Overrides, "unsure_margin", "--unsure", "--unsure-margin", metavar="MARGIN")
]
MinArea = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="smaller regions are left out: 20px (pixels), 0.5mm2, or 0.5mm (a square of that side); "
        "millimetres need --px-per-mm",
    ),
]
PxPerMm = Annotated[
    float | None,
    typer.Option(min=1e-6, help="pixels along a millimetre of the part: then sizes are in millimetres too"),
]
ProbingBfloat16 = Annotated[
    bool,
    typer.Option(
        "--probing-bfloat16",
        help="Score-CAM and Ablation-CAM ask the network in bfloat16: faster where there are instructions for it",
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, max=1024, help="images per pass of the network")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda")]
TrustChangedRun = Annotated[
    bool,
    typer.Option("--trust-changed-run", help="take RUN as it is, though it was changed after its training"),
]

_SIZE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(px|mm2|mm²|mm)?", re.IGNORECASE)


def min_area_px(text: str | None, px_per_mm: float | None) -> int | None:
    """`20px`, `0.5mm2` or `0.5mm` to pixels, rounded up.

    Raises:
        SettingsError: another form, or millimetres without their size in pixels.
    """
    if text is None:
        return None
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise SettingsError(f"--min-area {text!r}: give pixels or millimetres, such as 20px, 0.5mm2 or 0.5mm")
    value, unit = float(match[1]), (match[2] or "px").lower()
    if unit == "px":
        return max(1, math.ceil(value))
    if px_per_mm is None:
        raise SettingsError(f"--min-area {text}: millimetres need --px-per-mm, the pixels along a millimetre")
    area = value if unit != "mm" else value**2
    return max(1, math.ceil(area * px_per_mm**2 - 1e-9))
