"""What a comparison of map methods found, as it is written to compare.json and read back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeVar

from pydantic import JsonValue
from pydantic.dataclasses import dataclass

from ltcam.experiments.results import BoundedRatios, ImageTotals, PixelSums, Ratios, Values

Stages = Literal["last", "all", "network", "run"]
"""`last` stage, `all` stages added up raw, all layers of the `network` (FullGrad), or as the `run` says."""


@dataclass(frozen=True)
class Printed:
    """One row of the paper's tables; numbers are fractions.

    Attributes:
        table: its number in the paper.
        iou: of the foreground, pooled over images.
        precision: likewise.
        recall: likewise.
        f1: likewise; the paper's micro-F1.
        note: which number is corrected, and why; or "".
    """

    table: int
    iou: float
    precision: float
    recall: float
    f1: float
    note: str = ""


class KindImages(Values):
    """How many images one kind of defect has."""

    images: int


class KindRow(Ratios, KindImages):
    """Numbers of one kind of defect, pooled over its images."""

    hit_8px: float | None = None
    hit_inside: float | None = None


class MeansOverKinds(Values):
    """Each kind of defect weighs the same; undefined where a number of one kind is."""

    iou: float | None
    hit_8px: float | None
    hit_inside: float | None


class MapOf(Values):
    """Which map a row is about.

    Attributes:
        method: how papers spell it.
        stages: of which stages its map is.
        percentile: of the truncation, None without one.
    """

    method: str
    stages: Stages
    percentile: int | float | None


class ComparedMap(MapOf):
    """How a map was made.

    Attributes:
        sharpening: polarity of the contrast that the heatmap is weighed with, or `none`.
        bfloat16: whether the network was asked in bfloat16.
    """

    sharpening: str
    bfloat16: bool = False


class MeasuredMap(BoundedRatios, ComparedMap):
    """How good one method's masks are.

    Attributes:
        hit_8px: share of images whose heatmap has its peak within 8 px of the true mask; None in old files.
        hit_inside: likewise, inside the mask.
        mean_over_kinds: likewise None in old files.
        classes: by kind of defect; None where there is only one.
        counts: of pixels.
        paper: what the paper prints for it, if anything.
    """

    hit_8px: float | None = None
    hit_inside: float | None = None
    mean_over_kinds: MeansOverKinds | None = None
    classes: dict[str, KindRow] | None
    counts: PixelSums
    paper: Printed | None


class CompareRow(MeasuredMap):
    """How good one method's masks are, and how long its maps take.

    Attributes:
        seconds: per image, for the map.
        shares_capture: whether a capture that others use too was all it needed.
    """

    seconds: float
    shares_capture: bool


R = TypeVar("R", bound=MeasuredMap)


def ranked(rows: Iterable[R]) -> list[R]:
    """The rows, highest IoU first; undefined ones last."""
    return sorted(rows, key=lambda row: -1.0 if row.iou is None else row.iou, reverse=True)


class OrderAgreement(Values):
    """Spearman's rank correlation of measured and printed IoU; None where fewer than three or equal values."""

    methods: int
    spearman: float | None


class ComparisonSettings(Values):
    """What was compared, with what."""

    run: str = ""
    data: str = ""
    methods: tuple[str, ...] | None = None
    percentile: int | float
    probing: bool
    probing_bfloat16: bool = False
    positive_activations: bool
    layout: str = ""
    device: str
    stages: tuple[str, ...]
    image_size: tuple[int, int]
    run_cam: dict[str, JsonValue]
    run_sharpening: dict[str, JsonValue]
    run_mask: dict[str, JsonValue]
    batch_size: int
    bootstrap: int


class Comparison(Values):
    """All that a comparison found.

    Attributes:
        schema_version: of the file.
        split: which images were measured, in words.
        backbone: of the run.
        images: how many.
        rows: one per map, in the order in which they were compared.
        paper_order: by `last` and `all`, how far the order of the methods is the paper's; None without its numbers.
        capture_seconds: per image.
        notes: what was warned of.
        settings: what was compared.
        seed: of the run.
        versions: of packages.
        command: that was called.
        failed: `image` and `reason` of each that could not be used.
    """

    schema_version: int = 1
    split: str
    backbone: str
    images: ImageTotals
    rows: tuple[CompareRow, ...]
    paper_order: dict[str, OrderAgreement] | None
    capture_seconds: float
    notes: tuple[str, ...]
    settings: ComparisonSettings
    seed: int
    versions: dict[str, str]
    command: str
    failed: tuple[dict[str, str], ...]
