"""The paper's methods by name: truncated, layerized CAMs (eq. 11 and the sections after it)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar

from torch import Tensor, nn

from ltcam.cam.engine import CAM
from ltcam.cam.explanation import Explanation
from ltcam.cam.fusion import Fusion, StageScale
from ltcam.cam.methods import Method
from ltcam.cam.network.stages import Taps
from ltcam.cam.targets import Target
from ltcam.cam.truncation import Scope, Truncation, TruncationReading


def truncated(
    method: str | Method,
    percentile: float | None = 50,
    *,
    scope: Scope = "channel",
    reading: TruncationReading = "gradient",
    layers: Sequence[str] | str | None = None,
) -> CAM:
    """The LT form of a method with gradients: truncated gradients, all stages summed. `CAM` has more settings.

    Args:
        method: name of a gradient method or `fullgrad`, or an own one.
        percentile: p, 0 to 100; None leaves the gradients whole (L without T).
        scope: `channel` or `stage`; whose positive gradients the percentile is taken of.
        reading: `gradient` (eq. 9) or `mask` (eq. 11).
        layers: names of layers for networks whose stages are to be chosen by hand.
    """
    return CAM(
        method=method,
        truncation=None if percentile is None else Truncation(percentile, scope, reading),
        layers=None if layers is None else tuple([layers] if isinstance(layers, str) else layers),
    )


@dataclass(frozen=True)
class LT:
    """A truncated, layerized class activation map: the base of the paper's methods by name.

    Holds settings and never tensors: call it with any model and images, from any thread.

    Attributes:
        percentile: p, 0 to 100: below it positive gradients are dropped; 0 keeps all positive ones.
        scope: `channel` or `stage`; whose positive gradients the percentile is taken of.
        reading: `gradient` (eq. 9) or `mask` (eq. 11).
        layers: names of layers, or one name; None takes the model's stages, found by itself.
        taps: stages `after` or `before` their pooling.
        fusion: `sum` (paper), `mean`, `max` or `product`.
        stage_scale: `none` (paper), `max`, `minmax` or `tanh`.

    Raises:
        ValueError: None as percentile (that is no truncation: `CAM(method)`), or a value that cannot be used.
    """

    percentile: float = 50
    _: KW_ONLY
    scope: Scope = "channel"
    reading: TruncationReading = "gradient"
    layers: Sequence[str] | None = None
    taps: Taps = "after"
    fusion: Fusion = "sum"
    stage_scale: StageScale = "none"

    method: ClassVar[str]

    def __post_init__(self) -> None:
        if self.percentile is None:
            raise ValueError(
                f"{type(self).__name__} truncates, and percentile=None is no truncation: give a number from 0 to 100, "
                f"or write CAM({self.method!r})"
            )
        object.__setattr__(self, "layers", self.cam.layers)  # also refuses what cannot be used

    @property
    def cam(self) -> CAM:
        """The same settings as a `CAM`."""
        named = truncated(
            self.method, self.percentile, scope=self.scope, reading=self.reading, layers=self.layers
        )
        return replace(named, taps=self.taps, fusion=self.fusion, stage_scale=self.stage_scale)

    def __call__(self, model: nn.Module, images: Tensor, target: Target = None) -> Tensor:
        """Heatmaps (N, H, W), raw, float32 (float64 of float64), at the size of the images (N, 3, H, W)."""
        return self.cam(model, images, target)

    def explain(self, model: nn.Module, images: Tensor, target: Target = None) -> Explanation:
        """Heatmaps together with the output and scores of the same pass."""
        return self.cam.explain(model, images, target)


class LTGradCAM(LT):
    """LTGrad-CAM; see `LT`."""

    method = "grad-cam"


class LTGradCAMPlusPlus(LT):
    """LTGrad-CAM++; see `LT`."""

    method = "grad-cam++"


class LTXGradCAM(LT):
    """LTXGrad-CAM; see `LT`."""

    method = "xgrad-cam"


class LTLayerCAM(LT):
    """LTLayerCAM; see `LT`."""

    method = "layer-cam"


class LTHiResCAM(LT):
    """LTHiResCAM; see `LT`. It equals LTLayerCAM."""

    method = "hires-cam"


class LTFullGrad(LT):
    """LTFullGrad; see `LT`. It takes all layers of the network, so it knows no `layers`, `taps` and `stage_scale`."""

    method = "fullgrad"
