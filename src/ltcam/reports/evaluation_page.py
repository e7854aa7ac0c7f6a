"""The page of an evaluation: how good masks and verdicts are, and the images where they are worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ltcam.reports.comparison_picture import PREDICTION_COLOUR, TRUTH_COLOUR, comparison_picture
from ltcam.reports.html import image_uri, render
from ltcam.reports.metrics_table import (
    NONE,
    POPULATION_METRICS,
    POPULATIONS,
    MetricRow,
    fraction,
    metrics_markdown,
    metrics_table,
    read_metric,
)
from ltcam.reports.settings_rows import SettingRow, map_rows, verdict_sentence
from ltcam_runtime.results import Verdict

if TYPE_CHECKING:  # the run folder's module needs torch, a page does not
    from ltcam.runs.run import Run

__all__ = ["WorstPicture", "comparison_picture", "evaluation_page", "metrics_markdown", "metrics_table"]

_TONES = {"ok": "bad", "unsure": "warn", "defect": "good"}  # of a defective image's verdict

_POPULATION_WORDS = {
    "defective": "images labelled defective, masks as drawn whatever the verdict",
    "all": "all images, masks as drawn whatever the verdict",
    "gated": "all images, masks emptied where the verdict is OK: what a user sees",
}

_PIXEL_WORDS = {
    "iou": "shared pixels / all pixels of truth and prediction, pooled over the images",
    "f1": "2 PR / (P + R) of the two below",
    "precision": "share of the marked pixels that are defect",
    "recall": "share of the defect pixels that are marked",
    "mean_image_iou": "IoU of each image, then their mean: small defects weigh as much as large ones",
    "two_class_miou": "mean of the IoU of defect and of background; high for any method, since background is large",
    "boundary/2/f1": "F1 that forgives two pixels at the boundary",
    "ceiling_2px": "what two drawings of the same defects, 2 px apart, would reach",
    "ap": "of the heatmap at all thresholds, average precision",
    "auroc": "of the heatmap: how often a defect pixel is hotter than another",
    "pro": "of the heatmap: share of each defect found, every defect weighing the same, at few false alarms",
}

_IMAGE_METRICS = (
    ("AP", "ap", "at all thresholds: how well scores put defective images first"),
    ("AUROC", "auroc", "how often a defective image scores higher than an OK one"),
    ("F1", "f1", "at the run's threshold"),
    ("Precision", "precision", "share of the images judged defective that are"),
    ("Recall", "recall", "share of the defective images that are judged so"),
    ("Accuracy", "accuracy", "share of all images judged right"),
)


@dataclass(frozen=True, eq=False)
class WorstPicture:
    """An image with a low IoU.

    Attributes:
        image: its name.
        iou: of its mask before the verdict, or None where undefined.
        verdict: what was said of it.
        score: probability of being defective, 0 to 1.
        picture: (h, w, 3) uint8 RGB, as `comparison_picture` makes it.
    """

    image: str
    iou: float | None
    verdict: Verdict
    score: float
    picture: NDArray[np.uint8]


def evaluation_page(
    metrics: Mapping[str, Any], run: Run, pictures: Sequence[WorstPicture], *, title: str, command: str = ""
) -> str:
    """The page as one self-contained HTML text.

    Args:
        metrics: of `ltcam.evaluation.evaluate.summarise`, also as read back from `metrics.json`; with
            `failed`, a list of `image` and `reason`, where images could not be measured.
        run: with the map, mask and verdict settings that were evaluated.
        pictures: worst images, worst first.
        title: heading, such as the name of the data.
        command: what made the evaluation.
    """
    measured = metrics["populations"]["defective"]["images"]
    return render(
        "evaluation_page.html.j2",
        title=title,
        run=run,
        images=metrics["images"],
        measured=measured,
        cards=_cards(metrics),
        population_words=_POPULATION_WORDS,
        population_rows=_population_rows(metrics) if measured else [],
        population_images=[metrics["populations"][name]["images"] for name in POPULATIONS],
        boundary_rows=_boundary_rows(metrics["pixel"]),
        ceiling=read_metric(metrics["pixel"], "ceiling_2px"),
        reached=_reached(metrics["pixel"]),
        box_rows=_box_rows(metrics["boxes"]),
        image_rows=[
            (read_metric(metrics["image"], path, name), words) for name, path, words in _IMAGE_METRICS
        ],
        verdicts=metrics["image"],
        best=(fraction(metrics["image"]["best_f1"]), fraction(metrics["image"]["best_threshold"])),
        classes=_class_rows(metrics["classes"]),
        confusion=_confusion(metrics["confusion"]),
        pictures=[_figure(picture) for picture in pictures],
        colours={"truth": _css(TRUTH_COLOUR), "prediction": _css(PREDICTION_COLOUR)},
        verdict_sentence=verdict_sentence(run),
        setting_rows=_setting_rows(run),
        command=command,
        failed=metrics.get("failed", []),
    )


def _cards(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    image, counts, images = metrics["image"], metrics["image"]["counts"], metrics["images"]
    alarms = "false alarm" if counts["fp"] == 1 else "false alarms"
    missed = {
        "name": "Missed defects",
        "value": str(counts["fn"]) if images["defective"] else NONE,
        "detail": f"of {images['defective']} defective images; {counts['fp']} {alarms} in {images['ok']} OK",
        "tone": "bad" if counts["fn"] else "good" if images["defective"] else "",
    }
    return [
        _card("Pixel IoU", read_metric(metrics["pixel"], "iou"), "accent"),
        _card("Pixel F1", read_metric(metrics["pixel"], "f1"), "accent"),
        _card("Image AP", read_metric(image, "ap"), "accent"),
        missed,
    ]


def _card(name: str, row: MetricRow, tone: str) -> dict[str, str]:
    detail = f"95 %: {row.interval}" if row.interval else "not defined for these images"
    return {"name": name, "value": row.text, "detail": detail, "tone": tone}


def _population_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per metric: its name, what it says, and the numbers of the three populations."""
    populations = [metrics["populations"][name] for name in POPULATIONS]
    return [
        {
            "name": name,
            "words": _PIXEL_WORDS[path],
            "cells": [read_metric(each, path) for each in populations],
        }
        for name, path in POPULATION_METRICS
    ]


def _boundary_rows(pixel: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = [{"name": "exact", "words": "every pixel counts as it is drawn", "cells": _cells(pixel, "")}]
    for tolerance in pixel["boundary"]:
        words = (
            f"a marked pixel is right if a defect pixel lies within {tolerance} px of it, "
            f"a defect pixel is found if a marked one lies within {tolerance} px"
        )
        rows.append(
            {"name": f"{tolerance} px", "words": words, "cells": _cells(pixel, f"boundary/{tolerance}/")}
        )
    return rows


def _cells(pixel: Mapping[str, Any], path: str) -> list[MetricRow]:
    return [read_metric(pixel, path + name) for name in ("precision", "recall", "f1")]


def _reached(pixel: Mapping[str, Any]) -> str:
    """IoU as a share of its ceiling, as text; empty where either is undefined or the ceiling is zero."""
    iou, ceiling = pixel["iou"], pixel["ceiling_2px"]
    return "" if iou is None or not ceiling else f"{100 * iou / ceiling:.0f} %"


def _box_rows(boxes: Mapping[str, Any]) -> list[dict[str, Any]]:
    words = {"0.5": "the right place and size", "0.1": "the right place, whatever the size"}
    return [
        {
            "name": f"IoU ≥ {overlap}",
            "words": words.get(overlap, ""),
            "cells": [read_metric(boxes, f"{overlap}/{name}") for name in ("recall", "precision")],
        }
        for overlap in boxes
        if overlap != "intervals"
    ]


def _class_rows(classes: Mapping[str, Any]) -> list[tuple[str, int, list[str]]]:
    names = ("pixel_iou", "pixel_precision", "pixel_recall", "image_recall", "class_recall")
    return [
        (name, numbers["images"], [fraction(numbers[each]) for each in names])
        for name, numbers in classes.items()
    ]


def _confusion(confusion: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Counts with the shade of each cell in percent of its row; None with a single defect class."""
    if confusion is None or len(confusion["classes"]) < 3:
        return None
    rows = []
    for name, counts in zip(confusion["classes"], confusion["matrix"], strict=True):
        total = max(sum(counts), 1)
        rows.append((name, [(count, round(45 * count / total)) for count in counts]))
    return {"classes": confusion["classes"], "rows": rows}


def _figure(picture: WorstPicture) -> dict[str, Any]:
    return {
        "image": picture.image,
        "uri": image_uri(picture.picture),
        "iou": fraction(picture.iou),
        "verdict": picture.verdict,
        "tone": _TONES[picture.verdict],
        "score": fraction(picture.score),
    }


def _setting_rows(run: Run) -> list[SettingRow]:
    height, width = run.image_size
    network = SettingRow(
        "Network", f"{run.backbone}, {height} × {width} px", "classifier and the size it sees"
    )
    return [network, *map_rows(run)]


def _css(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
