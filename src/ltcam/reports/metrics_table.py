"""The numbers of an evaluation as rows: for the terminal, for Markdown, and for the HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

NONE = "–"
"""What stands for a value that is undefined."""

POPULATIONS = ("defective", "all", "gated")
"""The three populations of a metrics dict, in the order they are shown."""

POPULATION_METRICS = (
    ("IoU", "iou"),
    ("F1", "f1"),
    ("Precision", "precision"),
    ("Recall", "recall"),
    ("Mean IoU per image", "mean_image_iou"),
    ("Mean IoU of both classes (mIoU)", "two_class_miou"),
    ("F1 within 2 px", "boundary/2/f1"),
    ("IoU ceiling (2 px)", "ceiling_2px"),
    ("Pixel AP", "ap"),
    ("Pixel AUROC", "auroc"),
    ("PRO", "pro"),
)
"""Names for people and names in the metrics dict of what is shown per population."""

_ROWS = (
    ("pixel IoU", "pixel", "iou"),
    ("pixel IoU ceiling (2 px)", "pixel", "ceiling_2px"),
    ("pixel F1", "pixel", "f1"),
    ("pixel precision", "pixel", "precision"),
    ("pixel recall", "pixel", "recall"),
    ("pixel F1 within 1 px", "pixel", "boundary/1/f1"),
    ("pixel F1 within 2 px", "pixel", "boundary/2/f1"),
    ("pixel F1 within 3 px", "pixel", "boundary/3/f1"),
    ("mean IoU per image", "pixel", "mean_image_iou"),
    ("two-class mIoU", "pixel", "two_class_miou"),
    ("pixel AP", "pixel", "ap"),
    ("pixel AUROC", "pixel", "auroc"),
    ("PRO", "pixel", "pro"),
    ("box recall at IoU 0.5", "boxes", "0.5/recall"),
    ("box precision at IoU 0.5", "boxes", "0.5/precision"),
    ("box recall at IoU 0.1", "boxes", "0.1/recall"),
    ("box precision at IoU 0.1", "boxes", "0.1/precision"),
    ("image AP", "image", "ap"),
    ("image AUROC", "image", "auroc"),
    ("image F1", "image", "f1"),
    ("image precision", "image", "precision"),
    ("image recall", "image", "recall"),
    ("image accuracy", "image", "accuracy"),
)


class MetricRow(NamedTuple):
    """A number and its 95 % interval, fractions 0 to 1; None where undefined."""

    name: str
    value: float | None
    low: float | None
    high: float | None

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
    return NONE if value is None else f"{value:.3f}"


def read_metric(section: Mapping[str, Any], path: str, name: str = "") -> MetricRow:
    """One number of a section of the metrics dict, with the interval that mirrors it.

    Args:
        section: such as `metrics["pixel"]`; `intervals` in it is looked at.
        path: such as `iou` or `boundary/2/f1`.
        name: of the row; default: the path.

    Returns:
        The row; None where the section does not have the number.
    """
    value = _at(section, path)
    low, high = _at(section.get("intervals", {}), path) or (None, None)
    return MetricRow(name or path, value, low, high)


def metrics_table(metrics: Mapping[str, Any]) -> list[MetricRow]:
    """What is worth printing of an evaluation, most important first within pixels, boxes and images.

    Args:
        metrics: of `ltcam.evaluation.evaluate.summarise`; pixel and box numbers are those of the
            images labelled defective.
    """
    return [read_metric(metrics[section], path, name) for name, section, path in _ROWS]


def metrics_markdown(metrics: Mapping[str, Any]) -> str:
    """The metrics as Markdown: counts, all rows with intervals, the three populations, the classes."""
    blocks = [
        _counts_sentence(metrics),
        markdown_table(
            ("Metric", "Value", "95 % interval"),
            [(row.name, row.text, row.interval or NONE) for row in metrics_table(metrics)],
        ),
        "Pixels, in three populations: images labelled defective; all images; all images with the mask "
        "emptied where the verdict is OK.",
        markdown_table(("Metric", *POPULATIONS), _population_rows(metrics)),
    ]
    if metrics["classes"]:
        blocks.append(
            markdown_table(("Class", "Images", "Pixel IoU", "Found", "Named right"), _class_rows(metrics))
        )
    return "\n\n".join(blocks) + "\n"


def _counts_sentence(metrics: Mapping[str, Any]) -> str:
    images = metrics["images"]
    counts = metrics["image"]["counts"]
    return (
        f"{images['total']} images: {images['defective']} defective, {images['ok']} OK; {counts['fn']} defective "
        f"missed, {counts['fp']} false alarms at score {metrics['image']['threshold']:.3f}."
    )


def _population_rows(metrics: Mapping[str, Any]) -> list[tuple[str, ...]]:
    populations = [metrics["populations"][name] for name in POPULATIONS]
    rows = [("Images", *(str(population["images"]) for population in populations))]
    for name, path in POPULATION_METRICS:
        rows.append((name, *(read_metric(population, path).text for population in populations)))
    return rows


def _class_rows(metrics: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            name,
            str(numbers["images"]),
            fraction(numbers["pixel_iou"]),
            fraction(numbers["image_recall"]),
            fraction(numbers["class_recall"]),
        )
        for name, numbers in metrics["classes"].items()
    ]


def markdown_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table; all columns but the first are numbers. Cells may hold anything."""
    lines = [head, tuple("---" if not i else "---:" for i in range(len(head))), *rows]
    return "\n".join("| " + " | ".join(markdown_text(cell) for cell in line) + " |" for line in lines)


def markdown_text(text: str) -> str:
    """Text that neither ends a cell nor starts HTML."""
    escaped = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return escaped.replace("\\", "\\\\").replace("|", "\\|")


def _at(values: Mapping[str, Any], path: str) -> Any:
    found: Any = values
    for part in path.split("/"):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found
