"""Which images to show of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ltcam.evaluation.counts import iou
from ltcam.evaluation.decisions import Decisions
from ltcam.evaluation.evaluate import ImageRecord

_MOST_MISTAKES, _MOST_OTHERS = 12, 4


@dataclass(frozen=True)
class Examples:
    """Names of images, each in one list only.

    Attributes:
        missed: defective and judged OK.
        alarms: OK and judged defective.
        worst: lowest IoU first.
        typical: nearest to the median IoU.
        best: highest IoU first.
        found: defective and found, lowest score first: where there are no true masks to compare with.
    """

    missed: tuple[str, ...]
    alarms: tuple[str, ...]
    worst: tuple[str, ...]
    typical: tuple[str, ...]
    best: tuple[str, ...]
    found: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """The images of all lists."""
        return (*self.missed, *self.alarms, *self.worst, *self.typical, *self.best, *self.found)


def choose_examples(records: Sequence[ImageRecord], decisions: Decisions, worst: Sequence[str]) -> Examples:
    """Mistakes first; then the worst, the typical and the best masks of what was found.

    Args:
        records: one per image.
        decisions: of the same images.
        worst: images in the order of their IoU, lowest first.
    """
    missed, alarms = decisions.missed[:_MOST_MISTAKES], decisions.alarms[:_MOST_MISTAKES]
    defective = [record for record in records if record.defective]
    measured = {
        record.image: iou(record.counts.pixels)
        for record in defective
        if record.counts is not None and not math.isnan(iou(record.counts.pixels))
    }
    left = [name for name in measured if name not in missed]
    low = [name for name in worst if name in left]
    left = [name for name in left if name not in low]
    best = sorted(left, key=lambda name: (-measured[name], name))[:_MOST_OTHERS]
    middle = sorted(measured.values())[len(measured) // 2] if measured else 0.0
    rest = [name for name in left if name not in best]
    typical = sorted(rest, key=lambda name: (abs(measured[name] - middle), name))[:_MOST_OTHERS]
    unmeasured = [r for r in defective if r.image not in measured and r.image not in missed]
    found = sorted(unmeasured, key=lambda record: (record.score, record.image))[:_MOST_MISTAKES]
    return Examples(missed, alarms, tuple(low), tuple(typical), tuple(best), tuple(r.image for r in found))
