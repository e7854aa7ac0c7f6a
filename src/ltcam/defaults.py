"""The product's default map: what measured best on data that no test part was taken from.

`docs/defaults.md` has the table behind it, `benchmarks/default_map.py` makes the table.
"""

from __future__ import annotations

from ltcam.runs import CamSettings


def default_cam(backbone: str, stages: tuple[str, ...]) -> CamSettings:  # noqa: ARG001  # one rule for all so far
    """Settings of the map that a new run starts with.

    LayerCAM of the inner stages, put together by the geometric mean of their max-scaled maps: a place
    counts if every stage agrees on it, and no stage drowns another by its scale. The first stage is
    mostly texture, the last one too coarse. Positive parts of the activations only, which changes
    nothing behind a ReLU.

    Args:
        backbone: timm's name.
        stages: names of the classifier's stages, shallow to deep.
    """
    chosen = stages[1:-1] if len(stages) > 3 else stages
    return CamSettings(
        method="layer-cam", percentile=None, stages=chosen, fusion="product", positive_activations=True
    )
