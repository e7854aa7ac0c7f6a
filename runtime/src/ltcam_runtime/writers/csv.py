"""predictions.csv: one row per image, for spreadsheets."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.names import OutputNames
from ltcam_runtime.results import Inspection

COLUMNS = (
    "image",
    "verdict",
    "score",
    "mask_area_px",
    "mask_area_percent",
    "regions",
    "trust",
    "largest_class",
    "largest_x",
    "largest_y",
    "largest_width",
    "largest_height",
    "largest_area_px",
    "largest_length_px",
    "largest_peak",
    "largest_area_mm2",
    "largest_length_mm",
    "width",
    "height",
    "output",
    "error",
)
"""Areas and lengths in pixels of the image, and in millimetres where its scale is known; `output` is the name of the
image's mask and overlay without suffix; `error` says why an image could not be inspected, then all else is empty."""


class CsvWriter:
    """Writes predictions.csv (UTF-8, commas, one header row)."""

    def __init__(self, path: Path, names: OutputNames, px_per_mm: float | None = None) -> None:
        self._px_per_mm = px_per_mm
        # A name that is no valid text is written with escapes instead of stopping the run.
        self._stream = path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
        self._rows = csv.DictWriter(self._stream, COLUMNS, restval="", lineterminator="\n")
        self._rows.writeheader()
        self._names = names

    def add(self, inspection: Inspection, image: NDArray[np.uint8]) -> None:  # noqa: ARG002
        """Write the row of one inspection."""
        height, width = inspection.size
        area = int(inspection.mask.sum())
        row: dict[str, object] = {
            "image": text_cell(inspection.image),
            "verdict": inspection.verdict,
            "score": f"{inspection.score:.6f}",
            "mask_area_px": area,
            "mask_area_percent": f"{100 * area / (height * width):.6f}",
            "regions": len(inspection.regions),
            "trust": inspection.trust,
            "width": width,
            "height": height,
            "output": text_cell(self._names(inspection.image)),
        }
        if inspection.regions:
            largest = inspection.regions[0]
            for name, value in zip(("x", "y", "width", "height"), largest.box, strict=True):
                row[f"largest_{name}"] = value
            row["largest_class"] = text_cell(largest.class_name)
            row["largest_area_px"] = largest.area_px
            row["largest_length_px"] = f"{largest.length_px:.3f}"
            if self._px_per_mm is not None:
                row["largest_area_mm2"] = f"{largest.area_px / self._px_per_mm**2:.6g}"
                row["largest_length_mm"] = f"{largest.length_px / self._px_per_mm:.6g}"
            row["largest_peak"] = f"{largest.peak:.6f}"
        self._rows.writerow(row)

    def add_failure(self, image: str, reason: str) -> None:
        """Write the row of an image that could not be inspected."""
        self._rows.writerow({"image": text_cell(image), "error": text_cell(reason)})

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def csv_text(rows: Iterable[Iterable[object]], *, guarded: bool = True) -> str:
    """Rows as CSV: commas, and a line feed behind each.

    Args:
        rows: cells: None and NaN are empty, a float has six digits behind the point.
        guarded: text is as `text_cell` gives it, for spreadsheets; otherwise as it is, where programs read it again.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_cell(cell, guarded) for cell in row] for row in rows)
    return text.getvalue()


def _cell(value: object, guarded: bool) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6f}"
    if isinstance(value, str):
        return text_cell(value) if guarded else value
    return "" if value is None else str(value)


_COMPUTED = ("=", "+", "-", "@", "\t", "\r", "\n")


def text_cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe goes before a character that begins one.

    Bytes of a file name that are no text are escaped, so that every cell can be written.
    """
    written = text.encode("utf-8", "backslashreplace").decode()
    return f"'{written}" if written.lstrip("'").startswith(_COMPUTED) else written


def cell_text(cell: str) -> str:
    """The text of a cell that `text_cell` gave (escaped bytes stay escaped)."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_COMPUTED) else cell
