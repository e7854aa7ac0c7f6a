"""A reproduction of the paper's experiments: as one page, and as Markdown."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2

from ltcam.evaluation.counts import PIXEL_RATIOS
from ltcam.experiments.ablation.answers import Answers
from ltcam.experiments.ablation.page import GAIN_HEAD, STAGE_HEAD, answer_rows, gain_rows, stage_rows
from ltcam.experiments.ablation.page import HEAD as ANSWER_HEAD
from ltcam.experiments.compare.comparison import CompareRow, Comparison, ranked
from ltcam.experiments.compare.page import HEAD as COMPARE_HEAD
from ltcam.experiments.compare.page import (
    METHOD_HEAD,
    class_tables,
    compare_rows,
    method_rows,
    orders,
    paper_notes,
    paper_rows,
    stage_words,
)
from ltcam.experiments.reproduce.reproduction import Folds, OverFolds, Published, Reproduction
from ltcam.experiments.tune.page import HEAD as CHOICE_HEAD
from ltcam.experiments.tune.page import choice_rows
from ltcam.reports.html import render
from ltcam.reports.metrics_table import NONE, fraction, markdown_table, markdown_text
from ltcam.reports.settings_rows import SettingRow, plain
from ltcam_runtime.encoding import encoded
from ltcam_runtime.images import read_image
from ltcam_runtime.resizing import resize

_KINDS = {"ksdd": "KolektorSDD", "ksdd2": "KolektorSDD2", "synthetic": "a synthetic set"}
_SPLITS = {
    "paper": "the paper's split: tested on kos41 to kos50",
    "official": "the data set's own split",
    "lots": "tested on the last lots of every surface",
    "groups": "a split by groups, not the paper's",
}
_WIDEST_PICTURE = 1800  # px
_QUALITY = 88

Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""Words, head and rows."""

PAPER_HEAD = ("method", "map of", "IoU", "paper", "precision", "paper", "recall", "paper", "F1", "paper")


def reproduce_markdown(found: Reproduction) -> str:
    """The numbers as Markdown: the methods beside the paper's, all rows, classes, percentiles, folds."""
    comparison = found.compare
    blocks = [markdown_text(_sentence(found))]
    blocks += paper_blocks(comparison)
    blocks.append(markdown_table(METHOD_HEAD, method_rows(comparison.rows), words=2))
    blocks += [markdown_table(*table) for table in class_tables(comparison)]
    if found.tune is not None:
        blocks.append(markdown_table(CHOICE_HEAD, choice_rows(found.tune)))
    for _, tables in _questions(found):
        blocks += [markdown_table(head, rows) for _, head, rows in tables]
    if found.folds is not None:
        blocks.append(markdown_table(*fold_table(found.folds), words=2))
    return "\n\n".join(blocks) + "\n"


def paper_blocks(compared: Comparison | Published) -> list[str]:
    """As Markdown: the methods that the paper has too, its numbers beside, and what is to be said of these."""
    rows = paper_rows(ranked(compared.rows))
    if not rows:
        return []
    cells = [(method, words, *(cell for pair in pairs for cell in pair)) for method, words, pairs in rows]
    return [
        markdown_table(PAPER_HEAD, cells, words=2),
        *(
            f"Order of the methods by IoU against the paper's: {text}."
            for text in orders(compared.paper_order)
        ),
        *(markdown_text(f"{method}: {note}.") for method, note in paper_notes(compared.rows)),
    ]


def reproduce_page(found: Reproduction, figures: Mapping[str, tuple[Path, str, str]], *, title: str) -> str:
    """The page as one self-contained HTML text.

    Args:
        found: as written to reproduction.json.
        figures: by name, the picture, its numbers in the paper, and what it shows.
        title: heading.
    """
    comparison = found.compare
    return render(
        "page.html.j2",
        beside=__file__,
        title=title,
        found=found,
        sentence=_sentence(found),
        data_name=_KINDS[found.kind],
        cards=_cards(comparison),
        paper_rows=paper_rows(ranked(comparison.rows)),
        paper_notes=paper_notes(comparison.rows),
        orders=orders(comparison.paper_order),
        compare_head=COMPARE_HEAD,
        all_rows=compare_rows(comparison),
        classes=class_tables(comparison),
        choices=None if found.tune is None else (CHOICE_HEAD, choice_rows(found.tune)),
        questions=_questions(found),
        folds=None if found.folds is None else fold_table(found.folds),
        figures={
            name: {"uri": picture_uri(file), "number": number, "words": words}
            for name, (file, number, words) in figures.items()
        },
        setting_rows=_setting_rows(found),
    )


def picture_uri(file: Path) -> str:
    """A picture file as a `data:` address, as WebP and not wider than a page shows."""
    picture = read_image(file)
    if picture.shape[1] > _WIDEST_PICTURE:
        height = round(picture.shape[0] * _WIDEST_PICTURE / picture.shape[1])
        picture = resize(picture, (height, _WIDEST_PICTURE))
    content = encoded(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    return "data:image/webp;base64," + base64.b64encode(content).decode("ascii")


def fold_table(folds: Folds) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows: mean and spread over folds, highest IoU first."""

    def spread(value: OverFolds) -> str:
        around = "" if value.std is None else f" ± {value.std:.3f}"
        return fraction(value.mean) + around

    head = ("method", "map of", "IoU", "precision", "recall", "F1", "IoU, all folds pooled", "paper's IoU")
    ordered = sorted(folds.rows, key=lambda row: -(row.iou.mean or 0))
    return head, [
        (
            row.method,
            stage_words(row),
            *(spread(getattr(row, name)) for name in PIXEL_RATIOS),
            fraction(row.pooled_iou),
            NONE if row.paper is None else fraction(row.paper.iou),
        )
        for row in ordered
    ]


def _questions(found: Reproduction) -> list[tuple[str, list[Table]]]:
    """Of this run and of the folds, as far as they were asked: words, and the tables of their answers."""
    asked = [
        ("this run", found.questions),
        (f"mean over {0 if found.folds is None else found.folds.folds} folds", found.questions_of_folds),
    ]
    return [(words, _answers(answers)) for words, answers in asked if answers is not None]


def _answers(answers: Answers) -> list[Table]:
    tables: list[Table] = [
        ("Each choice alone made otherwise than in the base setting", ANSWER_HEAD, answer_rows(answers)),
        ("What truncation gains over Grad-CAM, all stages", GAIN_HEAD, gain_rows(answers)),
    ]
    best = answers.best_reading
    if best is not None:
        words = (
            f"Each stage alone where the gain is largest: percentile of each {best.scope}, truncation of the "
            f"{best.reading}"
        )
        tables.append((words, STAGE_HEAD, stage_rows(answers, best.scope, best.reading)))
    return tables


def _sentence(found: Reproduction) -> str:
    images, run = found.compare.images, found.run
    height, width = run.image_size
    name = _KINDS[found.kind]
    return (
        f"{name[0].upper()}{name[1:]}, {_SPLITS[found.split]}: {images.measured} of {images.defective} "
        f"defective images measured, pixels pooled over them; {run.backbone} at {height} × {width} px, trained on "
        "image labels."
    )


def _row(comparison: Comparison, method: str) -> CompareRow | None:
    found = [row for row in ranked(comparison.rows) if row.method == method]
    return found[0] if found else None


def _cards(comparison: Comparison) -> list[dict[str, str]]:
    cards = []
    for method in ("LTGrad-CAM", "Grad-CAM", "This run"):
        row = _row(comparison, method)
        if row is None:
            continue
        paper = "" if row.paper is None else f"; paper: {fraction(row.paper.iou)}"
        cards.append(
            {
                "name": f"{method}: IoU",
                "value": fraction(row.iou),
                "detail": f"{stage_words(row)}{paper}",
                "tone": "accent",
            }
        )
    order = (comparison.paper_order or {}).get("last")
    if order is not None and order.spearman is not None:
        cards.append(
            {
                "name": "Order of the methods",
                "value": f"{order.spearman:.2f}",
                "detail": "Spearman's rank correlation with the paper's",
                "tone": "accent",
            }
        )
    return cards


def _setting_rows(found: Reproduction) -> list[SettingRow]:
    plan, run = found.plan, found.run
    training = {name: value for name, value in plan.training.items() if value is not None}
    weights = run.initial_weights.get("source", "not told")
    rows = [
        SettingRow("Data", _KINDS[found.kind], str(run.data.get("split", ""))),
        SettingRow("Split", found.split, _SPLITS[found.split]),
        SettingRow("Initial weights", str(weights), "what the network started from"),
        SettingRow("Training", plain({n: _file_name(v) for n, v in training.items()}), ""),
        SettingRow(
            "Epoch", plain(run.evidence.get("best_epoch")), str(run.evidence.get("epoch_chosen_by", ""))
        ),
        SettingRow("Arithmetic", run.arithmetic.reason or "not told", ""),
        SettingRow("Percentile", f"{plan.percentile:g}", "of the LT forms that are compared and drawn"),
        SettingRow(
            "Masks", "Otsu", "of the heatmap at the image's own size; the run's own as its settings say"
        ),
        SettingRow("Intervals", f"{plan.bootstrap} resamples", "of whole images, with replacement"),
        SettingRow("Seed", plain(found.seed), "of data, split, training and intervals"),
        SettingRow("Versions", plain(found.versions), ""),
        SettingRow("Machine", plain(found.machine.to_json()), "another one adds numbers up in another order"),
    ]
    if plan.synthetic is not None:
        rows.insert(1, SettingRow("Synthetic set", plain(asdict(plan.synthetic)), "made by this command"))
    return rows


def _file_name(value: Any) -> Any:
    """A path by its last part; the rest is of one machine only."""
    return value.rsplit("/", 1)[-1] if isinstance(value, str) else value
