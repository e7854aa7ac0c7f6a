"""Gradients at all layers with a bias: they and the input explain the score, whatever the network is made of."""

from __future__ import annotations

import gc
import threading
import warnings
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from tests.cam.conftest import Plain
from torch import Tensor, nn
from torch.nn import functional

from ltcam.cam import FullGrad, capture_biases
from ltcam.cam.methods import bias_gradients
from ltcam.cam.methods.bias_gradients import (
    BiasCapture,
    BiasLayer,
    effective_bias,
    visit_biases,
    warn_if_incomplete,
)


def explained(captured: BiasCapture) -> torch.Tensor:
    """sum g^x x + sum b g of each image, by the formula, from what the capture holds."""
    total = (captured.input_gradient * captured.images).sum((1, 2, 3))
    for layer in captured.layers:
        shape = (1, -1) + (1,) * (layer.gradient.ndim - 2)
        total = total + (layer.bias.reshape(shape) * layer.gradient).flatten(1).sum(1)
    return total


def complete(captured: BiasCapture, tolerance: float = 1e-10) -> bool:
    """Whether the gap is rounding, by the bar of the numerics."""
    return bool((captured.gap.abs() <= tolerance * captured.scores.abs().clamp_min(1)).all())


class Grouped(nn.Module):
    """Grouped, depthwise, dilated and transposed convolutions, all poolings, concatenation, resizing."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.unbiased = nn.Conv2d(4, 4, 1, bias=False)
        self.norm = nn.BatchNorm2d(12)
        self.slope = nn.PReLU(8)
        self.head = nn.Linear(12, 3)
        self.drop = nn.Dropout()

    def forward(self, images: Tensor) -> Tensor:
        maps = self.slope(self.stem(images))
        maps = functional.avg_pool2d(functional.leaky_relu(self.grouped(maps), 0.1), 2)
        deep = functional.relu(self.depthwise(functional.max_pool2d(maps, 2)))
        deep = self.unbiased(self.up(deep))
        wide = functional.interpolate(maps, scale_factor=2.0, mode="bilinear")
        wide = functional.interpolate(wide, size=deep.shape[2:], mode="nearest")
        maps = functional.relu(self.norm(torch.cat([wide, deep], 1)))
        logits: Tensor = self.head(self.drop(functional.adaptive_avg_pool2d(maps, 1).flatten(1)))
        return logits


def activated(activation: nn.Module) -> nn.Module:
    """For images of 10 x 12: one activation, run twice."""
    body = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), activation, nn.Conv2d(4, 5, 3), activation]
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(5 * 6 * 8, 2))


ACTIVATIONS = [nn.ReLU6(), nn.ReLU6(inplace=True), nn.Hardtanh(-0.4, 0.3), nn.SiLU(), nn.SiLU(inplace=True)]
ACTIVATIONS += [nn.Hardswish(inplace=True), nn.GELU(), nn.Sigmoid(), nn.Tanh(), nn.ELU(inplace=True)]
ACTIVATIONS += [nn.Softplus(), nn.Mish(), nn.Threshold(0.1, 0.2)]


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("head", ["flat", "gap"])
def test_biases_and_input_explain_the_score(head: str, inplace: bool, nets: SimpleNamespace) -> None:
    for seed in range(3):
        captured = capture_biases(nets.plain(seed, head=head, inplace=inplace), nets.images(seed), [0, 1])
        assert complete(captured)
        torch.testing.assert_close(explained(captured), captured.scores, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("inplace", [False, True])
def test_residual_sums_also_in_place(inplace: bool, nets: SimpleNamespace) -> None:
    net = nets.shaken(nets.Residual(inplace), 1)
    captured = capture_biases(net, nets.images(1), 1)
    assert complete(captured)
    assert [layer.name for layer in captured.layers] == [
        "stem",
        "conv1",
        "bn1",
        "conv2",
        "bn2",
        "norm",
        "head",
    ]
    torch.testing.assert_close(explained(captured), captured.scores, rtol=1e-12, atol=1e-12)


def test_grouped_transposed_resized_and_concatenated(nets: SimpleNamespace) -> None:
    net = nets.shaken(Grouped(), 2)
    statistics = net.norm.running_mean, net.norm.running_var
    net.norm = nn.BatchNorm2d(12, affine=False).double()
    net.norm.running_mean, net.norm.running_var = statistics
    captured = capture_biases(net, nets.images(2, size=(16, 16)), None)
    assert complete(captured)
    assert "unbiased" not in {layer.name for layer in captured.layers}
    assert "norm" in {layer.name for layer in captured.layers}, "a normalisation without beta still adds"


def test_gradients_are_those_before_what_follows_in_place(nets: SimpleNamespace) -> None:
    images = nets.images(4)
    plain = capture_biases(nets.plain(4), images, 1)
    inplace = capture_biases(nets.plain(4, inplace=True), images, 1)
    for one, other in zip(plain.layers, inplace.layers, strict=True):
        assert torch.equal(one.gradient, other.gradient)


def test_what_a_capture_holds(nets: SimpleNamespace) -> None:
    net, images = nets.plain(classes=3), nets.images()
    captured = capture_biases(net, images, [2, 0])
    assert [layer.name for layer in captured.layers] == [
        "features.0", "features.1", "features.4", "features.5", "features.8", "features.9", "head.0", "head.2",
    ]  # fmt: skip
    assert [layer.is_map for layer in captured.layers] == [True] * 6 + [False] * 2
    assert captured.layers[2].gradient.shape == (2, 6, 8, 12)
    assert captured.layers[-1].gradient.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert torch.equal(captured.layers[0].bias, net.features[0].bias.detach())
    assert captured.input_size == (16, 24)
    assert torch.equal(captured.images, images)
    assert torch.equal(captured.output, net(images).detach())
    assert captured.scores.tolist() == [captured.output[0, 2].item(), captured.output[1, 0].item()]
    for tensor in (captured.images, captured.input_gradient, captured.scores, captured.output):
        assert not tensor.requires_grad
    for layer in captured.layers:
        assert not layer.gradient.requires_grad
        assert not layer.bias.requires_grad
        assert layer.gradient.dtype == layer.bias.dtype == torch.float64


def test_golden_network() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1))
    for parameter, value in zip(net.parameters(), (2.0, -3.0, 4.0, 0.5), strict=True):
        parameter.data.fill_(value)
    captured = capture_biases(net.double(), torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]], dtype=torch.float64))
    assert captured.scores.item() == 19 / 2
    assert captured.layers[0].gradient.flatten().tolist() == [0, 1, 1, 1]
    assert captured.layers[0].bias.item() == -3
    assert (captured.input_gradient * captured.images).flatten().tolist() == [0, 4, 6, 8]
    assert captured.gap.item() == 0
    assert captured.terms.item() == 18 + 9 + 0.5


def bias_of(layer: nn.Module) -> float:
    bias = effective_bias(layer)
    assert bias is not None
    return bias.item()


def test_effective_bias_of_normalisations() -> None:
    norm = nn.BatchNorm2d(1, eps=1.0)
    norm.weight.data.fill_(4)
    norm.bias.data.fill_(1)
    norm.running_mean, norm.running_var = torch.ones(1), torch.full((1,), 3.0)
    assert bias_of(norm) == -1
    free = nn.BatchNorm1d(1, eps=1.0, affine=False)
    free.running_mean = free.running_var = torch.full((1,), 3.0)
    assert bias_of(free) == -1.5
    assert effective_bias(nn.Conv2d(1, 1, 1, bias=False)) is None
    assert effective_bias(nn.ReLU()) is None


def test_frozen_normalisation_of_another_library_counts(nets: SimpleNamespace) -> None:
    class Frozen(nn.Module):
        """As torchvision's: no BatchNorm by class, one by what it does."""

        def __init__(self) -> None:
            super().__init__()
            self.eps = 1e-5
            for name, value in (("weight", 2.0), ("bias", 0.5), ("running_mean", 0.3), ("running_var", 1.5)):
                self.register_buffer(name, torch.full((4,), value))

        def forward(self, maps: Tensor) -> Tensor:
            scale = self.get_buffer("weight") / torch.sqrt(self.get_buffer("running_var") + self.eps)
            shift = self.get_buffer("bias") - self.get_buffer("running_mean") * scale
            return maps * scale[:, None, None] + shift[:, None, None]

    net = activated(nn.ReLU())
    net.register_module("1", Frozen())
    captured = capture_biases(net.double(), nets.images(size=(10, 12), seed=7), 1)
    assert complete(captured)
    assert "1" in {layer.name for layer in captured.layers}


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_implicit_biases_of_activations_complete_the_score(
    activation: nn.Module, nets: SimpleNamespace
) -> None:
    """Both calls of the one activation count; without its implicit bias a gap would be left."""
    net, images = nets.shaken(activated(activation), 5), 8 * nets.images(5, size=(10, 12))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        captured = capture_biases(net, images, 0)
    assert complete(captured)
    assert ((explained(captured) - captured.scores).abs() > 1e-4).all()
    assert len(captured.layers) == 4
    reference = net(images)[:, 0]
    torch.testing.assert_close(captured.scores, reference.detach(), rtol=1e-12, atol=0)


class WrittenOver(nn.Module):
    """Writes over its images, and over what its activation gave or, if `taken`, over what it took."""

    def __init__(self, activation: nn.Module, taken: bool) -> None:
        super().__init__()
        self.conv, self.activation, self.taken = nn.Conv2d(3, 4, 3), activation, taken
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        images.mul_(0.5)
        before = self.conv(images)
        maps = self.activation(before)
        if self.taken:
            maps = maps + before.mul_(2)
        else:
            maps += 1
        logits: Tensor = self.head(maps.mean((2, 3)))
        return logits


@pytest.mark.parametrize(
    ("activation", "taken"), [(nn.Hardshrink(0.1), False), (nn.ReLU6(), False), (nn.Sigmoid(), True)], ids=str
)
def test_values_written_over_later_are_seen_in_time(
    activation: nn.Module, taken: bool, nets: SimpleNamespace
) -> None:
    images = 6 * nets.images(3)
    before = images.clone()
    net = nets.shaken(WrittenOver(activation, taken), 3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        captured = capture_biases(net, images, 1)
    # `+ 1` belongs to no layer, and is measured as such: the score gets the head's weights of it
    missing = 0 if taken else net.head.weight[1].sum().item()
    assert captured.gap.tolist() == pytest.approx([missing] * 2, abs=1e-10)
    assert len(caught) == int(not taken)
    assert torch.equal(images, before), "the user's images are not the model's to write over"
    assert torch.equal(captured.images, before)


def test_a_normalisation_of_the_image_inside_the_model_counts(nets: SimpleNamespace) -> None:
    class Normalize(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6])[:, None, None])
            self.register_buffer("std", torch.tensor([0.2, 0.3, 0.4])[:, None, None])

        def forward(self, images: Tensor) -> Tensor:
            return (images - self.get_buffer("mean")) / self.get_buffer("std")

    net = nn.Sequential(Normalize(), nets.plain(2)).double()
    captured = capture_biases(net, nets.images(2), 1)
    assert complete(captured)
    assert captured.layers[0].name == "1.features.0"


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet10t", "regnetx_002", "repvgg_a0"])
def test_networks_of_timm_are_complete(name: str) -> None:
    """With normalisations that hold their activation (in place), ReLU6, depthwise convolutions, residuals."""
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=2)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.get_buffer("running_mean").normal_(0, 0.2)
            module.get_buffer("running_var").uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
    captured = capture_biases(net.double().requires_grad_(False), torch.randn(2, 3, 64, 64).double(), [0, 1])
    assert complete(captured)
    norms = [n for n, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert {*norms} <= {layer.name for layer in captured.layers}
    if name == "tf_efficientnet_lite0":
        assert len(norms) == 49
        assert len(captured.layers) == 50


def test_single_precision_is_complete_to_its_rounding(nets: SimpleNamespace) -> None:
    for seed in range(3):
        net = nets.plain(seed).float()
        assert complete(capture_biases(net, nets.images(seed, dtype=torch.float32), 1), 1e-4)


class FunctionalReLU6(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return functional.relu6(8 * maps)


class Excited(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps * torch.sigmoid(maps.mean((2, 3), keepdim=True))


@pytest.mark.parametrize("part", [FunctionalReLU6(), Excited(), nn.GroupNorm(2, 4), nn.Softmax(1)], ids=str)
def test_what_is_not_complete_is_measured_and_said(part: nn.Module, nets: SimpleNamespace) -> None:
    net = nets.shaken(
        nn.Sequential(nn.Conv2d(3, 4, 3), part, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2))
    )
    images = nets.images()
    with pytest.warns(UserWarning, match=r"not complete .* belongs to no layer") as caught:
        captured = capture_biases(net, images, 1)
    assert caught[0].filename == __file__
    assert not complete(captured)
    torch.testing.assert_close(captured.gap, captured.scores - explained(captured), rtol=1e-9, atol=1e-9)
    with pytest.warns(UserWarning, match="not complete") as caught:
        heatmaps = FullGrad()(net, images, 1)
    assert torch.isfinite(heatmaps).all()


def test_a_layer_that_runs_twice_counts_twice(nets: SimpleNamespace) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.again, self.head = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3), nn.Linear(3, 2)

        def forward(self, images: Tensor) -> Tensor:
            maps = functional.relu(
                self.again(functional.relu(self.again(functional.relu(self.stem(images)))))
            )
            logits: Tensor = self.head(maps.mean((2, 3)))
            return logits

    captured = capture_biases(nets.shaken(Twice()), nets.images(), 1)
    assert complete(captured)
    assert [layer.name for layer in captured.layers] == ["stem", "again", "again", "head"]
    assert [tuple(layer.gradient.shape[2:]) for layer in captured.layers[:3]] == [
        (14, 22),
        (12, 20),
        (10, 18),
    ]


def test_layers_that_the_score_does_not_depend_on_are_left_out(nets: SimpleNamespace) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.other = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
            self.head = nn.Linear(4, 2)

        def forward(self, images: Tensor) -> Any:
            features = self.body(images).mean((2, 3))
            return self.head(features), self.other(features)

    captured = capture_biases(nets.shaken(Two()), nets.images(), lambda outputs: outputs[0][1])
    assert [layer.name for layer in captured.layers] == ["body", "head"]
    assert isinstance(captured.output, tuple)
    assert not any(tensor.requires_grad for tensor in captured.output)
    assert complete(captured)


def test_linear_layers_over_positions_have_their_channels_second(nets: SimpleNamespace) -> None:
    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.mix, self.head = nn.Conv2d(3, 4, 4, 4), nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, images: Tensor) -> Tensor:
            maps = functional.relu(self.mix(self.patches(images).permute(0, 2, 3, 1)))
            logits: Tensor = self.head(maps.mean((1, 2)))
            return logits

    captured = capture_biases(nets.shaken(Mixer()), nets.images(), 1)
    assert captured.layers[1].gradient.shape == (2, 6, 4, 6)
    assert not captured.layers[1].is_map
    assert complete(captured)


def test_batch_equals_singles(nets: SimpleNamespace) -> None:
    net, images = nets.plain(2, classes=3), nets.images(2, n=3)
    together = capture_biases(net, images, [0, 1, 2])
    for n in range(3):
        alone = capture_biases(net, images[n : n + 1], n)
        torch.testing.assert_close(together.gap[n : n + 1], alone.gap, rtol=0, atol=1e-12)
        for several, one in zip(together.layers, alone.layers, strict=True):
            torch.testing.assert_close(several.gradient[n : n + 1], one.gradient, rtol=1e-12, atol=1e-15)


def test_visiting_goes_from_the_last_layer_to_the_first_and_answers_in_order(nets: SimpleNamespace) -> None:
    seen: list[str] = []

    def take(layer: BiasLayer) -> str:
        seen.append(layer.name)
        return layer.name

    names, found = visit_biases(nets.plain(), nets.images(), 1, take)
    assert list(names) == seen[::-1]
    assert len(names) == 8
    assert found.layers == ()


def test_half_precision_is_taken_to_float32_with_a_warning(nets: SimpleNamespace) -> None:
    net, images = nets.plain(3).float(), nets.images(3, dtype=torch.float32)
    whole = capture_biases(net, images, 1)
    with pytest.warns(UserWarning, match="half precision"), torch.autocast("cpu", torch.bfloat16):
        half = capture_biases(net, images, 1)
    assert all(layer.gradient.dtype == layer.bias.dtype == torch.float32 for layer in half.layers)
    for one, other in zip(whole.layers[-2:], half.layers[-2:], strict=True):
        assert (one.gradient - other.gradient).abs().max() <= 0.05 * one.gradient.abs().max()


def test_channels_last_and_wrapped_models(nets: SimpleNamespace) -> None:
    net, images = nets.plain(), nets.images()
    wanted = capture_biases(net, images, 1)
    last = capture_biases(net, images.to(memory_format=torch.channels_last), 1)
    wrapped = capture_biases(nn.DataParallel(net), images, 1)
    assert wrapped.layers[0].name == "module.features.0"
    for one, other, third in zip(wanted.layers, last.layers, wrapped.layers, strict=True):
        torch.testing.assert_close(one.gradient, other.gradient, rtol=1e-11, atol=1e-14)
        assert torch.equal(one.gradient, third.gradient)


# ---- nothing is left behind


def snapshot(net: nn.Module) -> list[object]:
    state: list[object] = [module.training for module in net.modules()]
    state += [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in net.modules()]
    for parameter in net.parameters():
        state += [parameter.requires_grad, None if parameter.grad is None else parameter.grad.sum().item()]
    return [*state, *(buffer.sum().item() for buffer in net.buffers())]


def test_an_error_while_going_by_leaves_the_model_as_it_was(nets: SimpleNamespace) -> None:
    net = nets.plain(6).train()
    before = snapshot(net)
    with pytest.raises(RuntimeError, match="while going by"):
        visit_biases(
            net, nets.images(6), 1, lambda layer: (_ for _ in ()).throw(RuntimeError("while going by"))
        )
    assert snapshot(net) == before


def test_hooks_go_even_if_setting_them_fails(nets: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    net = nets.plain()
    before = snapshot(net)

    def broken(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(net.features[9], "register_forward_hook", broken)
    with pytest.raises(KeyboardInterrupt):
        capture_biases(net, nets.images(), 1)
    assert snapshot(net) == before


@pytest.mark.parametrize("activation", [nn.ReLU(inplace=True), nn.ReLU6(), nn.SiLU()], ids=str)
def test_no_tensor_outlives_its_map(activation: nn.Module, nets: SimpleNamespace) -> None:
    net, images = nets.shaken(activated(activation)), nets.images(size=(10, 12))
    seen: list[Any] = []
    for part in net.modules():
        part.register_forward_hook(
            lambda _module, inputs, output: seen.extend(map(weakref.ref, (*inputs, output)))
        )
    gc.disable()
    try:
        heatmaps = FullGrad()(net, images, 1)
        assert seen
        assert not [ref for ref in seen if ref() is not None]
        assert heatmaps.grad_fn is None
    finally:
        gc.enable()


def test_two_threads_share_a_model(nets: SimpleNamespace) -> None:
    net = nets.plain(1)
    batches = [nets.images(seed) for seed in range(2)]
    wanted = [capture_biases(net, images, 1) for images in batches]
    found: dict[int, list[Any]] = {0: [], 1: []}

    def work(index: int) -> None:
        for _ in range(15):
            found[index].append(capture_biases(net, batches[index], 1))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(2):
        assert len(found[index]) == 15
        for captured in found[index]:
            for one, other in zip(wanted[index].layers, captured.layers, strict=True):
                torch.testing.assert_close(one.gradient, other.gradient, rtol=1e-12, atol=1e-15)


# ---- errors


def test_a_network_without_any_bias_is_refused(nets: SimpleNamespace) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ValueError, match="no layer with a bias"):
        capture_biases(net.double(), nets.images(), 1)


def test_a_normalisation_by_the_batch_is_refused(nets: SimpleNamespace) -> None:
    net = nets.plain()
    net.features[1] = nn.BatchNorm2d(4, track_running_stats=False).double()
    with pytest.raises(ValueError, match=r"features\.1.*normalises by the batch"):
        capture_biases(net, nets.images(), 1)


class Detached(nn.Module):
    def __init__(self, net: Plain) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images.detach())
        return logits


class Folding(nn.Module):
    """Takes each image apart into halves that go through as images of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        halves = torch.cat(images.chunk(2, 3))
        logits: Tensor = self.head(self.conv(halves).mean((2, 3)))[: len(images)]
        return logits


def test_bad_input_is_refused(nets: SimpleNamespace) -> None:
    net, images = nets.plain(), nets.images()
    with pytest.raises(TypeError, match="convert to float"):
        capture_biases(net, images.int(), 1)
    with pytest.raises(ValueError, match="N, C, H, W"):
        capture_biases(net, images[0], 1)
    with pytest.raises(ValueError, match="empty"):
        capture_biases(net, images[:0], 1)
    with pytest.raises(ValueError, match="2 channels"):
        capture_biases(net, images[:, :2], 1)
    images[1, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"images \[1\] hold NaN"):
        capture_biases(net, images, 1)
    with pytest.raises(ValueError, match="detaches something"):
        capture_biases(Detached(nets.plain()), nets.images(), 1)
    with pytest.raises(ValueError, match=r"'conv' returns \(4, 4, 14, 10\) for 2 images"):
        capture_biases(nets.shaken(Folding()), nets.images(), 1)


class InfiniteSlope(nn.Module):
    """Adds 0 = sqrt(0), whose slope is infinite."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps + torch.sqrt(maps - maps.detach())


def test_not_finite_gradients_and_logits_are_named(nets: SimpleNamespace) -> None:
    net = nets.shaken(
        nn.Sequential(nn.Conv2d(3, 4, 3), InfiniteSlope(), nn.Flatten(), nn.Linear(4 * 14 * 22, 2))
    )
    with pytest.raises(
        ValueError, match=r"gradients of layer '0' hold NaN or infinite values for images \[0, 1\]"
    ):
        capture_biases(net, nets.images(), 1)
    broken = nets.plain()
    broken.head[2].bias.data.fill_(torch.inf)
    with pytest.raises(ValueError, match="logits hold NaN"):
        capture_biases(broken, nets.images(), 1)


@pytest.mark.parametrize(
    ("tf32", "share", "warns"), [(False, 1e-3, True), (True, 1e-3, False), (True, 3e-2, True)]
)
def test_a_gpus_shorter_float32_is_no_missing_layer(
    monkeypatch: pytest.MonkeyPatch, tf32: bool, share: float, warns: bool
) -> None:
    monkeypatch.setattr(bias_gradients, "_rounds_to_tf32", lambda _device: tf32)
    scores, terms = torch.tensor([50.0]), torch.tensor([60.0], dtype=torch.float64)
    found = BiasCapture((), scores, scores, scores, scores, (1, 1), gap=terms * share, terms=terms)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_if_incomplete(found, stacklevel=1)
    assert bool(caught) == warns
