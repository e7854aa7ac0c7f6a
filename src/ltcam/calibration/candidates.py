"""Ways from heatmaps to a mask: every map with every contrast and every cut, and what the judge says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ltcam.calibration.judge import Mark, Mask, value, worth
from ltcam.calibration.looks import Heatmap, Look, OkImages
from ltcam.training.seeding import seed_map
from ltcam_runtime.inspector import make_mask, sharpened
from ltcam_runtime.settings import MaskSettings, SharpeningSettings, otsu_reach

CALIBRATED_REACH = 0.5  # of heat 1
WINDOW = 0.25  # share of the shorter side
WINDOWS = (0.12, 0.25, 0.6, 1.0)
REACHES = (0.07, 0.15, 0.3, 0.5, 0.75, 1.0)
CALIBRATED_REACHES = (0.25, 0.5, 0.75, 1.0)

ANY_SEED = "seed"
"""A map that is every kind's own."""

_CLEARLY = 0.05  # of value: what a gain has to exceed on few images
_ERRORS = 2  # standard errors that a gain has to exceed

FEWEST_COMPARED = 6
"""Images whose differences say how sure a gain is."""

CALIBRATED_WORTH = 0.01
"""Of value: what a cut by OK images is worth more than one by Otsu's threshold, which splits any image. It decides
between ways that are as good as equal, which few images do not tell."""

NOTHING = -1.0
"""Value of candidates that find nothing."""


@dataclass(frozen=True)
class Candidate:
    """One way from a network's heatmaps to a mask.

    Attributes:
        map: `seed` for the seed map of whichever kind it is for.
        sharpening: of the map.
        mask: how it is cut.
        above_ok: whether the median of OK images is taken off the map first. Gradients may be larger in OK images than
            in defective ones: then that takes off the defects, and they are better cut by Otsu's threshold as they are.
    """

    map: str
    sharpening: SharpeningSettings
    mask: MaskSettings
    above_ok: bool = True

    def map_of(self, kind: str) -> str:
        """The map's name where this is drawn of a kind."""
        return seed_map(kind) if self.map == ANY_SEED else self.map


def candidates(normal: OkImages, maps: Sequence[str]) -> list[Candidate]:
    """Every map with every contrast and every cut.

    Args:
        normal: OK images, which say how much contrast is ordinary.
        maps: names of the network's maps; `seed` for each kind's own.

    Returns:
        The first one is the first map unsharpened, cut by OK images.
    """
    contrasts = [SharpeningSettings(), *(normal.sharpening(each, WINDOW) for each in normal.polarities())]
    contrasts += [normal.sharpening("dark", window) for window in (0.12, 0.6)]
    return [
        Candidate(name, sharpening, mask)
        for name in maps
        for sharpening in contrasts
        for mask in _cuts(sharpening)
    ] + [
        Candidate(name, sharpening, _cuts(sharpening)[1], above_ok=False)
        for name in maps
        if name != ANY_SEED
        for sharpening in contrasts
    ]


def other_surroundings(normal: OkImages, best: Candidate) -> list[Candidate]:
    """The candidate with its contrast in surroundings of other sizes."""
    polarity, own = best.sharpening.polarity, best.sharpening.window
    windows = () if polarity == "none" else tuple(each for each in WINDOWS if each != own)
    return [replace(best, sharpening=normal.sharpening(polarity, window)) for window in windows]


def filled(best: Candidate) -> Candidate:
    """The candidate with masks that hold what they enclose."""
    return replace(best, mask=best.mask.model_copy(update={"fill_holes": True}))


def other_cuts(best: Candidate) -> list[Candidate]:
    """The candidate with masks that follow faint parts farther or less far, and with filled ones."""
    reaches = REACHES if best.mask.threshold == "otsu" else CALIBRATED_REACHES
    others = [best.mask.model_copy(update={"reach": reach}) for reach in reaches if reach != best.mask.reach]
    return [filled(best), *(replace(best, mask=mask) for mask in others)]


def _cuts(sharpening: SharpeningSettings) -> tuple[MaskSettings, MaskSettings]:
    """By OK images, and by Otsu's threshold."""
    calibrated = MaskSettings(threshold=1.0, of="value", reach=CALIBRATED_REACH)
    return calibrated, MaskSettings(reach=otsu_reach(sharpening))


def masks_of(normal: OkImages, kind: str, look: Look, tried: Sequence[Candidate]) -> list[Mask]:
    """The mask (H, W) that each candidate makes of an image; a heatmap is sharpened once for all that cut it."""
    heats: dict[tuple[str, SharpeningSettings, bool], Heatmap] = {}
    found = []
    for candidate in tried:
        name, sharpening = candidate.map_of(kind), candidate.sharpening
        asked = name, sharpening, candidate.above_ok
        if asked not in heats:
            heat = look.heat(name, normal.scale(*asked))
            heats[asked] = sharpened(heat, look.image, sharpening)
        found.append(make_mask(heats[asked], candidate.mask))
    return found


def values_of(found: Mapping[Candidate, Sequence[Mark]]) -> dict[Candidate, float]:
    """Value of each candidate; a mask that is empty in half of the images is worth less than any other."""
    return {candidate: _value_of(candidate, each) for candidate, each in found.items()}


def _value_of(candidate: Candidate, found: Sequence[Mark]) -> float:
    if np.mean([mark.area > 0 for mark in found]) <= 0.5:
        return NOTHING
    by_ok = candidate.mask.threshold != "otsu" and len(found) >= FEWEST_COMPARED
    return value(found) + (CALIBRATED_WORTH if by_ok else 0.0)


def best_of(values: Mapping[Candidate, float]) -> Candidate:
    """The candidate with the highest value, the first of equals."""
    return max(values, key=lambda candidate: values[candidate])


def sure_gains(
    found: Mapping[Candidate, Sequence[Mark]], start: Candidate, others: Sequence[Candidate]
) -> dict[Candidate, float]:
    """What others surely gain over a candidate, 0 for itself.

    What small steps gain is compared image by image, and counts less twice its standard error, since the largest of
    many differences is large by chance:

        gain = mean(d) - 2 std(d) / sqrt(n),   d = worth of its n masks - worth of the candidate's

    Fewer than six images do not say what their standard error is: there a gain counts less a fixed margin.

    Args:
        found: marks of all of them, of the same images in the same order.
        start: the candidate.
        others: that differ from it in one thing.
    """
    own = np.array([worth(mark) for mark in found[start]])
    gains = {start: 0.0}
    for other in others:
        gained = np.array([worth(mark) for mark in found[other]]) - own
        few = len(gained) < FEWEST_COMPARED
        unsure = _CLEARLY if few else _ERRORS * gained.std(ddof=1) / np.sqrt(len(gained))
        gains[other] = float(gained.mean() - unsure)
    return gains


def best_ways(values: Mapping[Candidate, float], most: int) -> list[Candidate]:
    """The best candidates, at most so many, of which no two have the same map, contrast and kind of cut."""
    found: dict[Any, Candidate] = {}
    for candidate in sorted(values, key=lambda candidate: -values[candidate]):
        way = candidate.map, candidate.sharpening.polarity, candidate.mask.threshold, candidate.above_ok
        found.setdefault(way, candidate)
    return list(found.values())[:most]


def drop_of(found: Sequence[Mark]) -> float:
    """How far scores fall once masks are filled, mean over images; a share of the way to that of OK images."""
    return float(np.mean([mark.drop for mark in found]))


def row_of(candidate: Candidate, found: Sequence[Mark]) -> dict[str, Any]:
    """What the evidence says of a candidate, over the images it was judged on."""
    return {
        "map": candidate.map,
        **candidate.sharpening.model_dump(mode="json"),
        "cut": "otsu" if candidate.mask.threshold == "otsu" else "ok pixels",
        "reach": candidate.mask.reach,
        "fill_holes": candidate.mask.fill_holes,
        "above_ok": candidate.above_ok,
        "drop": round(drop_of(found), 4),
        "rise": round(float(np.mean([mark.rise for mark in found])), 4),
        "area": round(float(np.mean([mark.area for mark in found])), 5),
        "value": round(value(found), 4),
    }
