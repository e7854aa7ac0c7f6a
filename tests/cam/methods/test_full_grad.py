"""FullGrad and LTFullGrad: golden values, the formula by loops, grad-cam's own, properties, settings, errors."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from ltcam.cam import (
    CAM,
    Explanation,
    FullGrad,
    LTFullGrad,
    Truncation,
    capture_biases,
    get_method,
    truncated,
)
from ltcam.cam.fusion import Fusion
from ltcam.cam.methods.full_grad import InputTerm, full_grad_sweep, sum_of_scaled_channels
from ltcam.cam.truncation import Scope


def golden() -> tuple[nn.Module, torch.Tensor]:
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1))
    for parameter, value in zip(net.parameters(), (2.0, -3.0, 4.0, 0.5), strict=True):
        parameter.data.fill_(value)
    return net.double(), torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]], dtype=torch.float64)


# ---- the formula, literally


def min_max(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    return np.zeros_like(values) if high == low else (values - low) / (high - low)


def gradients_of_plain(
    net: Any, images: Tensor, target: list[int]
) -> tuple[torch.Tensor, list[tuple[torch.Tensor, torch.Tensor]]]:
    """g^x and (b, g) of each convolution and normalisation of `Plain`, by running it step by step."""
    leaf = maps = images.clone().requires_grad_()
    outputs, biases = [], []
    for part in net.features:
        maps = part(maps)
        if isinstance(part, nn.Conv2d):
            biases.append(part.get_parameter("bias").detach())
            outputs.append(maps)
        elif isinstance(part, nn.BatchNorm2d):
            scale = part.weight / torch.sqrt(part.get_buffer("running_var") + part.eps)
            biases.append((part.bias - scale * part.get_buffer("running_mean")).detach())
            outputs.append(maps)
    score = net.head(maps.flatten(1))[range(len(images)), target].sum()
    slope, *gradients = torch.autograd.grad(score, [leaf, *outputs])
    return slope, list(zip(biases, gradients, strict=True))


def formula(
    net: Any,
    images: Tensor,
    target: list[int],
    literal: SimpleNamespace,
    asked: FullGrad,
) -> np.ndarray:
    truncation, input_term = asked.truncation, asked.input_term
    slope, layers = gradients_of_plain(net, images, target)
    n, size = len(images), tuple(images.shape[2:])
    heatmaps = np.zeros((n, *size))
    product = (slope * images).numpy()
    for i in range(n):
        for channel in product[i]:
            if input_term == "scaled":
                heatmaps[i] += min_max(np.abs(channel))
            elif input_term == "raw":
                heatmaps[i] += channel
        for bias, gradient in layers:
            g = gradient.numpy()
            if truncation is not None:
                g = np.where(literal.kept_mask(gradient, truncation.percentile, truncation.scope), g, 0)
            for k in range(g.shape[1]):
                heatmaps[i] += literal.resized(min_max(np.abs(bias[k].item() * g[i, k])), size)
    return heatmaps


TRUNCATIONS = [None, Truncation(0), Truncation(50), Truncation(90, "stage"), Truncation(100, reading="mask")]


@pytest.mark.parametrize("truncation", TRUNCATIONS, ids=str)
def test_the_formula(truncation: Truncation | None, nets: SimpleNamespace, literal: SimpleNamespace) -> None:
    for seed in range(2):
        net, images = nets.plain(seed), nets.images(seed)
        wanted = formula(net, images, [1, 0], literal, FullGrad(truncation))
        found = FullGrad(truncation)(net, images, [1, 0])
        np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=1e-9 * wanted.max())


@pytest.mark.parametrize("input_term", ["raw", "none"])
def test_the_formula_with_other_input_terms(
    input_term: InputTerm, nets: SimpleNamespace, literal: SimpleNamespace
) -> None:
    net, images = nets.plain(2), nets.images(2)
    wanted = formula(net, images, [1, 1], literal, FullGrad(input_term=input_term))
    found = FullGrad(input_term=input_term)(net, images, 1)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=1e-9 * wanted.max())


def test_golden_values() -> None:
    net, images = golden()
    assert FullGrad()(net, images).tolist() == [[[0, 1.5], [1.75, 2]]]
    assert FullGrad(input_term="raw")(net, images).tolist() == [[[0, 5], [7, 9]]]
    assert FullGrad(input_term="none")(net, images).tolist() == [[[0, 1], [1, 1]]]
    assert LTFullGrad(0)(net, images).tolist() == [[[0, 1.5], [1.75, 2]]], "no negative gradient to lose"


def test_single_precision(nets: SimpleNamespace, literal: SimpleNamespace) -> None:
    net, images = nets.plain(1), nets.images(1)
    wanted = FullGrad()(net, images, 1)
    found = FullGrad()(net.float(), images.float(), 1)
    assert found.dtype == torch.float32
    assert (found - wanted).abs().max() < 1e-4 * wanted.max()


def test_grad_cam_package_agrees_on_a_network_run_in_order(nets: SimpleNamespace) -> None:
    peers = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed (extra: dev)")
    for seed in range(3):
        net, images = nets.plain(seed), nets.images(seed)
        peer = peers.FullGrad(net, [])
        try:
            wanted = torch.from_numpy(peer(images.clone(), [lambda logits: logits[1]] * 2))
        finally:
            peer.activations_and_grads.release()
        found = FullGrad()(net, images, 1)
        low, high = found.amin((1, 2), keepdim=True), found.amax((1, 2), keepdim=True)
        assert ((found - low) / (high - low) - wanted).abs().max() < 1e-3


# ---- properties


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    factor=st.floats(-1e6, 1e6).filter(lambda value: abs(value) > 1e-6),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 7), st.integers(1, 7)),
)
def test_the_value_of_a_bias_does_not_matter(
    seed: int, factor: float, shape: tuple[int, int, int, int]
) -> None:
    """Psi of |b g| is Psi of |g| for every b but 0, where it is 0."""
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    bias = torch.full((shape[1],), factor, dtype=torch.float64)
    found = sum_of_scaled_channels(gradient, bias)
    wanted = np.stack([sum(min_max(np.abs(factor * g)) for g in image) for image in gradient.numpy()])
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-9, atol=1e-9)
    assert torch.equal(sum_of_scaled_channels(gradient), found)
    bias[0] = 0
    torch.testing.assert_close(
        sum_of_scaled_channels(gradient, bias),
        found - torch.from_numpy(np.stack([min_max(np.abs(g[0])) for g in gradient.numpy()])),
        rtol=1e-9,
        atol=1e-9,
    )


def test_changed_biases_change_only_by_the_gradients(nets: SimpleNamespace) -> None:
    """A bias behind the last ReLU moves no gradient, so the map stays; none at all is another map."""

    def net_with(value: float) -> nn.Module:
        net = nets.plain(3, head="gap")
        net.features.append(nn.Conv2d(8, 8, 1).double())
        net.features[12].weight.data = torch.eye(8, dtype=torch.float64)[:, :, None, None]
        net.features[12].bias.data.fill_(value)
        net.features.append(nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False))
        found: nn.Module = net
        return found

    images = nets.images(3, size=(16, 40))
    wanted = FullGrad()(net_with(0.7), images, 1)
    assert torch.equal(FullGrad()(net_with(-31.0), images, 1), wanted)
    assert not torch.equal(FullGrad()(net_with(0.0), images, 1), wanted)


def test_constant_channels_and_tiny_gradients_add_what_they_should() -> None:
    constant = torch.full((1, 2, 3, 3), 0.25)
    assert sum_of_scaled_channels(constant).tolist() == torch.zeros(1, 3, 3).tolist()
    tiny = torch.tensor([[[[0.0, 1e-40], [2e-40, 4e-40]]]])
    assert sum_of_scaled_channels(tiny).flatten().tolist() == pytest.approx([0, 0.25, 0.5, 1], abs=1e-4)
    huge = torch.tensor([[[[0.0, 1e38], [-2e38, 3e38]]]])
    assert sum_of_scaled_channels(huge).flatten().tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_channels_in_parts_equal_channels_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gradient = torch.randn(3, 11, 5, 7, generator=torch.Generator().manual_seed(0)).double()
    wanted = sum_of_scaled_channels(gradient)
    last = gradient.to(memory_format=torch.channels_last)
    for values in (1, 3 * 35, 4 * 3 * 35, 10**9):
        monkeypatch.setattr("ltcam.cam.methods.full_grad._VALUES_AT_ONCE", values)
        torch.testing.assert_close(sum_of_scaled_channels(gradient), wanted, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(sum_of_scaled_channels(last), wanted, rtol=1e-12, atol=1e-12)


def test_scaling_leaves_the_gradient_alone(nets: SimpleNamespace) -> None:
    captured = capture_biases(nets.plain(), nets.images(), 1)
    before = [layer.gradient.clone() for layer in captured.layers]
    FullGrad(Truncation(50)).heatmaps(captured)
    for layer, gradient in zip(captured.layers, before, strict=True):
        assert torch.equal(layer.gradient, gradient)


@pytest.mark.parametrize("truncation", TRUNCATIONS, ids=str)
def test_batch_equals_singles(truncation: Truncation | None, nets: SimpleNamespace) -> None:
    net, images = nets.plain(2, classes=3), nets.images(2, n=3)
    together = FullGrad(truncation)(net, images, [0, 1, 2])
    for n in range(3):
        alone = FullGrad(truncation)(net, images[n : n + 1], n)
        torch.testing.assert_close(together[n : n + 1], alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("fusion", ["sum", "mean", "max", "product"])
@pytest.mark.parametrize("truncation", [None, Truncation(50)], ids=str)
def test_a_capture_gives_the_map_of_the_call(
    truncation: Truncation | None, fusion: Fusion, nets: SimpleNamespace
) -> None:
    """Kept gradients and gradients that go by; and each fusion against resized maps put together."""
    net, images = nets.plain(4), nets.images(4)
    full_grad = FullGrad(truncation, fusion=fusion)
    captured = capture_biases(net, images, 1)
    found = full_grad(net, images, 1)
    assert torch.equal(full_grad.heatmaps(captured), found)
    of_input = full_grad.input_map(captured)
    assert of_input is not None
    maps = [of_input, *full_grad.layer_maps(captured)]
    assert len(maps) == 7
    assert [tuple(layer_map.shape[1:]) for layer_map in maps[1::2]] == [(16, 24), (8, 12), (4, 6)]
    big = torch.stack(
        [
            functional.interpolate(m[:, None], (16, 24), mode="bilinear", align_corners=False)[:, 0]
            for m in maps
        ]
    )
    scaled = big / big.amax((2, 3), keepdim=True)
    wanted = {
        "sum": big.sum(0), "mean": big.mean(0), "max": big.amax(0), "product": scaled.clamp_min(0).log().mean(0).exp(),
    }[fusion]  # fmt: skip
    if (
        fusion == "product"
    ):  # maxima of maps before and after resizing differ: compare where that is no matter
        assert ((found == 0) == (wanted == 0)).all()
    else:
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_explanation_holds_output_and_scores(nets: SimpleNamespace) -> None:
    net, images = nets.plain(), nets.images()
    explanation = FullGrad().explain(net, images, [0, 1])
    assert isinstance(explanation, Explanation)
    assert explanation.heatmaps.shape == (2, 16, 24)
    assert torch.equal(explanation.output, net(images).detach())
    assert explanation.scores.tolist() == [explanation.output[0, 0].item(), explanation.output[1, 1].item()]
    assert torch.equal(explanation.heatmaps, FullGrad()(net, images, [0, 1]))


def test_flipping_the_image_flips_the_map(nets: SimpleNamespace) -> None:
    """Of a network whose filters are symmetric."""
    net, images = nets.plain(5, head="gap"), nets.images(5)
    for part in net.features:
        if isinstance(part, nn.Conv2d):
            part.weight.data = part.weight.data + part.weight.data.flip(3)
    torch.testing.assert_close(
        FullGrad()(net, images.flip(3), 1), FullGrad()(net, images, 1).flip(2), rtol=1e-9, atol=1e-9
    )


# ---- LTFullGrad


def test_percentile_none_is_full_grad(nets: SimpleNamespace) -> None:
    net, images = nets.plain(), nets.images()
    assert truncated("fullgrad", None) == CAM("fullgrad")
    assert torch.equal(CAM("fullgrad")(net, images, 1), FullGrad()(net, images, 1))


def test_percentile_zero_is_full_grad_of_positive_gradients(nets: SimpleNamespace) -> None:
    net, images = nets.plain(), nets.images()
    captured = capture_biases(net, images, 1)
    positive = [
        sum_of_scaled_channels(layer.gradient.clamp_min(0)) for layer in captured.layers if layer.is_map
    ]
    for one, other in zip(FullGrad(Truncation(0)).layer_maps(captured), positive, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(LTFullGrad(0)(net, images, 1), CAM("fullgrad")(net, images, 1))


def test_percentile_hundred_marks_each_channels_maxima(nets: SimpleNamespace) -> None:
    captured = capture_biases(nets.plain(), nets.images(), 1)
    maps = FullGrad(Truncation(100)).layer_maps(captured)
    for layer, layer_map in zip((layer for layer in captured.layers if layer.is_map), maps, strict=True):
        g = layer.gradient
        largest = (g == g.amax((2, 3), keepdim=True)) & (g > 0)
        assert torch.equal(layer_map, largest.to(g).sum(1))


def test_both_readings_are_the_same_here_and_scopes_are_not(nets: SimpleNamespace) -> None:
    net, images = nets.plain(1), nets.images(1)
    assert torch.equal(LTFullGrad(70, reading="mask")(net, images, 1), LTFullGrad(70)(net, images, 1))
    assert not torch.equal(LTFullGrad(70, scope="stage")(net, images, 1), LTFullGrad(70)(net, images, 1))


def test_the_image_is_truncated_only_if_asked(nets: SimpleNamespace) -> None:
    captured = capture_biases(nets.plain(1), nets.images(1), 1)
    whole, truncated = FullGrad().input_map(captured), FullGrad(Truncation(50)).input_map(captured)
    assert whole is not None
    assert truncated is not None
    assert torch.equal(truncated, whole)
    cut = FullGrad(Truncation(0), input_term="raw", truncate_input=True).input_map(captured)
    torch.testing.assert_close(
        cut, (captured.input_gradient.clamp_min(0) * captured.images).sum(1), rtol=0, atol=0
    )


# ---- as a method of CAM


def test_cam_delegates(nets: SimpleNamespace) -> None:
    net, images = nets.plain(), nets.images()
    cam = CAM("fullgrad", Truncation(80), fusion="max")
    explanation = cam.explain(net, images, [1, 0])
    wanted = FullGrad(Truncation(80), fusion="max").explain(net, images, [1, 0])
    assert torch.equal(explanation.heatmaps, wanted.heatmaps)
    assert torch.equal(explanation.scores, wanted.scores)
    assert LTFullGrad(80).cam == CAM("fullgrad", Truncation(80))
    assert LTFullGrad.__name__ == "LTFullGrad"
    assert get_method("fullgrad").title == "FullGrad"


def test_cam_refuses_what_has_no_meaning_for_it(nets: SimpleNamespace) -> None:
    net, images = nets.plain(), nets.images()
    cam = CAM("fullgrad")
    with pytest.raises(ValueError, match="FullGrad takes all layers"):
        cam.capture(net, images, 1)
    with pytest.raises(ValueError, match="FullGrad needs the network"):
        cam.stage_maps(CAM("grad-cam").capture(net, images, 1))
    with pytest.raises(ValueError, match="FullGrad needs the network"):
        cam.heatmaps(CAM("grad-cam").capture(net, images, 1))
    for setting in (
        {"layers": ("features.3",)},
        {"taps": "before"},
        {"reshape": lambda tokens: tokens},
        {"positive_activations": True},
        {"stage_scale": "max"},
        {"relu": "none"},
    ):
        with pytest.raises(ValueError, match=f"FullGrad takes all layers.*leave out {next(iter(setting))}"):
            CAM("fullgrad", **setting)


# ---- errors


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`input_term` 'square' is unknown; choose from scaled, raw, none"):
        FullGrad(input_term="square")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`fusion` 'median' is unknown"):
        FullGrad(fusion="median")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="truncation=50 is no Truncation"):
        FullGrad(50)  # type: ignore[arg-type]


def test_a_network_whose_only_biases_are_linear_has_the_input_term_alone(nets: SimpleNamespace) -> None:
    conv = nn.Conv2d(3, 4, 3, bias=False)
    net = nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    net, images = nets.shaken(net), nets.images()
    captured = capture_biases(net, images, 1)
    of_input = FullGrad().input_map(captured)
    assert of_input is not None
    assert torch.equal(FullGrad()(net, images, 1), of_input)
    with pytest.raises(ValueError, match="nothing to show"):
        FullGrad(input_term="none")(net, images, 1)


def test_an_incomplete_model_warns_once_with_the_gap_at_the_callers_line(nets: SimpleNamespace) -> None:
    net = nets.plain()
    net.features.append(nn.GroupNorm(2, 8).double())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        FullGrad().explain(net, nets.images(), 1)
    assert len(caught) == 1
    assert "belongs to no layer" in str(caught[0].message)
    assert caught[0].filename == __file__


# ---- many percentiles of one pass


@pytest.mark.parametrize("scope", ["channel", "stage"])
def test_sweep_gives_what_each_alone_gives(scope: Scope, nets: SimpleNamespace) -> None:
    net, images = nets.plain(0), nets.images(0)
    percentiles = (50, None, 0, 90)
    base = FullGrad(Truncation(1, scope), input_term="raw")
    swept = list(full_grad_sweep(net, images, [1, 0], percentiles, base=base))
    assert [percentile for percentile, _ in swept] == list(percentiles)
    for percentile, heatmaps in swept:
        truncation = None if percentile is None else Truncation(percentile, scope)
        alone = FullGrad(truncation, input_term="raw")(net, images, [1, 0])
        torch.testing.assert_close(heatmaps, alone, rtol=0, atol=0)


def test_sweep_without_truncation_and_its_errors(nets: SimpleNamespace) -> None:
    net, images = nets.plain(0), nets.images(0)
    ((percentile, heatmaps),) = full_grad_sweep(net, images, [1, 0], [None])
    assert percentile is None
    torch.testing.assert_close(heatmaps, FullGrad()(net, images, [1, 0]), rtol=0, atol=0)
    with pytest.raises(ValueError, match="percentile=101"):
        full_grad_sweep(net, images, [1, 0], [101])


def test_another_default_device(nets: SimpleNamespace) -> None:
    net, images = nets.plain(head="gap"), nets.images()
    wanted = CAM("fullgrad")(net, images, 1)
    before = torch.get_default_device()
    torch.set_default_device("meta")
    try:
        found = CAM("fullgrad")(net, images, 1)
    finally:
        torch.set_default_device(before)
    assert torch.equal(found, wanted)
