"""Measure a run's masks by many map methods side by side: the job behind `ltcam compare`.

Each defective image with a mask is read and captured once. Of each map only its pixel counts are kept, in a journal,
so that a comparison that was stopped goes on at the next image.
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
from numpy.typing import NDArray

from ltcam.data.dataset import Sample
from ltcam.data.duplicates import file_sha256
from ltcam.data.fingerprint import content_hashes, fingerprint
from ltcam.data.layouts import read_dataset
from ltcam.evaluation.bootstrap import pooled_intervals
from ltcam.evaluation.counts import count_pixels
from ltcam.evaluation.evaluate import plain_json
from ltcam.experiments.cases import (
    METRICS,
    Case,
    Found,
    Progress,
    make_case,
    metrics_of_sums,
    noting_warnings,
    of_each_kind,
)
from ltcam.experiments.compare.contenders import Contender, contenders, look
from ltcam.experiments.compare.page import compare_markdown, compare_page
from ltcam.experiments.compare.printed import Printed, agreement_of_orders, printed_for
from ltcam.experiments.journal import Journal, open_journal
from ltcam.inspector import Inspector, make_mask
from ltcam.measuring import choose_samples
from ltcam.runs import RUN_FILE, WEIGHTS_FILE, package_versions
from ltcam.training.memory import keep_freed_memory
from ltcam_runtime.errors import DataError, InputError, SettingsError
from ltcam_runtime.folders import output_folder
from ltcam_runtime.reading import read_batches

COMPARE_FILE = "compare.json"
COMPARE_SCHEMA_VERSION = 1

_WORK = "comparison"


@dataclass
class _Work:
    """What is done with, and what went wrong; counts and times are in the journal, no maps, no images."""

    inspector: Inspector
    compared: Sequence[Contender]
    journal: Journal
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def measured(self) -> list[dict[str, Any]]:
        """The journal's entries of images that every contender could mask, by name."""
        found = [self.journal[name] for name in sorted(self.journal)]
        return [entry for entry in found if "counts" in entry]


def compare_run(  # noqa: PLR0913  # the options of a command
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
    batch_size: int = 4,
    device: str = "auto",
    bootstrap: int = 1000,
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda _done, _total: None,
) -> Found:
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
        probing_bfloat16: these two ask it in bfloat16, which is several times faster where there are instructions for
            it; their rows say so.
        positive_activations: use only the positive part of activations in the methods compared with.
        batch_size: images per pass of the network.
        device: `auto`, `cpu` or `cuda`.
        bootstrap: resamples of the intervals.
        resume: go on with a comparison that was stopped.
        overwrite: replace existing results, and unfinished ones.
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
    inspector = Inspector.load(run, device=device)
    compared = contenders(
        inspector,
        percentile=percentile,
        probing=probing,
        probing_bfloat16=probing_bfloat16,
        positive_activations=positive_activations,
    )
    settings = {
        "percentile": percentile,
        "probing": probing,
        "probing_bfloat16": probing_bfloat16,
        "positive_activations": positive_activations,
        "layout": dataset.layout,
        "device": inspector.device.type,
    }
    begun = {
        **settings,
        "split": split,
        "run": [file_sha256(run / name) for name in (RUN_FILE, WEIGHTS_FILE)],
        "data": fingerprint(dataset, content_hashes(dataset)),
    }
    with (
        open_journal(out, _WORK, begun, resume=resume, overwrite=overwrite) as journal,
        output_folder(out, marker=COMPARE_FILE, overwrite=overwrite) as folder,
    ):
        work = _Work(inspector, compared, journal)
        _measure(work, masked, batch_size, progress)
        measured = work.measured
        if not measured:
            first = next(iter(work.failed.items()))
            raise DataError(f"{data}: none of the {len(masked)} images could be measured; the first: {first}")
        classes = dataset.classes[1:]
        rows = [
            _row(each, place, measured, dataset.layout, classes, bootstrap)
            for place, each in enumerate(compared)
        ]
        looked_at = list(journal.values())
        comparison: dict[str, Any] = plain_json(
            {
                "schema_version": COMPARE_SCHEMA_VERSION,
                "split": side,
                "backbone": inspector.run.backbone,
                "images": {
                    "defective": len(defective),
                    "with_mask": len(masked),
                    "measured": len(measured),
                },
                "rows": rows,
                "paper_order": agreement_of_orders(rows),
                "capture_seconds": float(np.mean([entry["capture_seconds"] for entry in looked_at])),
                "notes": of_each_kind(note for entry in looked_at for note in entry["notes"]),
                "settings": {
                    "run": str(run),
                    "data": str(data),
                    **settings,
                    "stages": inspector.run.stages,
                    "image_size": inspector.run.image_size,
                    "run_cam": inspector.run.cam.model_dump(mode="json"),
                    "run_sharpening": inspector.run.sharpening.model_dump(mode="json"),
                    "run_mask": inspector.run.mask.model_dump(mode="json"),
                    "batch_size": batch_size,
                    "bootstrap": bootstrap,
                },
                "seed": inspector.run.seed,
                "versions": package_versions(),
                "command": command,
                "failed": [{"image": name, "reason": reason} for name, reason in sorted(work.failed.items())],
            }
        )
        _write(folder, comparison, title=f"{run.name} on {data.name}")
    return Found(comparison, tuple(sorted(work.failed.items())))


def _measure(work: _Work, samples: Sequence[Sample], batch_size: int, progress: Progress) -> None:
    """Measure what the journal does not hold yet; files that cannot be read are tried again each time."""
    work.failed |= {name: entry["reason"] for name, entry in work.journal.items() if "reason" in entry}
    by_id = {sample.id: sample for sample in samples if sample.id not in work.journal}
    done = len(samples) - len(by_id)
    progress(done, len(samples))
    files = ((sample.id, sample.path) for sample in by_id.values())
    for batch in read_batches(files, work.inspector.run.image_size, batch_size):
        cases: list[Case] = []
        for item in batch:
            try:
                cases.append(make_case(by_id[item.name], item))
            except InputError as error:
                work.failed[item.name] = error.reason
        if cases:
            _measure_cases(work, cases, [by_id[case.name].label for case in cases])
        done += len(batch)
        progress(done, len(samples))


def _measure_cases(work: _Work, cases: Sequence[Case], labels: Sequence[str]) -> None:
    """Count the pixels of every contender's masks; an image that one of them cannot mask counts for none."""
    counts: list[list[list[int]]] = [[] for _ in cases]
    times: list[float] = []
    reasons: dict[int, str] = {}
    notes: dict[str, None] = {}
    with noting_warnings(notes):
        seconds, maps_of_each = look(work.inspector, work.compared, [case.shrunk for case in cases])
        for maps in maps_of_each:
            times.append(maps.seconds / len(cases))
            for index, (case, heatmap) in enumerate(zip(cases, maps.heatmaps, strict=True)):
                try:
                    mask = make_mask(maps.contender.sharpen(heatmap, case.image), maps.contender.mask)
                except ValueError as error:  # a heatmap that is not finite
                    reasons.setdefault(index, f"{maps.contender.title}: {error}")
                    mask = np.zeros_like(case.truth)
                found = count_pixels(mask, case.truth)
                counts[index].append([found.tp, found.fp, found.fn, found.tn])
    for index, (case, label) in enumerate(zip(cases, labels, strict=True)):
        result = {"reason": reasons[index]} if index in reasons else {"counts": counts[index]}
        entry = {
            "label": label,
            "seconds": times,
            "capture_seconds": seconds / len(cases),
            "notes": list(notes),
        }
        work.journal.add(case.name, {**entry, **result})
        if index in reasons:
            work.failed[case.name] = reasons[index]


def _row(
    contender: Contender,
    place: int,
    measured: Sequence[Mapping[str, Any]],
    layout: str,
    classes: Sequence[str],
    bootstrap: int,
) -> dict[str, Any]:
    """The numbers of the contender that is `place`-th in the entries."""
    table = np.array([entry["counts"][place] for entry in measured], np.float64)
    tp, fp, fn, _ = (int(value) for value in table.sum(0))
    printed = printed_for(layout, contender.title, contender.delta)
    return {
        "method": contender.title,
        "stages": contender.stages,
        "delta": contender.delta,
        "sharpening": contender.sharpening.polarity,
        "bfloat16": contender.bfloat16,
        **metrics_of_sums(table.sum(0)),
        "intervals": pooled_intervals(table, metrics_of_sums, resamples=bootstrap),
        "classes": _by_class(table, [entry["label"] for entry in measured], classes),
        "counts": {"tp": tp, "fp": fp, "fn": fn},
        "seconds": float(np.mean([entry["seconds"][place] for entry in measured])),
        "shares_capture": contender.shares_a_capture,
        "paper": None if printed is None else _paper(printed),
    }


def _by_class(
    table: NDArray[np.float64], labels: Sequence[str], classes: Sequence[str]
) -> dict[str, dict[str, float]] | None:
    """The four numbers, pooled over the images of each defect class; None where the data set has one only."""
    if len(classes) < 2:
        return None
    of = np.array(labels)
    return {
        name: {"images": int((of == name).sum()), **metrics_of_sums(table[of == name].sum(0))}
        for name in classes
        if (of == name).any()
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
