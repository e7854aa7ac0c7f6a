"""A comparison of map methods: as rows, as Markdown, and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ltcam.experiments.compare.comparison import (
    ComparedMap,
    CompareRow,
    Comparison,
    MapOf,
    MeasuredMap,
    OrderAgreement,
    ranked,
)
from ltcam.experiments.pages import last_rows, markdown_of, stage_rows
from ltcam.reports.html import render
from ltcam.reports.metrics_table import (
    NONE,
    MetricRow,
    fraction,
    markdown_table,
    markdown_text,
)
from ltcam.reports.settings_rows import CONTRASTS, SettingRow, network_row, plain

METHOD_HEAD = ("method", "map of", "percentile", "IoU", "95 %", "precision", "recall", "F1", "hits")
"""Columns of `method_rows`; hits: share of images whose heatmap has its peak within 8 px of the true mask."""

HEAD = (*METHOD_HEAD, "ms/image", "paper's IoU")
"""Columns of `compare_rows`."""

NARROW = ("method", "map of", "IoU", "precision", "recall", "F1", "hits")
"""Those that a terminal of 80 letters has room for."""

_STAGES = {
    "last": "last stage",
    "all": "all stages",
    "network": "every layer",
    "run": "its own settings",
}
_ORDERS = {
    "last": "with the compared methods' maps of the last stage",
    "all": "with the compared methods' maps of all stages",
}


def stage_words(row: MapOf) -> str:
    """Of which stages a row's map is, and in which arithmetic where that is not float32."""
    return _STAGES[row.stages] + (", in bfloat16" if isinstance(row, ComparedMap) and row.bfloat16 else "")


def compare_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Texts in the order of `HEAD`, highest IoU first.

    Args:
        comparison: of `ltcam.experiments.compare.measure.compare_run`, also as read back from `compare.json`.
    """
    rows = ranked(comparison.rows)
    return [
        (*texts, f"{1000 * row.seconds:.1f}", NONE if row.paper is None else fraction(row.paper.iou))
        for row, texts in zip(rows, method_rows(rows), strict=True)
    ]


def method_rows(rows: Sequence[MeasuredMap]) -> list[tuple[str, ...]]:
    """Texts in the order of `METHOD_HEAD`, highest IoU first."""
    return [
        (
            row.method,
            stage_words(row),
            NONE if row.percentile is None else f"{row.percentile:g}",
            fraction(row.iou),
            row.bounded("iou").interval or NONE,
            fraction(row.precision),
            fraction(row.recall),
            fraction(row.f1),
            fraction(row.hit_8px),
        )
        for row in ranked(rows)
    ]


def class_tables(comparison: Comparison) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """Heads and rows of two tables: of each kind of defect the pooled IoU, and how often the heatmap's peak hits.

    Args:
        comparison: as for `compare_rows`.

    Returns:
        The number of images stands behind a kind's name, and the mean over kinds before them; no tables where there
        is one kind only.
    """
    rows = [row for row in ranked(comparison.rows) if row.classes]
    if not rows:
        return []
    kinds = [f"{name} ({numbers.images})" for name, numbers in (rows[0].classes or {}).items()]
    return [
        (
            ("method", "map of", mean, *kinds),
            [(row.method, stage_words(row), *_over_kinds(row, number)) for row in rows],
        )
        for mean, number in (("mean IoU", "iou"), ("mean hits", "hit_8px"))
    ]


def _over_kinds(row: CompareRow, name: str) -> tuple[str, ...]:
    """A number's mean over kinds, and of each kind."""
    kinds = [getattr(numbers, name) for numbers in (row.classes or {}).values()]
    known = [value for value in kinds if value is not None]
    mean = sum(known) / len(known) if len(known) == len(kinds) else None
    return (fraction(mean), *map(fraction, kinds))


def compare_markdown(comparison: Comparison) -> str:
    """The comparison as Markdown: what was measured, all rows, what the paper says, what went wrong."""
    lines = [
        markdown_text(_sentence(comparison)),
        markdown_table(HEAD, compare_rows(comparison)),
        "True masks were used for measuring only. " + _times(comparison),
        *(
            f"Order of the methods by IoU against the paper's: {text}."
            for text in orders(comparison.paper_order)
        ),
        *(markdown_text(f"{method}: {note}.") for method, note in paper_notes(comparison.rows)),
    ]
    if classes := class_tables(comparison):
        lines += [
            "Each kind of defect (images): pooled IoU, and hits.",
            *(markdown_table(*each) for each in classes),
        ]
    return markdown_of(lines, comparison.failed)


def compare_page(comparison: Comparison, *, title: str) -> str:
    """The page as one self-contained HTML text.

    Args:
        comparison: as for `compare_rows`.
        title: heading, such as the names of run and data.
    """
    rows = ranked(comparison.rows)
    return render(
        "page.html.j2",
        beside=__file__,
        title=title,
        comparison=comparison,
        images=comparison.images,
        cards=_cards(rows),
        rows=[_cells(row) for row in rows],
        paper_rows=paper_rows(rows),
        paper_notes=paper_notes(rows),
        orders=orders(comparison.paper_order),
        classes=class_tables(comparison),
        times=_times(comparison),
        setting_rows=_setting_rows(comparison),
    )


def _sentence(comparison: Comparison) -> str:
    images = comparison.images
    return (
        f"{images.measured} of {images.defective} defective images ({comparison.split}), those with a "
        f"mask that could be read; maps of {comparison.backbone}; pixels pooled over the images, masks by "
        "Otsu's threshold, 95 % intervals over images; hits: share of images whose heatmap has its peak within 8 px of "
        "the true mask."
    )


def _times(comparison: Comparison) -> str:
    return (
        "Times are for the map alone, per image; the maps of one or all stages share a capture of "
        f"{1000 * comparison.capture_seconds:.1f} ms per image, the others ask the network themselves and "
        "have that in their time."
    )


def _cards(rows: Sequence[CompareRow]) -> list[dict[str, str]]:
    peers = [row for row in rows if row.stages != "run"]
    untruncated = [row for row in peers if row.percentile is None]
    truncated = [row for row in peers if row.percentile is not None]
    chosen = [
        ("This run", [row for row in rows if row.stages == "run"]),
        ("Best truncated method", truncated),
        ("Best other method", untruncated),
    ]
    return [_card(name, found[0]) for name, found in chosen if found]


def _card(name: str, row: CompareRow) -> dict[str, str]:
    iou = row.bounded("iou")
    interval = f", 95 %: {iou.interval}" if iou.interval else ""
    return {
        "name": f"{name}: IoU",
        "value": iou.text,
        "detail": f"{row.method}, {_STAGES[row.stages]}{interval}",
        "tone": "accent",
    }


def _cells(row: CompareRow) -> dict[str, Any]:
    metrics: list[MetricRow] = [row.bounded(name) for name in ("iou", "precision", "recall", "f1")]
    words = stage_words(row)
    if row.percentile is not None:
        words += f", percentile {row.percentile:g}"
    if row.sharpening != "none":
        words += f", {row.sharpening} contrast"
    return {
        "name": row.method,
        "words": words,
        "own": row.stages == "run",
        "iou": metrics[0],
        "cells": metrics,
        "hits": fraction(row.hit_8px),
        "inside": fraction(row.hit_inside),
        "milliseconds": f"{1000 * row.seconds:.1f}",
        "own_pass": not row.shares_capture,
    }


def paper_rows(rows: Sequence[MeasuredMap]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """(method, map of, (measured, printed) of each metric) of the methods that the paper has."""
    return [
        (
            row.method,
            stage_words(row),
            [
                (fraction(getattr(row, name)), fraction(getattr(row.paper, name)))
                for name in ("iou", "precision", "recall", "f1")
            ],
        )
        for row in rows
        if row.paper is not None
    ]


def paper_notes(rows: Sequence[MeasuredMap]) -> list[tuple[str, str]]:
    """(method, what was corrected) of the paper's numbers that are not shown as printed."""
    notes = {row.method: row.paper.note for row in rows if row.paper is not None}
    return [(method, note) for method, note in notes.items() if note]


def orders(agreements: Mapping[str, OrderAgreement] | None) -> list[str]:
    """What the rank correlations with the paper are, in words."""
    return [
        f"Spearman {'undefined' if each.spearman is None else format(each.spearman, '.2f')} over "
        f"{each.methods} methods, {_ORDERS[stages]}"
        for stages, each in (agreements or {}).items()
    ]


def _setting_rows(comparison: Comparison) -> list[SettingRow]:
    settings = comparison.settings
    polarity = str(settings.run_sharpening["polarity"])
    return [
        network_row(comparison.backbone, settings.image_size),
        SettingRow("Images", comparison.split, "of these the defective ones with a mask"),
        *stage_rows(
            settings.stages,
            settings.positive_activations,
            "shallow to deep; all of them: their maps added up as they are",
            "in the compared methods; the run's map has its own setting",
        ),
        SettingRow(
            "Truncation",
            f"percentile {settings.percentile:g}",
            "of the LT forms: positive gradients of each channel below it are dropped",
        ),
        SettingRow(
            "Masks", "Otsu", "of the heatmap at the image's own size; the run's own as its settings say"
        ),
        SettingRow("The run's map", plain(settings.run_cam), ""),
        SettingRow("The run's sharpening", polarity, CONTRASTS[polarity]),
        SettingRow("The run's mask", plain(settings.run_mask), ""),
        *last_rows(
            settings.bootstrap,
            settings.device,
            comparison.versions,
            "of whole images, with replacement",
            f"{settings.batch_size} images at once",
        ),
    ]
