"""Which images of a data set a run was trained on, and which it never saw."""

from __future__ import annotations

from pathlib import Path

from ltcam.data.dataset import Sample, Split
from ltcam.data.opened import OpenData
from ltcam.data.splits import known_sides, read_split_csv
from ltcam.runs.run import SPLIT_FILE
from ltcam_runtime.errors import DataError, SettingsError

SPLITS = ("auto", "train", "val", "test", "all")


def choose_samples(data: OpenData, run: Path, split: str) -> tuple[tuple[Sample, ...], str]:
    """The samples to measure, and in words which they are.

    Images that the run was trained with are known by their contents. Where there are any, the sides are the
    run's, and images that it never saw count as test; else the sides are the data set's own.

    Args:
        data: the images.
        run: run folder.
        split: one of `SPLITS`; `auto` is what the run was not trained on.

    Raises:
        SettingsError: an unknown split.
        DataError: a side without samples.
    """
    if split not in SPLITS:
        raise SettingsError(f"`split` {split!r} is unknown; choose from {', '.join(SPLITS)}")
    dataset = data.dataset
    if split == "all":
        return dataset.samples, "all"
    known = _sides_in_run(data, run)
    wanted = "test" if split == "auto" else split
    if known:
        samples = tuple(sample for sample in dataset.samples if known.get(sample.id, "test") == wanted)
    else:
        samples = tuple(sample for sample in dataset.samples if sample.split == wanted)
    if not samples and split == "auto":
        return dataset.samples, "all, those it was trained on among them" if known else "all"
    if not samples:
        raise DataError(f"{dataset.root}: there is no {wanted} side; use `split=all`")
    return samples, f"{wanted} side of the {'run' if known else 'data set'}"


def _sides_in_run(data: OpenData, run: Path) -> dict[str, Split]:
    """Side by sample id, of the images that the run knows."""
    file = run / SPLIT_FILE
    return known_sides(read_split_csv(file), data.hashes) if file.is_file() else {}
