"""The parity gate: whether a network says of the golden images what the trained one said of them.

It is asked when a graph is exported, and again wherever it is loaded: on another processor, with another version of a
runtime, with other code before and behind the network. What differs is refused with the reason.

Networks have kinks: where a value that decides on a gradient is zero up to rounding, another order of additions takes
the other side, and a heatmap changes in a corner, by a thousandth of its range or so: torch against itself in float64
does the same. So heatmaps must agree on average; probabilities, which have no kinks, to the last digit; verdicts
always; masks but for a few pixels. Weights of float16 or of 8 bits are other weights, and have wider limits. These are
set, not measured: what an operator, weight, setting or input that is wrong changes is meant to lie far above them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.errors import RunError
from ltcam_runtime.inspector import Inspector
from ltcam_runtime.part_files import Golden, Part, unpack, unpack_map
from ltcam_runtime.resizing import resize
from ltcam_runtime.results import Inspection

_NEARLY_ALL = 0.999  # of a heatmap's pixels
_PROBABILITY = {"fp32": 1e-4, "fp16": 2e-2, "int8": 5e-2}  # by precision of the weights
_LEAST_IOU, _FEW_PIXELS = {"fp32": 0.95, "fp16": 0.9, "int8": 0.9}, 8


@dataclass(frozen=True)
class GoldenComparison:
    """One golden image here and there.

    Attributes:
        name: of the image.
        heatmap: difference that 99.9 % of the pixels stay below, as a share of the heatmap's range; of all maps.
        mean: mean difference, likewise.
        probability: largest difference.
        verdicts: there, here.
        mask_iou: of the two masks; 1 where both are empty.
        mask_pixels: in which they differ.
    """

    name: str
    heatmap: float
    mean: float
    probability: float
    verdicts: tuple[str, str]
    mask_iou: float
    mask_pixels: int


def compare(inspector: Inspector, golden: Sequence[Golden]) -> list[GoldenComparison]:
    """Ask an inspector for the golden images.

    Raises:
        RunError: golden images that cannot be read, or a network that cannot be used.
    """
    try:
        pictures = [_image(image) for image in golden]
        expected = [({n: unpack_map(m) for n, m in g.heatmaps.items()}, unpack(g.mask) > 0) for g in golden]
    except ValueError as error:
        raise RunError(f"a golden image of the file is damaged: {error}") from error
    found = []
    for image, picture, (heatmaps, mask) in zip(golden, pictures, expected, strict=True):
        inspection = inspector.inspect_batch([picture], [image.name], gate=False)[0]
        resized = resize(picture, inspector.network.image_size)
        here = {name: maps[0] for name, maps in inspector.network.respond([resized]).heatmaps.items()}
        shares = [_differences(here.get(name), values) for name, values in heatmaps.items()]
        found.append(
            GoldenComparison(
                name=image.name,
                heatmap=max(largest for largest, _ in shares),
                mean=max(mean for _, mean in shares),
                probability=_probability(inspection, image),
                verdicts=(image.verdict, inspection.verdict),
                mask_iou=mask_iou(inspection.mask, mask),
                mask_pixels=_different(inspection.mask, mask),
            )
        )
    return found


def gate(inspector: Inspector, part: Part) -> list[GoldenComparison]:
    """Compare, and refuse what differs.

    Raises:
        RunError: naming image and difference.
    """
    found = compare(inspector, part.golden)
    for comparison in found:
        problems = differences(comparison, part)
        if problems:
            raise RunError(
                f"parity: of the golden image {comparison.name} this says something else than the trained network "
                f"did: {'; '.join(problems)}. Resizing, normalisation or the runtime differ; results would not be the "
                "run's"
            )
    return found


def differences(found: GoldenComparison, part: Part) -> list[str]:
    """In what a golden image differs by more than a file of this precision may, in words; empty where in nothing."""
    there, here = found.verdicts
    problems = {
        f"its probabilities differ by {found.probability:.2g}": not found.probability
        <= _PROBABILITY[part.precision],  # NaN is refused, too
        f"its verdict is {here}, and was {there}": here != there,
        f"its heatmap differs by {found.mean:.2g} of its range on average": not found.mean <= part.tolerance,
        f"its mask covers another area (IoU {found.mask_iou:.3f})": found.mask_iou
        < _LEAST_IOU[part.precision]
        and found.mask_pixels > _FEW_PIXELS,
    }
    return [reason for reason, holds in problems.items() if holds]


def _image(golden: Golden) -> NDArray[np.uint8]:
    picture = unpack(golden.image)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"{golden.name} is no RGB image of 8 bits")
    return picture.astype(np.uint8, copy=False)


def _differences(here: NDArray[np.float32] | None, there: NDArray[np.float64]) -> tuple[float, float]:
    """Largest difference but for one pixel in a thousand, and mean difference, as shares of the range."""
    if here is None or here.shape != there.shape:
        return np.inf, np.inf
    difference = np.abs(here - there)
    scale = float(there.max() - there.min()) or 1.0
    return float(np.quantile(difference, _NEARLY_ALL)) / scale, float(difference.mean()) / scale


def _probability(inspection: Inspection, golden: Golden) -> float:
    here = list(inspection.class_scores.values())
    if len(here) != len(golden.probabilities):
        return np.inf
    return float(np.abs(np.subtract(here, golden.probabilities)).max())


def mask_iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Of two masks (H, W): 1 where both are empty, 0 where they are of different sizes."""
    if one.shape != other.shape:
        return 0.0
    either = int((one | other).sum())
    return int((one & other).sum()) / either if either else 1.0


def _different(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> int:
    return int((one != other).sum()) if one.shape == other.shape else max(one.size, other.size)
