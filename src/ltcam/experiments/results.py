"""What every experiment gives back and writes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator

from ltcam.evaluation.counts import PIXEL_RATIOS
from ltcam.evaluation.evaluate import plain_json
from ltcam.reports.metrics_table import MetricRow
from ltcam_runtime.folders import write_file
from ltcam_runtime.writers.csv import csv_text


class Values(BaseModel):
    """Values that an experiment measured, written as JSON and read back.

    What is read back is pydantic's, here and in run folders. What is only written has `to_json` of its own where the
    file is shaped otherwise than the values: metrics.json holds numbers and their intervals in two trees.

    An undefined number (NaN) is None. A field with a default is one that older files lack; what was not given is
    not written either.
    """

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nan(cls, values: Any) -> Any:
        return plain_json(values)

    def to_json(self) -> dict[str, Any]:
        """The values as JSON holds them."""
        return self.model_dump(mode="json", exclude_unset=True)


class ImageTotals(Values):
    """How many images there were, had a mask, and could be measured."""

    defective: int
    with_mask: int
    measured: int


class PixelSums(Values):
    """Pixels over all images; those that are OK in both are not told."""

    tp: int
    fp: int
    fn: int


class Ratios(Values):
    """The four numbers of masks."""

    iou: float | None
    precision: float | None
    recall: float | None
    f1: float | None


Intervals = dict[str, tuple[float | None, float | None]]
"""The ends of 95 % intervals, by the names of numbers."""


class BoundedRatios(Ratios):
    """The four numbers of masks, with their intervals."""

    intervals: Intervals

    def bounded(self, name: str) -> MetricRow:
        """A number with its interval."""
        return MetricRow(name, getattr(self, name), *self.intervals[name])


M_co = TypeVar("M_co", bound=Values, covariant=True)


@dataclass(frozen=True)
class Found(Generic[M_co]):
    """What an experiment found.

    Attributes:
        values: as written to its JSON file.
        failed: (image, reason) of images that could not be used.
        notes: to be told.
    """

    values: M_co
    failed: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()


def failures(failed: Mapping[str, str]) -> list[dict[str, str]]:
    """Reasons by image, as results hold them."""
    return [{"image": name, "reason": reason} for name, reason in failed.items()]


def write_json(file: Path, values: Mapping[str, Any]) -> None:
    """Write JSON values, without NaN.

    Raises:
        OutputError: the file cannot be written.
    """
    write_file(file, json.dumps(values, indent=2, allow_nan=False) + "\n")


def write_csv(file: Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table that a spreadsheet opens as text and numbers, never as formulas.

    Args:
        file: to write.
        head: names of the columns.
        rows: cells: None is empty, a float has six digits behind the point.

    Raises:
        OutputError: the file cannot be written.
    """
    write_file(file, csv_text([head, *rows]))


def with_bounds() -> list[str]:
    """Heads of the columns that `bounded` fills."""
    return [f"{name}{end}" for name in PIXEL_RATIOS for end in ("", "_low", "_high")]


def bounded(row: BoundedRatios) -> list[float | None]:
    """The four numbers of a row, each with the ends of its interval."""
    return [value for name in PIXEL_RATIOS for value in row.bounded(name)[1:]]
