"""Heatmaps against truths without any threshold: pixel AP, AUROC and PRO, over any number of images.

Pixels are not kept. Every heatmap is counted into histograms whose bins follow float32's own grid: a
bin holds the values that share sign, exponent and the upper 11 bits of the fraction, so it is at most
2^-11 (0.05 %) of its value wide, at every scale and without a range to be given. Memory does not depend
on the number of images. Raw heatmaps are compared as they are: differing scales between images count.

Only pixels inside one bin lose their order. AUROC takes them as ties, AP as evenly mixed, and exact
zeros, of which a heatmap with ReLU is full, as the ties they are. Against the exact scores of six smooth
maps of 500 x 1250:

    heatmap                                        AP error   AUROC error   width of the AP bounds
    ReLU, 60 % zeros, scales 1 to 20 (a CAM)          5e-7        3e-9            5e-4
    squared, from 0, scales 1 to 20                   1e-6        3e-8            6e-4
    range 0.08 wide around 0.5                        4e-4        1e-5            0.03
    the same plus 3: range 2 % of the offset          6e-3        2e-4            0.11

So heatmaps should start near 0, as raw class activation maps do; a large offset costs precision.

**PRO** (per-region overlap, as MVTec AD defines it): at each threshold the share of each true region that
is found, averaged over regions, against the share of false positives among all true background
pixels; area up to a false positive rate of 0.3, divided by 0.3. Since a region's share is a sum
over its pixels of 1 / area, PRO is one more histogram, of pixels weighted so.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ltcam.evaluation.counts import AnyMask, BoolMask, as_mask

FloatArray = NDArray[np.float64]

_BITS = 20  # sign, 8 of exponent, 11 of fraction
_COARSE_BITS = 13  # sign, 8 of exponent, 4 of fraction: for the bootstrap, where only differences count
_FINE_PER_COARSE = 1 << (_BITS - _COARSE_BITS)
_ZERO_BIN = 1 << (_BITS - 1)


@dataclass(frozen=True)
class Counted:
    """Weights per score bin, (..., B), highest score first.

    Attributes:
        positives: true defect pixels.
        negatives: true background pixels.
        overlap: sums of 1 / (area of its region) over the true defect pixels.
        tied: (B,) whether the bin's pixels are to be taken as one score: the bin of exact zeros.
    """

    positives: NDArray[Any]
    negatives: NDArray[Any]
    overlap: NDArray[Any]
    tied: NDArray[np.bool_]


class ScoreHistogram:
    """What is left of heatmaps and truths: pixel counts per score bin. Grows only by being added to.

    Beside the exact sums it keeps, in wider bins, `replicates` sums in which every image counts
    Poisson(1) times: a bootstrap over images that needs no image twice. An image's weights depend on
    `seed` and its name only, so neither order nor batches change anything.

    Attributes:
        positives: true defect pixels per bin, from the lowest score to the highest.
        negatives: true background pixels per bin.
        overlap: sum of 1 / (area of its region) over the true defect pixels of the bin.
        images: images added.
    """

    def __init__(self, replicates: int = 200, seed: int = 0) -> None:
        self.positives = np.zeros(1 << _BITS, np.int64)
        self.negatives = np.zeros(1 << _BITS, np.int64)
        self.overlap = np.zeros(1 << _BITS, np.float64)
        self.images = 0
        self._seed = seed
        # Rows never touched stay unallocated pages, so this is small where few octaves occur.
        self._resampled = np.zeros((3, 1 << _COARSE_BITS, replicates), np.float64)
        self._used = np.zeros(1 << _COARSE_BITS, np.bool_)

    def add(self, heatmap: NDArray[Any], truth: AnyMask, image: str) -> None:
        """Count one image.

        Args:
            heatmap: (H, W), raw, taken as float32; larger is more defective.
            truth: (H, W); bool, {0, 1} or {0, 255}.
            image: its name, which seeds its bootstrap weights.

        Raises:
            ValueError: shapes differ, not two-dimensional, NaN or Inf in the heatmap, or no mask.
        """
        true = as_mask(truth, "truth")
        bins = _bins(_checked_heatmap(heatmap, true, image))
        low = int(bins.min()) // _FINE_PER_COARSE * _FINE_PER_COARSE
        width = (int(bins.max()) - low) // _FINE_PER_COARSE * _FINE_PER_COARSE + _FINE_PER_COARSE
        bins_true = bins[true] - low
        positives = np.bincount(bins_true, minlength=width)
        negatives = np.bincount((bins - low).ravel(), minlength=width) - positives
        overlap = np.bincount(bins_true, weights=_region_weights(true), minlength=width)
        counted = slice(low, low + width)
        self.positives[counted] += positives
        self.negatives[counted] += negatives
        self.overlap[counted] += overlap
        self.images += 1
        coarse = [_in_coarse_bins(each) for each in (positives, negatives, overlap)]
        self._resample(low // _FINE_PER_COARSE, np.stack(coarse), image)

    def merged(self, other: ScoreHistogram) -> ScoreHistogram:
        """A new histogram of the images of both; neither is changed.

        Raises:
            ValueError: they have different numbers of replicates.
        """
        if self._resampled.shape != other._resampled.shape:
            raise ValueError(
                f"histograms have {self._resampled.shape[2]} and {other._resampled.shape[2]} replicates; "
                "make both with the same number"
            )
        both = ScoreHistogram(self._resampled.shape[2], self._seed)
        both.positives = self.positives + other.positives
        both.negatives = self.negatives + other.negatives
        both.overlap = self.overlap + other.overlap
        both.images = self.images + other.images
        both._used = self._used | other._used
        both._resampled[:, both._used] = self._resampled[:, both._used] + other._resampled[:, both._used]
        return both

    def _resample(self, low: int, counts: FloatArray, image: str) -> None:
        """Add one image's (3, coarse bins) counts to every replicate as often as that replicate drew it."""
        filled = np.flatnonzero(counts[:2].any(axis=0))
        rows = low + filled
        draws = np.random.default_rng((self._seed, zlib.crc32(os.fsencode(image))))
        weights = draws.poisson(1.0, self._resampled.shape[2])
        self._resampled[:, rows] += counts[:, filled, None] * weights
        self._used[rows] = True

    def counts(self) -> Counted:
        """Sums per bin, highest score first."""
        rows = np.flatnonzero(self.positives + self.negatives)[::-1]
        return Counted(self.positives[rows], self.negatives[rows], self.overlap[rows], rows == _ZERO_BIN)

    def coarse_counts(self) -> tuple[Counted, Counted]:
        """In wide bins, highest score first: the sums (B,), and what every replicate drew (R, B)."""
        rows = np.flatnonzero(self._used)[::-1]
        zero = rows == _ZERO_BIN // _FINE_PER_COARSE
        p, n, overlap = (
            _in_coarse_bins(each)[rows] for each in (self.positives, self.negatives, self.overlap)
        )
        drawn_p, drawn_n, drawn_overlap = (each[rows].T for each in self._resampled)
        return Counted(p, n, overlap, zero), Counted(drawn_p, drawn_n, drawn_overlap, zero)


def pixel_curves(histogram: ScoreHistogram, pro_limit: float = 0.3) -> dict[str, float]:
    """`ap`, `auroc` and `pro` over all pixels of all images added, 0 to 1; NaN where undefined."""
    return {name: float(value) for name, value in _curves(histogram.counts(), pro_limit).items()}


def pixel_intervals(
    histogram: ScoreHistogram, level: float = 0.95, pro_limit: float = 0.3
) -> dict[str, tuple[float, float]]:
    """Bootstrap intervals over images for what `pixel_curves` gives.

    The replicates are counted in wider bins (1/16 of an octave); their deviation from the value in
    those bins is laid around the exact value, and cut at 0 and 1.

    Returns:
        (low, high) per name; NaN where undefined.
    """
    sums, drawn = histogram.coarse_counts()
    centre = _curves(sums, pro_limit)
    replicates = _curves(drawn, pro_limit)
    tails = ((1 - level) / 2, (1 + level) / 2)
    intervals = {}
    for name, value in pixel_curves(histogram, pro_limit).items():
        deviations = (replicates[name] - centre[name])[np.isfinite(replicates[name])]
        ends = value + np.quantile(deviations, tails) if deviations.size else np.full(2, np.nan)
        low, high = np.clip(ends, 0, 1)
        intervals[name] = (float(low), float(high))
    return intervals


def average_precision(positives: NDArray[Any], negatives: NDArray[Any]) -> FloatArray:
    """Sum over thresholds of (step in recall) x (precision), without interpolation.

    Args:
        positives: (..., B) weights per score, highest score first; equal scores in one entry.
        negatives: likewise.

    Returns:
        (...), 0 to 1; NaN where there are no positives or no negatives.
    """
    p, n = np.asarray(positives, np.float64), np.asarray(negatives, np.float64)
    true, false = p.cumsum(axis=-1), n.cumsum(axis=-1)
    precision = np.divide(true, true + false, out=np.zeros_like(true), where=true + false > 0)
    return _divided((p * precision).sum(axis=-1), p.sum(axis=-1), n.sum(axis=-1))


def binned_average_precision(
    positives: NDArray[Any], negatives: NDArray[Any], tied: NDArray[np.bool_]
) -> FloatArray:
    """Average precision of scores known only by bin: in a bin, positives and negatives are evenly mixed.

    The mean positive of a bin with p positives is its (p + 1) / 2-th, and half of the bin's negatives
    come before it; precision at that place is taken for the bin. Exact for a bin with one positive alone.

    Args:
        positives: (..., B) weights per bin, highest score first.
        negatives: likewise.
        tied: (B,) bins whose members are one score, so that all of them count at once.

    Returns:
        (...), 0 to 1; NaN where there are no positives or no negatives.
    """
    p, n = np.asarray(positives, np.float64), np.asarray(negatives, np.float64)
    true = p.cumsum(axis=-1) - np.where(tied, 0, (p - 1) / 2)
    false = n.cumsum(axis=-1) - np.where(tied, 0, n / 2)
    precision = np.divide(true, true + false, out=np.zeros_like(true), where=p > 0)
    return _divided((p * precision).sum(axis=-1), p.sum(axis=-1), n.sum(axis=-1))


def auroc(positives: NDArray[Any], negatives: NDArray[Any]) -> FloatArray:
    """Probability that a positive scores higher than a negative, ties counting one half.

    Args, returns: as for `average_precision`.
    """
    p, n = np.asarray(positives, np.float64), np.asarray(negatives, np.float64)
    total = p.sum(axis=-1)
    wins = (n * (p.cumsum(axis=-1) - p / 2)).sum(axis=-1)
    return _divided(wins / np.where(n.sum(axis=-1) > 0, n.sum(axis=-1), 1), total, n.sum(axis=-1))


def per_region_overlap(overlap: NDArray[Any], negatives: NDArray[Any], limit: float = 0.3) -> FloatArray:
    """Area under mean region overlap against false positive rate, up to `limit`, divided by it.

    Args:
        overlap: (..., B) sums over pixels of 1 / (area of its region), highest score first.
        negatives: (..., B) background pixels.
        limit: largest false positive rate, in (0, 1].

    Returns:
        (...), 0 to 1; NaN where there is no region or no background.

    Raises:
        ValueError: `limit` outside (0, 1].
    """
    if not 0 < limit <= 1:
        raise ValueError(f"largest false positive rate is {limit!r}; give a number in (0, 1]")
    y, n = np.asarray(overlap, np.float64), np.asarray(negatives, np.float64)
    steps = _share(n)
    right = steps.cumsum(axis=-1)
    left = right - steps
    rise = _share(y)
    start = rise.cumsum(axis=-1) - rise
    # The part of each step below the limit, and the trapezoid over that part.
    width = np.clip(np.minimum(right, limit) - left, 0, None)
    part = np.divide(width, steps, out=np.zeros_like(width), where=steps > 0)
    area = (width * (start + part * rise / 2)).sum(axis=-1) / limit
    return _divided(area, y.sum(axis=-1) > 0, n.sum(axis=-1))


def _curves(counted: Counted, pro_limit: float) -> dict[str, FloatArray]:
    return {
        "ap": binned_average_precision(counted.positives, counted.negatives, counted.tied),
        "auroc": auroc(counted.positives, counted.negatives),
        "pro": per_region_overlap(counted.overlap, counted.negatives, pro_limit),
    }


def _in_coarse_bins(fine: NDArray[Any]) -> FloatArray:
    sums: FloatArray = fine.reshape(-1, _FINE_PER_COARSE).sum(axis=1, dtype=np.float64)
    return sums


def _divided(values: FloatArray, positives: NDArray[Any], negatives: FloatArray) -> FloatArray:
    """Values / positives, NaN where there are no positives or no negatives."""
    both = (positives > 0) & (negatives > 0)
    quotient: FloatArray = np.where(both, values / np.where(both, positives, 1), np.nan)
    return quotient


def _share(values: FloatArray) -> FloatArray:
    total = values.sum(axis=-1, keepdims=True)
    shares: FloatArray = values / np.where(total > 0, total, 1)
    return shares


def _checked_heatmap(heatmap: NDArray[Any], true: BoolMask, image: str) -> NDArray[np.float32]:
    scores = np.asarray(heatmap, np.float32)
    if scores.ndim != 2 or scores.shape != true.shape:
        raise ValueError(
            f"{image}: heatmap has shape {scores.shape}, truth {true.shape}; "
            "both must be (height, width) of the same image"
        )
    if not np.isfinite(scores.min()) or not np.isfinite(scores.max()):
        raise ValueError(f"{image}: heatmap holds NaN or Inf; scores must be finite float32")
    return scores


def _bins(scores: NDArray[np.float32]) -> NDArray[np.int32]:
    """Bin of every score, rising with it: float32's bits, made monotone, without the lowest 13."""
    # + 0.0 turns -0.0, which equals 0.0 but has other bits, into 0.0, and makes the array contiguous.
    bits = (np.ascontiguousarray(scores) + np.float32(0)).view(np.int32)
    if bits.min() < 0:
        bits = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits)
    bins: NDArray[np.int32] = (bits >> (32 - _BITS)) + np.int32(1 << (_BITS - 1))
    return bins


def _region_weights(true: BoolMask) -> FloatArray:
    """1 / (area of its region, 8 neighbours) for every defect pixel, in row order."""
    if not true.any():
        return np.zeros(0)
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(true.astype(np.uint8), connectivity=8)
    weights: FloatArray = 1.0 / statistics[labels[true], cv2.CC_STAT_AREA]
    return weights
