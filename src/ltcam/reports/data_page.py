"""The page of `data check`: counts, sizes, problems, and thumbnails of every class."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np

from ltcam.data.check_report import CheckReport, Spread
from ltcam.data.dataset import Dataset, Sample
from ltcam.data.duplicates import DuplicateGroup
from ltcam.data.layouts import Reading
from ltcam.reports.html import bars, number, render, write_page
from ltcam.reports.thumbnails import CONTOUR, Thumbnail, evenly, thumbnails
from ltcam_runtime.errors import in_options
from ltcam_runtime.phrases import counted
from ltcam_runtime.searching import left_out_words

THUMBNAILS_PER_CLASS = 24
DUPLICATES_SHOWN = 12

_SHOWN_HEIGHT = 240
_SHOWN_WIDTH = 200
_KINDS = {
    "file": {"text": "same file", "tone": "bad"},
    "pixels": {"text": "same pixels", "tone": "bad"},
    "near": {"text": "same surface", "tone": "warn"},
}


def write_data_page(path: Path, dataset: Dataset, report: CheckReport) -> None:
    """Write the page of a checked data set.

    Raises:
        OutputError: the file cannot be written.
    """
    write_page(path, data_page(dataset, report))


def data_page(dataset: Dataset, report: CheckReport) -> str:
    """The page as one self-contained HTML text.

    Images that cannot be read have no thumbnail; they are listed among the problems.

    Args:
        dataset: the data set.
        report: what `check_dataset` said of it.
    """
    unreadable = {problem.id for problem in report.unreadable}
    readable = [sample for sample in dataset.samples if sample.id not in unreadable]
    # What only looks alike needs a person's eye more than what is equal in every byte.
    copies = tuple(sorted(report.duplicates, key=lambda group: group.kind != "near"))
    sides = [side for side in ("train", "val", "test", "none") if _side_total(report, side)]
    return render(
        "data_page.html.j2",
        name=dataset.root.resolve().name or str(dataset.root),
        report=report,
        findings=report.findings,
        cards=_cards(report),
        sides=sides if sides != ["none"] else [],
        side_totals={side: _side_total(report, side) for side in sides},
        axes=_axes(report),
        readiness=report.readiness,
        in_words=lambda message: in_options(message, vars(Reading())),  # of the command that makes the page
        quick=shlex.join(("ltcam", "quick", str(dataset.root))),
        train=shlex.join(("ltcam", "train", str(dataset.root))),
        left_out=left_out_words(report.files.left_out),
        galleries=[_gallery(name, readable) for name in dataset.classes],
        copies=_copies(copies[:DUPLICATES_SHOWN], readable),
        more_copies=copies[DUPLICATES_SHOWN:],
        contour="#{:02x}{:02x}{:02x}".format(*CONTOUR),
    )


def _side_total(report: CheckReport, side: str) -> int:
    return sum(count.by_split[side] for count in report.classes)


def _cards(report: CheckReport) -> list[dict[str, str]]:
    defective = sum(count.images for count in report.classes[1:])
    errors = sum(len(finding.entries) for finding in report.findings if finding.level == "error")
    warnings = len(report.notes) + sum(
        len(finding.entries) for finding in report.findings if finding.level == "warning"
    )
    tone = "bad" if errors else "warn" if warnings else "good"
    found = [("errors", errors), ("warnings", warnings)]
    return [
        {"name": "OK images", "value": number(report.classes[0].images), "tone": "good"},
        {
            "name": "Defective images",
            "value": number(defective),
            "detail": f"{100 * defective / max(report.images, 1):.1f} % of all"
            + (f", {len(report.classes) - 1} classes" if len(report.classes) > 2 else ""),
            "tone": "accent",
        },
        {
            "name": "Groups",
            "value": number(report.groups),
            "detail": _sizes_of_groups(report.group_sizes),
        },
        _mask_card(report),
        {
            "name": "Ready to train",
            "value": report.readiness.ready,
            "tone": {"yes": "good", "with care": "warn", "no": "bad"}[report.readiness.ready],
        },
        {
            "name": "Problems",
            "value": number(errors + warnings),
            "detail": ", ".join(counted(n, what) for what, n in found if n) or "none found",
            "tone": tone,
        },
    ]


def _sizes_of_groups(sizes: Spread) -> str:
    if sizes.minimum == sizes.maximum == 1:
        return "every image its own"
    if sizes.minimum == sizes.maximum:
        return f"{number(sizes.minimum)} images each"
    return f"{number(sizes.minimum)} to {number(sizes.maximum)} images each"


def _mask_card(report: CheckReport) -> dict[str, str]:
    masks = sum(count.masks for count in report.classes[1:])
    area = report.defect_area_percent
    detail = f"defect area {area.median:.2g} % (median)" if area else "pixel measures are not possible"
    return {"name": "Defective with mask", "value": number(masks), "detail": detail}


def _axes(report: CheckReport) -> list[dict[str, Any]]:
    axes = []
    for name, index, spread in (("Width", 1, report.widths), ("Height", 0, report.heights)):
        if spread is not None:
            values = [float(size[index]) for size, count in report.sizes for _ in range(count)]
            axes.append({"name": name, "spread": spread, "bars": bars(values)})
    return axes


def _gallery(name: str, readable: list[Sample]) -> dict[str, Any]:
    members = [sample for sample in readable if sample.label == name]
    shown = evenly(members, THUMBNAILS_PER_CLASS)
    figures = thumbnails(shown, marked=True)
    return {
        "name": name,
        "images": len(members),
        "figures": figures,
        "marked": any(figure.area for figure in figures),
        **_layout(figures),
    }


def _copies(groups: tuple[DuplicateGroup, ...], readable: list[Sample]) -> dict[str, Any]:
    by_id = {sample.id: sample for sample in readable}
    figures = []
    everything: list[Thumbnail] = []
    for group in groups:
        pictures = thumbnails([by_id[name] for name in group.ids[:2]], marked=False)
        everything.extend(pictures)
        figures.append({"uris": [p.uri for p in pictures], "ids": group.ids, "kind": _KINDS[group.kind]})
    return {"figures": figures, **_layout(everything)}


def _layout(figures: list[Thumbnail]) -> dict[str, int]:
    """Column width and picture height in CSS pixels, so that the usual image fills its place."""
    if not figures:
        return {"column": 140, "height": 140}
    aspect = float(np.median([figure.size[1] / figure.size[0] for figure in figures]))
    column = min(max(round(_SHOWN_HEIGHT * aspect), 120), _SHOWN_WIDTH)
    return {"column": column, "height": min(_SHOWN_HEIGHT, round(column / aspect))}
