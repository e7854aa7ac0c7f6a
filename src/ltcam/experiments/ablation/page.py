"""Answers to the paper's open questions: as rows, as Markdown and as a page."""

from __future__ import annotations

from ltcam.experiments import pages
from ltcam.experiments.ablation.answers import (
    Answer,
    Answers,
    ChosenMap,
    OverRuns,
    RunAnswers,
    TruncationGain,
)
from ltcam.experiments.pages import markdown_of, nan_for_none, signed
from ltcam.reports.drawing import Axis, chart_uri, line_chart
from ltcam.reports.html import render
from ltcam.reports.metrics_table import NONE, fraction, markdown_table, markdown_text
from ltcam.reports.settings_rows import SettingRow, network_row, plain

HEAD = ("choice", "method", "IoU", "against base", "95 % / spread", "mean IoU per image", "its difference")
"""Columns of `answer_rows`."""

NARROW = HEAD[:4]
"""Those that a terminal of 80 letters has room for."""

GAIN_HEAD = (
    "percentile of",
    "truncation acts on",
    "percentile",
    "Grad-CAM",
    "LTGrad-CAM",
    "gain",
    "95 % / spread",
)
"""Columns of `gain_rows`."""

GAIN_NARROW = GAIN_HEAD[:6]
"""Likewise."""

STAGE_HEAD = (
    "stage",
    "share of the sum",
    "Grad-CAM",
    "share, LT",
    "LTGrad-CAM",
    "gain",
    "moved by truncation",
)
"""Columns of `stage_rows`."""

_CHOICES = {
    "base": "base setting",
    "scope": "percentile of each",
    "reading": "truncation acts on the",
    "fusion": "stages fused by",
    "stage_scale": "stages scaled by",
    "tap": "stages tapped",
    "relu": "ReLU per stage:",
    "stages": "only stage",
}
_VALUES = {("base", "paper"): "", ("tap", "before"): "before pooling"}


def answer_rows(questions: Answers) -> list[tuple[str, ...]]:
    """Texts in the order of `HEAD`, question by question.

    Args:
        questions: of `ltcam.experiments.ablation.measure.ablate_runs`, also as read back from `questions.json`.
    """
    return [
        (
            choice_words(row),
            row.method,
            fraction(row.iou),
            NONE if row.question == "base" else signed(row.gain),
            NONE if row.question == "base" else _uncertainty(row, "gain"),
            fraction(row.mean_image_iou),
            NONE if row.question == "base" else signed(row.mean_image_gain),
        )
        for row in _by_question(questions)
    ]


def gain_rows(questions: Answers) -> list[tuple[str, ...]]:
    """Texts in the order of `GAIN_HEAD`: LTGrad-CAM over Grad-CAM, all stages, per scope, reading and percentile."""
    return [
        (
            row.scope + (" (before pooling)" if row.taps == "before" else ""),
            row.reading,
            f"{row.percentile:g}",
            fraction(row.grad_cam_iou),
            fraction(row.iou),
            signed(row.gain),
            _uncertainty(row, "gain"),
        )
        for row in questions.gains
        if row.stage == "all"
    ]


def stage_rows(questions: Answers, scope: str, reading: str) -> list[tuple[str, ...]]:
    """Texts in the order of `STAGE_HEAD`: each stage alone, at the base's percentile."""
    return [
        (
            row.stage,
            _percent(row.grad_cam_share),
            fraction(row.grad_cam_iou),
            _percent(row.share),
            fraction(row.iou),
            signed(row.gain),
            _percent(row.moved),
        )
        for row in stage_gains(questions, scope, reading)
    ]


def choice_words(row: ChosenMap) -> str:
    """What is chosen otherwise in a row."""
    which = (row.question, row.value)
    return f"{_CHOICES[row.question]} {_VALUES.get(which, row.value)}".strip()


def ablation_markdown(questions: Answers) -> str:
    """The answers as Markdown: what was measured, every choice, the gains, each stage alone."""
    lines = [markdown_text(_sentence(questions))]
    if len(questions.runs) > 1:
        lines.append(markdown_table(*_run_table(questions)))
    lines += [
        markdown_table(HEAD, answer_rows(questions)),
        markdown_text(_best_sentence(questions)),
        markdown_table(GAIN_HEAD, gain_rows(questions)),
        *(
            f"Each stage alone, percentile {questions.base.percentile} of each {scope}, truncation acts on the "
            f"{reading}:\n\n{markdown_table(STAGE_HEAD, rows)}"
            for scope, reading, rows in stage_tables(questions)
        ),
    ]
    return markdown_of(lines, questions.failed)


def ablation_page(questions: Answers, *, title: str) -> str:
    """The page as one self-contained HTML text.

    Args:
        questions: as for `answer_rows`.
        title: heading, such as the names of runs and data.
    """
    run_head, run_rows = _run_table(questions)
    return render(
        "page.html.j2",
        beside=__file__,
        title=title,
        questions=questions,
        sentence=_sentence(questions),
        best_sentence=_best_sentence(questions),
        cards=_cards(questions),
        head=HEAD,
        rows=answer_rows(questions),
        base_rows=[place for place, row in enumerate(_by_question(questions)) if row.question == "base"],
        gain_head=GAIN_HEAD,
        gain_rows=gain_rows(questions),
        stage_head=STAGE_HEAD,
        stage_tables=[
            (scope, reading, _stage_chart(questions, scope, reading), rows)
            for scope, reading, rows in stage_tables(questions)
        ],
        run_head=run_head,
        run_rows=run_rows,
        failed=questions.failed,
        notes=list(dict.fromkeys(note for run in questions.runs for note in run.notes)),
        setting_rows=_setting_rows(questions),
    )


def _by_question(questions: Answers) -> list[Answer]:
    """Rows with the methods of one choice beside each other."""
    order = list(dict.fromkeys(choice_words(row) for row in questions.rows))
    return sorted(questions.rows, key=lambda row: order.index(choice_words(row)))


def stage_gains(questions: Answers, scope: str, reading: str) -> list[TruncationGain]:
    """What LTGrad-CAM gains at each stage alone, shallow to deep, with this population and reading."""
    wanted = ("after", scope, reading, questions.base.percentile)
    return [
        row
        for row in questions.gains
        if (row.taps, row.scope, row.reading, row.percentile) == wanted and row.stage != "all"
    ]


def stage_tables(questions: Answers) -> list[tuple[str, str, list[tuple[str, ...]]]]:
    """(scope, reading, rows); none for a network of one stage."""
    pairs = dict.fromkeys((row.scope, row.reading) for row in questions.gains)
    tables = [(scope, reading, stage_rows(questions, scope, reading)) for scope, reading in pairs]
    return [table for table in tables if table[2]]


def _stage_chart(questions: Answers, scope: str, reading: str) -> str:
    rows = stage_gains(questions, scope, reading)
    series = {
        "LTGrad-CAM": [nan_for_none(row.iou) for row in rows],
        "Grad-CAM": [nan_for_none(row.grad_cam_iou) for row in rows],
    }
    every = [row for row in questions.gains if row.stage != "all"]
    top = max((iou or 0.0 for row in every for iou in (row.iou, row.grad_cam_iou)), default=1.0)
    return chart_uri(line_chart(Axis("stage", range(1, len(rows) + 1)), series, low=0, high=top))


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.1f} %"


def _uncertainty(row: OverRuns, name: str) -> str:
    """The interval over images of one run, or the spread over several."""
    low, high = row.range(name)
    return NONE if low is None or high is None else f"{low:+.3f} to {high:+.3f}"


def _sentence(questions: Answers) -> str:
    runs = questions.runs
    if len(runs) == 1:
        words = f"{runs[0].images.measured} defective images with a mask ({runs[0].side})"
        what = "with 95 % intervals over images, the same ones drawn for both maps"
    else:
        words = f"{len(runs)} runs; means over them"
        what = "with the lowest and highest of the runs"
    return (
        f"{words}. Each choice is varied alone against the paper's base setting: percentile "
        f"{questions.base.percentile} of each channel, in the gradient, stages behind their pooling, each cut at "
        f"0, all added up raw, Otsu's threshold. IoU of pixels pooled over the images, {what}. True masks were used "
        "for measuring only."
    )


def _best_sentence(questions: Answers) -> str:
    best = questions.best_reading
    if best is None:
        return "No reading has a known gain over Grad-CAM."
    return (
        f"LTGrad-CAM gains most over Grad-CAM with the percentile of each {best.scope} and truncation acting on "
        f"the {best.reading}: IoU {fraction(best.iou)} against {fraction(best.grad_cam_iou)} "
        f"({signed(best.gain)})."
    )


def _cards(questions: Answers) -> list[dict[str, str]]:
    cards = []
    for method in questions.base.methods:
        rows = [row for row in questions.rows if row.method == method and row.iou is not None]
        base = next((row for row in rows if row.question == "base"), None)
        if base is None:
            continue
        best = max(rows, key=lambda row: row.iou or 0.0)
        cards.append(
            {
                "name": f"{method}: IoU, base setting",
                "value": fraction(base.iou),
                "detail": f"best single change: {choice_words(best)}, {fraction(best.iou)}",
                "tone": "accent",
            }
        )
    return cards


def _run_table(questions: Answers) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows: each run with the settings in which the runs differ, and its base rows."""
    runs = questions.runs
    settings = [
        {"backbone": run.backbone, "seed": run.seed, **run.training, "image_size": run.image_size}
        for run in runs
    ]
    names = list(dict.fromkeys(name for each in settings for name in each))
    differing = [name for name in names if len({repr(each.get(name)) for each in settings}) > 1]
    methods = questions.base.methods
    head = ("run", *(name.replace("_", " ") for name in differing), "images", *methods)
    rows = [
        (
            run.run,
            *(plain(each.get(name)) for name in differing),
            str(run.images.measured),
            *(fraction(_base_iou(run, method)) for method in methods),
        )
        for run, each in zip(runs, settings, strict=True)
    ]
    return head, rows


def _base_iou(run: RunAnswers, method: str) -> float | None:
    rows = [row for row in run.rows if row.question == "base" and row.method == method]
    return rows[0].iou if rows else None


def _setting_rows(questions: Answers) -> list[SettingRow]:
    first = questions.runs[0]
    pooling = (
        "stages end in a pooling" if first.pooling_stages else "no stage ends in a pooling: one tap only"
    )
    settings = questions.settings
    return [
        network_row(first.backbone, first.image_size, "of the first run"),
        *pages.stage_rows(first.stages, settings.positive_activations, pooling),
        *pages.last_rows(settings.bootstrap, first.device, questions.versions),
    ]
