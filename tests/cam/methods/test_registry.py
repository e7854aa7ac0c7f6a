"""Methods by name, and own ones."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from ltcam.cam import CAM, GradientMethod, Truncation, get_method, list_methods, register_method
from ltcam.cam.engine import weighted_sum
from ltcam.cam.methods import registry


@pytest.fixture
def clean_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))


def test_an_own_method_in_ten_lines(clean_registry: None, nets: SimpleNamespace) -> None:
    @lambda weights: register_method(
        GradientMethod("sign-cam", "SignCAM", "this test", "Votes by sign.", weights)
    )
    def sign_cam(activations: Tensor, gradients: Tensor) -> Tensor:
        return gradients.sign().mean((2, 3), keepdim=True)

    net, images = nets.plain(), nets.images()
    cam = CAM("sign-cam", Truncation(50), layers=nets.STAGES[-1:])
    captured = cam.capture(net, images, 1)
    T = captured.gradients[0].clamp_min(0).sign()
    assert cam(net, images, 1).shape == (2, 16, 24)
    assert sign_cam in list_methods()
    whole = CAM(sign_cam, Truncation(0)).stage_maps(captured)[0]
    by_hand = (T.mean((2, 3), keepdim=True) * captured.activations[0]).sum(1)
    assert torch.allclose(whole, by_hand, rtol=1e-12)


def test_the_own_method_is_gone_again() -> None:
    assert "sign-cam" not in {method.name for method in list_methods()}
    with pytest.raises(ValueError, match="sign-cam"):
        CAM("sign-cam")


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"'gradcam'.*grad-cam, grad-cam\+\+, xgrad-cam, layer-cam, hires-cam"
    ):
        get_method("gradcam")


def test_a_taken_name_is_refused(clean_registry: None) -> None:
    taken = get_method("layer-cam")
    with pytest.raises(ValueError, match="'layer-cam' exists already"):
        register_method(taken)


def test_a_method_need_not_be_registered() -> None:
    own = GradientMethod("own", "Own", "", "", lambda activations, gradients: gradients)
    assert get_method(own) is own
    assert CAM(own).method is own


@pytest.mark.parametrize("shape", [(2, 3), (2, 1, 4, 5), (3, 1, 1), (2, 3, 5, 4)])
def test_weights_of_a_wrong_shape_are_refused(shape: tuple[int, ...], nets: SimpleNamespace) -> None:
    own = GradientMethod(
        "own", "Own", "", "", lambda activations, gradients: torch.ones(shape, dtype=torch.float64)
    )
    A, g = nets.pair(0)
    with pytest.raises(ValueError, match=r"weights are .*\(2, 3, 4, 5\) need"):
        weighted_sum(own, A, g, None)


def test_every_method_says_what_it_is_and_where_from() -> None:
    for method in list_methods():
        assert method.title
        assert method.source
        assert method.sentence.endswith(".")
