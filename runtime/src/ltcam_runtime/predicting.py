"""Inspect any number of files and write the results: what `ltcam predict` and `ltcam-run` do."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ltcam_runtime.counts import check_count
from ltcam_runtime.errors import SettingsError
from ltcam_runtime.folders import output_folder
from ltcam_runtime.inspector import Inspector
from ltcam_runtime.listing import Listing
from ltcam_runtime.pages.notebook import facts_html
from ltcam_runtime.phrases import counted
from ltcam_runtime.settings import CamSettings, DrawingSettings, InspectionSettings, KindSettings
from ltcam_runtime.writers import CHOICES, MARKER, TABLES, ReportSettings, ResultFacts, open_writers
from ltcam_runtime.writers.behind import writing_behind
from ltcam_runtime.zooming import too_small_to_see

_LEAST_SCALE = 1e-6  # pixels along a millimetre
_NEARLY_BLACK = 20
"""Grey value of 255 that no pixel of such an image exceeds: what 12 bits give on a scale of 16."""


@dataclass(frozen=True)
class Summary:
    """What was done.

    Attributes:
        out: folder of the results; where nothing was inspected, none were written.
        inspected: number of images.
        verdicts: number of images per verdict.
        failed: (image, reason) of those that could not be read, or whose results could not be written; and (folder,
            reason) of those that could not be listed.
        left_out: what was found beside the images and is not inspected: `reason`, `count` and an `example`.
        poor: number of masks whose trust is poor.
        notes: what should make one hesitate, a sentence each.
    """

    out: Path
    inspected: int
    verdicts: Mapping[str, int]
    failed: tuple[tuple[str, str], ...]
    left_out: tuple[Mapping[str, Any], ...] = ()
    poor: int = 0
    notes: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        facts = [(name, str(count)) for name, count in self.verdicts.items()]
        facts.append(("failed", str(len(self.failed))))
        if self.inspected:
            facts.append(("page", str(self.out / "report.html")))
        return facts_html(f"{self.inspected} images inspected", facts)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "out": str(self.out),
            "inspected": self.inspected,
            "verdicts": dict(self.verdicts),
            "failed": [{"image": image, "reason": reason} for image, reason in self.failed],
            "left_out": list(self.left_out),
            "poor_masks": self.poor,
            "notes": list(self.notes),
        }

    def sentences(self) -> list[str]:
        """For people: what failed, what was left out, and what there is to look at."""
        listed = self.failed[:20] if self.inspected else self.failed  # else no table lists them
        found = [f"failed: {image}: {reason}" for image, reason in listed]
        if len(self.failed) > len(listed):
            found.append(f"... and {len(self.failed) - len(listed)} more; all are listed in predictions.csv")
        for entry in self.left_out:
            more = ", ..." if entry["count"] > 1 else ""
            found.append(f"left out: {counted(entry['count'], entry['reason'])} ({entry['example']}{more})")
        found += self.notes
        if self.poor:
            found.append(
                f"{counted(self.poor, 'masks')} of kinds whose outlines hardly explain the verdict (`trust` is poor in "
                "predictions.csv): look before you measure; how-to/poor-masks in the docs says what to try"
            )
        if not self.inspected:
            return [*found, f"0 images inspected, {len(self.failed)} failed; nothing was written"]
        verdicts = ", ".join(f"{count} {name}" for name, count in self.verdicts.items())
        judged = f"{counted(self.inspected, 'images')} inspected ({verdicts}), {len(self.failed)} failed"
        return [*found, f"{judged}; results: {self.out}", f"look at: {self.out / 'report.html'}"]


@dataclass(frozen=True)
class Writing:
    """What is written beside the tables and the page.

    Attributes:
        save: any of `ltcam_runtime.writers.CHOICES`.
        px_per_mm: pixels along a millimetre of the part; then regions have sizes in millimetres too.
    """

    save: tuple[str, ...] = ("masks", "overlays")
    px_per_mm: float | None = None

    def __post_init__(self) -> None:
        if self.px_per_mm is not None and not _LEAST_SCALE <= self.px_per_mm < math.inf:  # nor NaN
            raise SettingsError(
                f"`px_per_mm` {self.px_per_mm}: give the pixels along a millimetre, {_LEAST_SCALE} at least"
            )
        for kind in self.save:
            if kind not in CHOICES:
                close = get_close_matches(kind, CHOICES, n=1)
                hint = f"; did you mean {close[0]}?" if close else ""
                raise SettingsError(
                    f"`save` {kind!r} is unknown; choose from {', '.join(CHOICES)}, or none alone{hint}"
                )


def kinds_to_save(text: str) -> tuple[str, ...]:
    """`masks, overlays` as it is typed, or `none`, to names.

    Raises:
        SettingsError: nothing is named.
    """
    kinds = tuple(part.strip() for part in text.split(",") if part.strip())
    if not kinds:
        raise SettingsError(
            f"`save` {text!r} names nothing; choose from {', '.join(CHOICES)}, or none for tables and page alone"
        )
    return () if kinds == ("none",) else kinds


@dataclass(frozen=True)
class PredictionRequest:
    """What is asked for.

    Attributes:
        writing: what to write beside the tables and the page.
        batch_size: images per pass of the network.
        cascade: whether heatmaps are made only of images that are not judged OK, unless heatmaps are to be saved:
            a second pass of the network for those, none but the verdict's for all others.
        overwrite: replace existing results.

    Raises:
        SettingsError: no such number of images.
    """

    writing: Writing = Writing()
    batch_size: int = 4
    cascade: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_count("batch_size", self.batch_size)

    @property
    def in_two_passes(self) -> bool:
        """Whether the verdict comes first."""
        return self.cascade and not any(kind.startswith("heatmaps") for kind in self.writing.save)


@dataclass(frozen=True, eq=False)
class Opened:
    """An inspector, and what the results say of it.

    Attributes:
        inspector: with its settings.
        settings: what the results are made with, as JSON values; kept in `predictions.json`.
        subtitle: of the page: what inspected, and what was inspected.
    """

    inspector: Inspector
    settings: Mapping[str, Any]
    subtitle: str


def write_predictions(
    listing: Listing,
    out: Path,
    load: Callable[[], Opened],
    wanted: PredictionRequest,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Summary:
    """Inspect files and write predictions.csv, predictions.json, coco.json, report.html and what is to be saved.

    Args:
        listing: the files.
        out: folder to write; whole or not there. Where no file could be inspected, it is left as it was.
        load: opens the inspector, once it is known that there is a place to write to.
        wanted: what is asked for.
        progress: called with (done, total).

    Raises:
        LtcamError: an inspector or output that cannot be used.
    """
    total, poor, largest = len(listing.files), 0, (0, 0)
    black: list[str] = []
    with (
        suppress(_NothingInspectedError),
        output_folder(out, marker=MARKER, overwrite=wanted.overwrite) as folder,
    ):
        opened = load()
        inspector, left_out = opened.inspector, listing.left_out_json()
        report = ReportSettings(
            subtitle=opened.subtitle,
            threshold=inspector.settings.verdict.threshold,
            px_per_mm=wanted.writing.px_per_mm,
        )
        facts = ResultFacts(
            inspector.settings.classes[1:], opened.settings, left_out, wanted.writing.px_per_mm
        )
        with (
            open_writers(folder, facts, kinds=(*TABLES, *wanted.writing.save), report=report) as writers,
            writing_behind(writers) as behind,
        ):
            for name, reason in listing.failed:
                behind.add_failure(name, reason)
            items = inspector.inspect_files(
                listing.files, batch_size=wanted.batch_size, cascade=wanted.in_two_passes
            )
            for done, item in enumerate(items, start=1):
                if item.inspection is None or item.image is None:
                    behind.add_failure(item.name, item.reason)
                else:
                    behind.add(item.inspection, item.image)
                    poor += item.inspection.trust == "poor"
                    largest = max(largest, item.inspection.size, key=math.prod)
                    if int(item.image.max()) <= _NEARLY_BLACK:
                        black.append(item.name)
                progress(done, total)
        if not behind.verdicts:
            raise _NothingInspectedError
    verdicts: dict[str, int] = {**dict(sorted(behind.verdicts.items()))}
    closer = "`zoom=1` looks at full resolution where something stands out"
    notes = [] if inspector.settings.zoom else too_small_to_see(largest, inspector.network.image_size, closer)
    notes += _nearly_black(black)
    return Summary(
        out, sum(verdicts.values()), verdicts, tuple(behind.failed), tuple(left_out), poor, tuple(notes)
    )


class _NothingInspectedError(Exception):
    """Ends the writing of an output folder, which is then left as it was."""


def _nearly_black(names: Sequence[str]) -> list[str]:
    """A note where images are so dark that hardly anything of them was seen."""
    if not names:
        return []
    return [
        f"{counted(len(names), 'images')} nearly black, such as {names[0]}: no light, or a file of more bits than the "
        "images of the training; give images of their depth"
    ]


def settings_json(
    source: Path, settings: InspectionSettings, maps: Mapping[str, CamSettings]
) -> dict[str, Any]:
    """What results are made with, as JSON values: how kinds of defect are drawn in general, and those of their own.

    Args:
        source: run folder or exported file.
        settings: that are in use.
        maps: how each of the network's heatmaps is made, by name.
    """

    def drawn(kind: DrawingSettings) -> dict[str, Any]:
        found = kind.model_dump(mode="json", exclude={"map", "parts"})
        if kind.map in maps:  # which an exported file has of its own kinds only
            found = {"cam": maps[kind.map].model_dump(mode="json"), **found}
        if isinstance(kind, KindSettings) and kind.parts:
            found["parts"] = [drawn(part) for part in kind.parts]
        return found

    general = drawn(settings.default)
    found: dict[str, Any] = {"run": str(source)}
    found |= {name: general[name] for name in ("cam", "sharpening", "mask") if name in general}
    found["verdict"] = settings.verdict.model_dump(mode="json")
    if settings.zoom:
        found["zoom"] = settings.zoom
    if settings.kinds:
        found["kinds"] = {name: drawn(kind) for name, kind in settings.kinds.items()}
    return found


def subtitle_of(what: str, inputs: Sequence[str]) -> str:
    """What inspects, with its name, and the first few inputs: names may be any words."""
    more = " and more" if len(inputs) > 3 else ""
    return f"{what}; images: {', '.join(inputs[:3])}{more}"
