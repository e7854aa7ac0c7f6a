"""Options that `predict` and `evaluate` share: how to make maps and masks other than the run does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ltcam_runtime.errors import SettingsError

Method = Annotated[str | None, typer.Option(help="map method; default: the run's")]
Percentile = Annotated[str | None, typer.Option(help="truncation, 0 to 100, or none")]
Scope = Annotated[str | None, typer.Option(help="whose gradients the percentile is of: channel or stage")]
Reading = Annotated[
    str | None, typer.Option(help="what truncation acts on: gradient (eq. 9) or mask (eq. 11)")
]
Stages = Annotated[str | None, typer.Option(help="stages, by number (1 is the shallowest) or name: 2,3,4")]
Fusion = Annotated[str | None, typer.Option(help="sum, mean, max or product")]
Threshold = Annotated[
    str | None, typer.Option(help="of the mask: otsu, or a share of the heatmap's range, 0 to 1")
]
ProbingBfloat16 = Annotated[
    bool,
    typer.Option(
        "--probing-bfloat16",
        help="Score-CAM and Ablation-CAM ask the network in bfloat16: faster where there are instructions for it",
    ),
]
Sharpening = Annotated[
    str | None,
    typer.Option(
        "--sharpen",
        help="contrast that sharpens the masks: none, dark, bright, either, both, colour; default: the run's",
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, max=1024, help="images per pass of the network")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda")]


def cam_overrides(options: Mapping[str, str | None]) -> dict[str, Any]:
    """Options to fields of the map settings; only what was given.

    Args:
        options: texts by field: method, percentile, scope, reading, stages, fusion.

    Raises:
        SettingsError: a percentile that is no number.
    """
    given: dict[str, Any] = {name: text for name, text in options.items() if text is not None}
    if "stages" in given:
        given["stages"] = [part.strip() for part in given["stages"].split(",") if part.strip()]
    if "percentile" in given:
        text = given["percentile"]
        given["percentile"] = None if text.lower() == "none" else _number("--percentile", text)
    return given


def mask_overrides(threshold: str | None, sharpen: str | None) -> dict[str, Any]:
    """Options to fields of the mask settings; only what was given.

    Without sharpening a mask does not reach below its threshold: a coarse heatmap has no faint parts to follow.

    Raises:
        SettingsError: a threshold that is neither `otsu` nor a number.
    """
    given: dict[str, Any] = {"reach": 1.0} if sharpen == "none" else {}
    if threshold is not None:
        given["threshold"] = "otsu" if threshold.lower() == "otsu" else _number("--threshold", threshold)
    return given


def sharpening_overrides(sharpen: str | None) -> dict[str, Any]:
    """The option to fields of the sharpening settings; only what was given."""
    return {} if sharpen is None else {"polarity": sharpen}


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"{option} {text!r} is not a number") from None
