"""Backbones by their timm name, without the linear layer of their own classification head."""

from __future__ import annotations

import difflib

from torch import nn

from ltcam.models.names import Head
from ltcam.models.torchvision_operators import prepare_torchvision
from ltcam_runtime.errors import SettingsError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Mean and standard deviation per channel, of values 0 to 1."""


def build_trunk(backbone: str, head: Head = "pooled") -> nn.Module:
    """A randomly initialised timm network that maps images (N, 3, H, W) to pooled features (N, F).

    Args:
        backbone: timm's name of a CNN, without a weights tag.
        head: `fully-connected` keeps the fully connected layers that VGG has before its pooling.

    Raises:
        SettingsError: an unknown name, with close ones, a network that is no CNN, or one without such layers.
    """
    prepare_torchvision()
    import timm  # noqa: PLC0415  # costs start-up time

    if not timm.is_model(backbone):
        close = difflib.get_close_matches(backbone, timm.list_models(), n=4)
        hint = f"; close: {', '.join(close)}" if close else ""
        raise SettingsError(f"`backbone` {backbone!r} is not known to timm {timm.__version__}{hint}")
    try:
        trunk: nn.Module = timm.create_model(backbone, pretrained=False, num_classes=0, global_pool="avg")
    except (RuntimeError, TypeError, AssertionError) as error:
        raise SettingsError(f"`backbone` {backbone!r} cannot be built as a pooled CNN: {error}") from error
    features = getattr(trunk, "features", None)
    has_layers = hasattr(trunk, "pre_logits") and isinstance(features, nn.Sequential)
    if head == "fully-connected" and not has_layers:
        raise SettingsError(
            f"`head` fully-connected: {backbone} has no fully connected layers of its own; VGG has; use `head=pooled`"
        )
    if head == "pooled" and has_layers and isinstance(features, nn.Sequential):
        _drop_fully_connected(trunk, features)
    return trunk


def _drop_fully_connected(trunk: nn.Module, features: nn.Sequential) -> None:
    """VGG keeps 120 million fully connected weights before its pooling; global pooling replaces them."""
    channels = [module.out_channels for module in features.modules() if isinstance(module, nn.Conv2d)]
    trunk.pre_logits = nn.Identity()
    trunk.num_features = trunk.head_hidden_size = channels[-1]  # type: ignore[assignment]  # timm's plain attributes


def feature_count(trunk: nn.Module) -> int:
    """Number of pooled features F.

    Some networks (MobileNetV3, GhostNet, MambaOut) widen the features once more behind the pooling: timm
    calls that `head_hidden_size`, and `num_features` what the last convolution puts out.
    """
    return int(getattr(trunk, "head_hidden_size", None) or trunk.num_features)  # type: ignore[arg-type]


def input_statistics(trunk: nn.Module) -> Statistics:
    """Mean and standard deviation per channel (of values 0 to 1) that the backbone was pre-trained with."""
    known = getattr(trunk, "default_cfg", None) or {}
    mean, std = known.get("mean", IMAGENET_MEAN), known.get("std", IMAGENET_STD)
    return (float(mean[0]), float(mean[1]), float(mean[2])), (float(std[0]), float(std[1]), float(std[2]))
