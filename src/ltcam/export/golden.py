"""Golden images: what the trained network says of a few pictures, to be asked again wherever the file is loaded."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ltcam.runs.inspector import Inspector
from ltcam.runs.network import TorchNetwork
from ltcam_runtime.part_files import Golden, pack, pack_map
from ltcam_runtime.resizing import resize

_CANDIDATES, _KEPT = 6, 3
ENLARGED = 1.5
"""Golden images are larger than the network's size, so that resizing is part of what is compared."""

Pixels = NDArray[np.uint8]


def golden_images(inspector: Inspector, pictures: Sequence[tuple[str, Pixels]] = ()) -> tuple[Golden, ...]:
    """The trained network's word on some images.

    Args:
        inspector: of the run.
        pictures: the user's, by name; without any, synthetic ones are made for the run's size: of several, those whose
            heatmaps change least when the network computes in float64, so that no rounding decides on a gradient there.
    """
    chosen = pictures or _steadiest(inspector)
    return tuple(_answer(inspector, name, picture) for name, picture in chosen)


def _answer(inspector: Inspector, name: str, picture: Pixels) -> Golden:
    inspection = inspector.inspect_batch([picture], [name], gate=False)[0]
    response = inspector.network.respond([resize(picture, inspector.network.image_size)])
    return Golden(
        name=name,
        image=pack(picture),
        probabilities=tuple(inspection.class_scores.values()),
        verdict=inspection.verdict,
        heatmaps={key: pack_map(maps[0]) for key, maps in response.heatmaps.items()},
        mask=pack(inspection.mask.astype(np.uint8) * 255),
    )


def _steadiest(inspector: Inspector) -> list[tuple[str, Pixels]]:
    network, exact = inspector.network, inspector.network.in_float64()
    pictures = [synthetic(network.image_size, seed) for seed in range(_CANDIDATES)]
    order = sorted(range(_CANDIDATES), key=lambda index: _distance(network, exact, pictures[index]))
    return [(f"golden-{1 + rank}.png", pictures[index]) for rank, index in enumerate(order[:_KEPT])]


def _distance(network: TorchNetwork, exact: TorchNetwork, picture: Pixels) -> float:
    """How far two networks' heatmaps are apart but for one pixel in a thousand, as a share of their range."""
    resized = [resize(picture, network.image_size)]
    one, other = (each.respond(resized).heatmaps for each in (network, exact))
    return max(
        float(np.quantile(np.abs(one[name] - other[name]), 0.999)) / (float(np.ptp(other[name])) or 1.0)
        for name in one
    )


def synthetic(size: tuple[int, int], seed: int) -> Pixels:
    """A coloured surface (H, W, 3) with grain, stains and a scratch, larger than the network's size (h, w)."""
    rng = np.random.default_rng(seed)
    height, width = (round(ENLARGED * side) for side in size)
    slow = rng.uniform(60, 200, (4, 4, 3)).astype(np.float32)
    picture = cv2.resize(slow, (width, height), interpolation=cv2.INTER_CUBIC)
    picture += rng.integers(-3, 4, (height, width, 1))
    for _ in range(4):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        radius = int(rng.integers(2, max(3, min(height, width) // 8)))
        colour = tuple(float(value) for value in rng.uniform(0, 255, 3))
        cv2.circle(picture, centre, radius, colour, -1, cv2.LINE_AA)
    one, other = ((int(rng.integers(width)), int(rng.integers(height))) for _ in range(2))
    cv2.line(picture, one, other, (20.0, 20.0, 20.0), 2, cv2.LINE_AA)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
