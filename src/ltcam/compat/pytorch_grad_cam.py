"""Class activation maps called as the pytorch-grad-cam package calls them: one import changes, the rest stays.

    from ltcam.compat.pytorch_grad_cam import GradCAM, ClassifierOutputTarget

    with GradCAM(model=model, target_layers=[model.layer4[-1]]) as cam:
        grayscale_cam = cam(input_tensor=images, targets=[ClassifierOutputTarget(281)])  # (N, H, W), 0 to 1

A layer of calling conventions over `ltcam.cam.CAM`, nothing is computed a second way. What is kept: signatures,
scaling of every layer's map to 0..1, the mean over several layers, both kinds of smoothing. What is better:
the model's training flags and `.grad` are left alone, an exception inside `with` is never swallowed,
the number of targets must be that of the images, no constant is added to denominators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ltcam.cam.captures import Reshape
from ltcam.cam.engine import CAM
from ltcam.cam.fusion import fuse, scale_map
from ltcam.cam.methods import GradientMethod, NetworkMethod, Probe, ProbingMethod, get_method
from ltcam.cam.network.eval_mode import evaluating
from ltcam.cam.targets import Target, resolved

ModelTarget = Callable[[Any], Tensor]
"""What the model returned for one image, to a scalar."""

_BRIGHTNESS = (0.9, 1.0, 1.1)  # of aug_smooth, each as it is and mirrored


@dataclass(eq=False, repr=False)
class DropIn:
    """One method with pytorch-grad-cam's constructor and call.

    Attributes:
        method: ltcam's name of the method.
        model: as given; found as it was after every call.
        target_layers: as given.
        reshape_transform: as given.
        batch_size: images that Score-CAM and Ablation-CAM give the network at once.
        outputs: what the model returned in the last call, detached; None before the first.
    """

    method: ClassVar[str]
    batch_size = 16

    model: nn.Module
    target_layers: Sequence[nn.Module]
    reshape_transform: Reshape | None = None
    outputs: Any = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.target_layers = list(self.target_layers)

    def __call__(
        self,
        input_tensor: Tensor,
        targets: Sequence[ModelTarget] | None = None,
        aug_smooth: bool = False,
        eigen_smooth: bool = False,
    ) -> NDArray[np.float32]:
        """Heatmaps (N, H, W), float32, each from 0 to 1.

        Args:
            input_tensor: (N, 3, H, W), normalised as the model wants it; goes to the model's device.
            targets: one callable per image, from what the model returned for it to a scalar; None explains
                the largest logit of each image.
            aug_smooth: the mean of six maps: of the input times 0.9, 1 and 1.1, each as it is and mirrored.
            eigen_smooth: in place of the sum over channels, the first principal component of the
                weighted activations, with the sign that agrees with the sum.

        Raises:
            ValueError: layers that are not the model's, a number of targets other than N, and whatever
                `ltcam.cam.CAM` refuses.
        """
        parameter = next(self.model.parameters(), None)
        images = input_tensor if parameter is None else input_tensor.to(parameter.device)
        if not aug_smooth:
            return self._heatmaps(images, targets, eigen_smooth)
        maps = []
        for mirrored in (False, True):
            for brightness in _BRIGHTNESS:
                seen = (images.flip(3) if mirrored else images) * brightness
                found = self._heatmaps(seen, targets, eigen_smooth)
                maps.append(found[:, :, ::-1] if mirrored else found)
        mean: NDArray[np.float32] = np.mean(maps, axis=0, dtype=np.float32)
        return mean

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to release: hooks live no longer than a call."""

    def _heatmaps(
        self, images: Tensor, targets: Sequence[ModelTarget] | None, eigen_smooth: bool
    ) -> NDArray[np.float32]:
        if targets is not None and len(targets) != len(images):
            raise ValueError(
                f"targets has {len(targets)} entries for {len(images)} images; give one callable per image"
            )
        groups = [(None, list(range(len(images))))] if targets is None else _same_targets(targets)
        maps: list[Tensor] = [torch.empty(0)] * len(images)
        outputs: list[Any] = [None] * len(images)
        for target, members in groups:
            found, output = self._explained(images[members], target, eigen_smooth)
            for place, index in enumerate(members):
                maps[index] = found[place]
                outputs[index] = output[place : place + 1] if isinstance(output, Tensor) else output
        self.outputs = torch.cat(outputs) if all(isinstance(o, Tensor) for o in outputs) else outputs
        return scale_map(torch.stack(maps), "minmax").float().cpu().numpy()

    def _explained(self, images: Tensor, target: Target, eigen_smooth: bool) -> tuple[Tensor, Any]:
        """Heatmaps (N, H, W) on any scale, and the model's output."""
        net, method = _unwrapped(self.model), get_method(self.method)
        if isinstance(method, NetworkMethod):
            if eigen_smooth:
                raise ValueError(
                    f"{method.title} has no weighted activations to smooth; use eigen_smooth=False"
                )
            cam = CAM(method)
        else:
            cam = CAM(
                method,
                layers=_names(net, self.target_layers),
                fusion="mean",
                stage_scale="minmax",
                reshape=self.reshape_transform,
                chunk=self.batch_size,
            )
            if eigen_smooth:
                return _principal(cam, method, net, images, target)
        explanation = cam.explain(net, images, target)
        return explanation.heatmaps, explanation.output


class GradCAM(DropIn):
    """Grad-CAM; see `DropIn`."""

    method = "grad-cam"


class GradCAMPlusPlus(DropIn):
    """Grad-CAM++; see `DropIn`."""

    method = "grad-cam++"


class XGradCAM(DropIn):
    """XGrad-CAM; see `DropIn`."""

    method = "xgrad-cam"


class LayerCAM(DropIn):
    """LayerCAM; see `DropIn`."""

    method = "layer-cam"


class HiResCAM(DropIn):
    """HiResCAM; see `DropIn`."""

    method = "hires-cam"


class ScoreCAM(DropIn):
    """Score-CAM; see `DropIn`."""

    method = "score-cam"


@dataclass(eq=False, repr=False)
class AblationCAM(DropIn):
    """Ablation-CAM; see `DropIn`.

    `ablation_layer` is accepted and not needed: channels are set to 0 in front of the network's own tail.
    """

    method = "ablation-cam"

    ablation_layer: object = None
    batch_size: int = 32
    ratio_channels_to_ablate: float = 1.0

    def __post_init__(self) -> None:
        if self.ratio_channels_to_ablate != 1.0:
            raise ValueError(
                f"ratio_channels_to_ablate={self.ratio_channels_to_ablate} is not offered: all channels are ablated, "
                "and only the tail of the network runs for each"
            )
        super().__post_init__()


class FullGrad(DropIn):
    """FullGrad; see `DropIn`. It takes all layers of the network, whatever `target_layers` holds."""

    method = "fullgrad"


class ClassifierOutputTarget:
    """The logit of one class."""

    def __init__(self, category: int):
        self.category = category

    def __call__(self, model_output: Tensor) -> Tensor:
        """Logits (K,) or (N, K) to a scalar or (N,)."""
        return model_output[..., self.category]


class ClassifierOutputSoftmaxTarget(ClassifierOutputTarget):
    """The softmax probability of one class."""

    def __call__(self, model_output: Tensor) -> Tensor:
        """Logits (K,) or (N, K) to a scalar or (N,)."""
        return super().__call__(model_output.softmax(-1))


class BinaryClassifierOutputTarget:
    """The one logit of a sigmoid classifier: as it is for category 1, with its sign turned for 0."""

    def __init__(self, category: int):
        self.category = category

    def __call__(self, model_output: Tensor) -> Tensor:
        """Logit to the same shape."""
        return model_output if self.category == 1 else -model_output


def _unwrapped(model: nn.Module) -> nn.Module:
    """The model itself: a wrapper's copies on several devices would run in threads that see no hooks."""
    while isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        model = model.module
    return model


def _names(model: nn.Module, layers: Sequence[nn.Module]) -> tuple[str, ...]:
    names = {id(module): name for name, module in model.named_modules()}
    strange = [layer for layer in layers if id(layer) not in names]
    if strange:
        kinds = ", ".join(type(layer).__name__ for layer in strange)
        raise ValueError(
            f"target_layers holds {kinds}, which is no module of the model; give modules of the model itself, as "
            "[model.layer4[-1]]"
        )
    return tuple(names[id(layer)] for layer in layers)


def _same_targets(targets: Sequence[ModelTarget]) -> list[tuple[ModelTarget, list[int]]]:
    """Targets that ask the same, with the images they stand for: those go through the network together."""
    groups: dict[object, tuple[ModelTarget, list[int]]] = {}
    for index, target in enumerate(targets):
        state = getattr(target, "__dict__", {})
        plain = state.keys() == {"category"} and isinstance(state["category"], int)
        key = (type(target), state["category"]) if plain else id(target)
        groups.setdefault(key, (target, []))[1].append(index)
    return list(groups.values())


def _principal(
    cam: CAM, method: GradientMethod | ProbingMethod, model: nn.Module, images: Tensor, target: Target
) -> tuple[Tensor, Any]:
    """As `CAM.explain`, with the first principal component in the place of the sum over channels."""
    captured = cam.capture(model, images, target)
    maps = []
    with evaluating(model), torch.inference_mode(False), torch.no_grad():
        asked = resolved(captured.output, target, len(images))
        probe = Probe(model, images, asked, captured, cam.chunk, cam.reshape)
        for index, activations in enumerate(captured.activations):
            if isinstance(method, GradientMethod):
                weights = method.weights(activations, captured.gradients[index])
            else:
                weights = method.weights(probe, index)
            maps.append(first_component(weights * activations).clamp_min(0))
    heatmaps = fuse(maps, captured.input_size, fusion=cam.fusion, stage_scale=cam.stage_scale)
    return heatmaps, captured.output


def first_component(maps: Tensor) -> Tensor:
    """Projection (N, h, w) of each position's channels (N, C, h, w) on their first principal axis.

    An axis has no sign of its own; it gets the one with which the projection agrees with the sum of channels.
    """
    points = maps.flatten(2).transpose(1, 2)  # (N, positions, C)
    points = points - points.mean(1, keepdim=True)
    axis = torch.linalg.svd(points, full_matrices=False).Vh[:, 0]
    projection = torch.einsum("npc,nc->np", points, axis)
    agreement = (projection * points.sum(2)).sum(1, keepdim=True)
    return torch.where(agreement < 0, -projection, projection).reshape(len(maps), *maps.shape[2:])
