"""`ltcam data check DATA` and `ltcam data synth OUT`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ltcam.cli.console import (
    DONE,
    SOME_FAILED,
    command,
    in_words,
    listed,
    parse_size,
    print_json,
    progress,
    say,
    shell_line,
)
from ltcam.cli.options import AsJson, Overwrite
from ltcam.cli.reading import LabelledData, MaskReading
from ltcam.cli.tables import print_table
from ltcam_runtime.phrases import counted
from ltcam_runtime.searching import CLOSED, left_out_words

OK = "ok"  # as in ltcam.data.dataset

if TYPE_CHECKING:
    from ltcam.data.check_report import CheckReport

_LISTED = 12
_SIDES = {"train": "train", "val": "val", "test": "test", "none": "no side"}

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Check a data set, or make a synthetic one."
)


@dataclass(frozen=True, kw_only=True)
class _Data(LabelledData, MaskReading):
    """What is checked."""


@app.command()
@command
def check(
    source: _Data,
    page: Annotated[
        Path | None, typer.Option(help="write a page of counts, problems and thumbnails (HTML)")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> int:
    """Count, and find what would spoil a training: unreadable files, wrong masks, duplicates, contradictions."""
    from ltcam.data.opened import OpenData  # noqa: PLC0415  # after the options are known to be right
    from ltcam.jobs import checking  # noqa: PLC0415
    from ltcam.jobs.execution import Execution  # noqa: PLC0415
    from ltcam.training.listener import Listener  # noqa: PLC0415

    opened = OpenData.open(source.data, source.reading(), one_class=True)
    with progress("reading") as advance:
        report = checking.check(
            opened, page, Execution(overwrite=overwrite, listener=Listener(progress=advance))
        )
    if page is not None:
        say(f"page: {page}")
    if as_json:
        print_json(report.to_json())
    else:
        _print_counts(report)
        _print_findings(report)
        _print_readiness(report)
    failed = report.unreadable or report.masks_unreadable or report.readiness.ready == "no"
    closed = any(entry.reason == CLOSED for entry in report.files.left_out)
    return SOME_FAILED if failed or closed else DONE


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """What is drawn."""

    images: Annotated[int, typer.Option(min=24, help="images per surface")] = 75
    surfaces: Annotated[
        str, typer.Option(help="which, separated by commas; also tile, concrete, steel, painted")
    ] = "brushed,cast,fabric,ceramic"
    defect_share: Annotated[float, typer.Option(min=0.01, max=0.9, help="share of images with a defect")] = (
        0.25
    )
    image_size: Annotated[str, typer.Option(metavar="HxW", help="size of the images")] = "256x352"
    seed: Annotated[int, typer.Option(min=0, help="another seed, another set")] = 0


@app.command()
@command
def synth(
    out: Annotated[Path, typer.Argument(help="folder to write")],
    drawn: _Drawn,
    overwrite: Overwrite = False,
) -> int:
    """Make a synthetic inspection set with exact masks: textured surfaces, the kinds of defect that each has, lots."""
    from ltcam.synth import SynthesisSettings, synthesise  # noqa: PLC0415

    with progress("drawing") as advance:
        synthesise(
            out,
            SynthesisSettings(
                surfaces=listed(drawn.surfaces),
                images_per_surface=drawn.images,
                defect_share=drawn.defect_share,
                size=parse_size(drawn.image_size),
                seed=drawn.seed,
            ),
            overwrite=overwrite,
            progress=advance,
        )
    say(f"data set: {out}")
    say(f"next: {shell_line('ltcam', 'train', out)}")
    return DONE


def _print_counts(report: CheckReport) -> None:
    from ltcam.data.layouts.registry import TAKES_OK  # noqa: PLC0415  # with all that reads a data set

    named = any(count.by_split.get(side, 0) for count in report.classes for side in ("train", "val", "test"))
    sides = _SIDES if named else {}
    rows = [
        (
            count.name,
            count.images,
            count.groups,
            count.masks,
            *(count.by_split.get(side, 0) for side in sides),
        )
        for count in report.classes
    ]
    print_table(
        f"{report.root}: {report.images} images, {report.groups} groups, layout {report.layout}",
        ("class", "images", "groups", "with mask", *sides.values()),
        [tuple(map(str, row)) for row in rows],
    )
    if report.ok_labels and report.ok_labels != (OK,):
        another = " (--ok LABEL names another)" if report.layout in TAKES_OK else ""
        _show(f"taken for OK: {', '.join(report.ok_labels)}{another}")
    _print_files(report)
    if report.heights is not None and report.widths is not None:
        _show(
            f"heights {report.heights.minimum:g} to {report.heights.maximum:g} px (median {report.heights.median:g}), "
            f"widths {report.widths.minimum:g} to {report.widths.maximum:g} px (median {report.widths.median:g})"
        )
    if report.duplicates:
        copies = [f"{' = '.join(group.ids)} ({group.kind})" for group in report.duplicates]
        _show(f"{len(copies)} sets of copies (same file, pixels or surface):")
        _list(copies)
    if report.merged_groups:
        _show(
            f"{len(report.merged_groups)} sets of groups are one for every split, since they share a photograph:"
        )
        _list([" = ".join(names) for names in report.merged_groups])


def _print_files(report: CheckReport) -> None:
    files = report.files
    parts = ((files.images, "images"), (files.masks, "masks"), (files.lists, "lists of labels"))
    read = " + ".join(counted(count, things) for count, things in parts if count) or "nothing read"
    _show(f"{counted(files.there, 'files')}: {read} + {len(files.left_out)} left out")
    for words in left_out_words(files.left_out):
        _show(f"  - {words}")


def _print_findings(report: CheckReport) -> None:
    for finding in report.findings:
        _show(f"\n{finding.level}: {finding.title} ({len(finding.entries)})")
        _show(f"  {finding.advice}")
        _list([f"{entry.id}: {entry.reason}" if entry.reason else entry.id for entry in finding.entries])
    for note in report.notes:
        if note.rstrip(".") not in report.readiness.reasons:  # which are the last lines
            _show(f"note: {note}")


def _print_readiness(report: CheckReport) -> None:
    readiness = report.readiness
    if readiness.sides:
        sides = ("train", "val", "test")
        print_table(
            "Sides that a training would take (seed 0)",
            ("class", *sides),
            [(name, *(str(by_side[side]) for side in sides)) for name, by_side in readiness.sides.items()],
        )
    _show(f"ready to train: {readiness.ready}")
    _list(list(readiness.reasons))


def _list(lines: list[str]) -> None:
    for line in lines[:_LISTED]:
        _show(f"  - {line}")
    if len(lines) > _LISTED:
        _show(f"  ... and {len(lines) - _LISTED} more (--json lists all)")


def _show(text: str) -> None:
    """A line for people; names in it may hold anything."""
    first = "\n" if text.startswith("\n") else ""
    line = in_words(text.removeprefix("\n").replace("\n", "\\n"))
    Console(soft_wrap=True).print(first + line, markup=False, highlight=False)
