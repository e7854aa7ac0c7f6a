"""Two parts of a kind's images: pits and stains, say, where labels say only that an image is defective.

Every image is described by the places that its kind's seed map holds for the defect: what they look like, and how many
they are. What is alike goes together (k-means); no label says which is which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

FEWEST = 8
"""Images that a part has at least."""

SMALLEST_SHARE = 0.2
"""Share of the images that a part has at least."""

_STARTS = 10
_FLAT = 1e-6  # spread that says nothing

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Description:
    """What an image shows of a kind of defect.

    Attributes:
        look: (D,) mean feature of the places that are held for the defect.
        places: how many they are.
    """

    look: Array
    places: int


@dataclass(frozen=True, eq=False)
class Parts:
    """Two parts, by their centres.

    Attributes:
        centre: (D + 1,) of all images.
        scale: (D + 1,) what a unit is.
        centres: (2, D + 1) of the parts, in these units.
    """

    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    centres: NDArray[np.float64]

    def of(self, images: Sequence[Description]) -> NDArray[np.int64]:
        """Which part each image is of, 0 or 1."""
        points = (_vectors(images) - self.centre) / self.scale
        distances = np.square(points[:, None] - self.centres[None]).sum(2)
        return np.asarray(distances.argmin(1), np.int64)


def in_two(images: Sequence[Description]) -> Parts | None:
    """Two parts of these images, each of a good many; None where they do not fall into such parts."""
    if len(images) < 2 * FEWEST:
        return None
    vectors = _vectors(images)
    centre, spread = vectors.mean(0), vectors.std(0)
    # What places look like counts as much as how many they are.
    scale = np.append(np.full(vectors.shape[1] - 1, np.sqrt(np.square(spread[:-1]).sum())), spread[-1])
    scale = np.maximum(scale, _FLAT)
    model = KMeans(2, n_init=_STARTS, random_state=0).fit((vectors - centre) / scale)
    found = Parts(centre, scale, np.asarray(model.cluster_centers_, np.float64))
    smallest = int(np.bincount(found.of(images), minlength=2).min())
    return found if smallest >= max(FEWEST, SMALLEST_SHARE * len(images)) else None


def _vectors(images: Sequence[Description]) -> NDArray[np.float64]:
    """(N, D + 1): looks without their strength, and the logarithm of how many places there are."""
    looks = np.stack([image.look for image in images]).astype(np.float64)
    looks /= np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), _FLAT)
    return np.column_stack([looks, np.log1p([image.places for image in images])])
