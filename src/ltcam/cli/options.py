"""Options that several commands share: how to make maps and masks, how to train, what to do with results."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_origin

import typer
from pydantic import BaseModel

from ltcam.cli.config import Config
from ltcam.cli.console import called, parse_size, setting
from ltcam.cli.groups import Options
from ltcam.evaluation.settings import EvaluationSettings
from ltcam.training.settings import StudentSettings, TrainingSettings
from ltcam_runtime.errors import SettingsError
from ltcam_runtime.settings import Overrides, changed

if TYPE_CHECKING:
    from ltcam.jobs.execution import Execution
    from ltcam.training.listener import Listener

_PLAIN = (bool, int, float, str, int | None, float | None, str | None)


def settings_group(
    model: type[BaseModel],
    names: Iterable[str],
    declared: Mapping[str, Any] | None = None,
    read: Mapping[str, Callable[[str], Any]] | None = None,
) -> Options:
    """Options made of the fields of settings: their names, defaults and help.

    Args:
        model: of the settings. What is no number, word or switch reaches it as the text that was typed.
        names: of the fields that are options.
        declared: how options are declared that are to look otherwise, by name.
        read: what makes values of texts first, by name.
    """

    def made(**given: Any) -> BaseModel:
        for name, reads in (read or {}).items():
            if given[name] is not None:
                given[name] = reads(given[name])
        return model(**given)

    parameters = (
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=model.model_fields[name].default,
            annotation=(declared or {}).get(name) or _option(model, name),
        )
        for name in names
    )
    return Options(made, tuple(parameters))


def _option(model: type[BaseModel], name: str) -> Any:
    """A field as a parser of commands wants it."""
    field, flags = model.model_fields[name], []
    if field.annotation is bool:
        word = name.replace("_", "-")
        flags = [f"--{word}/--no-{word}" if field.default else f"--{word}"]
    plain = field.annotation in _PLAIN or get_origin(field.annotation) is Literal
    return Annotated[field.annotation if plain else str | None, setting(model, name, *flags)]


ImageSize = Annotated[str | None, setting(TrainingSettings, "image_size", metavar="HxW")]
StudentSize = Annotated[
    str | None,
    typer.Option(metavar="HxW", help="height and width the student sees; default: the teacher's"),
]
Unsure = Annotated[
    float | None, setting(Overrides, "unsure_margin", "--unsure", "--unsure-margin", metavar="MARGIN")
]


def training_group(*names: str) -> Options:
    """Options of a training; no names: all."""
    chosen = names or tuple(TrainingSettings.model_fields)
    size = {"image_size": ImageSize} if "image_size" in chosen else {}
    return settings_group(TrainingSettings, chosen, size, dict.fromkeys(size, parse_size))


TrainingOptions = Annotated[TrainingSettings, training_group()]
StudentOptions = Annotated[
    StudentSettings,
    settings_group(
        StudentSettings,
        (
            *(
                "rounds",
                "keep",
                "image_size",
                "freeze",
                "epochs",
                "batch_size",
                "learning_rate",
                "weight_decay",
            ),
            *("augment", "max_miss", "confidence", "seed"),
        ),
        {"image_size": StudentSize},
        {"image_size": parse_size},
    ),
]
MaskOptions = Annotated[
    Overrides,
    settings_group(
        Overrides,
        (
            *("method", "percentile", "scope", "reading", "stages", "fusion"),
            *("threshold", "sharpen", "verdict_threshold", "unsure_margin", "zoom"),
        ),
        {"unsure_margin": Unsure},
    ),
]
"""How to make maps, masks and verdicts other than the run does."""

ProbingBfloat16 = Annotated[
    bool,
    typer.Option(
        "--probing-bfloat16",
        help="Score-CAM and Ablation-CAM ask the network in bfloat16: faster where there are instructions for it",
    ),
]
PositiveActivations = Annotated[
    bool,
    typer.Option(
        "--positive-activations",
        help="leave negative activations out of all methods but FullGrad; default: as published, used",
    ),
]
Split = Annotated[str, setting(EvaluationSettings, "split")]
Bootstrap = Annotated[int, setting(EvaluationSettings, "bootstrap", min=1)]
MeasuringOptions = Annotated[
    EvaluationSettings,
    settings_group(
        EvaluationSettings,
        ("split", "bootstrap", "cost_miss", "cost_alarm"),
        {"split": Split, "bootstrap": Bootstrap},
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, max=1024, help="images per pass of the network")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, or one of several GPUs: cuda:1")]
TrustChangedRun = Annotated[
    bool,
    typer.Option("--trust-changed-run", help="take RUN as it is, though it was changed after its training"),
]
Resume = Annotated[bool, typer.Option("--resume", help="continue what was stopped")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace existing results, and unfinished ones")]
AsJson = Annotated[bool, typer.Option("--json", help="print the result as JSON")]


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """Where a run goes."""

    out: Annotated[Path, typer.Option(help="run folder to write")]
    _config: Config = None
    overwrite: Overwrite = False
    as_json: AsJson = False


@dataclass(frozen=True, kw_only=True)
class Results:
    """Where what an experiment measured goes, and how it is told."""

    out: Annotated[Path, typer.Option(help="folder to write the results to")]
    bootstrap: Bootstrap = 1000
    overwrite: Overwrite = False
    as_json: AsJson = False

    def execution(self, listener: Listener, device: str = "auto", *, resume: bool = False) -> Execution:
        """How an experiment is carried out that writes there."""
        from ltcam.jobs.execution import Execution  # noqa: PLC0415  # after the options are known to be right

        return Execution(device, command=called(), resume=resume, overwrite=self.overwrite, listener=listener)


@dataclass(frozen=True, kw_only=True)
class Resumable:
    """Where is computed, and whether what was stopped goes on."""

    device: Device = "auto"
    resume: Resume = False


@dataclass(frozen=True, kw_only=True)
class Masks:
    """How maps, masks and verdicts are made other than the run does, and which regions are left out."""

    settings: MaskOptions
    min_area: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="smaller regions are left out: 20px (pixels), 0.5mm2, or 0.5mm (a square of that side); "
            "millimetres need --px-per-mm",
        ),
    ] = None
    px_per_mm: Annotated[
        float | None,
        typer.Option(
            min=1e-6, help="pixels along a millimetre of the part: then sizes are in millimetres too"
        ),
    ] = None

    def overrides(self) -> Overrides:
        """The same in pixels."""
        return changed(self.settings, {"min_area_px": min_area_px(self.min_area, self.px_per_mm)})


@dataclass(frozen=True, kw_only=True)
class Inspecting:
    """How a run looks at images."""

    batch_size: BatchSize = 4
    device: Device = "auto"
    trust_changed_run: TrustChangedRun = False


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
        raise SettingsError(f"`min_area` {text!r}: give pixels or millimetres, such as 20px, 0.5mm2 or 0.5mm")
    value, unit = float(match[1]), (match[2] or "px").lower()
    if unit == "px":
        return max(1, math.ceil(value))
    if px_per_mm is None:
        raise SettingsError(f"`min_area` {text}: millimetres need `px_per_mm`, the pixels along a millimetre")
    area = value if unit != "mm" else value**2
    return max(1, math.ceil(area * px_per_mm**2 - 1e-9))
