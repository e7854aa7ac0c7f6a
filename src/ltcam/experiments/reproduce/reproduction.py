"""What a reproduction found, as it is written to reproduction.json and read back."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue
from pydantic.dataclasses import dataclass

from ltcam.experiments.ablation.answers import Answers
from ltcam.experiments.compare.comparison import (
    Comparison,
    MapOf,
    MeasuredMap,
    OrderAgreement,
    Printed,
)
from ltcam.experiments.results import ImageTotals, Values
from ltcam.experiments.tune.tuning import Tuning
from ltcam.runs.run import Arithmetic
from ltcam.synth import MIXED

Kind = Literal["ksdd", "ksdd2", "synthetic"]


@dataclass(frozen=True)
class SyntheticSet:
    """The set that `ltcam reproduce synthetic` makes for itself; see `ltcam.synth.synthesise`."""

    surfaces: tuple[str, ...] = MIXED
    images: int = 36
    size: tuple[int, int] = (192, 256)


class Planned(Values):
    """What was asked for: as `Plan` of the same package, the maps' settings among the others."""

    kind: Kind
    training: dict[str, JsonValue]
    tuning: bool
    questions: bool
    folds: int
    rows: int
    bootstrap: int
    synthetic: SyntheticSet | None = None
    methods: tuple[str, ...] | None = None
    percentile: int | float
    probing: bool
    probing_bfloat16: bool
    positive_activations: bool


class MeasuredRun(Values):
    """Of the run that was measured, what explains its numbers; see `ltcam.runs.run.Run`."""

    classes: tuple[str, ...]
    image_size: tuple[int, int]
    backbone: str
    stages: tuple[str, ...]
    arithmetic: Arithmetic
    seed: int
    training: dict[str, JsonValue]
    initial_weights: dict[str, JsonValue]
    data: dict[str, JsonValue]
    evidence: dict[str, JsonValue]


class Machine(Values):
    """What computed."""

    processor: str
    system: str
    cores: int | None


class DrawnMap(MapOf):
    """A map in the figure of all methods, and how good its mask of the image is."""

    iou: float | None


class DrawnImage(Values):
    """An image in the figures.

    Attributes:
        image: its id.
        defect_share: of its pixels.
        rank: by that share.
        among: how many.
        window: the part shown larger: top, left, bottom, right in pixels; None for none.
        stage_maxima: of the maps of each stage, and of their sum.
        truncated_stage_maxima: likewise, truncated.
        iou: of every method.
    """

    image: str
    defect_share: float
    rank: int
    among: int
    window: tuple[int, int, int, int] | None
    stage_maxima: tuple[float | None, ...]
    truncated_stage_maxima: tuple[float | None, ...]
    iou: tuple[DrawnMap, ...]


class Drawn(Values):
    """What the figures show.

    Attributes:
        schema_version: of figures.json.
        split: which images were looked at, in words.
        backbone: of the run.
        percentile: of all truncated maps.
        rule: by which the images were chosen, in words.
        stages: of the network.
        layers: whose FullGrad maps are shown, from 1 in the order of execution.
        images: one per row.
    """

    schema_version: int = 1
    split: str
    backbone: str
    percentile: int | float
    rule: str
    stages: tuple[str, ...]
    layers: tuple[int, ...]
    images: tuple[DrawnImage, ...]


class OverFolds(Values):
    """A number of each fold, its mean and standard deviation (n - 1) over those that know it."""

    mean: float | None
    std: float | None
    folds: tuple[float | None, ...]


class FoldRow(MapOf):
    """How good one method's masks are over the folds; `pooled_iou`: over all their pixels."""

    paper: Printed | None
    iou: OverFolds
    precision: OverFolds
    recall: OverFolds
    f1: OverFolds
    pooled_iou: float | None


class Folds(Values):
    """The comparisons of all folds; `images`: how many were measured in each."""

    folds: int
    images: tuple[int, ...]
    rows: tuple[FoldRow, ...]


class Published(Values):
    """A comparison without what belongs to one machine; `split` as for `Reproduction`."""

    split: str
    backbone: str
    images: ImageTotals
    rows: tuple[MeasuredMap, ...]
    paper_order: dict[str, OrderAgreement] | None
    seed: int
    versions: dict[str, str]


class Reproduction(Values):
    """All that a reproduction found.

    Attributes:
        schema_version: of the file.
        kind: of the data.
        split: which split the measured images are of: `paper`, `official`, `lots` or `groups`.
        run: that was measured.
        compare: its masks by all methods.
        tune: IoU against the percentile; None where that was not asked.
        questions: what the paper leaves open, of the run.
        questions_of_folds: likewise over the folds.
        figures: what they show.
        folds: the comparison on each; None without folds.
        plan: what was asked for.
        seed: of everything.
        versions: of packages.
        machine: that computed.
        command: that was called.
    """

    schema_version: int = 1
    kind: Kind
    split: str
    run: MeasuredRun
    compare: Comparison
    tune: Tuning | None
    questions: Answers | None
    questions_of_folds: Answers | None
    figures: Drawn
    folds: Folds | None
    plan: Planned
    seed: int
    versions: dict[str, str]
    machine: Machine
    command: str
