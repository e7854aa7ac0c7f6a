"""Masks of an archive as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltcam.data.drawn import Runs, expand_runs
from ltcam_runtime.folders import output_folder, write_file
from ltcam_runtime.names import OutputNames
from ltcam_runtime.writers.csv import csv_text
from ltcam_runtime.writers.masks import write_mask

LIST_FILE = "masks.csv"


def mask_of(runs: str, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask (H, W) bool of an archive's row.

    Args:
        runs: compressed COCO run-length encoding; "" marks nothing.
        size: (H, W).
    """
    return Runs(expand_runs(runs), (0, 0, size[1], size[0]), size, down=True).draw(size)


def write_masks(rows: Sequence[Mapping[str, Any]], out: Path, *, overwrite: bool = False) -> int:
    """Write the masks of rows as PNG files of 0 and 255, at their images' sizes, and `masks.csv`: which is of which id.

    Args:
        rows: of `reading.query`; unreadable images have no mask.
        out: the folder wanted.
        overwrite: replace masks that are there already.

    Returns:
        How many masks were written.

    Raises:
        OutputError: `out` cannot be written, or holds something already.
    """
    names, listed = OutputNames(), [("id", "file")]
    with output_folder(out, marker=LIST_FILE, overwrite=overwrite) as folder:
        for row in rows:
            if row["error"] is not None:
                continue
            name = f"{names(row['id'])}.png"
            write_mask(folder / name, mask_of(row["mask"], (row["height"], row["width"])))
            listed.append((row["id"], name))
        write_file(folder / LIST_FILE, csv_text(listed))
    return len(listed) - 1
