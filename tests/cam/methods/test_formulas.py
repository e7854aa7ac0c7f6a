"""Each gradient method against its formula, written out in loops; and what the formulas imply."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.cam.conftest import gradient_method

from ltcam.cam import Truncation, kept, list_methods
from ltcam.cam.engine import weighted_sum
from ltcam.cam.truncation import Scope

NAMES = ("grad-cam", "grad-cam++", "xgrad-cam", "layer-cam", "hires-cam")
TRUNCATIONS = (
    None,
    *(Truncation(p, s, r) for p in (0, 50, 90) for s in ("channel", "stage") for r in ("gradient", "mask")),
)


def test_these_are_the_methods() -> None:
    assert tuple(method.name for method in list_methods())[:5] == NAMES


@pytest.mark.parametrize("truncation", TRUNCATIONS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_signed_sum_equals_the_literal_formula(
    name: str, truncation: Truncation | None, nets: SimpleNamespace, literal: SimpleNamespace
) -> None:
    for seed in range(3):
        A, g = nets.pair(seed, signed=seed == 2)
        A[0, 2] = 0  # a dead channel
        wanted = literal.signed_map(name, A, g, truncation)
        found = weighted_sum(gradient_method(name), A, g, truncation).numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_degree_in_the_scale_of_the_score(name: str, nets: SimpleNamespace) -> None:
    A, g = nets.pair(11)
    for truncation in (None, Truncation(50), Truncation(50, "stage", "mask")):
        once = weighted_sum(gradient_method(name), A, g, truncation)
        tenfold = weighted_sum(gradient_method(name), A, 10 * g, truncation)
        assert torch.allclose(tenfold, 10 * once, rtol=1e-10) == (name != "grad-cam++")
        assert torch.allclose(
            weighted_sum(gradient_method(name), A / 10, 10 * g, truncation), once, rtol=1e-10, atol=1e-14
        )


@pytest.mark.parametrize("name", NAMES)
def test_channel_rescaling_changes_no_map_in_channel_scope(name: str, nets: SimpleNamespace) -> None:
    A, g = nets.pair(12)
    s = torch.tensor([0.03, 1.0, 50.0], dtype=torch.float64).reshape(1, 3, 1, 1)
    for truncation in (None, Truncation(50), Truncation(80, "channel", "mask")):
        plain = weighted_sum(gradient_method(name), A, g, truncation)
        rescaled = weighted_sum(gradient_method(name), A * s, g / s, truncation)
        assert torch.allclose(plain, rescaled, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("scope", ["channel", "stage"])
@pytest.mark.parametrize("p", [0, 25, 50, 90, 100])
def test_truncated_hires_cam_is_truncated_layer_cam(p: int, scope: Scope, nets: SimpleNamespace) -> None:
    A, g = nets.pair(13, signed=True)
    for reading in ("gradient", "mask"):
        truncation = Truncation(p, scope, reading)
        hires = weighted_sum(gradient_method("hires-cam"), A, g, truncation)
        assert torch.equal(hires, weighted_sum(gradient_method("layer-cam"), A, g, truncation))


@pytest.mark.parametrize("name", NAMES)
def test_both_readings_agree_exactly_for_elementwise_weights(name: str, nets: SimpleNamespace) -> None:
    A, g = nets.pair(14)
    first, second = (
        weighted_sum(gradient_method(name), A, g, Truncation(50, "channel", r)) for r in ("gradient", "mask")
    )
    assert torch.equal(first, second) == (name in {"layer-cam", "hires-cam"})


@pytest.mark.parametrize("name", NAMES)
def test_truncation_of_the_gradient_is_the_method_of_the_truncated_gradient(
    name: str, nets: SimpleNamespace
) -> None:
    A, g = nets.pair(15)
    truncation = Truncation(70, "stage")
    cut = g * kept(g, truncation)
    assert torch.equal(
        weighted_sum(gradient_method(name), A, g, truncation),
        weighted_sum(gradient_method(name), A, cut, None),
    )


def test_truncated_xgrad_cam_and_layer_cam_have_the_same_sum(nets: SimpleNamespace) -> None:
    A, g = nets.pair(16)
    for p in (0, 50, 90):
        x, layer = (
            weighted_sum(gradient_method(name), A, g, Truncation(p)) for name in ("xgrad-cam", "layer-cam")
        )
        assert torch.allclose(x.sum((1, 2)), layer.sum((1, 2)), rtol=1e-12)


def test_constant_gradients_make_three_methods_one() -> None:
    """Global average pooling and one linear layer behind the stage."""
    A = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    w = torch.tensor([0.5, -0.25, 1.0], dtype=torch.float64)
    g = (w.reshape(1, 3, 1, 1) / 20).expand(2, 3, 4, 5)
    grad, hires, xgrad, layer = (
        weighted_sum(gradient_method(name), A, g, None)
        for name in ("grad-cam", "hires-cam", "xgrad-cam", "layer-cam")
    )
    assert torch.allclose(grad, hires, rtol=1e-12, atol=1e-16)
    assert torch.allclose(grad, xgrad, rtol=1e-12, atol=1e-16)
    assert torch.allclose(layer, torch.einsum("c,nchw->nhw", w.clamp_min(0) / 20, A), rtol=1e-12)


def test_xgrad_cam_without_activation_has_weight_zero() -> None:
    A, g = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    assert gradient_method("xgrad-cam").weights(A, g).item() == 0
    A[0, 0] = torch.tensor([[1.0, -1.0], [2.0, -2.0]])
    assert gradient_method("xgrad-cam").weights(A, g).item() == 0, "a sum of zero, not only zeros"


def test_grad_cam_plus_plus_leaves_out_positions_with_a_denominator_of_zero_or_less() -> None:
    A = torch.tensor([[[[-3.0, -1.0]]]])  # S = -4
    g = torch.tensor([[[[0.25, 0.5]]]])  # denominators 1 and 0
    assert gradient_method("grad-cam++").weights(A, g).item() == 0.25
    assert gradient_method("grad-cam++").weights(A, 4 * g).item() == 0


def test_grad_cam_plus_plus_neither_overflows_nor_loses_small_gradients() -> None:
    A = torch.rand(1, 1, 3, 3)
    tiny = torch.full((1, 1, 3, 3), 1e-30)
    assert gradient_method("grad-cam++").weights(A, tiny).item() == pytest.approx(9 * 0.5e-30, rel=1e-5)
    assert torch.isfinite(gradient_method("grad-cam++").weights(A, torch.full((1, 1, 3, 3), 1e30)))


@pytest.mark.parametrize("name", NAMES)
def test_weights_leave_their_inputs_alone(name: str, nets: SimpleNamespace) -> None:
    A, g = nets.pair(17)
    kept_A, kept_g = A.clone(), g.clone()
    gradient_method(name).weights(A, g)
    assert torch.equal(A, kept_A)
    assert torch.equal(g, kept_g)
