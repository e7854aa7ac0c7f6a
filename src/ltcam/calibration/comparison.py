"""Which of two ways of drawing masks the judge thinks better of: whether a student keeps up with its teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ltcam.calibration.judge import Mark, Mask, marks, value
from ltcam.calibration.looks import MOST_OK, Learned, Look, OkImages, look_at, shuffled
from ltcam.runs.network import TorchNetwork
from ltcam_runtime.errors import DataError
from ltcam_runtime.inspector import Inspector

_AS_GOOD = 0.05  # of value: a difference that says nothing
_MOST_JUDGED = 8  # images of each kind


@dataclass(frozen=True)
class TeacherComparison:
    """What the judge says of the masks of a teacher and of its student, on the same images.

    Attributes:
        teacher: value by kind of defect; see `ltcam.calibration.judge.value`.
        student: likewise.
        images: number of images that were judged.
    """

    teacher: Mapping[str, float]
    student: Mapping[str, float]
    images: int

    @property
    def keeps_up(self) -> bool:
        """Whether the student's masks are worth as much as the teacher's, as the mean over kinds."""
        return self.gain >= -_AS_GOOD

    @property
    def gain(self) -> float:
        """Value of the student's masks less that of the teacher's, mean over kinds."""
        return float(np.mean([self.student[kind] - self.teacher[kind] for kind in self.teacher]))


def compare(
    judge: TorchNetwork, teacher: Inspector, student: Inspector, learned: Learned
) -> TeacherComparison:
    """Value the masks of both on some images of every kind.

    Args:
        judge: the classifier that is asked.
        teacher: draws masks.
        student: draws masks.
        learned: what they are looked at on; half of the defective images are such as were held back, if there are.

    Raises:
        DataError: no image could be judged.
    """
    judge, seed = judge.with_maps({}), judge.run.seed
    looks = look_at(judge, shuffled(learned.ok, seed), MOST_OK)
    if not looks:
        raise DataError("no OK image could be read, so no masks can be compared")
    normal = OkImages(looks)
    found: dict[str, tuple[float, float]] = {}
    images = 0
    for kind in learned.defective:
        judged = [
            _marks(judge, normal, teacher, student, look)
            for look in look_at(judge, learned.half_held_back(kind, _MOST_JUDGED, seed), _MOST_JUDGED)
            if look.score > normal.score
        ]
        if judged:
            images += len(judged)
            by_teacher, by_student = zip(*judged, strict=True)
            found[kind] = value(by_teacher), value(by_student)
    if not found:
        raise DataError("no defective image was told from OK ones, so no masks can be compared")
    return TeacherComparison(
        {kind: round(values[0], 4) for kind, values in found.items()},
        {kind: round(values[1], 4) for kind, values in found.items()},
        images,
    )


def _marks(
    judge: TorchNetwork, normal: OkImages, teacher: Inspector, student: Inspector, look: Look
) -> tuple[Mark, Mark]:
    masks = [_mask(teacher, look), _mask(student, look)]
    by_teacher, by_student = marks(normal.case(look), masks, judge.defect_scores)
    return by_teacher, by_student


def _mask(inspector: Inspector, look: Look) -> Mask:
    return inspector.inspect_batch([look.image], [""], gate=False)[0].mask
