"""The page of an evaluation: how good masks and verdicts are, and the images where they are worst."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import markupsafe

from ltcam.evaluation.decisions import Decisions
from ltcam.evaluation.metrics import Agreement, Estimate, MaskMetrics
from ltcam.evaluation.summary import Evaluation
from ltcam.reports.examples import COLOURS, ExamplePicture
from ltcam.reports.html import render, shaded_confusion
from ltcam.reports.metrics_table import (
    KIND_METRICS,
    POPULATION_METRICS,
    MetricRow,
    fraction,
    kind_rows,
)
from ltcam.reports.settings_rows import drawn_rows, network_row, verdict_sentence
from ltcam_runtime.pages.histogram import score_histogram

if TYPE_CHECKING:  # the run folder's module needs torch, a page does not
    from ltcam.runs.run import Run

GROUPS = {
    "missed": "Defects that were missed",
    "alarms": "False alarms",
    "worst": "Masks that fit worst",
    "typical": "Typical masks",
    "best": "Masks that fit best",
    "found": "Defects that were found, the least sure first",
}
"""What is shown, in this order."""

_POPULATION_WORDS = {
    "defective": "images labelled defective, masks as drawn whatever the verdict",
    "all": "all images, masks as drawn whatever the verdict",
    "gated": "all images, masks emptied where the verdict is OK: what a user sees",
}

_PIXEL_WORDS = {
    "IoU": "shared pixels / all pixels of truth and prediction, pooled over the images",
    "F1": "2 PR / (P + R) of the two below",
    "Precision": "share of the marked pixels that are defect",
    "Recall": "share of the defect pixels that are marked",
    "Mean IoU per image": "IoU of each image, then their mean: small defects weigh as much as large ones",
    "Mean IoU of both classes (mIoU)": "mean of the IoU of defect and of background; high for any method, since "
    "background is large",
    "F1 within 2 px": "F1 that forgives two pixels at the boundary",
    "IoU ceiling (2 px)": "what two drawings of the same defects, 2 px apart, would reach",
    "Pixel AP": "of the heatmap at all thresholds, average precision",
    "Pixel AUROC": "of the heatmap: how often a defect pixel is hotter than another",
    "PRO": "of the heatmap: share of each defect found, every defect weighing the same, at few false alarms",
}

_IMAGE_WORDS = {
    "AP": "at all thresholds: how well scores put defective images first",
    "AUROC": "how often a defective image scores higher than an OK one",
    "F1": "at the run's threshold",
    "Precision": "share of the images judged defective that are",
    "Recall": "share of the defective images that are judged so",
    "Accuracy": "share of all images judged right",
}


@dataclass(frozen=True)
class Heading:
    """What the page says of where its numbers come from.

    Attributes:
        title: such as the name of the data.
        which: of the data's images these are, in words.
        command: what made the evaluation.
        run_folder: as a command names it.
    """

    title: str
    which: str = ""
    command: str = ""
    run_folder: str = "RUN"


def evaluation_page(
    heading: Heading,
    evaluation: Evaluation,
    run: Run,
    pictures: Sequence[ExamplePicture] = (),
    failed: Sequence[tuple[str, str]] = (),
) -> str:
    """The page as one self-contained HTML text.

    Args:
        heading: where the numbers come from.
        evaluation: what was measured.
        run: with the map, mask and verdict settings that were evaluated.
        pictures: in the order of their groups.
        failed: (image, reason) of those that could not be measured.
    """
    masks, verdicts = evaluation.masks, evaluation.verdicts
    measured = evaluation.populations["defective"].images
    rows = kind_rows(evaluation)
    known = [
        place
        for place in range(len(KIND_METRICS))
        if any(cells[place].value is not None for *_, cells in rows)
    ]
    return render(
        "evaluation_page.html.j2",
        title=heading.title,
        run=run,
        images=evaluation.images,
        which=heading.which,
        run_folder=heading.run_folder,
        measured=measured,
        cards=_cards(evaluation),
        decisions=evaluation.decisions,
        histogram=markupsafe.Markup(_histogram(evaluation.decisions)),  # noqa: S704 - escaped there
        population_words=_POPULATION_WORDS,
        population_rows=_population_rows(evaluation) if measured else [],
        population_images=[each.images for each in evaluation.populations.values()],
        boundary_rows=_boundary_rows(masks),
        ceiling=MetricRow.of(masks.ceiling_2px),
        reached=_reached(masks),
        box_rows=_box_rows(masks),
        image_rows=[
            (MetricRow.of(estimate, name), words)
            for estimate, (name, words) in zip(
                verdicts.metrics.estimates(), _IMAGE_WORDS.items(), strict=True
            )
            if estimate.known
        ],
        verdicts=verdicts,
        best=None
        if math.isnan(verdicts.best_f1)
        else (fraction(verdicts.best_f1), fraction(verdicts.best_threshold)),
        kind_head=[name for place, name in enumerate(KIND_METRICS) if place in known],
        kinds=[(name, count, [cells[place] for place in known]) for name, count, cells in rows],
        confusion=_confusion(evaluation),
        groups=[
            (title, [picture.to_html() for picture in pictures if picture.group == group])
            for group, title in GROUPS.items()
        ],
        names={
            GROUPS["missed"]: evaluation.decisions.missed,
            GROUPS["alarms"]: evaluation.decisions.alarms,
        },
        colours=COLOURS,
        verdict_sentence=verdict_sentence(run),
        setting_rows=[network_row(run.backbone, run.image_size), *drawn_rows(run)],
        command=heading.command,
        failed=[{"image": image, "reason": reason} for image, reason in failed],
    )


def _cards(evaluation: Evaluation) -> list[dict[str, str]]:
    cards, decisions = [], evaluation.decisions
    if decisions.defective:
        cards.append(
            _mistakes("Defects missed", len(decisions.missed), decisions.defective, decisions.miss_bound)
        )
    if decisions.ok:
        cards.append(_mistakes("False alarms", len(decisions.alarms), decisions.ok, decisions.alarm_bound))
    if decisions.unsure:
        detail = f"of {evaluation.images.total}: a person should look"
        cards.append(
            {"name": "Unsure", "value": str(len(decisions.unsure)), "detail": detail, "tone": "warn"}
        )
    estimates = {
        "Image AP": (evaluation.verdicts.metrics.ap, "1: all defective images score higher than OK ones"),
        "Pixel IoU": (evaluation.masks.iou, "what masks and truth share, of all that either marks"),
        "Pixel F1": (evaluation.masks.f1, "precision and recall of pixels in one"),
    }
    return [*cards, *(_card(name, each, words) for name, (each, words) in estimates.items() if each.known)]


def _mistakes(name: str, mistakes: int, images: int, bound: tuple[float, float]) -> dict[str, str]:
    low, high = (100 * share for share in bound)
    detail = f"of {images}; 95 %: {low:.1f} to {high:.1f} % of such images"
    return {"name": name, "value": str(mistakes), "detail": detail, "tone": "bad" if mistakes else "good"}


def _histogram(decisions: Decisions) -> str:
    groups = {
        "ok": ("labelled OK", decisions.ok_scores),
        "defect": ("labelled defective", decisions.defective_scores),
    }
    return score_histogram(groups, decisions.threshold)


def _card(name: str, estimate: Estimate, words: str) -> dict[str, str]:
    row = MetricRow.of(estimate)
    bounds = f"95 %: {row.interval}" if row.interval else "no interval: resampled images all give the same"
    return {"name": name, "value": row.text, "detail": f"{bounds}; {words}", "tone": "accent"}


def _population_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One row per metric: its name, what it says, and the numbers of the three populations."""
    return [
        {
            "name": name,
            "words": _PIXEL_WORDS[name],
            "cells": [MetricRow.of(number(each)) for each in evaluation.populations.values()],
        }
        for name, number in POPULATION_METRICS.items()
    ]


def _boundary_rows(masks: MaskMetrics) -> list[dict[str, Any]]:
    exact = {"name": "exact", "words": "every pixel counts as it is drawn", "cells": _cells(masks)}
    near = [
        {
            "name": f"{tolerance} px",
            "words": f"a marked pixel is right if a defect pixel lies within {tolerance} px of it, "
            f"a defect pixel is found if a marked one lies within {tolerance} px",
            "cells": _cells(agreement),
        }
        for tolerance, agreement in masks.boundary.items()
    ]
    return [exact, *near]


def _cells(found: MaskMetrics | Agreement) -> list[MetricRow]:
    return [MetricRow.of(estimate) for estimate in (found.precision, found.recall, found.f1)]


def _reached(masks: MaskMetrics) -> str:
    """IoU as a share of its ceiling, as text; empty where either is undefined or the ceiling is zero."""
    iou, ceiling = masks.iou.value, masks.ceiling_2px.value
    return f"{100 * iou / ceiling:.0f} %" if ceiling > 0 and masks.iou.known else ""


def _box_rows(masks: MaskMetrics) -> list[dict[str, Any]]:
    words = {0.5: "the right place and size", 0.1: "the right place, whatever the size"}
    return [
        {
            "name": f"IoU ≥ {overlap:g}",
            "words": words.get(overlap, ""),
            "cells": [MetricRow.of(boxes.recall), MetricRow.of(boxes.precision)],
        }
        for overlap, boxes in masks.boxes.items()
    ]


def _confusion(evaluation: Evaluation) -> dict[str, Any] | None:
    """The table of true and predicted classes; None with a single defect class."""
    if evaluation.confusion is None or len(evaluation.confusion[0]) < 3:
        return None
    classes, matrix = evaluation.confusion
    return shaded_confusion(classes, dict(zip(classes, matrix.tolist(), strict=True)))
