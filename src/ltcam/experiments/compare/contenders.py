"""The maps that are compared, and making all of them of a few images.

One forward and one backward pass serve every gradient method. FullGrad needs passes of its own, and Score-CAM
and Ablation-CAM one per channel of their stage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ltcam.cam import (
    CAM,
    Capture,
    GradientMethod,
    Method,
    NetworkMethod,
    Truncation,
    capture,
    get_method,
    list_gradient_methods,
    sweep,
)
from ltcam.experiments.compare.comparison import Stages
from ltcam.runs.inspector import Inspector
from ltcam.runs.network import make_cam, named_errors, part_of
from ltcam_runtime.errors import SettingsError
from ltcam_runtime.inspector import sharpened
from ltcam_runtime.resizing import resize_heatmap
from ltcam_runtime.settings import MaskSettings, SharpeningSettings

PROBING = ("score-cam", "ablation-cam")

_T = TypeVar("_T")


@dataclass(frozen=True)
class Contender:
    """One way to make masks.

    Attributes:
        title: how papers spell it; LT in front where its gradients are truncated.
        stages: of which stages its map is.
        cam: makes the heatmaps. Its layers are among those that are captured, or it looks for itself.
        sharpening: of the heatmap before it is cut into a mask.
        mask: how a heatmap becomes a mask; the default is Otsu's threshold alone.
        bfloat16: whether the network is asked in bfloat16, where it is not captured with the others.
    """

    title: str
    stages: Stages
    cam: CAM
    sharpening: SharpeningSettings = field(default_factory=SharpeningSettings)
    mask: MaskSettings = field(default_factory=MaskSettings)
    bfloat16: bool = False

    @property
    def percentile(self) -> float | None:
        """Percentile of the truncation, or None."""
        return None if self.cam.truncation is None else self.cam.truncation.percentile

    @property
    def shares_a_capture(self) -> bool:
        """Whether a capture of the stages is all it needs."""
        return isinstance(get_method(self.cam.method), GradientMethod)

    def sharpen(self, heatmap: NDArray[np.float32], image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The heatmap (h, w) at the size of its image (H, W, 3), sharpened if this contender does that."""
        return sharpened(resize_heatmap(heatmap, image.shape[:2]), image, self.sharpening)


@dataclass(frozen=True, eq=False)
class Maps:
    """One contender's heatmaps of a few images.

    Attributes:
        contender: who made them.
        heatmaps: (N, h, w) float32 at the network's size.
        seconds: for all of them; the shared capture is not in it, passes of its own are.
    """

    contender: Contender
    heatmaps: NDArray[np.float32]
    seconds: float


@dataclass(frozen=True)
class ContenderSettings:
    """Which maps are compared.

    Attributes:
        methods: names of registered methods, own ones included; None takes every gradient method and FullGrad.
        percentile: of the truncated forms, 0 to 100.
        probing: also Score-CAM and Ablation-CAM, which ask the network once per channel.
        probing_bfloat16: methods that ask the network themselves do so in bfloat16, which is several times faster
            where there are instructions for it; their rows say so.
        positive_activations: use only the positive part of activations in all methods but FullGrad.

    Raises:
        SettingsError: an unknown method, or a percentile outside 0 to 100.
    """

    methods: tuple[str, ...] | None = None
    percentile: float = 50
    probing: bool = False
    probing_bfloat16: bool = False
    positive_activations: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.percentile <= 100:
            raise SettingsError(f"`percentile` {self.percentile:g}: must be 0 to 100")
        try:
            self.chosen()
        except ValueError as error:
            raise SettingsError(f"`methods`: {error}") from None

    def chosen(self) -> tuple[Method, ...]:
        """The methods, each once."""
        if self.methods is None:
            names = [*(method.name for method in list_gradient_methods()), "fullgrad"]
        else:
            names = list(self.methods)
        if self.probing:
            names += PROBING
        return tuple(get_method(name) for name in dict.fromkeys(names))


def contenders(inspector: Inspector, settings: ContenderSettings) -> tuple[Contender, ...]:
    """What is compared: of each method the forms it has, and the run's own map.

    A gradient method has three: the last stage, all stages, and all stages truncated. A method that takes the whole
    network has two, without and with truncation. A method that asks the network has the last stage.

    Args:
        inspector: whose stages and settings count.
        settings: which methods.
    """
    forms = (form for method in settings.chosen() for form in _forms(method, inspector.run.stages, settings))
    return (*forms, *_own(inspector))


def _forms(method: Method, stages: tuple[str, ...], settings: ContenderSettings) -> list[Contender]:
    truncation = Truncation(settings.percentile)
    if isinstance(method, NetworkMethod):
        cam = CAM(method)
        return [
            Contender(method.title, "network", cam),
            Contender(f"LT{method.title}", "network", replace(cam, truncation=truncation)),
        ]
    last = CAM(method, layers=stages[-1:], positive_activations=settings.positive_activations)
    if not isinstance(method, GradientMethod):
        return [Contender(method.title, "last", last, bfloat16=settings.probing_bfloat16)]
    whole = replace(last, layers=stages)
    return [
        Contender(method.title, "last", last),
        Contender(method.title, "all", whole),
        Contender(f"LT{method.title}", "all", replace(whole, truncation=truncation)),
    ]


def _own(inspector: Inspector) -> list[Contender]:
    """The run's own map, with its sharpening where it has any, and without."""
    run = inspector.run
    # What sharpening by `none` means: a mask that does not reach below its threshold.
    bare = run.mask.model_copy(update={"reach": 1.0})
    plain = Contender("This run, unsharpened", "run", make_cam(run.cam), mask=bare)
    whole = replace(plain, title="This run", sharpening=run.sharpening, mask=run.mask)
    return [whole] if run.sharpening.polarity == "none" else [whole, plain]


def look(
    inspector: Inspector, compared: Sequence[Contender], resized: Sequence[NDArray[np.uint8]]
) -> tuple[float, Iterator[Maps]]:
    """All contenders' maps of a few images.

    Args:
        inspector: whose classifier is asked; what is explained is the log-odds of being defective.
        compared: who makes maps.
        resized: (h, w, 3) uint8 RGB each, at the network's size.

    Returns:
        Seconds for the shared capture; and an iterator, so that the maps of one contender at a time are held.

    Raises:
        RunError: the run cannot be used; also while iterating.
    """
    images, stages = inspector.network.batch(resized), inspector.run.stages
    layers = dict.fromkeys(
        layer for each in compared if each.shares_a_capture for layer in each.cam.layers or ()
    )
    target = inspector.network.target
    captured, seconds = _timed(
        inspector,
        lambda: capture(inspector.network.classifier, images, target, layers=tuple(layers) or stages[-1:]),
    )
    return seconds, (_maps(inspector, each, captured, images) for each in compared)


def _maps(inspector: Inspector, contender: Contender, captured: Capture, images: Tensor) -> Maps:
    def make() -> Tensor:
        cam = contender.cam
        if not contender.shares_a_capture:
            target = inspector.network.target
            with torch.autocast(inspector.network.device.type, torch.bfloat16, enabled=contender.bfloat16):
                return cam.explain(inspector.network.classifier, images, target).heatmaps
        part = part_of(captured, cam.layers or ())
        return next(sweep(part, [cam.method], [cam.truncation], [cam.fusion], base=cam)).heatmaps

    heatmaps, seconds = _timed(inspector, make)
    return Maps(contender, heatmaps.float().cpu().numpy(), seconds)


def _timed(inspector: Inspector, make: Callable[[], _T]) -> tuple[_T, float]:
    """What is made, and the seconds it took, until the device is done with it."""
    started = time.perf_counter()
    with named_errors():  # of a network that a method cannot work on
        made = make()
        if inspector.network.device.type == "cuda":
            torch.cuda.synchronize(inspector.network.device)
    return made, time.perf_counter() - started
