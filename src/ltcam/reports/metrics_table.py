"""The numbers of an evaluation as rows: for the terminal, for Markdown, and for the HTML page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ltcam.evaluation.metrics import Estimate, MaskMetrics
from ltcam.evaluation.summary import Evaluation, KindMetrics, Population

NONE = "–"
"""What stands for a value that is undefined."""

UNKNOWN = Estimate(math.nan)

POPULATION_METRICS: Mapping[str, Callable[[Population], Estimate]] = {
    "IoU": lambda found: found.masks.iou,
    "F1": lambda found: found.masks.f1,
    "Precision": lambda found: found.masks.precision,
    "Recall": lambda found: found.masks.recall,
    "Mean IoU per image": lambda found: found.masks.mean_image_iou,
    "Mean IoU of both classes (mIoU)": lambda found: found.masks.two_class_miou,
    "F1 within 2 px": lambda found: found.masks.boundary[2].f1,
    "IoU ceiling (2 px)": lambda found: found.masks.ceiling_2px,
    "Pixel AP": lambda found: found.heatmaps.ap if found.heatmaps else UNKNOWN,
    "Pixel AUROC": lambda found: found.heatmaps.auroc if found.heatmaps else UNKNOWN,
    "PRO": lambda found: found.heatmaps.pro if found.heatmaps else UNKNOWN,
}
"""What is shown per population, by its name for people."""

KIND_METRICS: Mapping[str, Callable[[KindMetrics], Estimate]] = {
    "Pixel IoU": lambda kind: kind.pixel_iou,
    "Pixel precision": lambda kind: kind.pixel_precision,
    "Pixel recall": lambda kind: kind.pixel_recall,
    "Peak within 8 px": lambda kind: kind.hit_8px,
    "Peak inside": lambda kind: kind.hit_inside,
    "Found": lambda kind: kind.image_recall,
    "Named right": lambda kind: kind.class_recall,
}
"""What is shown per kind of defect, by its name for people."""


class MetricRow(NamedTuple):
    """A number and its 95 % interval, fractions 0 to 1; None where undefined."""

    name: str
    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, estimate: Estimate, name: str = "") -> MetricRow:
        """An estimate as a row; an interval without width, where all resamples agree, is none."""
        value, low, high = estimate if estimate.low != estimate.high else Estimate(estimate.value)
        return cls(name, *(each if math.isfinite(each) else None for each in (value, low, high)))

    @classmethod
    def read(cls, values: Mapping[str, Any], name: str) -> MetricRow:
        """A number of a JSON object whose `intervals` mirror its numbers."""
        return cls(name, values[name], *values["intervals"][name])

    @property
    def text(self) -> str:
        """The value with three digits, or a dash."""
        return fraction(self.value)

    @property
    def interval(self) -> str:
        """`low–high`, or nothing where undefined."""
        if self.low is None or self.high is None:
            return ""
        return f"{self.low:.3f}–{self.high:.3f}"


def fraction(value: float | None) -> str:
    """A fraction with three digits, or a dash."""
    return NONE if value is None or math.isnan(value) else f"{value:.3f}"


def metrics_table(evaluation: Evaluation) -> list[MetricRow]:
    """What is worth printing of an evaluation, most important first within pixels, boxes and images.

    Pixel and box numbers are those of the images labelled defective.
    """
    population, verdicts = evaluation.populations["defective"], evaluation.verdicts.metrics
    masks: MaskMetrics = population.masks
    heatmaps = population.heatmaps
    rows = {
        "pixel IoU": masks.iou,
        "pixel IoU ceiling (2 px)": masks.ceiling_2px,
        "pixel F1": masks.f1,
        "pixel precision": masks.precision,
        "pixel recall": masks.recall,
        **{f"pixel F1 within {tolerance} px": near.f1 for tolerance, near in masks.boundary.items()},
        "mean IoU per image": masks.mean_image_iou,
        "mean IoU over kinds": Estimate(evaluation.mean_over_kinds(lambda kind: kind.pixel_iou)),
        "two-class mIoU": masks.two_class_miou,
        "peak within 8 px": evaluation.hits.hit_8px,
        "peak inside the mask": evaluation.hits.hit_inside,
        "pixel AP": heatmaps.ap if heatmaps else UNKNOWN,
        "pixel AUROC": heatmaps.auroc if heatmaps else UNKNOWN,
        "PRO": heatmaps.pro if heatmaps else UNKNOWN,
    }
    for overlap, boxes in masks.boxes.items():
        rows |= {
            f"box recall at IoU {overlap:g}": boxes.recall,
            f"box precision at IoU {overlap:g}": boxes.precision,
        }
    rows |= {
        "image AP": verdicts.ap,
        "image AUROC": verdicts.auroc,
        "image F1": verdicts.f1,
        "image precision": verdicts.precision,
        "image recall": verdicts.recall,
        "image accuracy": verdicts.accuracy,
    }
    if not evaluation.kinds:
        del rows["mean IoU over kinds"]
    return [MetricRow.of(estimate, name) for name, estimate in rows.items()]


def metrics_markdown(evaluation: Evaluation) -> str:
    """The metrics as Markdown: counts, what was measured with intervals, the three populations, the kinds of defect."""
    images, counts = evaluation.images, evaluation.verdicts.counts
    populations = evaluation.populations
    blocks = [
        f"{images.total} images: {images.defective} defective, {images.ok} OK; {counts.fn} defective missed, "
        f"{counts.fp} false alarms at score {evaluation.verdicts.threshold:.3f}.",
        markdown_table(
            ("Metric", "Value", "95 % interval"),
            [
                (row.name, row.text, row.interval or NONE)
                for row in metrics_table(evaluation)
                if row.value is not None
            ],
        ),
    ]
    if images.with_mask:
        blocks += _population_blocks(populations)
    if evaluation.kinds:
        rows = [(name, count, [cell.text for cell in cells]) for name, count, cells in kind_rows(evaluation)]
        lines = [(name, count, *texts) for name, count, texts in rows]
        blocks.append(markdown_table(("Kind", "Images", *KIND_METRICS), lines))
    return "\n\n".join(blocks) + "\n"


def _population_blocks(populations: Mapping[str, Population]) -> list[str]:
    """Which images are counted, and a table of their pixels."""
    return [
        "Pixels, in three populations: images labelled defective; all images; all images with the mask "
        "emptied where the verdict is OK.",
        markdown_table(
            ("Metric", *populations),
            [
                ("Images", *(str(population.images) for population in populations.values())),
                *(
                    (name, *(fraction(number(population).value) for population in populations.values()))
                    for name, number in POPULATION_METRICS.items()
                ),
            ],
        ),
    ]


def kind_rows(evaluation: Evaluation) -> list[tuple[str, str, list[MetricRow]]]:
    """(name, images, numbers in the order of `KIND_METRICS`) of each kind of defect, and last their mean."""
    rows = [
        (name, str(images), [MetricRow.of(number(kind)) for number in KIND_METRICS.values()])
        for name, (images, kind) in evaluation.kinds.items()
    ]
    means = [MetricRow.of(Estimate(evaluation.mean_over_kinds(number))) for number in KIND_METRICS.values()]
    return [*rows, ("mean over kinds", "", means)] if rows else []


def markdown_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, words: int = 1) -> str:
    """A Markdown table; its first `words` columns are words, the others numbers. Cells may hold anything."""
    lines = [head, tuple("---" if i < words else "---:" for i in range(len(head))), *rows]
    return "\n".join("| " + " | ".join(markdown_text(cell) for cell in line) + " |" for line in lines)


def failure_table(failed: Sequence[Mapping[str, str]]) -> str:
    """`image` and `reason` of what could not be measured, as a Markdown table."""
    return markdown_table(("Not measured", "Reason"), [(each["image"], each["reason"]) for each in failed])


def markdown_text(text: str) -> str:
    """Text that neither ends a cell nor starts HTML."""
    escaped = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return escaped.replace("\\", "\\\\").replace("|", "\\|")
