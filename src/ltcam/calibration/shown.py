"""What was chosen beside what was not, on one image of each kind: masks for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ltcam.calibration.candidates import Candidate, masks_of, row_of, values_of
from ltcam.calibration.judge import Image, Mask, value
from ltcam.calibration.kinds import Judged


@dataclass(frozen=True, eq=False)
class Shown:
    """Masks that candidates make of one image.

    Attributes:
        image: (H, W, 3), one of those that the candidates were judged on.
        masks: (H, W) each; the first one is that of the candidate that was chosen.
        rows: what the evidence says of each candidate, over all images it was judged on.
    """

    image: Image
    masks: tuple[Mask, ...]
    rows: tuple[dict[str, Any], ...]


def shown(kind: str, judged: Judged, baseline: str) -> Shown | None:
    """The mask that was chosen for a kind, and the best ones of other ways, on a typical image.

    Args:
        kind: of defect.
        judged: what was chosen from.
        baseline: the map that is always shown, cut by Otsu's threshold without contrast; where the network lacks it,
            the chosen map is.

    Returns:
        None where no image of the kind was judged.
    """
    if not judged.looks:
        return None
    beside = [judged.best, *_others(judged, baseline)]
    look = judged.looks[_typical(judged)]
    rows = tuple(row_of(candidate, judged.marks[candidate]) for candidate in beside)
    return Shown(look.image, tuple(masks_of(judged.normal, kind, look, beside)), rows)


def _others(judged: Judged, baseline: str) -> list[Candidate]:
    """The best with another contrast, the best of each other map, and the baseline; each once."""
    best, values = judged.best, values_of(judged.marks)
    ranked = sorted((each for each in values if each != best), key=lambda each: -values[each])
    maps = sorted({each.map for each in ranked} - {best.map})
    plain_map = baseline if baseline in maps else best.map
    groups: Sequence[list[Candidate]] = [
        [
            each
            for each in ranked
            if each.map == best.map and each.sharpening.polarity != best.sharpening.polarity
        ],
        *([each for each in ranked if each.map == name] for name in maps),
        [
            each
            for each in ranked
            if each.map == plain_map
            and each.sharpening.polarity == "none"
            and each.mask.threshold == "otsu"
            and not each.mask.fill_holes
        ],
    ]
    return list(dict.fromkeys(group[0] for group in groups if group))


def _typical(judged: Judged) -> int:
    """Place of the image that the chosen candidate's mask is of middling value on."""
    values = [value([mark]) if mark.area else -np.inf for mark in judged.marks[judged.best]]
    return int(np.argsort(values, kind="stable")[len(values) // 2])
