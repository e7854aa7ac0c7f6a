"""The heatmaps of one image at every percentile: the maps whose percentile (the paper's delta) `ltcam tune` looks for.

All stages, added up raw (eq. 8), as in the paper's figures 8 and 9. One capture serves all percentiles of the
gradient methods, and one further look all those of FullGrad.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ltcam.cam import CAM, FullGrad, Truncation, full_grad_sweep, sweep
from ltcam.cam.truncation import Scope, TruncationReading
from ltcam.runs.inspector import Inspector
from ltcam.runs.network import named_errors
from ltcam_runtime.errors import SettingsError
from ltcam_runtime.resizing import resize, resize_heatmap

PERCENTILES = (*range(0, 100, 10), 95, 99)

_GRADIENT_METHODS = {"LTGrad-CAM": "grad-cam", "LTLayerCAM": "layer-cam"}
_FULL_GRAD = "LTFullGrad"

Heatmap = NDArray[np.float32]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class PercentileMaps:
    """Which maps.

    Attributes:
        percentiles: whole numbers from 0 to 100, rising.
        scope: what they are percentiles of.
        reading: of the truncation; where each position has its own weight, both are the same.
        positive_activations: use only the positive part of activations, in all but FullGrad.
        full_grad: LTFullGrad too.

    Raises:
        SettingsError: percentiles that are none, or do not rise.
    """

    percentiles: tuple[int, ...] = PERCENTILES
    scope: Scope = "channel"
    reading: TruncationReading = "gradient"
    positive_activations: bool = False
    full_grad: bool = True

    def __post_init__(self) -> None:
        given = list(self.percentiles)
        if not given or given != sorted(set(given)) or not 0 <= given[0] <= given[-1] <= 100:
            shown = ",".join(map(str, given))
            raise SettingsError(
                f"`percentiles` {shown}: give rising whole numbers from 0 to 100, such as 0,50,90"
            )

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods, as the paper spells them."""
        return (*_GRADIENT_METHODS, *([_FULL_GRAD] if self.full_grad else []))

    @property
    def made_at(self) -> tuple[int | None, ...]:
        """What each method's maps are made at: None is the untruncated map, then the percentiles."""
        return (None, *self.percentiles)


def heatmaps_by_percentile(
    inspector: Inspector, maps: PercentileMaps, resized: Image
) -> Iterator[tuple[str, int | None, Heatmap]]:
    """(method, percentile, heatmap (h, w)) of one image; by method, then in the order of `PercentileMaps.made_at`.

    Args:
        inspector: whose classifier is asked; what is explained is the log-odds of being defective.
        maps: which.
        resized: (h, w, 3) uint8 RGB, as large as the network is to see it.

    Raises:
        RunError: the run cannot be used on images.
    """
    network = inspector.network
    captured = network.capture([resized], inspector.run.stages)
    with named_errors():  # of a network that a method cannot work on
        answers = sweep(
            captured,
            list(_GRADIENT_METHODS.values()),
            [None if p is None else Truncation(p, maps.scope, maps.reading) for p in maps.made_at],
            base=CAM(positive_activations=maps.positive_activations),
        )
        for method in _GRADIENT_METHODS:
            for percentile in maps.made_at:
                yield method, percentile, _pixels(next(answers).heatmaps)
        if maps.full_grad:
            base = FullGrad(Truncation(0, maps.scope))
            images, target = network.batch([resized]), network.target
            found = full_grad_sweep(network.classifier, images, target, maps.made_at, base=base)
            for percentile, (_, heatmaps) in zip(maps.made_at, found, strict=True):
                yield _FULL_GRAD, percentile, _pixels(heatmaps)


def _pixels(heatmaps: Tensor) -> Heatmap:
    return np.asarray(heatmaps[0].float().cpu().numpy())


@dataclass(frozen=True)
class View:
    """The same image seen another way: mirrored, or at another size.

    Attributes:
        kind: `flip` or `scale`.
        axis: that is mirrored, 0 (upside down) or 1 (left to right); None for none.
        scale: of both sides.
    """

    kind: str
    axis: int | None = None
    scale: float = 1.0

    def of(self, image: Image) -> Image:
        """The image (h, w, 3) seen this way."""
        if self.axis is not None:
            return np.ascontiguousarray(np.flip(image, self.axis))
        height, width = image.shape[:2]
        return resize(image, (max(32, round(height * self.scale)), max(32, round(width * self.scale))))

    def back(self, heatmap: Heatmap, size: tuple[int, int]) -> Heatmap:
        """A heatmap of the image seen this way, as one of the image itself, of that (height, width)."""
        if self.axis is not None:
            heatmap = np.ascontiguousarray(np.flip(heatmap, self.axis))
        return resize_heatmap(heatmap, size)


VIEWS = (View("flip", axis=1), View("flip", axis=0), View("scale", scale=0.8), View("scale", scale=1.25))
