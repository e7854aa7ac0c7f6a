"""The paper's figures of a run: maps made once per image, drawn, and written as PNG and SVG."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ltcam.data.layouts import read_dataset
from ltcam.evaluation.evaluate import plain_json
from ltcam.experiments.cases import noting_warnings
from ltcam.experiments.compare.contenders import Contender
from ltcam.experiments.reproduce.figures.grid import Shown, close_window
from ltcam.experiments.reproduce.figures.layers import layers_figure
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
from ltcam.experiments.reproduce.figures.methods import Answer, methods_figure
from ltcam.experiments.reproduce.figures.stages import stage_figure, truncation_figure
from ltcam.inspector import Inspector
from ltcam.measuring import choose_samples
from ltcam.reports.drawing import save_figure
from ltcam.training.memory import keep_freed_memory
from ltcam_runtime.errors import DataError, SettingsError
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

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class _Row:
    """An image with everything that is drawn of it."""

    pictured: Pictured
    shown: Shown
    maps: ImageMaps
    answers: tuple[Answer, ...]


def make_figures(  # noqa: PLR0913  # the options of a command
    run: Path,
    data: Path,
    out: Path,
    *,
    layout: str | None = None,
    split: str = "auto",
    percentile: float = 50,
    probing: bool = False,
    probing_bfloat16: bool = False,
    positive_activations: bool = False,
    images: int = 3,
    device: str = "auto",
    kept: Path | None = None,
    overwrite: bool = False,
    progress: Progress = lambda _done, _total: None,
) -> Mapping[str, Any]:
    """Draw a run's figures of a data set: stages, methods, truncation and layers, as PNG and SVG.

    The images are chosen by rule: those that are measured are sorted by the share of their pixels that is
    defect, and cut into as many equal parts as there shall be rows; the middle one of each part is shown.

    Args:
        run: run folder.
        data: data set.
        out: folder to write the figures and figures.json to.
        layout: of the data; None finds it out.
        split: as for `ltcam.measuring.choose_samples`.
        percentile: of the truncated maps, 0 to 100.
        probing: also Score-CAM and Ablation-CAM.
        probing_bfloat16: these two ask the network in bfloat16.
        positive_activations: use only the positive part of activations in the methods compared with.
        images: rows of each figure.
        device: `auto`, `cpu` or `cuda`.
        kept: folder to keep the maps of finished images in, to go on from after a kill; None keeps none.
        overwrite: replace existing figures.
        progress: called with (done, total) images.

    Returns:
        What was written to figures.json: which images, by which rule, and the numbers in the figures.

    Raises:
        LtcamError: run, data, settings or output that cannot be used.
    """
    keep_freed_memory()
    if not 0 <= percentile <= 100:
        raise SettingsError(f"--percentile {percentile:g}: must be 0 to 100")
    dataset = read_dataset(data, layout, one_class=True)
    samples, side = choose_samples(dataset, run, split)
    chosen = choose_pictured([each for each in samples if each.defective and each.mask is not None], images)
    if not chosen:
        raise DataError(
            f"{data}: no defective image ({side}) has a mask that can be read, so none can be shown"
        )
    with output_folder(out, marker=FIGURES_FILE, overwrite=overwrite) as folder:
        inspector = Inspector.load(run, device=device)
        compared = shown_contenders(
            inspector,
            percentile=percentile,
            probing=probing,
            probing_bfloat16=probing_bfloat16,
            positive_activations=positive_activations,
        )
        rows = []
        for done, pictured in enumerate(chosen, start=1):
            shown = read_shown(pictured)
            with noting_warnings({}):  # the comparison tells them
                maps = maps_of(
                    inspector,
                    compared,
                    shown,
                    percentile=percentile,
                    positive_activations=positive_activations,
                    kept=None if kept is None else kept / f"{done:03}.npz",
                )
            answers = zip(compared, maps.methods, strict=True)
            rows.append(_Row(pictured, shown, maps, tuple(answer_of(*each, shown) for each in answers)))
            progress(done, len(chosen))
        for name, figure in _figures(inspector, compared, rows, percentile).items():
            save_figure(figure, folder, name)
        found: dict[str, Any] = plain_json(_facts(inspector, compared, rows, side, percentile))
        (folder / FIGURES_FILE).write_text(
            json.dumps(found, indent=2, allow_nan=False) + "\n", encoding="utf-8"
        )
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
) -> dict[str, Any]:
    return {
        "schema_version": FIGURES_SCHEMA_VERSION,
        "split": side,
        "backbone": inspector.run.backbone,
        "percentile": percentile,
        "rule": "of the images with a mask, sorted by the share that is defect (then by name), the middle one of "
        f"each of {len(rows)} equal parts; figures of two lines per image show the first and the last of them",
        "stages": inspector.run.stages,
        "layers": rows[0].maps.numbers,
        "images": [
            {
                "image": row.pictured.sample.id,
                "defect_share": row.pictured.area,
                "rank": row.pictured.rank,
                "among": row.pictured.among,
                "window": _box(row.shown),
                "stage_maxima": [float(each.max()) for each in row.maps.stages],
                "truncated_stage_maxima": [float(each.max()) for each in row.maps.cut_stages],
                "iou": [
                    {"method": each.title, "stages": each.stages, "delta": each.delta, "iou": answer.iou}
                    for each, answer in zip(compared, row.answers, strict=True)
                ],
            }
            for row in rows
        ],
    }


def _box(shown: Shown) -> list[int] | None:
    """The part shown larger: top, left, bottom, right in pixels."""
    window = close_window(shown.truth)
    if window is None:
        return None
    down, across = window
    return [down.start, across.start, down.stop, across.stop]
