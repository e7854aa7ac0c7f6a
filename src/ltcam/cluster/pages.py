"""Pages of an archive: what a query found, what differs between two generations, how scores drift."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ltcam.cluster.judging import read_address
from ltcam.cluster.masks import mask_of
from ltcam.cluster.reading import Differences, Drift
from ltcam.reports.drawing import encoded, new_figure, styled
from ltcam.reports.examples import css_colour
from ltcam.reports.html import image_uri, render
from ltcam_runtime.errors import InputError
from ltcam_runtime.marking import Line, draw_outline
from ltcam_runtime.phrases import counted
from ltcam_runtime.resizing import fitted_size, resize

MOST_PICTURES = 200
"""Pictures on one page; a query's limit asks for fewer."""

_SIDE = 260
_CYAN, _AMBER = (96, 236, 255), (255, 190, 60)
_MOST_GROUPS = 24


def hits_page(
    rows: Sequence[Mapping[str, Any]], condition: str, source: str, white: int | None = None
) -> str:
    """A page of thumbnails with the masks' outlines.

    Args:
        rows: of `reading.query`; the first `MOST_PICTURES` are shown.
        condition: that was asked.
        source: which archive.
        white: of its generation.
    """
    return render(
        "hits.html.j2", beside=__file__, title="Archive query", condition=condition, source=source,
        found=len(rows), figures=_hits(rows, white), changes=None, counts=None,
    )  # fmt: skip


def summary_page(
    counts: Mapping[str, int], rows: Sequence[Mapping[str, Any]], source: str, white: int | None = None
) -> str:
    """A page of what an archive came to: how many of each verdict, and its surest defects in pictures.

    Args:
        counts: of `reading.verdicts`.
        rows: of `reading.query`; the first `MOST_PICTURES` are shown.
        source: which generation.
        white: of it.
    """
    return render(
        "hits.html.j2", beside=__file__, title="An archive, judged", condition=SUREST, source=source,
        found=len(rows), figures=_hits(rows, white), changes=None, counts=counts,
    )  # fmt: skip


SUREST = "verdict <> 'ok' order by score desc, id limit 48"
"""The condition of what a summary shows in pictures."""


def _hits(rows: Sequence[Mapping[str, Any]], white: int | None) -> list[dict[str, Any]]:
    return [
        {
            "uri": _thumbnail(row["address"], (row["height"], row["width"]), [(row["mask"], _CYAN)], white),
            "name": row["id"],
            "verdict": row["verdict"] or "unreadable",
            "facts": row["error"]
            or f"score {row['score']:.3f}, {counted(row['region_count'], 'regions')}, {row['area']:,} px",
        }
        for row in rows[:MOST_PICTURES]
    ]


def differences_page(found: Differences, old: str, new: str, white: int | None = None) -> str:
    """A page of the images whose verdict changed, old outline amber, new one cyan.

    Args:
        found: of `reading.differences`.
        old: which generation.
        new: which generation.
        white: of the new one.
    """
    figures = [
        {
            "uri": _thumbnail(
                row.address, (row.height, row.width), [(row.old_mask, _AMBER), (row.new_mask, _CYAN)], white
            ),
            "name": row.id,
            "verdict": f"{row.old_verdict or 'unreadable'} → {row.new_verdict or 'unreadable'}",
            "facts": row.why,
        }
        for row in found.rows[:MOST_PICTURES]
    ]
    return render(
        "hits.html.j2", beside=__file__, title="What changed", condition="", source=f"{old} → {new}",
        found=len(found.rows), figures=figures, changes=found, counts=None,
        colours={"old": css_colour(_AMBER), "new": css_colour(_CYAN)},
    )  # fmt: skip


def drift_page(found: Drift, reference: Sequence[float], source: str) -> str:
    """A page with the score histogram of every day and line, beside that of the training.

    Args:
        found: of `reading.drift`.
        reference: scores of the images that the training held back; may be empty.
        source: which archive.
    """
    picture = base64.b64encode(encoded(drift_figure(found, reference), "svg")).decode("ascii")
    return render(
        "drift.html.j2", beside=__file__, source=source, groups=found.groups[-200:], held_back=len(reference),
        undated=found.undated_words(),
        picture=f"data:image/svg+xml;base64,{picture}",
    )  # fmt: skip


@styled
def drift_figure(found: Drift, reference: Sequence[float]) -> Figure:
    """Rows of score histograms, one per day and line, the training's first; darker means more images."""
    rows = [("held back", np.histogram(reference, found.edges)[0])] if len(reference) else []
    rows += [(found.name(group), np.array(group.counts)) for group in found.groups[-_MOST_GROUPS:]]
    shares = np.array([counts / max(1, np.sum(counts)) for _, counts in rows])
    figure = new_figure(7.0, max(2.2, 0.8 + 0.28 * len(rows)))
    axes = figure.add_subplot()
    drawn = axes.imshow(shares**0.5, aspect="auto", extent=(0, 1, len(rows), 0), cmap="Blues", vmin=0, vmax=1)
    axes.set_yticks(np.arange(len(rows)) + 0.5, [name for name, _ in rows])
    axes.set_xlabel("score")
    bar = figure.colorbar(drawn, ax=axes, ticks=[0, 0.1**0.5, 0.5**0.5, 1])
    bar.ax.set_yticklabels(["0", "10 %", "50 %", "100 %"])
    bar.set_label("share of images")
    figure.tight_layout()
    return figure


def _thumbnail(
    address: str,
    judged: tuple[int | None, int | None],
    masks: Sequence[tuple[str | None, tuple[int, int, int]]],
    white: int | None,
) -> str:
    """A picture with outlines as `data:` address; "" where the image cannot be had any more, or could not be judged.

    Args:
        address: of the image. What could not be judged is not looked at: it may be a link that was refused.
        judged: its (height, width) when it was judged; of another size it is another image, and has no outlines.
        masks: each with its colour.
        white: of 16-bit images, as for `ltcam_runtime.images.read_image`.
    """
    if None in judged:
        return ""
    try:
        image = read_address(address, white)
    except InputError:
        return ""
    height, width = image.shape[:2]
    picture = resize(image, fitted_size((height, width), _SIDE, enlarge=True))
    for mask, colour in masks:
        if mask and judged == (height, width):
            draw_outline(picture, mask_of(mask, (height, width)), Line(colour, thickness=1))
    return image_uri(picture)
