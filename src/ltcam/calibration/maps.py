"""The product's maps: the default, and the paper's.

`docs/defaults.md` says why the default is what it is, `benchmarks/default_map.py` makes the table behind it.
"""

from __future__ import annotations

from ltcam_runtime.settings import CamSettings


def default_cam(stages: tuple[str, ...]) -> CamSettings:
    """Settings of the map that a new run starts with: LayerCAM of the inner stages, multiplied.

    The geometric mean of max-scaled maps lets a place count if every stage agrees on it, and no stage drowns
    another by its scale. The first stage is mostly texture, the last one too coarse. Of signed stages (linear
    bottlenecks) the positive parts count: a product of two negative values would count for the defect.

    Args:
        stages: names of the classifier's stages, shallow to deep.
    """
    return CamSettings(
        method="layer-cam",
        percentile=None,
        stages=stages[1:-1] if len(stages) > 3 else stages,
        fusion="product",
        positive_activations=True,
    )


def classic_cam(stages: tuple[str, ...]) -> CamSettings:
    """The paper's pipeline: LTGrad-CAM (eq. 9 in eq. 2), percentile 50, all stages summed (eq. 8).

    Args:
        stages: names of the classifier's stages, shallow to deep.
    """
    return CamSettings(
        method="grad-cam", percentile=50, stages=stages, fusion="sum", positive_activations=False
    )
