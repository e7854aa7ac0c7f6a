"""Options on how a data set is to be read, for the commands that take one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ltcam.cli.console import say
from ltcam_runtime.searching import left_out_words

if TYPE_CHECKING:
    from ltcam.data.layouts import Reading
    from ltcam.data.opened import OpenData

Layout = Annotated[str | None, typer.Option(help="layout of DATA; default: found out")]


@dataclass(frozen=True, kw_only=True)
class LabelReading:
    """How to read a data set of which only the labels are looked at."""

    layout: Layout = None
    ok: Annotated[
        list[str] | None,
        typer.Option(
            "--ok", metavar="LABEL", help="label or folder that means OK; may be given several times"
        ),
    ] = None
    group_by: Annotated[
        str | None,
        typer.Option(
            "--group-by",
            metavar="REGEX",
            help="part of the image's name that names its group (lot, part), such as '(part[0-9]+)'",
        ),
    ] = None

    def reading(self) -> Reading:
        """The same as a value of the data."""
        from ltcam.data.layouts import Reading  # noqa: PLC0415  # after the options are known to be right

        return Reading(self.layout, tuple(self.ok or ()), self.group_by)


@dataclass(frozen=True, kw_only=True)
class MaskReading(LabelReading):
    """How to read a data set with masks."""

    mask_threshold: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=254,
            help="grey value above which mask pixels are defect; default: what suits each mask",
        ),
    ] = None

    def reading(self) -> Reading:
        """The same as a value of the data."""
        return replace(super().reading(), mask_threshold=self.mask_threshold)


@dataclass(frozen=True, kw_only=True)
class LabelledData(LabelReading):
    """A data set of which only the labels are looked at."""

    data: Annotated[Path, typer.Argument(help="folder of images in a known layout, or a CSV manifest")]


def open_data(root: Path, how: LabelReading, *, one_class: bool, run: Path | None = None) -> OpenData:
    """Scan a data set, and say what of it is left out, in the words of `data check`.

    Args:
        root: the folder, or a manifest.
        how: to read it.
        one_class: whether a data set with images of one class only will do.
        run: whose training may have named the labels that mean OK.
    """
    from ltcam.data.opened import OpenData  # noqa: PLC0415  # after the options are known to be right

    remembered: tuple[str, ...] = ()
    if run is not None:
        from ltcam.runs.folder import ok_labels  # noqa: PLC0415

        remembered = ok_labels(run)
    data = OpenData.open(root, how.reading(), one_class=one_class, remembered=remembered)
    for words in left_out_words(data.dataset.files.left_out):
        say(f"left out: {words}")
    for note in data.dataset.notes:
        say(f"note: {note}")
    return data
