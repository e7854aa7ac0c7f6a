"""Judge the masks of one image at every percentile without its true mask, by asking the network again.

The image is filled in where the mask is, and it is seen mirrored and at other sizes: a look per view for the
gradient methods, one more for FullGrad, and one forward pass per mask.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ltcam.calibration.judge import filled_in
from ltcam.experiments.tune.percentile_maps import VIEWS, PercentileMaps, heatmaps_by_percentile
from ltcam.experiments.tune.rules import agreement, contrast, score_drop, separability
from ltcam.runs.inspector import Inspector
from ltcam_runtime.masks import otsu

JUDGEMENTS = ("separability", "drop", "area", "flip", "scale", "contrast")

_Key = tuple[str, int | None]


def judge_image(
    inspector: Inspector, maps: PercentileMaps, resized: NDArray[np.uint8], normal_score: float
) -> dict[str, dict[str, list[float]]]:
    """What there is to say of an image's masks without a true one.

    Args:
        inspector: whose classifier is asked.
        maps: which.
        resized: (h, w, 3) uint8 RGB, a defective image at the network's size.
        normal_score: of OK images, log-odds of being defective.

    Returns:
        Per method, by the names of `JUDGEMENTS`, one number per entry of `maps.made_at`; `area` as a share of the
        area that the untruncated map's mask has. NaN where undefined.

    Raises:
        RunError: the run cannot be used on images.
    """
    masks: dict[_Key, NDArray[np.bool_]] = {}
    found: dict[str, dict[str, list[float]]] = {
        method: {name: [] for name in JUDGEMENTS} for method in maps.methods
    }
    for method, percentile, heatmap in heatmaps_by_percentile(inspector, maps, resized):
        mask = masks[method, percentile] = otsu(heatmap)
        found[method]["separability"].append(separability(heatmap))
        found[method]["contrast"].append(contrast(resized, mask))
        whole = max(float(masks[method, None].mean()), 1e-9)
        found[method]["area"].append(float(mask.mean()) / whole)
    _add_drops(inspector, resized, normal_score, masks, found)
    _add_agreements(inspector, maps, resized, masks, found)
    return found


def _add_drops(
    inspector: Inspector,
    resized: NDArray[np.uint8],
    normal_score: float,
    masks: dict[_Key, NDArray[np.bool_]],
    found: dict[str, dict[str, list[float]]],
) -> None:
    filled = [filled_in(resized, mask) for mask in masks.values()]
    score, *without = inspector.network.defect_scores([resized, *filled])
    for (method, _), each in zip(masks, without, strict=True):
        found[method]["drop"].append(score_drop(score, each, normal_score))


def _add_agreements(
    inspector: Inspector,
    maps: PercentileMaps,
    resized: NDArray[np.uint8],
    masks: dict[_Key, NDArray[np.bool_]],
    found: dict[str, dict[str, list[float]]],
) -> None:
    """How far the masks of each kind of view agree with those of the image itself, on average."""
    size = resized.shape[:2]
    agreed: dict[tuple[_Key, str], list[float]] = {}
    for view in VIEWS:
        for method, percentile, heatmap in heatmaps_by_percentile(inspector, maps, view.of(resized)):
            key = (method, percentile)
            seen = otsu(view.back(heatmap, (size[0], size[1])))
            agreed.setdefault((key, view.kind), []).append(agreement(masks[key], seen))
    for ((method, _), kind), values in agreed.items():
        found[method][kind].append(float(np.mean(values)))
