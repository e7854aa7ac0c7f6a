"""Seed maps fitted to image labels: which places of a defective image are the defect? Instance EM.

Every place of an OK image is OK; of a defective image a few places are not, and nobody says which. So
(expectation) the share of places that look least like OK are taken for the defect, (maximisation) a linear classifier
tells them from OK places, and again, with the OK places that it is most wrong about among the negatives. Tiny
defects survive this, where the mean over all places makes them invisible.

Features are a trunk's, at several strides: standardised, reduced to their principal components, and whitened by OK
places; all of it is linear, so what is left in the end is a 1x1 convolution per tapped block. Everything is
deterministic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from torch import Tensor
from torch.nn import functional

from ltcam.models.seeded import SeedHeads
from ltcam.training.parts import FEWEST, Description, in_two
from ltcam_runtime.settings import part_name

SHARES = (0.003, 0.01, 0.05)
"""Shares of a defective image's places that are taken for the defect; the best by image AP is kept."""

_COMPONENTS = 32  # principal components per tapped block
_ROUNDS = 5
_NEGATIVES = 20_000  # OK places that a fit sees
_HARDEST = 20  # places of every OK image that are negatives too
_RIDGE = 10.0  # on whitened features, with places that weigh `_WEIGHT` together
_WEIGHT = 1000.0
MOST_OK, MOST_OF_A_KIND = 150, 80  # images looked at
_EXCEEDED = 0.001  # share of OK places above 1
_TOLD_APART = 0.8  # of the parts' images, by which part's map peaks higher
_FLAT = 1e-6  # standard deviation of a channel that says nothing
_SHRINKAGE = 1e-3  # of the whitened covariance, in units of a principal component's variance

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Places:
    """Features of all places of some images.

    Attributes:
        blocks: (N, C, h, w) float16 of each tapped block, fine to coarse.
        labels: (N,) class indices; 0 is OK.
        held_back: (N,) bool: images that only choose, and fit nothing.
    """

    blocks: tuple[Tensor, ...]
    labels: NDArray[np.int64]
    held_back: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Seed:
    """Fitted seed maps.

    Attributes:
        heads: the maps: of kinds, and behind them those of parts.
        shares: per number of a map (a kind's class index), the share of places that was taken for the defect.
        ap: likewise, image AP of its map's peaks on the images held back (on all where there are none).
        parts: how many parts the one kind of defect has; 0 unless its images fall into parts.
    """

    heads: SeedHeads
    shares: Mapping[int, float]
    ap: Mapping[int, float]
    parts: int = 0

    def names(self, classes: Sequence[str]) -> list[str]:
        """What each map is of: every kind of defect, and the parts of the one that has some."""
        return [*classes[1:], *(part_name(classes[1], place) for place in range(self.parts))]

    def evidence(self, classes: Sequence[str]) -> dict[str, dict[str, float]]:
        """As JSON values, by kind of defect or part: the share of places, and the image AP that chose it."""
        names = self.names(classes)
        return {
            names[number - 1]: {"share": share, "image_ap": round(self.ap[number], 4)}
            for number, share in self.shares.items()
        }


@dataclass(frozen=True, eq=False)
class _Whitening:
    """Features of the tapped blocks to whitened ones, as a linear map.

    `mean` and `matrix` (C, D) are of each block: y = (x - mean) @ matrix; whitened z = (concat(y) - centre) @ turn.
    """

    means: tuple[Array, ...]
    matrices: tuple[Array, ...]
    centre: Array
    turn: Array

    def __call__(self, blocks: Sequence[Tensor]) -> Array:
        """Places (P, D) of one image's blocks (C, h, w)."""
        size = blocks[0].shape[1:]
        parts = []
        for block, mean, matrix in zip(blocks, self.means, self.matrices, strict=True):
            values = torch.einsum("chw,cd->dhw", block.float() - _column(mean), torch.from_numpy(matrix))
            parts.append(
                functional.interpolate(values[None], size=size, mode="bilinear", align_corners=False)[0]
            )
        flat = torch.cat(parts).flatten(1).T.numpy()
        return np.asarray((flat - self.centre) @ self.turn, np.float32)

    def folded(self, weights: Array, offsets: Array) -> SeedHeads:
        """Linear maps of whitened features, weights (D, K) and offsets (K,), as convolutions of the blocks."""
        heads = SeedHeads([len(mean) for mean in self.means], weights.shape[1])
        turned = self.turn @ weights
        bias = offsets - self.centre @ turned
        start = 0
        with torch.no_grad():
            for convolution, mean, matrix in zip(heads.convolutions, self.means, self.matrices, strict=True):
                part = matrix @ turned[start : start + matrix.shape[1]]
                start += matrix.shape[1]
                bias = bias - mean @ part
                convolution.weight.copy_(torch.from_numpy(np.ascontiguousarray(part.T))[:, :, None, None])  # type: ignore[operator]
            heads.convolutions[0].bias.copy_(torch.from_numpy(bias))  # type: ignore[operator]
        return heads


def fit_seed(
    places: Places,
    *,
    kinds: int = 1,
    seed: int = 0,
) -> Seed:
    """Fit a seed map for every kind of defect.

    Args:
        places: of OK and defective images. Those held back choose how large a defect is taken to be.
        kinds: how many there are at least; of the last ones there may be no image.
        seed: which images are looked at where there are very many.

    Raises:
        ValueError: no OK or no defective image to fit on.
    """
    rng = np.random.default_rng(seed)
    fitted_on = ~places.held_back
    normal = _some(np.flatnonzero(fitted_on & (places.labels == 0)), MOST_OK, rng)
    last = int(places.labels.max(initial=0))
    if not len(normal) or not last:
        raise ValueError("a seed map needs places of OK and of defective images to fit on")
    numbers = range(1, max(last, kinds) + 1)
    whitening = _whitening(places.blocks, normal, rng)
    held_back = np.flatnonzero(places.held_back)
    of_kind = {
        k: _some(np.flatnonzero(fitted_on & (places.labels == k)), MOST_OF_A_KIND, rng) for k in numbers
    }
    wanted = np.unique(np.concatenate([normal, held_back, *of_kind.values()]))
    white: dict[int, Array] = {int(i): whitening([block[i] for block in places.blocks]) for i in wanted}
    fitting = _Fitting(white, normal, _drawn([white[int(i)] for i in normal], _NEGATIVES, rng))

    def fitted(kind: int) -> _Map:
        judging = held_back[np.isin(places.labels[held_back], (0, kind))]
        return fitting.fit(of_kind[kind], judging, places.labels == kind)

    # Of the others there is no image on this side: their maps are nowhere hot.
    shown = [kind for kind in numbers if len(of_kind[kind])]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        found = dict(zip(shown, pool.map(fitted, shown), strict=True))
    parts = (
        fitting.parts(found[1], of_kind[1], held_back, places.labels) if len(numbers) == 1 and found else []
    )
    maps = [found.get(kind, fitting.nothing) for kind in numbers] + parts
    heads = whitening.folded(
        np.stack([each.weight for each in maps], 1), np.array([each.offset for each in maps], np.float32)
    )
    known = {number: each for number, each in enumerate(maps, start=1) if each.share}
    return Seed(
        heads,
        {n: each.share for n, each in known.items()},
        {n: each.ap for n, each in known.items()},
        len(parts),
    )


@dataclass(frozen=True, eq=False)
class _Map:
    """A fitted seed map of whitened features: weights (D,), and what is added."""

    weight: Array
    offset: float = 0.0
    share: float = 0.0
    ap: float = 0.0

    def heat(self, places: Array) -> Array:
        """Of places (P, D)."""
        return np.asarray(places @ self.weight + np.float32(self.offset), np.float32)

    def peak(self, places: Array) -> float:
        """The highest heat of places (P, D)."""
        return float(self.heat(places).max())


@dataclass(frozen=True, eq=False)
class _Fitting:
    """What every fit of a map sees.

    Attributes:
        white: whitened places (P, D) by image.
        normal: the OK images that are fitted on.
        negatives: some of their places.
    """

    white: Mapping[int, Array]
    normal: NDArray[np.int64]
    negatives: Array

    @property
    def nothing(self) -> _Map:
        """A map that is nowhere hot."""
        return _Map(np.zeros(self.negatives.shape[1], np.float32))

    def fit(self, members: NDArray[np.int64], held_back: NDArray[np.int64], of_it: NDArray[np.bool_]) -> _Map:
        """The map of a kind of defect, or of a part of one.

        Args:
            members: its images that are fitted on.
            held_back: images that choose the share of places: OK ones, and its own.
            of_it: whether an image is of it, for every image that there is.
        """
        positive = [self.white[int(i)] for i in members]
        ok = [self.white[int(i)] for i in self.normal]
        judged = [int(i) for i in held_back]
        if len({bool(of_it[i]) for i in judged}) < 2:
            judged = [int(i) for i in (*self.normal, *members)]
        truth = [bool(of_it[i]) for i in judged]
        tried = []
        for share in SHARES:
            weight = _instance_em(positive, ok, self.negatives, share)
            low, high = _scale(ok, weight)
            scaled = (weight / (high - low)).astype(np.float32)
            peaks = [float((self.white[i] @ scaled).max()) for i in judged]
            ap = float(average_precision_score(truth, peaks))
            tried.append(_Map(scaled, -low / (high - low), share, ap))
        return max(tried, key=lambda each: (round(each.ap, 3), -each.share))  # of equals the smallest share

    def parts(
        self, whole: _Map, members: NDArray[np.int64], held_back: NDArray[np.int64], labels: NDArray[np.int64]
    ) -> list[_Map]:
        """Maps of the two parts of a kind's images; none unless their peaks tell the parts' images apart.

        Args:
            whole: the map of the kind.
            members: its images that are fitted on.
            held_back: images that are not.
            labels: class indices of all images; those above 0 are of the kind.
        """
        halves = in_two([self._described(whole, int(i)) for i in members])
        if halves is None:
            return []
        own = held_back[labels[held_back] > 0]
        half_of = np.full(len(labels), -1)
        for i in (*members, *own):
            half_of[i] = halves.of([self._described(whole, int(i))])[0]
        maps = []
        for half in (0, 1):
            judging = held_back[(labels[held_back] == 0) | (half_of[held_back] == half)]
            maps.append(self.fit(members[half_of[members] == half], judging, half_of == half))
        judged = own if len(own) >= FEWEST else members
        seen = np.array([np.argmax([each.peak(self.white[int(i)]) for each in maps]) for i in judged])
        told = [np.mean(seen[half_of[judged] == half] == half) for half in np.unique(half_of[judged])]
        return maps if np.mean(told) >= _TOLD_APART else []

    def _described(self, whole: _Map, image: int) -> Description:
        """What an image shows of a kind."""
        places = self.white[image]
        heat = whole.heat(places)
        count = max(1, round(whole.share * len(places)))
        return Description(_highest(places, heat, count).mean(0), int((heat > 1).sum()))


def _instance_em(positive: Sequence[Array], ok: Sequence[Array], negatives: Array, share: float) -> Array:
    """Weights (D,) of the linear classifier that the rounds end with."""
    count = max(1, round(share * len(positive[0])))
    scores = [np.square(places).sum(1) for places in positive]  # Mahalanobis, squared
    hardest: list[Array] = []
    weight = np.zeros(negatives.shape[1], np.float32)
    for round_number in range(_ROUNDS + 1):
        defect = np.concatenate([_highest(p, s, count) for p, s in zip(positive, scores, strict=True)])
        weight = _logistic(defect, np.concatenate([negatives, *hardest]))
        if round_number == _ROUNDS:
            break
        scores = [places @ weight for places in positive]
        hardest = [_highest(places, places @ weight, _HARDEST) for places in ok]
    return weight


def _logistic(positive: Array, negative: Array) -> Array:
    """Weights (D,) of a balanced logistic regression with a ridge, by Newton's method."""
    features = np.concatenate([positive, negative])
    features = np.concatenate([features, np.ones((len(features), 1), np.float32)], 1)
    truth = np.concatenate([np.ones(len(positive)), np.zeros(len(negative))])
    weigh = _WEIGHT / 2 * np.where(truth == 1, 1 / len(positive), 1 / len(negative))
    ridge = np.diag(np.append(np.full(features.shape[1] - 1, _RIDGE), 1e-6))
    found = np.zeros(features.shape[1])
    for _ in range(12):
        share = 1 / (1 + np.exp(-np.clip(features @ found.astype(np.float32), -30, 30)))
        slope = features.T @ (weigh * (share - truth)).astype(np.float32) + ridge @ found
        bend = (features * (weigh * share * (1 - share)).astype(np.float32)[:, None]).T @ features + ridge
        step = np.linalg.solve(bend.astype(np.float64), slope)
        found -= step
        if np.abs(step).max() < 1e-3:
            break
    return np.asarray(found[:-1], np.float32)


def _whitening(blocks: Sequence[Tensor], normal: NDArray[np.int64], rng: np.random.Generator) -> _Whitening:
    """Principal components of each block, and what makes them white on OK places."""
    means, matrices = [], []
    for block in blocks:
        rows = block[torch.from_numpy(normal)].permute(0, 2, 3, 1).reshape(-1, block.shape[1])
        values = rows[torch.from_numpy(_some(np.arange(len(rows)), 200_000, rng))].float().numpy()
        mean, spread = values.mean(0), values.std(0)
        standard = (values - mean) / np.maximum(spread, _FLAT)
        variances, directions = np.linalg.eigh(np.cov(standard.T).reshape(len(mean), len(mean)))
        order = np.argsort(-variances)[:_COMPONENTS]
        means.append(mean.astype(np.float32))
        matrices.append((directions[:, order] / np.maximum(spread, _FLAT)[:, None]).astype(np.float32))
    size = sum(matrix.shape[1] for matrix in matrices)
    plain = _Whitening(
        tuple(means), tuple(matrices), np.zeros(size, np.float32), np.eye(size, dtype=np.float32)
    )
    places = np.concatenate([_drawn([plain([b[i] for b in blocks])], 2_000, rng) for i in normal])
    centre = places.mean(0)
    covariance = np.cov(places.T.astype(np.float64)) + _SHRINKAGE * np.eye(size)
    turn = np.linalg.cholesky(np.linalg.inv(covariance))
    return _Whitening(tuple(means), tuple(matrices), centre.astype(np.float32), turn.astype(np.float32))


def _scale(ok: Sequence[Array], weight: Array) -> tuple[float, float]:
    """Median of the OK places' scores, and what 0.1 % of them exceed."""
    scores = np.concatenate([places @ weight for places in ok])
    low, high = np.quantile(scores, (0.5, 1 - _EXCEEDED))
    return float(low), float(max(high, low + _FLAT))


def _some(members: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most so many of them, drawn at random, in their order."""
    return members if len(members) <= most else np.sort(rng.choice(members, most, replace=False))


def _drawn(images: Sequence[Array], most: int, rng: np.random.Generator) -> Array:
    places = np.concatenate(images)
    return places[_some(np.arange(len(places)), most, rng)]


def _highest(places: Array, scores: Array, count: int) -> Array:
    count = min(count, len(places))
    return places[np.argpartition(scores, -count)[-count:]]


def _column(values: Array) -> Tensor:
    return torch.from_numpy(values)[:, None, None]
