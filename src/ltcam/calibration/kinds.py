"""Map, contrast and cut of every kind of defect, chosen from image labels, with the classifier as the judge.

Kinds that differ a hundredfold in size want different things: pits a map of fine features and the contrast of narrow
surroundings, frayed areas the deepest map and no contrast at all. So every kind tries every candidate on a few of its
images; `judge` says which masks are good; the best is kept, with the evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltcam.calibration.candidates import (
    ANY_SEED,
    FEWEST_COMPARED,
    Candidate,
    best_of,
    best_ways,
    candidates,
    drop_of,
    filled,
    masks_of,
    other_cuts,
    other_surroundings,
    row_of,
    sure_gains,
    values_of,
)
from ltcam.calibration.judge import MARGINS_PX, Mark, marks
from ltcam.calibration.looks import MOST_OK, Learned, Look, OkImages, look_at, shuffled
from ltcam.data.decoded import DecodedImages
from ltcam.runs.network import TorchNetwork
from ltcam.training.seeding import seed_map
from ltcam_runtime.errors import DataError
from ltcam_runtime.settings import MAP, SEED, KindSettings, PartSettings, Trust, part_name

MOST_JUDGED = 16
"""Images of each kind that masks are judged on, half of them held back where there are so many."""

LEAST_LIKE = 0.3  # how much the values of a kind that ranks candidates in another way count
OTHERS_WEIGH = 2  # images of the kind's own that all other kinds together weigh at most
MOST_AGAINST = 0.3  # of value: what fails on another kind altogether says no more against it here
PARTS_GAIN = 0.1
"""Of value: how much masks of a kind gain at least where its images are drawn in parts."""

_STARTS = 2  # ways that are refined; on few images the second best is there by chance
_EXPLAINS_NOTHING = 0.1  # of the score: less than that goes when the best masks are filled
_LOOKED_THROUGH = 4  # times the images that are judged, for images of both parts
_FEWEST_OF_A_PART, _OF_A_PART = 3, 4  # images that masks of a part are judged on
_LISTED = 12  # candidates that the evidence names

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class KindChoice:
    """What was chosen, and why.

    Attributes:
        kinds: settings by kind of defect; every kind has some.
        default: what is best for all kinds together on the network's own map, without a scale: for whoever asks for
            another map.
        evidence: by kind, as JSON values: one sentence, how far masks explain the verdict, and the best candidates;
            those of parts of a kind are called as `part_name` says.
        judged: by kind, what it was chosen from, for who shows it.
    """

    kinds: Mapping[str, KindSettings]
    default: KindSettings
    evidence: Mapping[str, Any]
    judged: Mapping[str, Judged] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, eq=False)
class Judged:
    """What was chosen from for a kind.

    Attributes:
        normal: OK images.
        looks: at the images of the kind that candidates were judged on.
        best: what was chosen.
        marks: of each candidate, one per image.
    """

    normal: OkImages
    looks: Sequence[Look]
    best: Candidate
    marks: Mapping[Candidate, Sequence[Mark]]


def choose_kinds(
    network: TorchNetwork,
    learned: Learned,
    progress: Progress = lambda _done, _total: None,
    *,
    most: int = MOST_JUDGED,
    decoded: DecodedImages | None = None,
) -> KindChoice:
    """Value every candidate on a few images of every kind and take the best.

    Args:
        network: with the maps that may be chosen; seed maps are called as `seed_map` says, also those of parts.
        learned: what is looked at. Of OK images, those that were held back say how high heat goes; of defective ones
            half are such, since maps show the defects that they were fitted to better than others.
        progress: called with (done, total).
        most: images of each kind that masks are judged on.
        decoded: what reads the files; None reads each anew.

    Raises:
        DataError: no OK image could be read, or the network tells no defective image from OK ones.
    """
    seed = network.run.seed
    normal_looks = look_at(network, shuffled(learned.ok, seed), MOST_OK, decoded)
    if not normal_looks:
        raise DataError("no OK image could be read, so nothing can be chosen")
    ok_held_back = shuffled([path for path in learned.ok if path in learned.held_back], seed)
    shared = [name for name in network.maps if not name.startswith(f"{SEED} ")]
    names = [*shared, ANY_SEED] if len(shared) < len(network.maps) else shared
    normal = OkImages(normal_looks, look_at(network, ok_held_back, MOST_OK, decoded))
    judging = Judging(network, normal, candidates(normal, names))

    def told(kind: str, wanted: int) -> list[Look]:
        """Images of a kind, those that the classifier tells from OK images."""
        files = learned.half_held_back(kind, wanted, seed)
        return [look for look in look_at(network, files, wanted, decoded) if look.score > normal.score]

    looks = {kind: told(kind, most) for kind in learned.defective}
    chosen = judging.choose(looks, progress)
    settings, evidence = dict(chosen.kinds), dict(chosen.evidence)
    if len(looks) == 1 and part_maps(network.maps, kind := next(iter(looks))):
        more = told(kind, _LOOKED_THROUGH * most)
        parts, why = _parts(judging, kind, chosen.judged[kind].best, more, max(_OF_A_PART, most // 2))
        settings[kind] = settings[kind].model_copy(update={"parts": parts})
        evidence = {**evidence, **why, kind: {**evidence[kind], "parts": why[kind]}}
    return KindChoice(settings, _default(chosen.values), evidence, chosen.judged)


@dataclass(frozen=True, eq=False)
class Chosen:
    """What is best for some kinds, or parts of a kind; `values` are those of all candidates."""

    kinds: Mapping[str, KindSettings]
    evidence: Mapping[str, dict[str, Any]]
    judged: Mapping[str, Judged]
    values: Mapping[str, Mapping[Candidate, float]]


@dataclass(frozen=True, eq=False)
class Judging:
    """What is judged with: the classifier, OK images, and the candidates."""

    network: TorchNetwork
    normal: OkImages
    tried: Sequence[Candidate]

    @property
    def by_peaks(self) -> bool:
        """Whether the classifier sees no more than the peaks of seed maps, as that of `ltcam quick`."""
        return all(each.map == ANY_SEED for each in self.tried)

    def marks(
        self, kind: str, looks: Sequence[Look], tried: Sequence[Candidate]
    ) -> dict[Candidate, list[Mark]]:
        """What the classifier says of the masks that candidates make of images of a kind, one mark per image.

        Without an image there is nothing to say of any candidate.
        """
        if not looks:
            return {}
        for candidate in tried:  # here, since each of the threads would find them out for itself
            self.normal.scale(candidate.map_of(kind), candidate.sharpening, candidate.above_ok)
        # A peak is one place: how a defect fades out around it does not count.
        margins = MARGINS_PX[:1] if self.by_peaks else MARGINS_PX

        def judged(look: Look) -> list[Mark]:
            masks = masks_of(self.normal, kind, look, tried)
            return marks(self.normal.case(look, margins), masks, self.network.defect_scores)

        with (
            self.network.workers(1) as workers,
            ThreadPoolExecutor(workers.count, initializer=workers.start) as pool,
        ):
            by_look = list(pool.map(judged, looks))
        return {
            candidate: list(found) for candidate, found in zip(tried, zip(*by_look, strict=True), strict=True)
        }

    def value_of(self, kind: str, looks: Sequence[Look], candidate: Candidate) -> float:
        """Value of a candidate's masks of some images."""
        return values_of(self.marks(kind, looks, [candidate]))[candidate]

    def choose(
        self,
        looks: Mapping[str, Sequence[Look]],
        progress: Progress = lambda _done, _total: None,
    ) -> Chosen:
        """The best candidate for every kind, or part of a kind, by images of it."""
        judged: dict[str, dict[Candidate, list[Mark]]] = {}
        for number, (kind, own) in enumerate(looks.items()):
            judged[kind] = self.marks(kind, own, self.tried)
            progress(number + 1, len(looks))
        values = together(
            {kind: values_of(found) for kind, found in judged.items()},
            {kind: len(found) for kind, found in looks.items()},
        )
        first = {kind: best_of(values[kind]) for kind in looks}
        best: dict[str, Candidate] = {}
        for kind, found in judged.items():
            if found:
                best[kind] = self._refined(kind, looks[kind], values[kind], found)
        refined = {first[kind]: each for kind, each in best.items()}
        settings: dict[str, KindSettings] = {}
        evidence: dict[str, dict[str, Any]] = {}
        for kind, found in judged.items():
            best.setdefault(kind, refined.get(first[kind], first[kind]))
            settings[kind], evidence[kind] = _settled(self.normal, kind, best[kind], found)
        chosen_from = {
            kind: Judged(self.normal, looks[kind], best[kind], found) for kind, found in judged.items()
        }
        return Chosen(settings, evidence, chosen_from, values)

    def _refined(
        self,
        kind: str,
        looks: Sequence[Look],
        values: Mapping[Candidate, float],
        found: dict[Candidate, list[Mark]],
    ) -> Candidate:
        """What is best of where steps that surely gain lead from the best ways; adds the marks of what was tried."""

        def step(start: Candidate, near: Sequence[Candidate]) -> tuple[Candidate, float]:
            found.update(self.marks(kind, looks, [each for each in near if each not in found]))
            gains = sure_gains(found, start, near)
            reached = best_of(gains)
            return reached, gains[reached]

        few = len(looks) < FEWEST_COMPARED
        reached: dict[Candidate, float] = {}
        for start in best_ways(values, 1 if few else _STARTS):
            there, gained = step(start, other_surroundings(self.normal, start))
            there, more = step(there, [filled(there)] if few else other_cuts(there))
            reached[there] = max(values[start] + gained + more, reached.get(there, -np.inf))
        best = best_of(reached)
        if self.by_peaks and drop_of(found[best]) < _EXPLAINS_NOTHING:
            # A peak that is pasted stays a peak, whatever is cut off around it: only the drop can tell.
            return self.tried[0]
        return best


def part_maps(maps: Sequence[str], kind: str) -> tuple[str, ...]:
    """Names of the seed maps of a kind's parts, where a network has some."""
    names = (seed_map(part_name(kind, place)) for place in (0, 1))
    return tuple(name for name in names if name in maps)


def _parts(
    judging: Judging, kind: str, whole: Candidate, looks: Sequence[Look], most: int
) -> tuple[tuple[PartSettings, ...], dict[str, Any]]:
    """What is drawn of each part of a kind's images, if masks gain by it.

    Args:
        judging: by which masks are judged.
        kind: whose images fall into parts.
        whole: what is best for all of its images together.
        looks: at its images.
        most: images of each part that masks are judged on.

    Returns:
        No part where it gains too little; and the evidence, that of the kind a sentence.
    """
    signs = part_maps(judging.network.maps, kind)
    signed = KindSettings(parts=tuple(PartSettings(sign=sign) for sign in signs))
    of_parts: dict[str, list[Look]] = {part_name(kind, place): [] for place in range(len(signs))}
    for look in looks:
        of_parts[part_name(kind, signed.part_of(look.heatmaps))].append(look)
    judged = {name: own[:most] for name, own in of_parts.items()}
    counts = " and ".join(str(len(own)) for own in of_parts.values())
    told = f"its images fall into two parts by what they look like ({counts} of {len(looks)})"
    if min(len(own) for own in judged.values()) < _FEWEST_OF_A_PART:
        return (), {kind: f"{told}, which is too few of one to judge masks of it"}
    chosen = judging.choose(judged)
    gains = [
        judging.value_of(name, own, chosen.judged[name].best) - judging.value_of(kind, own, whole)
        for name, own in judged.items()
    ]
    gain = float(np.average(gains, weights=[len(own) for own in judged.values()]))
    if gain < PARTS_GAIN:
        return (), {kind: f"{told}, which are drawn alike: parts of their own would be worth {gain:.2f} more"}
    parts = tuple(
        PartSettings(**chosen.kinds[name].model_dump(exclude={"parts"}), sign=sign)
        for name, sign in zip(judged, signs, strict=True)
    )
    return parts, {kind: f"{told}, and masks of their own are worth {gain:.2f} more", **chosen.evidence}


def together(
    values: Mapping[str, Mapping[Candidate, float]], images: Mapping[str, int]
) -> dict[str, dict[Candidate, float]]:
    """Values of every kind's candidates with those of the other kinds, which count the more the more alike they are.

    A few images say little; kinds that rank candidates alike may speak for each other, and a kind without images is
    spoken for by all others. What they say is how far a candidate falls behind the best of the kind, but no more than
    `MOST_AGAINST`: what draws a scratch well finds nothing of a stain, and the other way round.

    Args:
        values: by kind and candidate; empty for kinds without images.
        images: of each kind that its values are of.

    Returns:
        By kind and candidate, 0 at most.
    """
    known = {kind: own for kind, own in values.items() if own}
    if not known:
        raise DataError("no defective image was told from OK ones, so nothing can be chosen")
    candidates = list(next(iter(known.values())))
    rows = {kind: np.array([own[candidate] for candidate in candidates]) for kind, own in known.items()}
    behind = {kind: row - row.max() for kind, row in rows.items()}
    found: dict[str, dict[Candidate, float]] = {}
    for kind in values:
        others = [name for name in rows if name != kind]
        weight = float(images[kind]) if kind in rows else 0.0
        total = weight * behind[kind] if kind in rows else np.zeros(len(candidates))
        for name in others:
            counts = OTHERS_WEIGH * _likeness(rows.get(kind, rows[name]), rows[name]) / len(others)
            total, weight = total + counts * np.maximum(behind[name], -MOST_AGAINST), weight + counts
        found[kind] = dict(zip(candidates, (total / weight).tolist(), strict=True))
    return found


def _likeness(own: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """How much another kind's values count, up to 1: by their correlation."""
    if np.ptp(own) == 0 or np.ptp(other) == 0:
        return LEAST_LIKE
    return float(LEAST_LIKE + (1 - LEAST_LIKE) * max(0.0, float(np.corrcoef(own, other)[0, 1])))


def _default(values: Mapping[str, Mapping[Candidate, float]]) -> KindSettings:
    """The best sharpening of the network's own map, cut by Otsu's threshold, over all kinds."""
    totals = {
        candidate: float(np.mean([own[candidate] for own in values.values()]))
        for candidate in next(iter(values.values()))
        if candidate.map == MAP and not candidate.above_ok
    }
    if not totals:
        return KindSettings()
    best = best_of(totals)
    return KindSettings(map=MAP, sharpening=best.sharpening, mask=best.mask)


def _settled(
    normal: OkImages, kind: str, best: Candidate, found: Mapping[Candidate, Sequence[Mark]]
) -> tuple[KindSettings, dict[str, Any]]:
    """The best candidate's settings for a kind, and why they are."""
    name = best.map_of(kind)
    settings = KindSettings(
        map=name,
        scale=normal.scale(name, best.sharpening, best.above_ok),
        sharpening=best.sharpening,
        mask=best.mask,
    )
    settings = settings.model_copy(update={"least_peak": round(normal.peak(settings), 4)})
    if not found:
        return settings, {"sentence": "as for the other kinds, since none of its images is told from OK ones"}
    chosen = row_of(best, found[best])
    settings = settings.model_copy(update={"trust": trust(chosen["drop"])})
    rows = sorted(
        (row_of(each, marks) for each, marks in found.items() if each != best), key=lambda row: -row["value"]
    )
    return settings, {
        "sentence": (
            f"best of {len(found)} candidates by what the classifier says of their masks on {len(found[best])} of its "
            "images, and on those of kinds alike"
        ),
        "explained": chosen["drop"],
        "trust": trust(chosen["drop"]),
        "candidates": [chosen, *rows[: _LISTED - 1]],
    }


GOOD, FAIR = 0.5, 0.25
"""Share of the score that goes when masks are filled with OK texture, from which on they can be trusted."""


def trust(explained: float) -> Trust:
    """In a word how far masks can be trusted, by the share of the score that they explain."""
    return "good" if explained >= GOOD else "fair" if explained >= FAIR else "poor"
