"""The paper's figures of a run: maps made once per image, drawn, and written as PNG and SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from ltcam.experiments.cases import noting_warnings
from ltcam.experiments.compare.contenders import Contender, ContenderSettings
from ltcam.experiments.opened import Source
from ltcam.experiments.reproduce.figures.grid import Shown, close_window
from ltcam.experiments.reproduce.figures.maps import (
    ImageMaps,
    Pictured,
    answer_of,
    choose_pictured,
    layer_heads,
    maps_of,
    method_head,
    read_shown,
    shown_contenders,
    stage_heads,
)
from ltcam.experiments.reproduce.figures.plates import (
    Answer,
    layers_figure,
    methods_figure,
    stage_figure,
    truncation_figure,
)
from ltcam.experiments.reproduce.reproduction import Drawn, DrawnImage, DrawnMap
from ltcam.experiments.results import write_json
from ltcam.jobs.execution import Execution
from ltcam.reports.drawing import save_figure
from ltcam.runs.inspector import Inspector
from ltcam_runtime.errors import DataError
from ltcam_runtime.folders import output_folder

FIGURES_FILE = "figures.json"
FIGURES_SCHEMA_VERSION = 1

CAPTIONS: Mapping[str, tuple[str, str]] = {
    "stages": (
        "1",
        "Grad-CAM of each stage: deep stages are sure and coarse, shallow ones have the resolution, and the noise.",
    ),
    "methods": ("3 and 4", "All methods side by side with image and true mask."),
    "truncation": ("5 and 6", "Stage by stage, without truncation and with it."),
    "layers": ("7", "FullGrad and LTFullGrad layer by layer."),
    "delta": ("8 and 9", "IoU against the truncation's delta, on the training and the test side."),
}
"""Of each figure: its numbers in the paper, and what it shows."""


@dataclass(frozen=True, eq=False)
class _Row:
    """An image with everything that is drawn of it."""

    pictured: Pictured
    shown: Shown
    maps: ImageMaps
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class FigureSettings:
    """What is drawn.

    Attributes:
        maps: which maps stand side by side; their percentile is that of all truncated maps.
        split: as for `ltcam.runs.sides.choose_samples`.
        images: rows of each figure.
    """

    maps: ContenderSettings = field(default_factory=ContenderSettings)
    split: str = "auto"
    images: int = 3


def make_figures(
    source: Source,
    out: Path,
    settings: FigureSettings,
    execution: Execution = Execution(),
    *,
    kept: Path | None = None,
) -> Drawn:
    """Draw a run's figures of a data set: stages, methods, truncation and layers, as PNG and SVG.

    The images are chosen by rule: those that are measured are sorted by the share of their pixels that is
    defect, and cut into as many equal parts as there shall be rows; the middle one of each part is shown.

    Args:
        source: run and data.
        out: folder to write the figures and figures.json to.
        settings: what is drawn.
        execution: what becomes of figures that are there, who is told about progress.
        kept: folder to keep the maps of finished images in, to continue from after a kill; None keeps none.

    Returns:
        What was written to figures.json: which images, by which rule, and the numbers in the figures.

    Raises:
        LtcamError: run, data, settings or output that cannot be used.
    """
    side = source.side(settings.split)
    chosen = choose_pictured(side.masked, settings.images)
    if not chosen:
        raise DataError(
            f"{source.data.root}: no defective image ({side.words}) has a mask that can be read, so none can be shown"
        )
    inspector, percentile = source.inspector, settings.maps.percentile
    with output_folder(out, marker=FIGURES_FILE, overwrite=execution.overwrite) as folder:
        execution.listener.begun("making maps")
        compared = shown_contenders(inspector, settings.maps)
        rows = []
        for done, pictured in enumerate(chosen, start=1):
            shown = read_shown(pictured)
            with noting_warnings({}):  # the comparison tells them
                maps = maps_of(
                    inspector,
                    compared,
                    shown,
                    settings.maps,
                    kept=None if kept is None else kept / f"{done:03}.npz",
                )
            answers = zip(compared, maps.methods, strict=True)
            rows.append(_Row(pictured, shown, maps, tuple(answer_of(*each, shown) for each in answers)))
            execution.listener.progress(done, len(chosen))
        for name, figure in _figures(inspector, compared, rows, percentile).items():
            save_figure(figure, folder, name)
        found = _facts(inspector, compared, rows, side.words, percentile)
        write_json(folder / FIGURES_FILE, found.to_json())
    return found


def _figures(
    inspector: Inspector, compared: Sequence[Contender], rows: Sequence[_Row], percentile: float
) -> dict[str, Figure]:
    shown = [row.shown for row in rows]
    maps = [row.maps for row in rows]
    # Of two lines per image a page holds two: that of the smallest defect, and that of the largest.
    ends = list(dict.fromkeys((rows[0], rows[-1])))
    two, their_maps = [row.shown for row in ends], [row.maps for row in ends]
    delta = f" (\N{GREEK SMALL LETTER DELTA} {percentile:g})"
    stages = stage_heads(maps[0])
    heads = [method_head(each, len(inspector.run.stages)) for each in compared]
    answers = {head: [row.answers[place] for row in rows] for place, head in enumerate(heads)}
    return {
        "stages": stage_figure(shown, [each.stages[:-1] for each in maps], stages[:-1]),
        "methods": methods_figure(shown, answers),
        "truncation": truncation_figure(
            two,
            [each.stages for each in their_maps],
            [each.cut_stages for each in their_maps],
            stages,
            ("Grad-CAM", "LTGrad-CAM" + delta),
        ),
        "layers": layers_figure(
            two,
            [each.layers for each in their_maps],
            [each.cut_layers for each in their_maps],
            layer_heads(maps[0]),
            ("FullGrad", "LTFullGrad" + delta),
        ),
    }


def _facts(
    inspector: Inspector,
    compared: Sequence[Contender],
    rows: Sequence[_Row],
    side: str,
    percentile: float,
) -> Drawn:
    return Drawn(
        schema_version=FIGURES_SCHEMA_VERSION,
        split=side,
        backbone=inspector.run.backbone,
        percentile=percentile,
        rule="of the images with a mask, sorted by the share that is defect (then by name), the middle one of "
        f"each of {len(rows)} equal parts; figures of two lines per image show the first and the last of them",
        stages=inspector.run.stages,
        layers=rows[0].maps.numbers,
        images=tuple(_drawn(compared, row) for row in rows),
    )


def _drawn(compared: Sequence[Contender], row: _Row) -> DrawnImage:
    answers = zip(compared, row.answers, strict=True)
    return DrawnImage(
        image=row.pictured.sample.id,
        defect_share=row.pictured.area,
        rank=row.pictured.rank,
        among=row.pictured.among,
        window=_box(row.shown),
        stage_maxima=tuple(float(each.max()) for each in row.maps.stages),
        truncated_stage_maxima=tuple(float(each.max()) for each in row.maps.cut_stages),
        iou=tuple(
            DrawnMap(method=each.title, stages=each.stages, percentile=each.percentile, iou=answer.iou)
            for each, answer in answers
        ),
    )


def _box(shown: Shown) -> tuple[int, int, int, int] | None:
    """The part shown larger: top, left, bottom, right in pixels."""
    window = close_window(shown.truth)
    if window is None:
        return None
    down, across = window
    return down.start, across.start, down.stop, across.stop
