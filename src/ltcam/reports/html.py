"""Rendering of the HTML pages: one self-contained file each, without scripts and without addresses.

Templates extend `base.html.j2`, which has the style, the content security policy and these macros in
`parts.html.j2`: `cards`, `badge`, `figure`, `histogram`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import jinja2
import markupsafe
import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.encoding import encoded
from ltcam_runtime.folders import write_file
from ltcam_runtime.pages import base_style
from ltcam_runtime.phrases import counted, printable

_TEMPLATES = Path(__file__).parent / "templates"
_DARKEST = 45  # percent of its colour that a cell has which holds all of its row


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram: its bin and how many values are in it."""

    low: float
    high: float
    count: int


def render(template: str, *, beside: str | Path | None = None, **values: Any) -> str:
    """Render a template; every value is escaped, and whatever is invisible in one is shown by its code.

    Args:
        template: name of a template of this package, or of a file in the folder of `beside`.
        beside: a page's module (`__file__`), where its template is not in this package.
        values: what the template names.
    """
    environment = _environment(Path(beside).parent if beside else _TEMPLATES)
    return printable(environment.get_template(template).render(**values))


def write_page(path: Path, page: str) -> None:
    """Write a page as UTF-8, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    write_file(path, page)


def image_uri(image: NDArray[np.uint8], quality: int = 85) -> str:
    """A picture as `data:` address for `<img src>`.

    Args:
        image: (H, W, 3) uint8 RGB.
        quality: of the JPEG encoding, 1 to 100.
    """
    content = encoded(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return "data:image/jpeg;base64," + base64.b64encode(content).decode("ascii")


def bars(values: list[float], most: int = 16) -> list[Bar]:
    """A histogram with bins of equal width, at most `most`; one bin if all values are equal."""
    if not values:
        return []
    low, high = min(values), max(values)
    if low == high:
        return [Bar(low, high, len(values))]
    whole = all(float(value).is_integer() for value in values)
    bins = min(most, int(high - low) + 1) if whole else most
    counts, edges = np.histogram(values, bins=bins)
    return [Bar(float(edges[i]), float(edges[i + 1]), int(count)) for i, count in enumerate(counts)]


def shaded_confusion(columns: Sequence[str], rows: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Counts with the shade of each cell, as the macro `confusion` of `parts.html.j2` takes them.

    Args:
        columns: names of the columns.
        rows: by name, a count per column.
    """
    return {
        "classes": columns,
        "rows": [
            (name, [(count, round(_DARKEST * count / max(sum(counts), 1))) for count in counts])
            for name, counts in rows.items()
        ],
    }


def number(value: float, digits: int = 3) -> str:
    """A number for people: thousands apart, at most `digits` significant digits behind the point."""
    if float(value).is_integer():
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:.{digits}g}"


def threshold(value: float) -> str:
    """A threshold with as many digits as it has, three at least."""
    return f"{value:.3f}" if value == round(value, 3) else f"{value:.9g}"


def breakable(text: str) -> markupsafe.Markup:
    """Text, escaped, that may be broken into lines behind slashes and underscores."""
    escaped = str(markupsafe.escape(text))
    return markupsafe.Markup(escaped.replace("/", "/<wbr>").replace("_", "_<wbr>"))  # noqa: S704 - escaped above


@cache
def _environment(folder: Path) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, _TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["base_style"] = markupsafe.Markup(base_style())  # noqa: S704 - a file of ours
    environment.filters["number"] = number
    environment.filters["threshold"] = threshold
    environment.filters["counted"] = counted
    environment.filters["breakable"] = breakable
    return environment
