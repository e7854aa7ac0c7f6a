"""The paper's methods by name: truncated, layerized CAMs (eq. 11 and the sections after it)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ltcam.cam.engine import CAM
from ltcam.cam.fusion import Fusion, StageScale
from ltcam.cam.methods import Method
from ltcam.cam.network.stages import Taps
from ltcam.cam.truncation import Reading, Scope, Truncation


def truncated(
    method: str | Method,
    percentile: float | None = 50,
    *,
    scope: Scope = "channel",
    reading: Reading = "gradient",
    layers: Sequence[str] | None = None,
    taps: Taps = "after",
    fusion: Fusion = "sum",
    stage_scale: StageScale = "none",
) -> CAM:
    """The LT form of a method with gradients: truncated gradients, all stages summed.

    Args:
        method: name of a gradient method or `fullgrad`, or an own one.
        percentile: p, 0 to 100; None leaves the gradients whole (L without T).
        scope: `channel` or `stage`; whose positive gradients the percentile is taken of.
        reading: `gradient` (eq. 9) or `mask` (eq. 11).
        layers: names of layers for networks whose stages are to be chosen by hand.
        taps: stages `after` or `before` their pooling.
        fusion: `sum` (paper), `mean`, `max` or `product`.
        stage_scale: `none` (paper), `max`, `minmax` or `tanh`.
    """
    return CAM(
        method=method,
        truncation=None if percentile is None else Truncation(percentile, scope, reading),
        layers=None if layers is None else tuple([layers] if isinstance(layers, str) else layers),
        taps=taps,
        fusion=fusion,
        stage_scale=stage_scale,
    )


def _preset(method: str, title: str) -> Callable[..., CAM]:
    def preset(percentile: float | None = 50, **settings: object) -> CAM:
        return truncated(method, percentile, **settings)  # type: ignore[arg-type]

    preset.__name__ = preset.__qualname__ = f"LT{title}"
    preset.__doc__ = (
        f"LT{title}: `truncated({method!r}, percentile, ...)`; see `ltcam.cam.truncated` for the settings."
    )
    return preset


LTGradCAM = _preset("grad-cam", "GradCAM")
LTGradCAMPlusPlus = _preset("grad-cam++", "GradCAMPlusPlus")
LTXGradCAM = _preset("xgrad-cam", "XGradCAM")
LTLayerCAM = _preset("layer-cam", "LayerCAM")
LTHiResCAM = _preset("hires-cam", "HiResCAM")
LTFullGrad = _preset("fullgrad", "FullGrad")
