"""The paper's methods by name."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import ltcam
from ltcam.cam import (
    CAM,
    LTFullGrad,
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
def test_a_preset_is_truncation_and_the_sum_of_all_stages(name: str) -> None:
    assert PRESETS[name](90).cam == CAM(
        name, Truncation(90, "channel", "gradient"), fusion="sum", stage_scale="none"
    )
    assert PRESETS[name]() == PRESETS[name](percentile=50)
    assert PRESETS[name]().cam == truncated(name)


def test_every_gradient_method_has_its_preset_also_at_the_top() -> None:
    assert {method.name for method in list_gradient_methods()} == set(PRESETS)
    for preset in PRESETS.values():
        assert getattr(ltcam, preset.__name__) is preset


def test_settings_reach_the_cam() -> None:
    cam = LTLayerCAM(
        12.5,
        scope="stage",
        reading="mask",
        layers=["a", "b"],
        taps="before",
        fusion="max",
        stage_scale="tanh",
    )
    assert cam.cam == CAM("layer-cam", Truncation(12.5, "stage", "mask"), ("a", "b"), "before", "max", "tanh")
    assert LTGradCAM(layers="features.7").layers == ("features.7",)


def test_percentile_none_is_refused_and_is_the_method_itself_where_it_may_be_asked_for() -> None:
    with pytest.raises(ValueError, match=r"LTGradCAM truncates.*0 to 100.*CAM\('grad-cam'\)"):
        LTGradCAM(None)  # type: ignore[arg-type]
    assert truncated("grad-cam", None) == CAM("grad-cam")


@pytest.mark.parametrize("preset", [*PRESETS.values(), LTFullGrad])
def test_a_preset_is_a_class_whose_options_are_fields(preset: Any, nets: SimpleNamespace) -> None:
    net, images = nets.plain(), nets.images()
    own = preset(75, reading="mask")
    assert (own.percentile, own.scope, own.reading) == (75, "channel", "mask")
    assert isinstance(own, preset)
    assert replace(own, percentile=75) == own != preset(75)
    assert repr(own).startswith(f"{preset.__name__}(percentile=75, scope='channel'")
    explanation = own.explain(net, images, 1)
    assert torch.equal(own(net, images, 1), explanation.heatmaps)
    assert torch.equal(own.cam(net, images, 1), explanation.heatmaps)


def test_full_grad_knows_no_layers() -> None:
    with pytest.raises(ValueError, match="all layers of the network; leave out layers"):
        LTFullGrad(layers=("a",))


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(TypeError, match="percentil"):
        LTGradCAM(percentil=3)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="from 0 to 100"):
        LTGradCAM(101)
