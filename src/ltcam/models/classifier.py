"""The classifier: a backbone's trunk, global pooling, and one linear layer over the classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ltcam.cam import find_stages
from ltcam.cam.network.stages import Taps
from ltcam.models.backbones import build_trunk, feature_count
from ltcam.models.names import Head
from ltcam_runtime.errors import SettingsError

_HEAD = "trunk.pre_logits"  # VGG's fully connected layers, as convolutions


class Classifier(nn.Module):
    """Images (N, 3, H, W), normalised, to logits (N, K); class 0 is OK.

    Attributes:
        trunk: the backbone up to and with its global average pooling.
        head: linear layer, features to K classes.
    """

    def __init__(self, trunk: nn.Module, classes: int):
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(feature_count(trunk), classes)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        logits: Tensor = self.head(self.trunk(images))
        return logits

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N, K), where nobody asks for gradients or features: the shortest way to them."""
        logits: Tensor = self(images)
        return logits

    @torch.no_grad()
    def rescale(self, slope: float, offset: float) -> None:
        """Make logits `slope` times as large, and those of all kinds of defect larger by `offset`, by the weights."""
        self.head.weight.mul_(slope)
        self.head.bias.mul_(slope)
        self.head.bias[1:] += offset


def build_classifier(backbone: str, classes: int, head: Head = "pooled") -> Classifier:
    """A randomly initialised classifier.

    Raises:
        SettingsError: an unknown backbone, or one without such a head.
    """
    return Classifier(build_trunk(backbone, head), classes)


def stages_of(classifier: nn.Module, image_size: tuple[int, int], taps: Taps = "after") -> tuple[str, ...]:
    """Names of the classifier's stages S1, S2, ... for images of this (height, width); its head is none.

    `taps`: whether a stage is taken after or before its pooling.
    """
    parameter = next(classifier.parameters())
    example = torch.zeros(1, 3, *image_size, dtype=parameter.dtype, device=parameter.device)
    found = find_stages(classifier, example, taps=taps)
    return tuple(name for name in found if not name.startswith(_HEAD))


def freeze_stages(classifier: nn.Module, stages: Sequence[str], count: int) -> int:
    """Freeze everything up to the output of stage S`count`, its normalisation statistics included.

    Args:
        classifier: changed in place.
        stages: names of the stages, shallow to deep.
        count: number of stages to freeze, 0 for none.

    Returns:
        Number of frozen parameters (values, not tensors).

    Raises:
        SettingsError: there are fewer stages.
    """
    if count > len(stages):
        raise SettingsError(f"`freeze` {count}: the network has {len(stages)} stages")
    if count == 0:
        return 0
    frozen, last = 0, stages[count - 1]
    for name, module in classifier.named_modules():
        if _behind(name, last, classifier):
            break
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)
            frozen += parameter.numel()
        if name and not last.startswith(name + "."):  # what holds the stage holds later ones as well
            module.training = False
    return frozen


def _behind(name: str, stage: str, classifier: nn.Module) -> bool:
    """Whether the module of this name comes after the stage in the order of registration."""
    names = [other for other, _ in classifier.named_modules()]
    inside = name == stage or name.startswith(stage + ".") or stage.startswith(name + ".") or name == ""
    return not inside and names.index(name) > names.index(stage)
