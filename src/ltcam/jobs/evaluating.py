"""Inspect a labelled data set and measure the result: the job behind `ltcam evaluate`."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltcam.data.dataset import Sample
from ltcam.data.opened import Data, opened
from ltcam.data.truth import read_truth
from ltcam.evaluation.counts import iou
from ltcam.evaluation.decisions import Costs
from ltcam.evaluation.evaluate import (
    Histograms,
    ImageRecord,
    Prediction,
    make_histograms,
    record_image,
)
from ltcam.evaluation.examples import Examples, choose_examples
from ltcam.evaluation.settings import EvaluationSettings
from ltcam.evaluation.summary import Evaluation, SummarySettings, summarise
from ltcam.jobs.execution import Execution
from ltcam.reports.comparison_picture import comparison_picture
from ltcam.reports.evaluation_page import GROUPS, Heading, evaluation_page
from ltcam.reports.examples import ExamplePicture
from ltcam.reports.metrics_table import metrics_markdown, metrics_table
from ltcam.runs.folder import ok_labels
from ltcam.runs.inspector import Inspector
from ltcam.runs.memory import keep_freed_memory
from ltcam.runs.run import Run
from ltcam.runs.sides import choose_samples
from ltcam_runtime.errors import DataError, InputError
from ltcam_runtime.folders import output_folder, write_file
from ltcam_runtime.pages.notebook import facts_html
from ltcam_runtime.results import Inspection
from ltcam_runtime.writers.csv import csv_text

METRICS_FILE = "metrics.json"
_WORST = 6


@dataclass(frozen=True, repr=False)
class Measured:
    """What an evaluation found.

    Attributes:
        metrics: as written to metrics.json.
        evaluation: the same, typed.
        failed: (image, reason) of images that could not be measured.
        which: of the data's images were measured, in words.
    """

    metrics: Mapping[str, Any]
    evaluation: Evaluation
    failed: tuple[tuple[str, str], ...]
    which: str

    def __repr__(self) -> str:
        return f"Measured({self.evaluation.decisions.sentence})"

    def _repr_html_(self) -> str:
        """What a notebook shows: each number with its 95 % interval."""
        facts = [
            (
                row.name,
                f"{row.value:.3f}" + ("" if row.low is None else f" ({row.low:.3f} to {row.high:.3f})"),
            )
            for row in metrics_table(self.evaluation)
            if row.value is not None
        ]
        return facts_html("Masks and verdicts against the truth", facts)


def evaluate(
    run: str | Path,
    data: Data,
    out: str | Path,
    settings: EvaluationSettings | None = None,
    execution: Execution = Execution(),  # frozen
) -> Measured:
    """Measure a run on a labelled data set. Masks are used for this measurement and for nothing else.

    Args:
        run: run folder.
        data: folder of images in a known layout, a CSV manifest, or an open data set.
        out: folder to write metrics.json, metrics.md, images.csv and report.html to.
        settings: which images, how sure the numbers shall be, and what to use instead of the run's settings.
        execution: device, batch size, what becomes of results that are there, who is told about progress.

    Raises:
        LtcamError: run, data, settings or output that cannot be used.
    """
    keep_freed_memory()
    asked, run, out = settings or EvaluationSettings(), Path(run), Path(out)
    source = opened(data, one_class=True, remembered=ok_labels(run))
    samples, side = choose_samples(source, run, asked.split)
    # Nobody shall take a part of them for all.
    which = f"{side}, {len(samples):,} of {len(source.dataset.samples):,} images"
    with output_folder(out, marker=METRICS_FILE, overwrite=execution.overwrite) as folder:
        inspector = Inspector.load(
            run, device=execution.device, trust_changed_run=execution.trust_changed_run
        ).overridden(asked.overrides)
        execution.listener.begun("measuring")
        records, histograms, failed = _measure(inspector, samples, execution)
        if not records:
            raise DataError(
                f"{source.root}: none of the {len(samples)} images could be measured; the first: {failed[0]}"
            )
        threshold = inspector.run.verdict.threshold
        wanted = SummarySettings(threshold, asked.bootstrap, worst=_WORST, costs=_costs(asked))
        evaluation = summarise(records, histograms, wanted)
        facts = {
            "run": str(run),
            "data": str(source.root),
            "layout": source.dataset.layout,
            "split": side,
            "command": execution.command,
            **_settings_of(inspector.run),
            "bootstrap": asked.bootstrap,
        }
        metrics = {
            **evaluation.to_json(),
            "unknown_kinds": _unknown_kinds(samples, inspector),
            "settings": facts,
            "failed": [{"image": name, "reason": reason} for name, reason in failed],
        }
        measured = Measured(metrics, evaluation, tuple(failed), which)
        examples = choose_examples(records, evaluation.decisions, evaluation.worst)
        pictures = _example_pictures(inspector, samples, records, examples)
        heading = Heading(
            f"{run.name} on {source.root.name}", which, execution.command, shlex.quote(str(run))
        )
        page = evaluation_page(heading, evaluation, inspector.run, pictures, failed)
        _write(folder, measured, records, page)
    return measured


def _costs(asked: EvaluationSettings) -> Costs | None:
    """What mistakes cost; None where nothing was said."""
    given = {"miss": asked.cost_miss, "alarm": asked.cost_alarm}
    said = {mistake: cost for mistake, cost in given.items() if cost is not None}
    return Costs(**said) if said else None


def _settings_of(run: Run) -> dict[str, Any]:
    """What was measured of a run, as metrics.json holds it."""
    return {
        "backbone": run.backbone,
        "seed": run.seed,
        "cam": run.cam.model_dump(mode="json"),
        "sharpening": run.sharpening.model_dump(mode="json"),
        "mask": run.mask.model_dump(mode="json"),
        "kinds": {name: kind.model_dump(mode="json") for name, kind in run.kinds.items()},
        "verdict": run.verdict.model_dump(mode="json"),
        "image_size": list(run.image_size),
    }


def _write(folder: Path, measured: Measured, records: Sequence[ImageRecord], page: str) -> None:
    write_file(folder / METRICS_FILE, json.dumps(measured.metrics, indent=2, allow_nan=False) + "\n")
    write_file(folder / "metrics.md", metrics_markdown(measured.evaluation))
    write_file(folder / "images.csv", _images_csv(records))
    write_file(folder / "report.html", page)


def _unknown_kinds(samples: Sequence[Sample], inspector: Inspector) -> list[str]:
    """Kinds of defect that the run was not trained with: they count as defective, and cannot be named right."""
    return sorted({sample.label for sample in samples} - set(inspector.run.classes))


def _measure(
    inspector: Inspector, samples: Sequence[Sample], execution: Execution
) -> tuple[list[ImageRecord], Histograms, list[tuple[str, str]]]:
    records: list[ImageRecord] = []
    histograms = make_histograms()
    failed: list[tuple[str, str]] = []
    files = ((sample.id, sample.path) for sample in samples)
    found = inspector.inspect_files(files, batch_size=execution.batch_size, gate=False)
    for done, (sample, item) in enumerate(zip(samples, found, strict=True), start=1):
        execution.listener.progress(done, len(samples))
        if item.inspection is None:
            failed.append((sample.id, item.reason))
            continue
        truth, problem = _truth_of(sample, item.inspection.size)
        if problem:
            failed.append((sample.id, problem))
        try:
            record = _record(sample, item.inspection, truth)
        except ValueError as error:
            failed.append((sample.id, str(error)))
            continue
        records.append(record)
        histograms.add(record, item.inspection.heatmap, truth)
    return records, histograms, failed


def _truth_of(sample: Sample, size: tuple[int, int]) -> tuple[NDArray[np.bool_] | None, str]:
    """The true mask of a sample; or None, and why it cannot be used, which says nothing against image and verdict."""
    try:
        return read_truth(sample, size), ""
    except InputError as error:
        root = sample.path.parents[sample.id.count("/")]
        return None, f"its mask {os.path.relpath(error.path, root)}: {error.reason}"


def _record(sample: Sample, inspection: Inspection, truth: NDArray[np.bool_] | None) -> ImageRecord:
    prediction = Prediction(
        mask=inspection.mask,
        boxes=[region.box for region in inspection.regions],
        verdict=inspection.verdict,
        score=inspection.score,
        class_scores=inspection.class_scores,
        heatmap=inspection.heatmap,
    )
    return record_image(sample.id, sample.label, prediction, truth)


def _images_csv(records: Sequence[ImageRecord]) -> str:
    rows: list[Sequence[object]] = [("image", "label", "verdict", "score", "iou", "tp", "fp", "fn")]
    for record in sorted(records, key=lambda record: record.image):
        pixels = None if record.counts is None else record.counts.pixels
        numbers = (None,) * 4 if pixels is None else (iou(pixels), pixels.tp, pixels.fp, pixels.fn)
        rows.append((record.image, record.label, record.verdict, record.score, *numbers))
    return csv_text(rows)


def _example_pictures(
    inspector: Inspector, samples: Sequence[Sample], records: Sequence[ImageRecord], examples: Examples
) -> list[ExamplePicture]:
    """The images that show how good the run is, inspected once more for their pictures."""
    by_id = {sample.id: sample for sample in samples}
    record_of = {record.image: record for record in records}
    group_of = {name: group for group in GROUPS for name in getattr(examples, group)}
    pictures = []
    files = ((name, by_id[name].path) for name in examples.all)
    for item in inspector.inspect_files(files, batch_size=1, gate=False):
        sample, record = by_id[item.name], record_of[item.name]
        if item.image is None or item.inspection is None:
            continue
        truth = _truth_of(sample, item.inspection.size)[0] if sample.defective else None
        found = item.inspection
        picture = comparison_picture(item.image, truth, found.mask, found.heatmap)
        own = None if record.counts is None or not sample.defective else iou(record.counts.pixels)
        pictures.append(
            ExamplePicture(
                item.name,
                group_of[item.name],
                record.label,
                own,
                record.verdict,
                record.score,
                picture,
                truth is not None,
            )
        )
    return pictures
