"""Truncation (T): keep only the large positive gradients (paper, eq. 9 and 11).

T = (g > 0) and (g >= delta), with delta the p-th percentile of the positive gradients. It is
orthogonal to the method: the LT form of any gradient method is that method, given a `Truncation`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Literal, get_args

import torch
from torch import Tensor

from ltcam.cam.percentile import smallest_kept_at
from ltcam.cam.tensors import contiguous

Scope = Literal["channel", "stage"]
TruncationReading = Literal["gradient", "mask"]


@dataclass(frozen=True)
class Truncation:
    """How gradients are truncated.

    Attributes:
        percentile: p, 0 to 100. 0 keeps all positive gradients and drops the rest.
        scope: whose positive values the percentile is taken of: each `channel` of an image, or the
            whole `stage` of an image.
        reading: `gradient` (eq. 9): the truncated gradient replaces the gradient in the method;
            `mask` (eq. 11): the method's weights come from the whole gradient, and T selects the
            positions they act on.

    Raises:
        ValueError: a value outside these.
    """

    percentile: float
    scope: Scope = "channel"
    reading: TruncationReading = "gradient"

    def __post_init__(self) -> None:
        number = isinstance(self.percentile, Real) and not isinstance(self.percentile, bool)
        if not number or math.isnan(self.percentile) or not 0 <= self.percentile <= 100:
            raise ValueError(f"percentile={self.percentile!r} is not a number from 0 to 100")
        if self.scope not in get_args(Scope):
            raise ValueError(f"`scope` {self.scope!r} is unknown; choose from {', '.join(get_args(Scope))}")
        if self.reading not in get_args(TruncationReading):
            raise ValueError(
                f"`reading` {self.reading!r} is unknown; choose from {', '.join(get_args(TruncationReading))}"
            )


def kept(gradients: Tensor, truncation: Truncation) -> Tensor:
    """T of eq. 9: which gradients are kept.

    Args:
        gradients: (N, C, H, W), float32 or float64.
        truncation: percentile and scope; the reading plays no part here.

    Returns:
        (N, C, H, W) bool. An image's share does not depend on the other images.
    """
    return gradients >= _threshold(gradients, truncation)  # delta > 0, so g > 0 is implied


def selection(gradients: Tensor, truncation: Truncation) -> Tensor:
    """T of eq. 9 as numbers, 1 where a gradient is kept and 0 elsewhere, in the gradients' type.

    To be multiplied by: on CPUs that takes a tenth of the time that selecting by booleans takes.
    """
    gradients = gradients.detach()
    return torch.ge(gradients, _threshold(gradients, truncation), out=torch.empty_like(gradients))


def thresholds(gradients: Tensor, percentiles: Sequence[float], scope: Scope) -> Tensor:
    """Smallest kept gradients: T at percentile p is `g >= threshold`.

    Args:
        gradients: (N, C, H, W), float32 or float64.
        percentiles: P numbers, 0 to 100.
        scope: what the percentiles are taken of.

    Returns:
        (N, C, P), with scope `stage` the same for all channels; all > 0, +inf where nothing is kept.
    """
    n, channels = gradients.shape[:2]
    rows = n * channels if scope == "channel" else n
    found = smallest_kept_at(contiguous(gradients).view(rows, -1), percentiles)
    return found.reshape(n, -1, len(percentiles)).expand(n, channels, -1)


def _threshold(gradients: Tensor, truncation: Truncation) -> Tensor:
    return thresholds(gradients, (truncation.percentile,), truncation.scope)[..., None]
