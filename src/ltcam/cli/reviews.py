"""`ltcam reviews import --into DATA`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ltcam.cli.console import DONE, SOME_FAILED, command, print_json, say, warn
from ltcam.cli.history import KeptHistory
from ltcam.cli.options import AsJson

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def reviews() -> None:
    """What people said of inspections."""


@app.command("import")
@command
def import_(
    into: Annotated[Path, typer.Option(help="data set that gets the labels")],
    kept: KeptHistory,
    layout: Annotated[str | None, typer.Option(help="of the data set; default: found out")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an earlier import")] = False,
    as_json: AsJson = False,
) -> int:
    """Turn reviews into labels: writes reviewed.csv into the data set, with corrected labels and new images.

    Nothing of the data set itself is changed. Painted masks serve measuring only.

    Example: ltcam reviews import --state line1 --into photos, then ltcam train photos/reviewed.csv
    """
    from ltcam.data.layouts import read_dataset  # noqa: PLC0415
    from ltcam.jobs.import_reviews import import_reviews  # noqa: PLC0415
    from ltcam.service.opening import reviewed_images  # noqa: PLC0415

    done = import_reviews(
        reviewed_images(kept.open()), read_dataset(into, layout, one_class=True), overwrite=overwrite
    )
    for name, before, after in done.corrected[:20]:
        say(f"{name}: {before} -> {after}")
    say(
        f"{done.added} images added, {len(done.corrected)} labels corrected, {done.agreed} confirmed; "
        f"next: ltcam train {done.manifest}"
    )
    if done.without_image:
        say(f"{len(done.without_image)} reviewed images are not kept any more and were left out")
    for name, reason in done.masks_left_out:
        warn(f"the mask of {name} is left out: {reason}")
    if as_json:
        print_json(
            {
                "manifest": str(done.manifest),
                "added": done.added,
                "corrected": [list(item) for item in done.corrected],
                "agreed": done.agreed,
                "without_image": list(done.without_image),
                "masks_left_out": [{"image": name, "reason": reason} for name, reason in done.masks_left_out],
            }
        )
    return SOME_FAILED if done.without_image or done.masks_left_out else DONE
