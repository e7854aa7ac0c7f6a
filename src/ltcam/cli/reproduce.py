"""`ltcam reproduce ksdd|ksdd2|synthetic [DATA] --out DIR`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ltcam.cli.console import (
    DONE,
    SOME_FAILED,
    command,
    listed,
    parse_size,
    print_json,
    progress,
    say,
    warn,
)
from ltcam.cli.options import (
    PositiveActivations,
    ProbingBfloat16,
    Results,
    Resumable,
    training_group,
)
from ltcam.cli.tables import print_table
from ltcam.cli.trained import print_concerns
from ltcam.models.names import DEFAULT_BACKBONE
from ltcam.training.settings import TrainingSettings
from ltcam_runtime.settings import changed

if TYPE_CHECKING:
    from ltcam.experiments.compare.comparison import Comparison

app = typer.Typer(add_completion=False)

_BACKBONES = {"ksdd": "vgg16", "ksdd2": "vgg16", "synthetic": DEFAULT_BACKBONE}
_SIZES = {"ksdd": (640, 256)}
_PERCENTILES = {"ksdd2": 0.0}
_PERCENTILE = 50.0


@dataclass(frozen=True, kw_only=True)
class _Results(Results):
    """Where the page goes."""

    out: Annotated[Path, typer.Option(help="folder to write the page, the figures and the numbers to")]


@dataclass(frozen=True, kw_only=True)
class _AtHand:
    """What is there already, and need not be made."""

    data: Annotated[
        Path | None, typer.Argument(help="folder of KolektorSDD or KolektorSDD2; synthetic makes its own set")
    ] = None
    run: Annotated[
        Path | None, typer.Option(help="run folder of `ltcam train` to measure instead of training one")
    ] = None
    fold_run: Annotated[
        list[Path] | None,
        typer.Option(help="run folder of one fold, to measure instead of training --folds; once per fold"),
    ] = None
    layout: Annotated[str | None, typer.Option(help="layout of DATA; default: that of KIND")] = None


@dataclass(frozen=True, kw_only=True)
class _Training:
    """How the classifier is trained, unless there is a run."""

    settings: Annotated[
        TrainingSettings,
        training_group("weights", "freeze", "epochs", "batch_size", "learning_rate", "seed"),
    ]
    at_hand: _AtHand
    backbone: Annotated[
        str | None, typer.Option(help="timm's name of a CNN; default: vgg16, for synthetic the usual one")
    ] = None
    image_size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="height and width the network sees; default: 640x256 for ksdd, else from the data",
        ),
    ] = None

    def of(self, kind: str) -> TrainingSettings:
        """That of a data set."""
        own = {
            "backbone": self.backbone or _BACKBONES.get(kind, DEFAULT_BACKBONE),
            "image_size": _SIZES.get(kind) if self.image_size is None else parse_size(self.image_size),
        }
        return changed(self.settings, own)


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """What is measured and drawn, and on which synthetic set."""

    percentile: Annotated[
        float | None,
        typer.Option(
            min=0, max=100, help="truncation of the LT forms; default: the paper's, 50, and 0 for ksdd2"
        ),
    ] = None
    probing: Annotated[
        bool,
        typer.Option(
            "--probing/--no-probing", help="also Score-CAM and Ablation-CAM; with VGG16 minutes per image"
        ),
    ] = True
    probing_bfloat16: ProbingBfloat16 = False
    positive_activations: PositiveActivations = False
    tuning: Annotated[
        bool,
        typer.Option("--tuning/--no-tuning", help="IoU against the percentile, and the percentile chosen"),
    ] = True
    questions: Annotated[
        bool,
        typer.Option(
            "--questions/--no-questions", help="what the paper leaves open, answered by measurement"
        ),
    ] = True
    folds: Annotated[
        int, typer.Option(min=0, help="folds of groups to train and compare on as well; 0 for none")
    ] = 0
    rows: Annotated[int, typer.Option(min=1, max=12, help="images in each figure")] = 3
    images: Annotated[int, typer.Option(min=24, help="images per surface of the synthetic set")] = 36
    surfaces: Annotated[str, typer.Option(help="surfaces of the synthetic set, separated by commas")] = (
        "brushed,cast,fabric,ceramic"
    )
    synthetic_size: Annotated[
        str, typer.Option(metavar="HxW", help="size of the images of the synthetic set")
    ] = "192x256"


@app.command()
@command
def reproduce(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="ksdd, ksdd2 or synthetic")],
    written: _Results,
    trained: _Training,
    measured: _Measured,
    machine: Resumable,
) -> int:
    """Run the paper's experiments: train, compare, tune, draw its figures; one page, and every number as JSON.

    The network is trained on image labels. Masks measure; a choice that uses them says so.
    """
    training = trained.of(kind)
    from ltcam.experiments.compare.contenders import ContenderSettings  # noqa: PLC0415  # torch is slow to import
    from ltcam.experiments.reproduce import steps as job  # noqa: PLC0415
    from ltcam.experiments.reproduce.reproduction import SyntheticSet  # noqa: PLC0415
    from ltcam.training.listener import Listener  # noqa: PLC0415

    percentile = measured.percentile
    plan = job.Plan(
        kind=kind,  # type: ignore[arg-type]  # checked there
        training=training,
        maps=ContenderSettings(
            percentile=_PERCENTILES.get(kind, _PERCENTILE) if percentile is None else percentile,
            probing=measured.probing,
            probing_bfloat16=measured.probing_bfloat16,
            positive_activations=measured.positive_activations,
        ),
        tuning=measured.tuning,
        questions=measured.questions,
        folds=measured.folds,
        rows=measured.rows,
        bootstrap=written.bootstrap,
        synthetic=SyntheticSet(
            listed(measured.surfaces), measured.images, parse_size(measured.synthetic_size, "synthetic_size")
        ),
    )
    given = trained.at_hand
    at_hand = job.AtHand(given.data, given.layout, given.run, tuple(given.fold_run or ()))
    with progress("reproducing") as bar:
        listener = Listener(say=say, warn=warn, planned=print_concerns, begun=bar.begin, progress=bar)
        execution = written.execution(listener, machine.device, resume=machine.resume)
        found = job.reproduce(at_hand, written.out, plan, execution)
    if written.as_json:
        print_json(found.to_json())
    else:
        _print_table(found.compare)
    for failure in found.compare.failed:
        say(f"not measured: {failure['image']}: {failure['reason']}")
    say(f"results: {written.out} (page: {written.out / 'report.html'})")
    return SOME_FAILED if found.compare.failed else DONE


def _print_table(comparison: Comparison) -> None:
    from ltcam.experiments.compare.page import HEAD, compare_rows  # noqa: PLC0415

    shown = ("method", "map of", "IoU", "F1", "paper's IoU")
    rows = [[row[HEAD.index(column)] for column in shown] for row in compare_rows(comparison)]
    print_table(f"Masks of {comparison.images.measured} defective images", shown, rows, words=2)
