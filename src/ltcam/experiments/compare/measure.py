"""Measure a run's masks by many map methods side by side: the job behind `ltcam compare`.

Each defective image with a mask is read and captured once. Of each map only its counts are kept, in a journal, so
that a comparison that was stopped continues at the next image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltcam.data.dataset import Dataset
from ltcam.evaluation.bootstrap import pooled_intervals
from ltcam.evaluation.counts import PIXEL_RATIOS, PixelCounts, count_pixels, pixel_ratios, ratios_of_sums
from ltcam.evaluation.hits import HitCounts, count_hit, hit_rate, inside_rate
from ltcam.experiments.cases import Case, noting_warnings, of_each_kind, read_cases
from ltcam.experiments.compare.comparison import (
    CompareRow,
    Comparison,
    ComparisonSettings,
    KindRow,
    MeansOverKinds,
)
from ltcam.experiments.compare.contenders import Contender, ContenderSettings, contenders, look
from ltcam.experiments.compare.page import compare_markdown, compare_page
from ltcam.experiments.compare.printed import agreement_of_orders, printed_for
from ltcam.experiments.journal import Journal, journalled
from ltcam.experiments.opened import Source
from ltcam.experiments.pages import nan_for_none
from ltcam.experiments.results import (
    Found,
    ImageTotals,
    PixelSums,
    Values,
    bounded,
    failures,
    with_bounds,
    write_csv,
    write_json,
)
from ltcam.jobs.execution import Execution
from ltcam.runs.folder import package_versions
from ltcam_runtime.errors import DataError
from ltcam_runtime.folders import write_file
from ltcam_runtime.inspector import make_mask
from ltcam_runtime.phrases import first_few

COMPARE_FILE = "compare.json"
COMPARE_SCHEMA_VERSION = 1

_JOURNAL = "comparison"


@dataclass(frozen=True)
class CompareSettings:
    """What is compared, on what.

    Attributes:
        maps: which maps.
        split: as for `ltcam.runs.sides.choose_samples`; `auto` is the test side where there is one.
        bootstrap: resamples of the intervals.
    """

    maps: ContenderSettings = field(default_factory=ContenderSettings)
    split: str = "auto"
    bootstrap: int = 1000


class _Entry(Values):
    """What the journal holds of one image.

    Attributes:
        label: of the image.
        seconds: of each contender's map.
        capture_seconds: of what they share.
        notes: what was warned of.
        reason: why a contender could not mask it; or "".
        counts: pixels of each contender; of none where one could not mask it.
        hits: likewise, where the peak lies.
    """

    label: str
    seconds: tuple[float, ...]
    capture_seconds: float
    notes: tuple[str, ...]
    reason: str = ""
    counts: tuple[tuple[int, int, int, int], ...] = ()
    hits: tuple[tuple[int, int, int], ...] = ()

    def pixels(self, place: int) -> PixelCounts:
        """Of the contender that is `place`-th."""
        return PixelCounts(*self.counts[place])

    def peak(self, place: int) -> HitCounts:
        """Likewise, where the peak lies."""
        return HitCounts(*self.hits[place])


def compare_run(
    source: Source, out: Path, settings: CompareSettings, execution: Execution = Execution()
) -> Found[Comparison]:
    """Measure the masks of many methods on the defective images that have a mask, and on no others.

    Masks are used for this measurement and for nothing else.

    Args:
        source: run and data.
        out: folder to write compare.json, compare.csv, compare.md and report.html to.
        settings: what is compared.
        execution: batch size, what becomes of work and results that are there, who is told about progress. Where is
            computed is the source's.

    Raises:
        LtcamError: run, data, settings or output that cannot be used.
    """
    source.side(settings.split).must_have_masks(source.data.root)
    compared = contenders(source.inspector, settings.maps)
    begun = {
        **_options(source, settings),
        "counts": "pixels and hits",
        "split": settings.split,
        "run": list(source.run_hashes),
        "data": source.data.fingerprint,
    }
    with journalled(out, COMPARE_FILE, _JOURNAL, begun, execution) as (journal, folder):
        execution.listener.begun("measuring masks")
        failed = _measure(source, settings, compared, journal, execution)
        comparison = _summed_up(source, settings, compared, (_entries(journal), failed), execution)
        _write(folder, comparison, source.title)
    return Found(comparison, tuple(failed.items()), comparison.notes)


def _options(source: Source, settings: CompareSettings) -> dict[str, Any]:
    """What the maps depend on, by the names of `ComparisonSettings`."""
    return {name: value for name, value in asdict(settings.maps).items() if value is not None} | {
        "layout": source.data.dataset.layout,
        "device": source.inspector.network.device.type,
    }


@dataclass
class _Looked:
    """What is found in a batch of images, contender by contender; by place in the batch."""

    pixels: list[list[PixelCounts]]
    hits: list[list[HitCounts]]
    seconds: list[float]
    reasons: dict[int, str]


def _measure(
    source: Source,
    settings: CompareSettings,
    compared: Sequence[Contender],
    journal: Journal,
    execution: Execution,
) -> dict[str, str]:
    """Measure what the journal does not hold yet; why images could not be, by name.

    Files that cannot be read are tried again each time.
    """
    unread: dict[str, str] = {}
    progress, batch_size = execution.listener.progress, execution.batch_size
    samples = source.side(settings.split).masked
    left = [sample for sample in samples if sample.id not in journal]
    done = len(samples) - len(left)
    progress(done, len(samples))
    for batch in read_cases(source, left, unread, batch_size):
        if batch:
            for case, entry in zip(batch, _looked_at(source, compared, batch), strict=True):
                journal.add(case.name, entry.to_json())
        done = min(done + batch_size, len(samples))
        progress(done, len(samples))
    found = {name: _Entry.model_validate(value) for name, value in journal.items()}
    unmasked = {name: entry.reason for name, entry in found.items() if entry.reason}
    return dict(sorted((unread | unmasked).items()))


def _looked_at(source: Source, compared: Sequence[Contender], cases: Sequence[Case]) -> Iterator[_Entry]:
    """The journal's entry of each image; one that a contender cannot mask counts for none of them."""
    found = _Looked([[] for _ in cases], [[] for _ in cases], [], {})
    notes: dict[str, None] = {}
    with noting_warnings(notes):
        seconds, maps_of_each = look(source.inspector, compared, [case.resized for case in cases])
        for maps in maps_of_each:
            found.seconds.append(maps.seconds / len(cases))
            for place, (case, heatmap) in enumerate(zip(cases, maps.heatmaps, strict=True)):
                try:
                    pixels, hits = _counted(maps.contender, heatmap, case)
                except ValueError as error:  # a heatmap that is not finite
                    found.reasons.setdefault(place, f"{maps.contender.title}: {error}")
                else:
                    found.pixels[place].append(pixels)
                    found.hits[place].append(hits)
    for place, case in enumerate(cases):
        counts = {
            "counts": [each.numbers() for each in found.pixels[place]],
            "hits": [each.numbers() for each in found.hits[place]],
        }
        yield _Entry.model_validate(
            {
                "label": case.sample.label,
                "seconds": found.seconds,
                "capture_seconds": seconds / len(cases),
                "notes": list(notes),
                **({"reason": found.reasons[place]} if place in found.reasons else counts),
            }
        )


def _counted(contender: Contender, heatmap: NDArray[np.float32], case: Case) -> tuple[PixelCounts, HitCounts]:
    own = contender.sharpen(heatmap, case.image)
    return count_pixels(make_mask(own, contender.mask), case.truth), count_hit(own, case.truth)


def _entries(journal: Journal) -> list[_Entry]:
    """What the journal holds, by name, so that a resumed comparison adds up in the same order."""
    return [_Entry.model_validate(journal[name]) for name in sorted(journal)]


# -------------------------------------------------------------------------------------- summing up


def _summed_up(
    source: Source,
    settings: CompareSettings,
    compared: Sequence[Contender],
    found: tuple[Sequence[_Entry], Mapping[str, str]],
    execution: Execution,
) -> Comparison:
    """What the entries, and the reasons of those that are missing, say."""
    (entries, failed), run, side = found, source.inspector.run, source.side(settings.split)
    measured = [entry for entry in entries if entry.counts]
    if not measured:
        raise DataError(
            f"{source.data.root}: none of the {len(side.masked)} images could be measured; the first: "
            f"{next(iter(failed.items()))}"
        )
    rows = [
        _row(each, place, measured, source.data.dataset, settings.bootstrap)
        for place, each in enumerate(compared)
    ]
    return Comparison(
        schema_version=COMPARE_SCHEMA_VERSION,
        split=side.words,
        backbone=run.backbone,
        images=ImageTotals(defective=len(side.defective), with_mask=len(side.masked), measured=len(measured)),
        rows=tuple(rows),
        paper_order=agreement_of_orders(rows),
        capture_seconds=float(np.mean([entry.capture_seconds for entry in entries])),
        notes=(
            *of_each_kind(note for entry in entries for note in entry.notes),
            *_that_draw_nothing(compared, measured),
            *([_OF_EACH_KIND] if run.kinds else []),
        ),
        settings=ComparisonSettings(
            run=str(source.run),
            data=str(source.data.root),
            **_options(source, settings),
            stages=run.stages,
            image_size=run.image_size,
            run_cam=run.cam.model_dump(mode="json"),
            run_sharpening=run.sharpening.model_dump(mode="json"),
            run_mask=run.mask.model_dump(mode="json"),
            batch_size=execution.batch_size,
            bootstrap=settings.bootstrap,
        ),
        seed=run.seed,
        versions=package_versions(),
        command=execution.command,
        failed=failures(failed),
    )


_OF_EACH_KIND = (
    "This run draws each kind of defect with a map, contrast and cut of its own, and `ltcam evaluate` measures those. "
    "Here stands its one map for all kinds, so that maps are compared with a map"
)


def _that_draw_nothing(compared: Sequence[Contender], measured: Sequence[_Entry]) -> list[str]:
    """A note of methods whose masks are empty in all images: the score of a quick run, say, hears of no last stage."""
    idle = [
        f"{contender.title} ({contender.stages})"
        for place, contender in enumerate(compared)
        if not any(entry.pixels(place).tp + entry.pixels(place).fp for entry in measured)
    ]
    if not idle:
        return []
    return [
        f"nothing is drawn in any image by {first_few(idle)}: the score may not depend on what they look at"
    ]


def _row(
    contender: Contender,
    place: int,
    measured: Sequence[_Entry],
    dataset: Dataset,
    bootstrap: int,
) -> CompareRow:
    """The numbers of the contender that is `place`-th in the entries."""
    counts = sum((each.pixels(place) for each in measured), PixelCounts())
    table = np.array([each.pixels(place).numbers() for each in measured], np.float64)
    kinds = _kinds(place, measured, dataset.classes[1:])
    return CompareRow(
        method=contender.title,
        stages=contender.stages,
        percentile=contender.percentile,
        sharpening=contender.sharpening.polarity,
        bfloat16=contender.bfloat16,
        **pixel_ratios(counts),
        intervals=pooled_intervals(table, ratios_of_sums, resamples=bootstrap),
        **_hits(measured, place),
        mean_over_kinds=MeansOverKinds(
            **{
                name: float(np.mean([nan_for_none(getattr(each, name)) for each in kinds.values()]))
                for name in MeansOverKinds.model_fields
            }
        ),
        classes=kinds if len(dataset.classes) > 2 else None,
        counts=PixelSums(tp=counts.tp, fp=counts.fp, fn=counts.fn),
        seconds=float(np.mean([each.seconds[place] for each in measured])),
        shares_capture=contender.shares_a_capture,
        paper=printed_for(dataset.layout, contender.title, contender.percentile),
    )


def _kinds(place: int, measured: Sequence[_Entry], classes: Sequence[str]) -> dict[str, KindRow]:
    """The numbers of each kind of defect, pooled over its images."""
    found = {}
    for name in classes:
        own = [each for each in measured if each.label == name]
        if own:
            counts = sum((each.pixels(place) for each in own), PixelCounts())
            found[name] = KindRow(images=len(own), **pixel_ratios(counts), **_hits(own, place))
    return found


def _hits(measured: Sequence[_Entry], place: int) -> dict[str, float]:
    counts = sum((each.peak(place) for each in measured), HitCounts())
    return {"hit_8px": hit_rate(counts), "hit_inside": inside_rate(counts)}


# ----------------------------------------------------------------------------------------- writing


def _write(folder: Path, comparison: Comparison, title: str) -> None:
    write_json(folder / COMPARE_FILE, comparison.to_json())
    _write_csv(folder / "compare.csv", comparison.rows)
    write_file(folder / "compare.md", compare_markdown(comparison))
    write_file(folder / "report.html", compare_page(comparison, title=title))


def _write_csv(file: Path, rows: Sequence[CompareRow]) -> None:
    paper = [f"paper_{name}" for name in PIXEL_RATIOS]
    head = [
        "method",
        "stages",
        "percentile",
        "sharpening",
        *with_bounds(),
        "tp",
        "fp",
        "fn",
        "seconds",
        *paper,
    ]
    head += ["hit_8px", "hit_inside"]
    lines = [
        [
            row.method,
            row.stages,
            None if row.percentile is None else f"{row.percentile:g}",
            row.sharpening,
            *bounded(row),
            row.counts.tp,
            row.counts.fp,
            row.counts.fn,
            row.seconds,
            *(getattr(row.paper, name, None) for name in PIXEL_RATIOS),
            row.hit_8px,
            row.hit_inside,
        ]
        for row in rows
    ]
    write_csv(file, head, lines)
