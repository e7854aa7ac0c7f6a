"""Seed maps beside a classifier: features of its images, the fit, and verdicts by the maps' peaks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from ltcam.cam.network.memory_formats import in_fastest_format
from ltcam.models.classifier import Classifier
from ltcam.models.seeded import SeededClassifier, seeded, tapped
from ltcam.training.images import PreparedImages
from ltcam.training.seed import MOST_OF_A_KIND, MOST_OK, Places, Seed, fit_seed
from ltcam_runtime.settings import SEED, CamSettings

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Mean and standard deviation per channel, of values 0 to 1."""

_AT_ONCE = 8
_RIDGE = (
    0.1  # sklearn's C: peaks are in units of what OK images reach, so slopes above some tens mean overfitting
)


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
    train: PreparedImages,
    validation: PreparedImages,
    statistics: Statistics,
    seed: int,
) -> tuple[SeededClassifier, Seed]:
    """The classifier with seed maps that are fitted to its own features; its logits stay as they are.

    Args:
        classifier: trained or not.
        taps: names of the blocks.
        train: images to fit on; of very many, some.
        validation: images that choose how large a defect is; may be none.
        statistics: of the input.
        seed: which images are taken.
    """
    classifier.eval()
    rng = np.random.default_rng(seed)
    blocks: list[list[Tensor]] = [[] for _ in taps]
    labels: list[int] = []
    held_back: list[bool] = []
    for part, back in ((train, False), (validation, True)):
        chosen = _some_of_each(part, rng)
        labels += [int(part.labels[index]) for index in chosen]
        held_back += [back] * len(chosen)
        for start in range(0, len(chosen), _AT_ONCE):
            batch = part.images[torch.from_numpy(chosen[start : start + _AT_ONCE])]
            with torch.no_grad():
                features = in_fastest_format(
                    classifier,
                    normalised(batch, statistics),
                    lambda images: tapped(classifier, taps, images)[1],
                    gradients=False,
                )
            for kept, block in zip(blocks, features, strict=True):
                kept.append(block.half())
    places = Places(tuple(map(torch.cat, blocks)), np.array(labels), np.array(held_back))
    found = fit_seed(places, seed=seed)
    return seeded(classifier, taps, found.heads), found


def verdicts_by_peaks(
    classifier: SeededClassifier, train: PreparedImages, validation: PreparedImages, statistics: Statistics
) -> None:
    """Make logits of the seed maps' peaks: per kind, how much likelier than OK a peak makes it.

    Args:
        classifier: changed in place.
        train: images that the maps were fitted on.
        validation: images that they were not; these decide, where there are both OK and defective ones of a kind.
        statistics: of the input.
    """
    peaks_of: dict[int, Tensor] = {}
    for kind in range(1, classifier.head.out_features):
        for part in (validation, train):
            of_both = [i for i, label in enumerate(part.labels.tolist()) if label in {0, kind}]
            truth = part.labels[of_both] == kind
            if not of_both or bool(truth.all()) or not bool(truth.any()):
                continue
            if id(part) not in peaks_of:
                peaks_of[id(part)] = _peaks(classifier, part, statistics)
            peaks = peaks_of[id(part)]
            model = LogisticRegression(C=_RIDGE, class_weight="balanced")
            model.fit(peaks[of_both, kind - 1 : kind].numpy(), truth.numpy())
            with torch.no_grad():
                classifier.peaks.weight[kind, kind - 1] = max(float(model.coef_[0, 0]), 0.0)
                classifier.head.bias[kind] = float(model.intercept_[0])
            break


def normalised(images: Tensor, statistics: Statistics) -> Tensor:
    """Images (N, 3, h, w) uint8 as the network takes them."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in statistics)
    return (images.float() / 255 - mean) / std


@torch.no_grad()
def _peaks(classifier: SeededClassifier, part: PreparedImages, statistics: Statistics) -> Tensor:
    """Highest value (N, kinds) of each seed map."""
    found = [
        in_fastest_format(
            classifier,
            normalised(batch, statistics),
            lambda images: classifier.seeds(images)[1],
            gradients=False,
        ).amax((2, 3))
        for batch in torch.split(part.images, _AT_ONCE)
        if len(batch)
    ]
    return torch.cat(found) if found else torch.zeros(0, classifier.head.out_features - 1)


def _some_of_each(part: PreparedImages, rng: np.random.Generator) -> np.ndarray:
    """Indices of at most so many images of each class."""
    labels = part.labels.numpy()
    chosen: list[int] = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        most = MOST_OK if label == 0 else MOST_OF_A_KIND
        chosen += sorted(rng.permutation(members)[:most].tolist())
    return np.array(chosen, dtype=np.int64)
