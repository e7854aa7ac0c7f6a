"""Map, contrast and cut of every kind of defect, chosen from image labels, with the classifier as the judge.

Kinds that differ a hundredfold in size want different things: pits a map of fine features and the contrast of narrow
surroundings, frayed areas the deepest map and no contrast at all. So every kind tries every map with every contrast and
every cut on a few of its images; `judge` says which masks are good; the best is kept, with the evidence.

Heat is measured by OK images: 0 is their median, and 1 is what 0.1 % of their pixels exceed, sharpening included.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltcam.calibration.judge import Case, Mark, Mask, marks, most_alike, value
from ltcam.data.decoded import DecodedImages
from ltcam.runs.network import TorchNetwork
from ltcam.training.seeding import seed_map
from ltcam_runtime.errors import DataError
from ltcam_runtime.images import resize, resize_heatmap
from ltcam_runtime.inspector import make_mask, scaled, sharpened
from ltcam_runtime.reading import Workers, read_all
from ltcam_runtime.settings import (
    MAP,
    SEED,
    KindSettings,
    MaskSettings,
    PartSettings,
    SharpeningSettings,
    Trust,
    part_name,
)
from ltcam_runtime.sharpening import Contrast, local_contrast

AREA_PRICE = 0.11  # of the area's logarithm; the whole drop is worth 1, the whole rise too
REACH = 0.15  # share of Otsu's threshold down to which a sharpened mask follows a defect's faint parts
CALIBRATED_REACH = 0.5  # of heat 1
WINDOW = 0.25  # share of the shorter side
OTHER_WINDOWS = (0.12, 0.6)
POLARITIES = ("dark", "bright", "either", "colour")
LEAST_LIKE = 0.3  # how much the values of a kind that ranks candidates in another way count
OTHERS_WEIGH = 2  # images of the kind's own that all other kinds together weigh at most
MOST_JUDGED = 16  # images of each kind, half of them held back where there are so many
MOST_OK = 48

# Half of the contrast that a tenth of an OK image's pixels exceed: a whole one cuts off defects' faint ends.
_FLOOR_PERCENTILE, _FLOOR_SHARE = 90, 0.5
_SURELY_GREY = 6  # largest difference of two colour channels that an image may have and count as grey
_EXCEEDED = 0.001  # share of OK pixels above heat 1
_FLOORS_OF, _SCALED_BY = (
    12,
    16,
)  # OK images that say how much contrast, and how much sharpened heat, is ordinary
_BETTER = 0.05  # of value: how much another window, or filling, has to gain
_EXPLAINS_NOTHING = 0.1  # of the score: less than that goes when the best masks are filled
_PEAKS_OF = 12  # OK images that were held back, from which on they alone say how high heat goes
_TOP, _RARE = (
    0.2,
    0.005,
)  # share of OK images that show how fast peaks get rare, and the share that may exceed
PARTS_GAIN = 0.1
"""Of value: how much masks of a kind gain at least where its images are drawn in parts."""

_LOOKED_THROUGH = 4  # times the images that are judged, for images of both parts
_FEWEST_OF_A_PART, _OF_A_PART = 3, 4  # images that masks of a part are judged on
_LISTED = 12  # candidates that the evidence names
_ANY_SEED = "seed"  # a map that is every kind's own

Image = NDArray[np.uint8]
Heatmap = NDArray[np.float32]
Progress = Callable[[int, int], None]


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
        return seed_map(kind) if self.map == _ANY_SEED else self.map


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
class Look:
    """An image as a network sees it.

    Attributes:
        image: (H, W, 3) at its own size.
        resized: at the network's size.
        heatmaps: (h, w) by map, at the network's size.
        score: log-odds of being defective.
    """

    image: Image
    resized: Image
    heatmaps: Mapping[str, Heatmap]
    score: float

    def heat(self, name: str, scale: tuple[float, float]) -> Heatmap:
        """A map at the image's own size, with the scale's values at 0 and 1."""
        return scaled(resize_heatmap(self.heatmaps[name], self.image.shape[:2]), scale)


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


class OkImages:
    """What OK images say of maps and contrasts; remembers what was asked once."""

    def __init__(self, looks: Sequence[Look], held_back: Sequence[Look] = ()):
        """What to ask.

        Args:
            looks: at OK images, at least one.
            held_back: at OK images that nothing was fitted to, for how high heat goes; few of them count for nothing.
        """
        self.looks = looks
        self.held_back = held_back if len(held_back) >= _PEAKS_OF else ()
        self.score = float(np.median([look.score for look in looks]))
        self._scales: dict[str, tuple[float, float]] = {}
        self._ones: dict[tuple[str, SharpeningSettings, float], float] = {}

    def raw_scale(self, name: str) -> tuple[float, float]:
        """Median of a map over OK images, and what 0.1 % of their pixels exceed."""
        if name not in self._scales:
            values = np.concatenate([look.heatmaps[name].ravel() for look in self.looks])
            low, high = (float(each) for each in np.quantile(values, (0.5, 1 - _EXCEEDED)))
            self._scales[name] = low, _above(low, high)
        return self._scales[name]

    def scale(self, name: str, sharpening: SharpeningSettings, above_ok: bool = True) -> tuple[float, float]:
        """The map's values that become 0 and, once it is sharpened, what 0.1 % of OK pixels exceed."""
        low, high = self.raw_scale(name)
        if not above_ok:
            low, high = 0.0, _above(0.0, high)
        if sharpening.polarity == "none":
            return low, high
        asked = name, sharpening, low
        if asked not in self._ones:
            hot = [
                sharpened(look.heat(name, (low, high)), look.image, sharpening)
                for look in self.looks[:_SCALED_BY]
            ]
            self._ones[asked] = float(np.quantile(np.concatenate([h.ravel() for h in hot]), 1 - _EXCEEDED))
        # Sharpening is linear in the heatmap, so the scale can do what the sharpened one needs.
        return low, _above(low, low + (high - low) * self._ones[asked])

    def peak(self, settings: KindSettings) -> float:
        """Heat that one OK image in 200 exceeds somewhere.

        So few images do not show what is that rare: the highest fifth of the peaks is taken to get rare
        exponentially (a generalised Pareto tail of shape 0; Coles 2001, An introduction to statistical modeling of
        extreme values).
        """
        peaks = [
            float(
                sharpened(
                    look.heat(settings.map, settings.scale or (0, 1)), look.image, settings.sharpening
                ).max()
            )
            for look in self.held_back or self.looks
        ]
        start = float(np.quantile(peaks, 1 - _TOP))
        beyond = [peak - start for peak in peaks if peak > start]
        rare = start + (float(np.mean(beyond)) * np.log(_TOP / _RARE) if beyond else 0.0)
        return max(rare, *peaks)

    def sharpening(self, polarity: str, window: float) -> SharpeningSettings:
        """A contrast with the floor that OK images set."""
        contrast = Contrast(polarity, window)  # type: ignore[arg-type]
        reached = [
            np.percentile(local_contrast(look.image, contrast), _FLOOR_PERCENTILE)
            for look in self.looks[:_FLOORS_OF]
        ]
        floor = round(_FLOOR_SHARE * float(np.median(reached)), 2)
        return SharpeningSettings.model_validate({"polarity": polarity, "window": window, "floor": floor})

    def polarities(self) -> tuple[str, ...]:
        """Contrasts that these images can have."""
        grey = all(
            int(np.ptp(look.image.astype(np.int16), axis=2).max()) <= _SURELY_GREY
            for look in self.looks[:_FLOORS_OF]
        )
        return tuple(polarity for polarity in POLARITIES if not (grey and polarity == "colour"))

    def case(self, look: Look) -> Case:
        """A defective image with the OK image that looks most like it."""
        donor = self.looks[most_alike(look.resized, [other.resized for other in self.looks])]
        return Case(look.resized, donor.resized, look.score, donor.score, self.score)


def look_at(
    network: TorchNetwork,
    files: Sequence[Path],
    most: int,
    seed: int,
    decoded: DecodedImages | None = None,
) -> list[Look]:
    """At most so many images as the network sees them, drawn at random; unreadable ones are passed over."""
    decoded = decoded or DecodedImages(0, network.run.white)
    drawn = np.random.default_rng(seed).permutation(len(files))
    outcomes = read_all(
        ((files[index].name, files[index]) for index in drawn),
        lambda _, path: decoded.read(path),
        Workers(count=1, size_of=decoded.size_of),
    )
    readable = (outcome.value for outcome in outcomes if outcome.value is not None)
    return [_look(network, image) for image in islice(readable, most)]


def _some_of(
    network: TorchNetwork,
    files: Sequence[Path],
    unseen: Collection[Path],
    most: int,
    decoded: DecodedImages | None,
) -> list[Look]:
    """At most so many images, half of them unseen by the training, where there are so many."""
    seed = network.run.seed
    first = look_at(network, [path for path in files if path in unseen], most // 2, seed, decoded)
    others = [path for path in files if path not in unseen]
    return first + look_at(network, others, most - len(first), seed, decoded)


def _look(network: TorchNetwork, image: Image) -> Look:
    resized = resize(image, network.image_size)
    heatmaps = network.respond([resized]).heatmaps
    score = network.defect_scores([resized])[0]
    return Look(image, resized, {name: maps[0] for name, maps in heatmaps.items()}, score)


def choose_kinds(
    network: TorchNetwork,
    defective: Mapping[str, Sequence[Path]],
    ok: Sequence[Path],
    progress: Progress = lambda _done, _total: None,
    *,
    held_back: Collection[Path] = (),
    most: int = MOST_JUDGED,
    decoded: DecodedImages | None = None,
) -> KindChoice:
    """Value every candidate on a few images of every kind and take the best.

    Args:
        network: with the maps that may be chosen; seed maps are called as `seed_map` says, also those of parts.
        defective: files of defective images by kind, of the training or validation side.
        ok: files of OK images, likewise.
        progress: called with (done, total).
        held_back: files among these that neither the network nor its maps were fitted to: of OK images, for how high
            heat goes; of defective ones, since maps show the defects that they were fitted to better than others.
        most: images of each kind that masks are judged on.
        decoded: what reads the files; None reads each anew.

    Raises:
        DataError: no OK image could be read, or the network tells no defective image from OK ones.
    """
    seed = network.run.seed
    normal_looks = look_at(network, ok, MOST_OK, seed, decoded)
    if not normal_looks:
        raise DataError("no OK image could be read, so nothing can be chosen")
    unseen = frozenset(held_back)
    normal = OkImages(normal_looks, look_at(network, [path for path in ok if path in unseen], MOST_OK, seed))
    shared = [name for name in network.maps if not name.startswith(f"{SEED} ")]
    names = [*shared, _ANY_SEED] if len(shared) < len(network.maps) else shared
    judging = _Judging(network, normal, candidates(normal, names))
    looks = {
        kind: judging.told(_some_of(network, files, unseen, most, decoded))
        for kind, files in defective.items()
    }
    chosen = judging.choose(looks, progress)
    settings, evidence = dict(chosen.kinds), dict(chosen.evidence)
    if len(defective) == 1 and part_maps(network.maps, kind := next(iter(defective))):
        files, wanted = defective[kind], _LOOKED_THROUGH * most
        more = judging.told(_some_of(network, files, unseen, wanted, decoded))
        parts, why = _parts(judging, kind, chosen.judged[kind].best, more, max(_OF_A_PART, most // 2))
        settings[kind] = settings[kind].model_copy(update={"parts": parts})
        evidence = {**evidence, **why, kind: {**evidence[kind], "parts": why[kind]}}
    return KindChoice(settings, _default(chosen.values), evidence, chosen.judged)


@dataclass(frozen=True, eq=False)
class _Chosen:
    """What is best for some kinds, or parts of a kind; `values` are those of all candidates."""

    kinds: Mapping[str, KindSettings]
    evidence: Mapping[str, dict[str, Any]]
    judged: Mapping[str, Judged]
    values: Mapping[str, Mapping[Candidate, float]]


@dataclass(frozen=True, eq=False)
class _Judging:
    """What is judged with: the classifier, OK images, and the candidates."""

    network: TorchNetwork
    normal: OkImages
    tried: Sequence[Candidate]

    def told(self, looks: Sequence[Look]) -> list[Look]:
        """Those that the classifier tells from OK images."""
        return [look for look in looks if look.score > self.normal.score]

    def marks(
        self, kind: str, looks: Sequence[Look], tried: Sequence[Candidate]
    ) -> dict[Candidate, list[Mark]]:
        """As `marks_of`."""
        return marks_of(self.network, self.normal, kind, looks, tried) if looks else {}

    def worth(self, kind: str, looks: Sequence[Look], candidate: Candidate) -> float:
        """Value of a candidate's masks of some images."""
        return values_of(self.marks(kind, looks, [candidate]))[candidate]

    def choose(
        self,
        looks: Mapping[str, Sequence[Look]],
        progress: Progress = lambda _done, _total: None,
    ) -> _Chosen:
        """The best candidate for every kind, or part of a kind, by images of it."""
        judged: dict[str, dict[Candidate, list[Mark]]] = {}
        for number, (kind, own) in enumerate(looks.items()):
            judged[kind] = self.marks(kind, own, self.tried)
            progress(number + 1, len(looks))
        values = together(
            {kind: values_of(found) for kind, found in judged.items()},
            {kind: len(found) for kind, found in looks.items()},
        )
        settings: dict[str, KindSettings] = {}
        evidence: dict[str, dict[str, Any]] = {}
        chosen_from: dict[str, Judged] = {}
        for kind, first in judged.items():
            best, marks_of_all = best_of(values[kind]), dict(first)
            if first:
                further = self.marks(kind, looks[kind], _further(self.normal, best))
                marks_of_all |= further
                own_values = values_of(marks_of_all)
                best = best_of(own_values | {best: own_values[best] + _BETTER}, among=[best, *further])
                by_peaks = all(each.map == _ANY_SEED for each in self.tried)
                if by_peaks and _drop(marks_of_all[best]) < _EXPLAINS_NOTHING:
                    # A peak that is pasted stays a peak, whatever is cut off around it: only the drop can tell.
                    best = self.tried[0]
            settings[kind], evidence[kind] = _settled(self.normal, kind, best, marks_of_all)
            chosen_from[kind] = Judged(self.normal, looks[kind], best, marks_of_all)
        return _Chosen(settings, evidence, chosen_from, values)


def part_maps(maps: Sequence[str], kind: str) -> tuple[str, ...]:
    """Names of the seed maps of a kind's parts, where a network has some."""
    names = (seed_map(part_name(kind, place)) for place in (0, 1))
    return tuple(name for name in names if name in maps)


def _parts(
    judging: _Judging, kind: str, whole: Candidate, looks: Sequence[Look], most: int
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
        judging.worth(name, own, chosen.judged[name].best) - judging.worth(kind, own, whole)
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


def candidates(normal: OkImages, maps: Sequence[str]) -> list[Candidate]:
    """Every map with every contrast and every cut.

    Args:
        normal: OK images, which say how much contrast is ordinary.
        maps: names of the network's maps; `seed` for each kind's own.

    Returns:
        The first one is the first map unsharpened, cut by OK images.
    """
    contrasts = [SharpeningSettings(), *(normal.sharpening(each, WINDOW) for each in normal.polarities())]
    contrasts += [normal.sharpening("dark", window) for window in OTHER_WINDOWS]
    return [
        Candidate(name, sharpening, mask)
        for name in maps
        for sharpening in contrasts
        for mask in _cuts(sharpening)
    ] + [
        Candidate(name, sharpening, _cuts(sharpening)[1], above_ok=False)
        for name in maps
        if name != _ANY_SEED
        for sharpening in contrasts
    ]


def _further(normal: OkImages, best: Candidate) -> list[Candidate]:
    """What is worth trying beside the best: its masks filled, and its contrast in other surroundings."""
    found = [replace(best, mask=best.mask.model_copy(update={"fill_holes": True}))]
    polarity = best.sharpening.polarity
    windows = () if polarity == "none" else (WINDOW, *OTHER_WINDOWS)
    others = [normal.sharpening(polarity, each) for each in windows if each != best.sharpening.window]
    return found + [replace(best, sharpening=each) for each in others]


def _cuts(sharpening: SharpeningSettings) -> tuple[MaskSettings, MaskSettings]:
    """By OK images, and by Otsu's threshold."""
    calibrated = MaskSettings(threshold=1.0, of="value", reach=CALIBRATED_REACH)
    return calibrated, MaskSettings(reach=1.0 if sharpening.polarity == "none" else REACH)


def marks_of(
    network: TorchNetwork, normal: OkImages, kind: str, looks: Sequence[Look], tried: Sequence[Candidate]
) -> dict[Candidate, list[Mark]]:
    """What the classifier says of the masks that candidates make of images of a kind, one mark per image."""
    found: dict[Candidate, list[Mark]] = {candidate: [] for candidate in tried}
    for look in looks:
        masks = masks_of(normal, kind, look, tried)
        judged = marks(normal.case(look), masks, network.defect_scores)
        for candidate, mark in zip(tried, judged, strict=True):
            found[candidate].append(mark)
    return found


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
    return {
        candidate: value(each, AREA_PRICE) if np.mean([mark.area > 0 for mark in each]) > 0.5 else NOTHING
        for candidate, each in found.items()
    }


NOTHING = -1.0
"""Value of candidates that find nothing."""


def together(
    values: Mapping[str, Mapping[Candidate, float]], images: Mapping[str, int]
) -> dict[str, dict[Candidate, float]]:
    """Values of every kind's candidates with those of the other kinds, which count the more the more alike they are.

    A few images say little; kinds that rank candidates alike may speak for each other, and a kind without images is
    spoken for by all others.

    Args:
        values: by kind and candidate; empty for kinds without images.
        images: of each kind that its values are of.
    """
    known = {kind: own for kind, own in values.items() if own}
    if not known:
        raise DataError("no defective image was told from OK ones, so nothing can be chosen")
    candidates = list(next(iter(known.values())))
    rows = {kind: np.array([own[candidate] for candidate in candidates]) for kind, own in known.items()}
    found: dict[str, dict[Candidate, float]] = {}
    for kind in values:
        others = {name: row for name, row in rows.items() if name != kind}
        weight = float(images[kind]) if kind in rows else 0.0
        total = weight * rows[kind] if kind in rows else np.zeros(len(candidates))
        for row in others.values():
            counts = OTHERS_WEIGH * _likeness(rows.get(kind, row), row) / len(others)
            total, weight = total + counts * row, weight + counts
        found[kind] = dict(zip(candidates, (total / weight).tolist(), strict=True))
    return found


def _likeness(own: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """How much another kind's values count, up to 1: by their correlation."""
    if np.ptp(own) == 0 or np.ptp(other) == 0:
        return LEAST_LIKE
    return float(LEAST_LIKE + (1 - LEAST_LIKE) * max(0.0, float(np.corrcoef(own, other)[0, 1])))


def best_of(values: Mapping[Candidate, float], among: Sequence[Candidate] | None = None) -> Candidate:
    """The candidate with the highest value, the first of equals."""
    return max(values if among is None else among, key=lambda candidate: values[candidate])


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


def _drop(found: Sequence[Mark]) -> float:
    return float(np.mean([mark.drop for mark in found]))


def row_of(candidate: Candidate, found: Sequence[Mark]) -> dict[str, Any]:
    """What the evidence says of a candidate, over the images it was judged on."""
    return {
        "map": candidate.map,
        **candidate.sharpening.model_dump(mode="json"),
        "cut": "otsu" if candidate.mask.threshold == "otsu" else "ok pixels",
        "fill_holes": candidate.mask.fill_holes,
        "above_ok": candidate.above_ok,
        "drop": round(_drop(found), 4),
        "rise": round(float(np.mean([mark.rise for mark in found])), 4),
        "area": round(float(np.mean([mark.area for mark in found])), 5),
        "value": round(value(found, AREA_PRICE), 4),
    }


def _above(low: float, high: float) -> float:
    """`high`, or the least above `low` where they are equal."""
    return high if high > low else low + max(abs(low), 1.0) * 1e-6
