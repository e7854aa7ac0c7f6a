"""Options that `predict` and `evaluate` share: how to make maps and masks other than the run does."""

from __future__ import annotations

from typing import Annotated

import typer

from ltcam.cli.console import setting
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
ProbingBfloat16 = Annotated[
    bool,
    typer.Option(
        "--probing-bfloat16",
        help="Score-CAM and Ablation-CAM ask the network in bfloat16: faster where there are instructions for it",
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, max=1024, help="images per pass of the network")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda")]
