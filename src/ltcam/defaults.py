"""The product's default map: what measured best on data that no test part was taken from.

`docs/defaults.md` has the table behind it, `benchmarks/default_map.py` makes the table.
"""

from __future__ import annotations

from ltcam.runs import CamSettings


def default_cam(stages: tuple[str, ...], signed: bool) -> CamSettings:
    """Settings of the map that a new run starts with.

    Inner stages, put together by the geometric mean of their max-scaled maps: a place counts if every stage
    agrees on it, and no stage drowns another by its scale. The first stage is mostly texture, the last one
    too coarse.

    Stages behind a ReLU get HiResCAM of the second and third, whose negative gradients take away what speaks
    against a defect. Signed stages (linear bottlenecks) get LayerCAM of the positive parts of all inner
    ones: there a product of two negative values would count for the defect.

    Args:
        stages: names of the classifier's stages, shallow to deep.
        signed: whether any of them puts out negative values.
    """
    if len(stages) > 3:
        stages = stages[1:-1] if signed else stages[1:3]
    return CamSettings(
        method="layer-cam" if signed else "hires-cam",
        percentile=None,
        stages=stages,
        fusion="product",
        positive_activations=signed,
    )


def classic_cam(stages: tuple[str, ...], signed: bool) -> CamSettings:  # noqa: ARG001  # as `default_cam`
    """The paper's pipeline: LTGrad-CAM (eq. 11 after 9), percentile 50, all stages summed.

    Args:
        stages: names of the classifier's stages, shallow to deep.
        signed: makes no difference.
    """
    return CamSettings(
        method="grad-cam", percentile=50, stages=stages, fusion="sum", positive_activations=False
    )
