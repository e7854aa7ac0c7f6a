"""The paper's methods by name."""

from __future__ import annotations

import pytest
import torch

import ltcam
from ltcam.cam import (
    CAM,
    LTGradCAM,
    LTGradCAMPlusPlus,
    LTHiResCAM,
    LTLayerCAM,
    LTXGradCAM,
    Truncation,
    list_gradient_methods,
    truncated,
)

PRESETS = {
    "grad-cam": LTGradCAM,
    "grad-cam++": LTGradCAMPlusPlus,
    "xgrad-cam": LTXGradCAM,
    "layer-cam": LTLayerCAM,
    "hires-cam": LTHiResCAM,
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_truncation_and_the_sum_of_all_stages(name):
    assert PRESETS[name](90) == CAM(
        name, Truncation(90, "channel", "gradient"), fusion="sum", stage_scale="none"
    )
    assert PRESETS[name]() == PRESETS[name](percentile=50) == truncated(name)


def test_every_gradient_method_has_its_preset_also_at_the_top():
    assert {method.name for method in list_gradient_methods()} == set(PRESETS)
    for preset in PRESETS.values():
        assert getattr(ltcam, preset.__name__) is preset


def test_settings_reach_the_cam():
    cam = LTLayerCAM(
        12.5,
        scope="stage",
        reading="mask",
        layers=["a", "b"],
        taps="before",
        fusion="max",
        stage_scale="tanh",
    )
    assert cam == CAM("layer-cam", Truncation(12.5, "stage", "mask"), ("a", "b"), "before", "max", "tanh")
    assert LTGradCAM(layers="features.7").layers == ("features.7",)


def test_percentile_none_is_the_layered_method_without_truncation(nets):
    net, images = nets.plain(), nets.images()
    assert LTGradCAM(None).truncation is None
    assert torch.equal(LTGradCAM(None)(net, images, 1), CAM("grad-cam")(net, images, 1))
    assert not torch.equal(LTGradCAM(0)(net, images, 1), LTGradCAM(None)(net, images, 1))


def test_unknown_settings_are_refused():
    with pytest.raises(TypeError, match="percentil"):
        LTGradCAM(percentil=3)
    with pytest.raises(ValueError, match="from 0 to 100"):
        LTGradCAM(101)
