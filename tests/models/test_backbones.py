from __future__ import annotations

import pytest
import torch
from torch import nn

from ltcam.models.backbones import build_trunk, feature_count, input_statistics
from ltcam_runtime.errors import SettingsError

# One of each way timm builds its heads; MobileNetV3 and its like put a layer behind the pooling.
FAMILIES = (
    "test_resnet",
    "test_efficientnet",
    "test_convnext",
    "test_mambaout",
    "test_nfnet",
    "mobilenetv3_small_050",
    "ghostnet_050",
    "lcnet_050",
    "fasternet_t0",
    "regnetx_002",
)


@pytest.mark.parametrize("backbone", FAMILIES)
def test_the_trunk_puts_out_as_many_pooled_features_as_it_says(backbone: str) -> None:
    trunk = build_trunk(backbone).eval()
    with torch.no_grad():
        features = trunk(torch.rand(2, 3, 64, 96))
    assert features.shape == (2, feature_count(trunk))


def test_vgg_loses_its_fully_connected_layers_and_takes_any_size() -> None:
    trunk = build_trunk("vgg11")
    assert sum(parameter.numel() for parameter in trunk.parameters()) == 9_220_480  # its eight convolutions
    assert not [name for name, module in trunk.named_modules() if isinstance(module, nn.Linear)]
    with torch.no_grad():
        assert trunk.eval()(torch.rand(1, 3, 64, 40)).shape == (1, 512)


def test_vgg_keeps_its_fully_connected_layers_where_they_are_asked_for() -> None:
    trunk = build_trunk("vgg11", "fully-connected")
    assert feature_count(trunk) == 4096
    with torch.no_grad():
        assert trunk.eval()(torch.rand(1, 3, 64, 40)).shape == (1, 4096)


def test_a_network_without_fully_connected_layers_is_refused() -> None:
    with pytest.raises(SettingsError, match="resnet18 has no fully connected layers"):
        build_trunk("resnet18", "fully-connected")


def test_an_unknown_name_is_refused_with_close_ones() -> None:
    with pytest.raises(SettingsError, match=r"`backbone` 'resnet81'.*resnet18"):
        build_trunk("resnet81")


@pytest.mark.parametrize("name", ["", "no such network at all"])
def test_a_name_like_no_other_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="is not known to timm"):
        build_trunk(name)


def test_a_network_without_average_pooling_is_refused() -> None:
    with pytest.raises(SettingsError, match="cannot be built as a pooled CNN"):
        build_trunk("pit_s_224")


def test_statistics_are_those_of_the_pre_training() -> None:
    assert input_statistics(build_trunk("tf_efficientnet_lite0")) == ((0.5,) * 3, (0.5,) * 3)
    assert input_statistics(nn.Identity()) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
