"""Whether a data set is ready to be trained on, and which side each class would be on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ltcam.data.dataset import Dataset
from ltcam.data.duplicates import DuplicateGroup
from ltcam.data.layouts.advice import one_sided
from ltcam.data.sides import choose_sides
from ltcam_runtime.errors import DataError

Answer = Literal["yes", "with care", "no"]

_PATTERNS = (r"^(.*?)[ _-]+[^ _/-]+$", r"^(?:.*/)?(\D*\d+)\D")
_FEWEST_PER_GROUP = 2.0
_LARGEST_SHARE = 0.3


@dataclass(frozen=True)
class Readiness:
    """Whether `train` can start, and where the images would go.

    Attributes:
        ready: `with care` where something should be looked at first.
        reasons: sentences; none where the answer is yes.
        sides: images per class and side (train, val, test) as `train` takes them with seed 0; empty where it
            would stop.
    """

    ready: Answer
    reasons: tuple[str, ...]
    sides: Mapping[str, Mapping[str, int]]


def readiness(
    dataset: Dataset,
    unusable: frozenset[str],
    duplicates: Sequence[DuplicateGroup],
    problems: Sequence[str],
) -> Readiness:
    """Judge a data set that was checked.

    Args:
        dataset: as read.
        unusable: ids of images that cannot be read.
        duplicates: copies in it.
        problems: what else was found, a phrase each.
    """
    readable = tuple(sample for sample in dataset.samples if sample.id not in unusable)
    usable = dataset.with_samples(readable)
    if not readable:
        return Readiness("no", ("none of the images can be read",), {})
    if {sample.defective for sample in readable} != {True, False}:
        return Readiness("no", (one_sided(usable),), {})
    try:
        chosen = choose_sides(usable, duplicates=lambda: duplicates)
    except DataError as error:
        return Readiness("no", (str(error),), {})
    no_test = [f"there will be no test side: {chosen.missing['test']}"] if "test" in chosen.missing else []
    reasons = (*no_test, *chosen.concerns, *problems)
    return Readiness("with care" if reasons else "yes", reasons, chosen.counts)


def group_hint(dataset: Dataset) -> str:
    """A sentence on names that look like several images of one part, with the option that groups them; or ""."""
    if len({sample.group for sample in dataset.samples}) < len(dataset.samples):
        return ""  # somebody thought of groups already
    stems = [sample.id.rsplit(".", 1)[0] for sample in dataset.samples]
    for pattern in _PATTERNS:
        found = [match[1] for stem in stems if (match := re.search(pattern, stem))]
        sizes = Counter(found)
        if not sizes or len(found) < 0.9 * len(stems):
            continue
        typical = len(found) / len(sizes)
        if typical >= _FEWEST_PER_GROUP and max(sizes.values()) <= max(2, _LARGEST_SHARE * len(stems)):
            name = sizes.most_common(1)[0][0]
            option = pattern.replace("$", r"\.\w+$") if pattern.endswith("$") else pattern
            return (
                f"Names look like {len(sizes)} parts with {typical:.3g} images each (such as {name}): if so, keep each "
                f"part on one side with `group_by='{option}'`"
            )
    return ""
