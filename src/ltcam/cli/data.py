"""`ltcam data check DATA` and `ltcam data synth OUT`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from ltcam.cli.console import DONE, SOME_FAILED, command, print_json, progress, say, shell_line
from ltcam_runtime.errors import OutputError

if TYPE_CHECKING:
    from ltcam.data.check import CheckReport

_LISTED = 12

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Check a data set, or make a synthetic one."
)


@app.command()
@command
def check(
    data: Annotated[Path, typer.Argument(help="folder of images in a known layout, or a CSV manifest")],
    layout: Annotated[str | None, typer.Option(help="layout of DATA; default: found out")] = None,
    page: Annotated[
        Path | None, typer.Option(help="write a page of counts, problems and thumbnails (HTML)")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an existing page")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="print the report as JSON instead of tables")
    ] = False,
) -> int:
    """Count, and find what would spoil a training: unreadable files, wrong masks, duplicates, contradictions."""
    if page is not None and page.exists() and not overwrite:
        raise OutputError(f"{page} exists; give --overwrite to replace it")
    from ltcam.data.check import check_dataset  # noqa: PLC0415  # after the options are known to be right
    from ltcam.data.layouts import read_dataset  # noqa: PLC0415

    dataset = read_dataset(data, layout, one_class=True)
    with progress("reading") as advance:
        report = check_dataset(dataset, advance)
    if page is not None:
        from ltcam.reports.data_page import write_data_page  # noqa: PLC0415

        write_data_page(page, dataset, report)
        say(f"page: {page}")
    if as_json:
        print_json(report.to_json())
    else:
        _print_counts(report)
        _print_findings(report)
    return SOME_FAILED if report.unreadable or report.masks_unreadable else DONE


@app.command()
@command
def synth(
    out: Annotated[Path, typer.Argument(help="folder to write")],
    images: Annotated[int, typer.Option(min=24, help="images per surface")] = 75,
    surfaces: Annotated[
        str, typer.Option(help="which, separated by commas; also tile, concrete, steel, painted")
    ] = "brushed,cast,fabric,ceramic",
    defect_share: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="share of images with a defect")
    ] = 0.25,
    image_size: Annotated[str, typer.Option(metavar="HxW", help="size of the images")] = "256x352",
    seed: Annotated[int, typer.Option(min=0, help="another seed, another set")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an existing synthetic set")] = False,
) -> int:
    """Make a synthetic inspection set with exact masks: textured surfaces, the kinds of defect that each has, lots."""
    from ltcam.cli.console import parse_size  # noqa: PLC0415
    from ltcam.synth import synthesise  # noqa: PLC0415

    with progress("drawing") as advance:
        synthesise(
            out,
            surfaces=tuple(part.strip() for part in surfaces.split(",") if part.strip()),
            images_per_surface=images,
            defect_share=defect_share,
            size=parse_size(image_size),
            seed=seed,
            overwrite=overwrite,
            progress=advance,
        )
    say(f"data set: {out}")
    say(f"next: {shell_line('ltcam', 'train', out)}")
    return DONE


def _print_counts(report: CheckReport) -> None:
    table = Table(
        title=f"{report.root}: {report.images} images, {report.groups} groups, layout {report.layout}"
    )
    for column in ("class", "images", "groups", "with mask", "train", "val", "test", "no side"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for count in report.classes:
        sides = (str(count.by_split.get(side, 0)) for side in ("train", "val", "test", "none"))
        table.add_row(count.name, str(count.images), str(count.groups), str(count.masks), *sides)
    console = Console()
    console.print(table)
    if report.heights is not None and report.widths is not None:
        console.print(
            f"heights {report.heights.minimum:g} to {report.heights.maximum:g} px (median {report.heights.median:g}), "
            f"widths {report.widths.minimum:g} to {report.widths.maximum:g} px (median {report.widths.median:g})",
            highlight=False,
        )
    if report.duplicates:
        console.print(
            f"{len(report.duplicates)} sets of copies (same file, pixels or surface):", highlight=False
        )
        for group in report.duplicates[:_LISTED]:
            console.print(f"  - {' = '.join(group.ids)} ({group.kind})", markup=False, highlight=False)
        if len(report.duplicates) > _LISTED:
            console.print(
                f"  ... and {len(report.duplicates) - _LISTED} more (--json lists all)", highlight=False
            )


def _print_findings(report: CheckReport) -> None:
    console = Console()
    for finding in report.findings:
        console.print(
            f"\n{finding.level}: {finding.title} ({len(finding.entries)})", markup=False, highlight=False
        )
        console.print(f"  {finding.advice}", markup=False, highlight=False)
        for entry in finding.entries[:_LISTED]:
            reason = f": {entry.reason}" if entry.reason else ""
            console.print(f"  - {entry.id}{reason}", markup=False, highlight=False)
        if len(finding.entries) > _LISTED:
            console.print(
                f"  ... and {len(finding.entries) - _LISTED} more (--json lists all)", highlight=False
            )
    for note in report.notes:
        console.print(f"note: {note}", markup=False, highlight=False)
