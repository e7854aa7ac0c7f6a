"""Seed maps beside a classifier: features of its images, the fit, and verdicts by the maps' peaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from threadpoolctl import threadpool_limits
from torch import Tensor

from ltcam.cam.network.quick_passes import QuickPasses
from ltcam.cam.network.scores import at_once
from ltcam.models.backbones import Statistics
from ltcam.models.classifier import Classifier
from ltcam.models.logits import defect_log_odds
from ltcam.models.normalisation import normalised
from ltcam.models.seeded import SeededClassifier, features_at, seeded
from ltcam.training.images import BothSides, PreparedImages, usable_for_choices
from ltcam.training.seed import MOST_OF_A_KIND, MOST_OK, Places, Seed, fit_seed
from ltcam_runtime.settings import SEED, CamSettings

T = TypeVar("T")

_AT_ONCE = 8
_FLAT = 1e-6  # of heat: peaks that do not differ say nothing
_RIDGE = 1.0  # sklearn's C; peaks are in units of what OK images reach
_STEPS = 1000
_NEVER = -20.0  # logit of a kind of which there is no image


def seed_map(kind: str) -> str:
    """Name of a kind's seed map among a network's maps."""
    return f"{SEED} {kind}"


def seed_cam(taps: tuple[str, ...], kind: int) -> CamSettings:
    """How a kind's seed map is made.

    Args:
        taps: blocks that it is made of.
        kind: class index.
    """
    return CamSettings(method=SEED, kind=kind, stages=taps, fusion="sum", positive_activations=False)


def seed_taps(stages: tuple[str, ...]) -> tuple[str, ...]:
    """The stages that seed maps are made of: neither the first, which is texture, nor the last, which is coarse."""
    return stages[1:-1] if len(stages) > 3 else stages


def with_seed_maps(
    classifier: Classifier,
    taps: Sequence[str],
    images: BothSides,
    seed: int,
) -> tuple[SeededClassifier, Seed]:
    """The classifier with seed maps that are fitted to its own features; its logits stay as they are.

    Args:
        classifier: trained or not.
        taps: names of the blocks.
        images: to fit on; of very many, some. Those that were held back choose how large a defect is.
        seed: which images are taken.
    """
    classifier.eval()
    rng = np.random.default_rng(seed)

    def halves(images: Tensor) -> list[Tensor]:
        return [block.half() for block in features_at(classifier, taps, images)]

    blocks: list[list[Tensor]] = [[] for _ in taps]
    labels: list[int] = []
    held_back: list[bool] = []
    for part, back in ((images.train, False), (images.held_back, True)):
        chosen = _some_of_each(part, rng)
        labels += [int(part.labels[index]) for index in chosen]
        held_back += [back] * len(chosen)
        for features in _passes(classifier, part, chosen, images.statistics, halves):
            for kept, block in zip(blocks, features, strict=True):
                kept.append(block)
    places = Places(tuple(map(torch.cat, blocks)), np.array(labels), np.array(held_back))
    # Kinds are fitted side by side; threads within a fit cost more than they save.
    with threadpool_limits(limits=1, user_api="blas"):
        found = fit_seed(places, kinds=classifier.head.out_features - 1, seed=seed)
    return seeded(classifier, taps, found.heads), found


@dataclass(frozen=True, eq=False)
class Asked:
    """Images, and what a classifier sees in them: found out when it is first asked for, and kept.

    Attributes:
        classifier: with seed maps.
        part: the images.
        statistics: of the input.
    """

    classifier: SeededClassifier
    part: PreparedImages
    statistics: Statistics

    @property
    def peaks(self) -> Tensor:
        """The highest value (N, kinds) of each kind's seed map."""
        return self._seen[1][:, : self.classifier.head.out_features - 1]

    @torch.no_grad()
    def logits(self) -> Tensor:
        """Logits (N, K), float64, by the weights that head and peaks have now."""
        pooled, peaks = self._seen
        found: Tensor = self.classifier.head(pooled) + self.classifier.peaks(peaks)
        return found.double()

    @cached_property
    @torch.no_grad()
    def _seen(self) -> tuple[Tensor, Tensor]:
        """Pooled features (N, F), zeros where the head says nothing; and peaks (N, maps)."""
        pooled = [torch.zeros(0, self.classifier.head.in_features)]
        peaks = [torch.zeros(0, self.classifier.seed_maps)]
        seen = self.classifier.pooled_and_peaks
        every = np.arange(len(self.part.images))
        for features, highest in _passes(self.classifier, self.part, every, self.statistics, seen):
            pooled.append(features)
            peaks.append(highest)
        return torch.cat(pooled), torch.cat(peaks)


def verdicts_by_peaks(train: Asked, validation: Asked) -> None:
    """Make logits of the seed maps' peaks, by one multinomial regression that tells OK images and all kinds apart.

    A kind's map is fitted against OK places alone, so it is high at other kinds' defects as well: which kind it is, all
    peaks say together. Of most kinds too few images are held back to tell them from each other, so those that the maps
    were fitted on count too; how sure the logits may be is left to `calibrated_verdict`.

    Args:
        train: images that the maps were fitted on; their classifier is changed in place.
        validation: images that they were not.
    """
    classifier = train.classifier
    peaks = torch.cat([train.peaks, validation.peaks]).numpy()
    labels = torch.cat([train.part.labels, validation.part.labels]).numpy()
    model = LogisticRegression(C=_RIDGE, class_weight="balanced", max_iter=_STEPS).fit(peaks, labels)
    seen = torch.from_numpy(model.classes_)
    slopes, offsets = (_against_the_first(each) for each in (model.coef_, model.intercept_[:, None]))
    with torch.no_grad():
        classifier.peaks.weight[seen, : peaks.shape[1]] = slopes
        classifier.head.bias[1:] = _NEVER
        classifier.head.bias[seen] = offsets[:, 0]


def _against_the_first(rows: NDArray[np.float64]) -> Tensor:
    """What a regression has per class, less that of the first; of two classes it has one row."""
    both = np.concatenate([np.zeros_like(rows), rows]) if len(rows) == 1 else rows
    return torch.from_numpy(both - both[:1]).float()


SHARES_OF_PEAKS = (0.3, 1.0, 3.0, 0.0)
"""How much peaks may count beside a trained head, in units that set OK and defective images as far apart as the head
does; the first of equals is taken."""

_AS_GOOD = 0.005  # of image AP


def add_peaks(train: Asked, validation: Asked) -> float:
    """Let the seed maps' peaks count in the logits of a trained head: it overlooks what its mean pooling makes small.

    Args:
        train: images that the maps were fitted on; asked where nothing was held back. Their classifier is changed in
            place.
        validation: images that choose how much peaks count, by image AP.

    Returns:
        The share of `SHARES_OF_PEAKS` that was chosen; 0 where images do not tell.
    """
    asked = validation if usable_for_choices(validation.part)[0] is not None else train
    defective = (asked.part.labels > 0).numpy()
    if defective.all() or not defective.any():
        return 0.0
    classifier, logits, peaks = asked.classifier, asked.logits(), asked.peaks.double()
    kinds = torch.arange(1, logits.shape[1])
    unit = _distance(defect_log_odds(logits.numpy()), defective) / max(
        _distance(peaks.amax(1).numpy(), defective), _FLAT
    )
    if unit <= 0:
        return 0.0
    found = {}
    for share in SHARES_OF_PEAKS:
        together = logits.clone()
        together[:, kinds] += share * unit * peaks
        found[share] = float(average_precision_score(defective, defect_log_odds(together.numpy())))
    chosen = next(share for share in SHARES_OF_PEAKS if found[share] >= max(found.values()) - _AS_GOOD)
    with torch.no_grad():
        classifier.peaks.weight[kinds, kinds - 1] = chosen * unit
    return chosen


def _distance(values: NDArray[np.float64], defective: NDArray[np.bool_]) -> float:
    """How far defective images' median lies above that of OK ones."""
    return float(np.median(values[defective]) - np.median(values[~defective]))


@torch.no_grad()
def _passes(
    classifier: Classifier,
    part: PreparedImages,
    places: NDArray[np.int64],
    statistics: Statistics,
    passes: Callable[[Tensor], T],
) -> list[T]:
    """What passes give of the images at some places, as many at once as stay in the processor's caches."""
    if not len(places):
        return []
    first = normalised(part.images[places[:1]], statistics)
    count = at_once(first.shape[2:], first.device, _AT_ONCE)
    quickly = QuickPasses(classifier, first)
    batches = np.split(places, range(count, len(places), count))
    return [quickly(normalised(part.images[some], statistics), passes) for some in batches]


def _some_of_each(part: PreparedImages, rng: np.random.Generator) -> np.ndarray:
    """Indices of at most so many images of each class."""
    labels = part.labels.numpy()
    chosen: list[int] = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        most = MOST_OK if label == 0 else MOST_OF_A_KIND
        chosen += sorted(rng.permutation(members)[:most].tolist())
    return np.array(chosen, dtype=np.int64)
