"""Measure a run's masks by many map methods side by side: the job behind `ltcam compare`.

Each defective image with a mask is read and captured once. Of each map only its pixel counts are kept.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ltcam.data.dataset import Sample
from ltcam.data.layouts import read_dataset
from ltcam.evaluation.bootstrap import pooled_intervals
from ltcam.evaluation.counts import PixelCounts, count_pixels
from ltcam.evaluation.evaluate import plain_json
from ltcam.experiments.cases import (
    METRICS,
    Case,
    Progress,
    make_case,
    metrics_of,
    metrics_of_sums,
    noting_warnings,
)
from ltcam.experiments.contenders import Contender, contenders, look
from ltcam.experiments.printed import Printed, agreement_of_orders, printed_for
from ltcam.inspector import Inspector, make_mask, read_batches
from ltcam.measuring import choose_samples
from ltcam.reports.compare_page import compare_markdown, compare_page
from ltcam.runs import package_versions
from ltcam.training.memory import keep_freed_memory
from ltcam_runtime.errors import DataError, InputError, SettingsError
from ltcam_runtime.folders import output_folder

COMPARE_FILE = "compare.json"
COMPARE_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Compared:
    """What a comparison found.

    Attributes:
        comparison: as written to compare.json.
        failed: (image, reason) of images that could not be measured.
    """

    comparison: Mapping[str, Any]
    failed: tuple[tuple[str, str], ...]


@dataclass
class _Tally:
    """What is kept while images go by: no maps, no images."""

    counts: dict[Contender, list[PixelCounts]]
    seconds: dict[Contender, float]
    capture_seconds: float = 0.0
    looked_at: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)

    @property
    def measured(self) -> int:
        return len(next(iter(self.counts.values())))


def compare_run(  # noqa: PLR0913  # the options of a command
    run: Path,
    data: Path,
    out: Path,
    *,
    layout: str | None = None,
    split: str = "auto",
    percentile: float = 50,
    probing: bool = False,
    positive_activations: bool = False,
    batch_size: int = 4,
    device: str = "auto",
    bootstrap: int = 1000,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda _done, _total: None,
) -> Compared:
    """Measure the masks of many methods on the defective images that have a mask, and on no others.

    Masks are used for this measurement and for nothing else.

    Args:
        run: run folder.
        data: data set.
        out: folder to write compare.json, compare.csv, compare.md and report.html to.
        layout: of the data; None finds it out.
        split: as for `ltcam.measuring.choose_samples`; `auto` is the test side where there is one.
        percentile: of the truncated forms, 0 to 100.
        probing: also Score-CAM and Ablation-CAM, which ask the network once per channel.
        positive_activations: use only the positive part of activations in the methods compared with.
        batch_size: images per pass of the network.
        device: `auto`, `cpu` or `cuda`.
        bootstrap: resamples of the intervals.
        overwrite: replace existing results.
        command: kept in the results.
        progress: called with (done, total).

    Raises:
        LtcamError: run, data, settings or output that cannot be used.
    """
    keep_freed_memory()
    if not 0 <= percentile <= 100:
        raise SettingsError(f"--percentile {percentile:g}: must be 0 to 100")
    dataset = read_dataset(data, layout, one_class=True)
    samples, side = choose_samples(dataset, run, split)
    defective = [sample for sample in samples if sample.defective]
    masked = [sample for sample in defective if sample.mask is not None]
    if not masked:
        raise DataError(
            f"{data}: none of the {len(defective)} defective images ({side}) has a mask, so there is nothing to "
            "compare; add masks, or try --split all"
        )
    with output_folder(out, marker=COMPARE_FILE, overwrite=overwrite) as folder:
        inspector = Inspector.load(run, device=device)
        compared = contenders(
            inspector, percentile=percentile, probing=probing, positive_activations=positive_activations
        )
        tally = _measure(inspector, compared, masked, batch_size, progress)
        if not tally.measured:
            raise DataError(
                f"{data}: none of the {len(masked)} images could be measured; the first: {tally.failed[0]}"
            )
        rows = [_row(each, tally, dataset.layout, bootstrap) for each in compared]
        comparison: dict[str, Any] = plain_json(
            {
                "schema_version": COMPARE_SCHEMA_VERSION,
                "split": side,
                "backbone": inspector.run.backbone,
                "images": {
                    "defective": len(defective),
                    "with_mask": len(masked),
                    "measured": tally.measured,
                },
                "rows": rows,
                "paper_order": agreement_of_orders(rows),
                "capture_seconds": tally.capture_seconds / tally.looked_at,
                "notes": list(tally.notes),
                "settings": {
                    "run": str(run),
                    "data": str(data),
                    "layout": dataset.layout,
                    "percentile": percentile,
                    "probing": probing,
                    "positive_activations": positive_activations,
                    "stages": inspector.run.stages,
                    "image_size": inspector.run.image_size,
                    "run_cam": inspector.run.cam.model_dump(mode="json"),
                    "run_sharpening": inspector.run.sharpening.model_dump(mode="json"),
                    "run_mask": inspector.run.mask.model_dump(mode="json"),
                    "batch_size": batch_size,
                    "device": inspector.device.type,
                    "bootstrap": bootstrap,
                },
                "seed": inspector.run.seed,
                "versions": package_versions(),
                "command": command,
                "failed": [{"image": name, "reason": reason} for name, reason in tally.failed],
            }
        )
        _write(folder, comparison, title=f"{run.name} on {data.name}")
    return Compared(comparison, tuple(tally.failed))


def _measure(
    inspector: Inspector,
    compared: Sequence[Contender],
    samples: Sequence[Sample],
    batch_size: int,
    progress: Progress,
) -> _Tally:
    tally = _Tally({each: [] for each in compared}, dict.fromkeys(compared, 0.0))
    by_id = {sample.id: sample for sample in samples}
    files = ((sample.id, sample.path) for sample in samples)
    done = 0
    for batch in read_batches(files, inspector.run.image_size, batch_size):
        cases: list[Case] = []
        for item in batch:
            try:
                cases.append(make_case(by_id[item.name], item))
            except InputError as error:
                tally.failed.append((item.name, error.reason))
        with noting_warnings(tally.notes):
            _measure_cases(inspector, cases, tally)
        done += len(batch)
        progress(done, len(samples))
    return tally


def _measure_cases(inspector: Inspector, cases: Sequence[Case], tally: _Tally) -> None:
    """Count the pixels of every contender's masks; an image that one of them cannot mask counts for none."""
    if not cases:
        return
    seconds, maps_of_each = look(inspector, list(tally.counts), [case.shrunk for case in cases])
    found: dict[Contender, list[PixelCounts]] = {}
    reasons: dict[int, str] = {}
    for maps in maps_of_each:
        tally.seconds[maps.contender] += maps.seconds
        found[maps.contender] = []
        for index, (case, heatmap) in enumerate(zip(cases, maps.heatmaps, strict=True)):
            try:
                mask = make_mask(maps.contender.sharpen(heatmap, case.image), maps.contender.mask)
            except ValueError as error:  # a heatmap that is not finite
                reasons.setdefault(index, f"{maps.contender.title}: {error}")
                mask = np.zeros_like(case.truth)
            found[maps.contender].append(count_pixels(mask, case.truth))
    tally.capture_seconds += seconds
    tally.looked_at += len(cases)
    tally.failed += [(cases[index].name, reason) for index, reason in sorted(reasons.items())]
    for contender, counts in found.items():
        tally.counts[contender] += [each for index, each in enumerate(counts) if index not in reasons]


def _row(contender: Contender, tally: _Tally, layout: str, bootstrap: int) -> dict[str, Any]:
    counts = tally.counts[contender]
    total = sum(counts, PixelCounts())
    table = np.array([(each.tp, each.fp, each.fn, each.tn) for each in counts], np.float64)
    printed = printed_for(layout, contender.title, contender.delta)
    return {
        "method": contender.title,
        "stages": contender.stages,
        "delta": contender.delta,
        "sharpening": contender.sharpening.polarity,
        **metrics_of(total),
        "intervals": pooled_intervals(table, metrics_of_sums, resamples=bootstrap),
        "counts": {"tp": total.tp, "fp": total.fp, "fn": total.fn},
        "seconds": tally.seconds[contender] / tally.looked_at,
        "shares_capture": contender.shares_a_capture,
        "paper": None if printed is None else _paper(printed),
    }


def _paper(printed: Printed) -> dict[str, Any]:
    return {name: value for name, value in asdict(printed).items() if name != "delta"}


def _write(folder: Path, comparison: Mapping[str, Any], *, title: str) -> None:
    text = json.dumps(comparison, indent=2, allow_nan=False) + "\n"
    (folder / COMPARE_FILE).write_text(text, encoding="utf-8")
    (folder / "compare.csv").write_text(_csv(comparison["rows"]), encoding="utf-8")
    (folder / "compare.md").write_text(compare_markdown(comparison), encoding="utf-8")
    (folder / "report.html").write_text(compare_page(comparison, title=title), encoding="utf-8")


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    bounds = [f"{name}{end}" for name in METRICS for end in ("", "_low", "_high")]
    paper = [f"paper_{name}" for name in METRICS]
    writer.writerow(["method", "stages", "delta", "sharpening", *bounds, "tp", "fp", "fn", "seconds", *paper])
    for row in rows:
        values: list[float | None] = []
        for name in METRICS:
            values += [row[name], *row["intervals"][name]]
        printed = row["paper"] or dict.fromkeys(METRICS)
        writer.writerow(
            [
                row["method"],
                row["stages"],
                "" if row["delta"] is None else f"{row['delta']:g}",
                row["sharpening"],
                *map(_fraction, values),
                *(row["counts"][name] for name in ("tp", "fp", "fn")),
                f"{row['seconds']:.6f}",
                *(_fraction(printed[name]) for name in METRICS),
            ]
        )
    return text.getvalue()


def _fraction(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"
