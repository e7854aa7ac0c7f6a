"""Values as a notebook shows them: a picture, a verdict, a table of facts. Names are escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ltcam_runtime.masks import to_shares
from ltcam_runtime.phrases import printable
from ltcam_runtime.writers.overlays import draw_overlay

if TYPE_CHECKING:
    from ltcam_runtime.results import Inspection

_LONGEST_SIDE = 640  # px


def facts_html(title: str, facts: Sequence[tuple[str, str]]) -> str:
    """A title and a table of names and values."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in facts
    )
    return printable(f"<div><strong>{escape(title)}</strong><table>{rows}</table></div>")


def picture_of(inspection: Inspection) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: the image or, where the inspection holds no pixels, its heatmap in grey."""
    if inspection.pixels is not None:
        return inspection.pixels
    grey = np.rint(255 * to_shares(inspection.heatmap)).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def inspection_html(inspection: Inspection) -> str:
    """The image with the outline of what was found, verdict and score; then the regions.

    Where the inspection holds no pixels, its heatmap stands for the image.
    """
    drawn = Image.fromarray(draw_overlay(picture_of(inspection), inspection))
    drawn.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    stream = io.BytesIO()
    drawn.save(stream, "PNG")
    source = base64.b64encode(stream.getvalue()).decode()
    facts = [("verdict", inspection.verdict), ("score", f"{inspection.score:.4f}")]
    facts += [
        (
            region.class_name,
            f"{region.area_px} px ({region.area_percent:.2g} %), {region.length_px:.0f} px long",
        )
        for region in inspection.regions[:5]
    ]
    picture = f"<img alt='{escape(inspection.verdict)}' src='data:image/png;base64,{source}'>"
    return f"<div>{picture}{facts_html(inspection.image, facts)}</div>"
