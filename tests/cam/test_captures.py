"""One forward, one backward: what is captured, and that the model is found again as it was."""

from __future__ import annotations

import gc
import math
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.cam.conftest import Plain
from torch import Tensor, nn

from ltcam.cam import CAM, Layers, capture, list_methods
from ltcam.cam.methods.method import GradientMethod, NetworkMethod, ProbingMethod


def biases_behind(net: nn.Module, images: torch.Tensor, target: int, stage: str) -> torch.Tensor:
    """Sum over bias terms behind a stage, image by image: effective bias times its gradient."""
    names = [name for name, _ in net.named_modules()]
    sums = []
    for image in images:
        score = net(image[None])[0, target]
        total = torch.zeros((), dtype=images.dtype)
        for name, part in net.named_modules():
            if names.index(name) <= names.index(stage) or getattr(part, "bias", None) is None:
                continue
            (gradient,) = torch.autograd.grad(score, part.bias, retain_graph=True)
            bias = part.bias
            if isinstance(part, nn.BatchNorm2d):
                bias = bias - part.weight * part.get_buffer("running_mean") / torch.sqrt(
                    part.get_buffer("running_var") + part.eps
                )
            total = total + (bias * gradient).sum()
        sums.append(total.detach())
    return torch.stack(sums)


@pytest.mark.parametrize("head", ["flat", "gap"])
@pytest.mark.parametrize("target", [0, 1])
def test_cut_identity_at_every_stage(head: str, target: int, nets: SimpleNamespace) -> None:
    for seed in range(3):
        net, images = nets.plain(seed, head=head), nets.images(seed)
        captured = capture(net, images, target, layers=nets.STAGES)
        for stage, A, g in zip(captured.layers, captured.activations, captured.gradients, strict=True):
            whole = (A * g).sum((1, 2, 3)) + biases_behind(net, images, target, stage)
            torch.testing.assert_close(whole, captured.scores, rtol=1e-12, atol=1e-12)


def test_what_a_capture_holds(nets: SimpleNamespace) -> None:
    net, images = nets.plain(classes=3), nets.images(n=2)
    captured = capture(net, images, [2, 0], layers=reversed(nets.STAGES))
    assert captured.layers == tuple(reversed(nets.STAGES))
    assert [tuple(A.shape) for A in captured.activations] == [(2, 8, 2, 3), (2, 6, 4, 6), (2, 4, 8, 12)]
    assert [g.shape for g in captured.gradients] == [A.shape for A in captured.activations]
    assert torch.equal(captured.output, net(images).detach())
    assert captured.scores.tolist() == [captured.output[0, 2].item(), captured.output[1, 0].item()]
    assert captured.input_size == (16, 24)
    for tensor in (captured.output, captured.scores, *captured.activations, *captured.gradients):
        assert not tensor.requires_grad
        assert tensor.dtype == torch.float64


def test_activations_and_gradients_equal_plain_autograd(nets: SimpleNamespace) -> None:
    net, images = nets.plain(3), nets.images(3)
    A1 = net.features[:4](images).detach().requires_grad_()
    A2 = net.features[4:8](A1)
    score = net.head(net.features[8:](A2).flatten(1))[:, 1].sum()
    g1, g2 = torch.autograd.grad(score, [A1, A2])
    captured = capture(net, images, 1, layers=("features.7", "features.3"))
    for found, wanted in zip((*captured.activations, *captured.gradients), (A2, A1, g2, g1), strict=True):
        torch.testing.assert_close(found, wanted.detach(), rtol=1e-12, atol=1e-15)


def test_batch_equals_singles(nets: SimpleNamespace) -> None:
    net, images = nets.plain(2, classes=3), nets.images(2, n=4)
    together = capture(net, images, [0, 1, 2, 1])
    for n, target in enumerate([0, 1, 2, 1]):
        alone = capture(net, images[n : n + 1], target)
        for several, one in zip(together.gradients, alone.gradients, strict=True):
            torch.testing.assert_close(several[n : n + 1], one, rtol=1e-12, atol=1e-15)


def test_one_layer_may_be_given_as_a_string(nets: SimpleNamespace) -> None:
    assert capture(nets.plain(), nets.images(), 1, layers="features.7").layers == ("features.7",)


# ---- layers that are written over


@pytest.mark.parametrize(
    "layers", [("features.0",), ("features.1",), ("features.0", "features.5", "features.9"), ("features.2",)]
)
def test_in_place_relu_behind_the_layer(layers: tuple[str, ...], nets: SimpleNamespace) -> None:
    images = nets.images(1)
    found = capture(nets.plain(1, inplace=True), images, 1, layers=layers)
    wanted = capture(nets.plain(1, inplace=False), images, 1, layers=layers)
    for one, other in zip(
        (*found.activations, *found.gradients), (*wanted.activations, *wanted.gradients), strict=True
    ):
        assert torch.equal(one, other)
    assert layers == ("features.2",) or (found.activations[0] < 0).any()


@pytest.mark.parametrize(
    "layers", [("bn2",), ("norm",), ("stem", "bn2"), ("bn1", "norm"), ("conv1", "conv2", "norm")]
)
def test_in_place_sums_and_functional_relus(layers: tuple[str, ...], nets: SimpleNamespace) -> None:
    images = nets.images(2)
    found = capture(nets.shaken(nets.Residual(inplace=True)), images, 1, layers=layers)
    wanted = capture(nets.shaken(nets.Residual(inplace=False)), images, 1, layers=layers)
    for one, other in zip(
        (*found.activations, *found.gradients), (*wanted.activations, *wanted.gradients), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15)


class WritesUnderNoGrad(nn.Module):
    """Nothing for autograd to complain about: only the version of the tensor tells."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        with torch.no_grad():
            maps.mul_(0.5)
        logits: Tensor = self.head(maps.mean((2, 3)))
        return logits


def test_silent_writing_is_seen_by_the_version(nets: SimpleNamespace) -> None:
    net = nets.shaken(WritesUnderNoGrad())
    images = nets.images()
    captured = capture(net, images, 1, layers="conv")
    assert torch.equal(captured.activations[0], net.conv(images).detach())


# ---- the model is left as it was


def snapshot(net: nn.Module) -> list[object]:
    state: list[object] = []
    for name, part in net.named_modules():
        hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks)
        state.append((name, part.training, [list(each) for each in hooks], sorted(vars(part))))
    for name, parameter in net.named_parameters():
        grad = None if parameter.grad is None else (id(parameter.grad), parameter.grad.tolist())
        state.append((name, parameter.requires_grad, grad, parameter._version, parameter.tolist()))
    state += [(name, buffer._version, buffer.tolist()) for name, buffer in net.named_buffers()]
    return state


class Sabotage(nn.Module):
    """Passes maps on until it is told to raise, or until so many more have passed."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = math.inf

    def forward(self, maps: Tensor) -> Tensor:
        self.passes -= 1
        if self.passes < 0:
            raise ZeroDivisionError("in the model")
        return maps


def raising_from(call: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """A target that is asked in vain from some call on."""
    calls = count(1)

    def target(logits: torch.Tensor) -> torch.Tensor:
        if next(calls) >= call:
            raise ZeroDivisionError("in the target")
        return logits[1]

    return target


def lived_in(nets: SimpleNamespace) -> Any:
    """A model with a past: mixed flags, frozen parts, gradients, a hook of its own."""
    net = nets.plain(6, head="gap")
    net.features.append(Sabotage())
    net.train()
    net.features[1].eval()
    net.features[0].weight.requires_grad_(False)
    net.features[4].bias.requires_grad_(False)
    for parameter in list(net.parameters())[::2]:
        parameter.grad = torch.full_like(parameter, 0.25)
    net.features[3].register_forward_hook(lambda _module, _inputs, output: None)
    found: nn.Module = net
    return found


@pytest.mark.parametrize("method", list_methods(), ids=lambda method: method.name)
@pytest.mark.filterwarnings("ignore:.* divides by sums of activations")
def test_nothing_is_left_behind(
    method: GradientMethod | NetworkMethod | ProbingMethod, nets: SimpleNamespace
) -> None:
    """Of any registered method: the model, the images and their gradients, also after whatever is raised."""
    net = lived_in(nets)
    images = nets.images(6).requires_grad_()
    images.grad = torch.full_like(images, 7.0)
    layers = {"fullgrad": None, "cam": ("features.12",)}.get(method.name, ("features.0", "features.7"))
    cam = CAM(method, layers=layers)
    before = snapshot(net)

    def same() -> bool:
        return snapshot(net) == before and images.requires_grad and bool((images.grad == 7.0).all())

    cam(net, images, 1)
    assert same()
    with torch.no_grad():
        cam(net, images, 1)
    with torch.inference_mode():
        cam(net, images, 1)
    assert same()
    wrong: tuple[Any, ...] = (5, "x", [0], lambda z: z, raising_from(1))
    for target in wrong:
        with pytest.raises((ValueError, ZeroDivisionError)):
            cam(net, images, target)
        assert same()
    for call in range(2, 7):  # a method that asks less often gets through
        with suppress(ZeroDivisionError):
            cam(net, images, raising_from(call))
        assert same()
    for broken in (images[:, :2], images.detach() * float("nan"), images[:0]):
        with pytest.raises(ValueError):  # noqa: PT011  # which one is another test's subject
            cam(net, broken, 1)
        assert same()
    if layers:
        with pytest.raises(ValueError, match="no layer"):
            CAM(method, layers=("nowhere",))(net, images, 1)
        assert same()
    for passes in range(3):
        net.features[12].passes = passes
        with (
            suppress(ZeroDivisionError) if passes else pytest.raises(ZeroDivisionError, match="in the model")
        ):
            cam(net, images, 1)
        assert same()


def test_frozen_models_work_and_stay_frozen(nets: SimpleNamespace) -> None:
    net, images = nets.plain(), nets.images()
    open_ = capture(net, images, 1)
    net.requires_grad_(False)
    frozen = capture(net, images, 1)
    assert not any(parameter.requires_grad for parameter in net.parameters())
    for one, other in zip(open_.gradients, frozen.gradients, strict=True):
        assert torch.equal(one, other)


def test_train_mode_gives_the_maps_of_evaluation_mode(nets: SimpleNamespace) -> None:
    net, images = nets.plain(), nets.images()
    wanted = capture(net, images, 1)
    found = capture(net.train(), images, 1)
    assert all(torch.equal(a, b) for a, b in zip(wanted.gradients, found.gradients, strict=True))


@pytest.mark.parametrize("method", list_methods(), ids=lambda method: method.name)
@pytest.mark.filterwarnings("ignore:.* divides by sums of activations")
def test_no_tensor_outlives_its_map(
    method: GradientMethod | NetworkMethod | ProbingMethod, nets: SimpleNamespace
) -> None:
    net, images = nets.plain(head="gap", inplace=True), nets.images()
    seen: list[Any] = []
    for part in net.modules():
        part.register_forward_hook(
            lambda _module, inputs, output: seen.extend(map(weakref.ref, (*inputs, output)))
        )
    gc.disable()
    try:
        layers = {"fullgrad": None, "cam": ("features.11",)}.get(method.name, ("features.0", "features.7"))
        heatmap = CAM(method, layers=layers)(net, images, 1)
        kept = [ref() for ref in seen if ref() is not None and ref() is not images and ref() is not heatmap]
        assert not kept
        assert heatmap.grad_fn is None
    finally:
        gc.enable()


class Structured(nn.Module):
    def __init__(self, net: Plain) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Any:
        z = self.net(images)
        return {"logits": z, "parts": (z * 2, [z[0], z[1]]), "name": "a"}


def test_structured_outputs_keep_no_graph(nets: SimpleNamespace) -> None:
    net = Structured(nets.plain())
    captured = capture(net, nets.images(), lambda out: out["logits"][1], layers="net.features.7")
    plain = capture(net.net, nets.images(), 1, layers="features.7")
    assert torch.equal(captured.gradients[0], plain.gradients[0])
    parts = captured.output["parts"]
    assert captured.output["name"] == "a"
    assert not any(t.requires_grad for t in (captured.output["logits"], parts[0], *parts[1]))


# ---- kinds of input


def test_layouts_of_memory_do_not_matter(nets: SimpleNamespace) -> None:
    net, images = nets.plain(), nets.images(n=2, size=(16, 24))
    wanted = CAM()(net, images, 1)
    strided = torch.zeros(2, 3, 16, 48, dtype=torch.float64)
    strided[..., ::2] = images
    for view in (strided[..., ::2], images.to(memory_format=torch.channels_last), images.mT.contiguous().mT):
        torch.testing.assert_close(CAM()(net, view, 1), wanted, rtol=1e-11, atol=1e-14)
    last = CAM()(net.to(memory_format=torch.channels_last), images, 1)
    torch.testing.assert_close(last, wanted, rtol=1e-11, atol=1e-14)


def test_inference_mode_inputs(nets: SimpleNamespace) -> None:
    net, images = nets.plain(), nets.images()
    wanted = CAM()(net, images, 1)
    with torch.inference_mode():
        made_inside = images + 0
        found = CAM()(net, made_inside, 1)
    assert torch.equal(found, wanted)
    assert torch.equal(CAM()(net, made_inside, 1), wanted)


def test_float32_close_to_float64(nets: SimpleNamespace) -> None:
    exact = CAM("layer-cam")(nets.plain(), nets.images(), 1)
    single = CAM("layer-cam")(nets.plain().float(), nets.images().float(), 1)
    assert single.dtype == torch.float32
    assert (single.double() - exact).abs().max() < 1e-5 * exact.max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32_with_a_warning(
    dtype: torch.dtype, nets: SimpleNamespace
) -> None:
    net, images = nets.plain(), nets.images()
    with pytest.warns(UserWarning, match="half precision.*not reproducible"):
        captured = capture(net.to(dtype), images.to(dtype), 1)
    for tensor in (captured.scores, *captured.activations, *captured.gradients):
        assert tensor.dtype == torch.float32
    with pytest.warns(UserWarning, match="half precision"), torch.autocast("cpu", torch.bfloat16):
        captured = capture(net.float(), images.float(), 1)
    assert all(A.dtype == torch.float32 for A in captured.activations)


def test_full_precision_does_not_warn(nets: SimpleNamespace, recwarn: pytest.WarningsRecorder) -> None:
    capture(nets.plain().float(), nets.images().float(), 1)
    assert not recwarn.list


def test_legal_corner_cases(nets: SimpleNamespace) -> None:
    one = nets.plain(classes=1)
    positive, negative = (capture(one, nets.images(), target) for target in (1, 0))
    assert torch.equal(positive.gradients[0], -negative.gradients[0])
    assert torch.equal(positive.scores, -negative.scores)
    assert torch.equal(capture(one, nets.images()).scores, positive.scores)
    pooled = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert capture(pooled, torch.rand(3, 3, 9, 9), [0, 1, 0], layers="1").activations[0].shape == (3, 4, 1, 1)
    assert CAM(layers=("1",))(pooled, torch.rand(3, 3, 9, 9), [0, 1, 0]).shape == (3, 9, 9)


# ---- threads


def test_two_threads_with_one_model_in_train_mode(nets: SimpleNamespace) -> None:
    net = nets.plain(9, head="gap").train()
    net.features[1].eval()
    flags = [part.training for part in net.modules()]
    jobs = [
        (nets.images(1, n=2, size=(16, 24)), 1, "layer-cam"),
        (nets.images(2, n=3, size=(32, 16)), 0, "grad-cam"),
    ]
    wanted = [CAM(name)(net, images, target) for images, target, name in jobs]
    start, wrong = threading.Barrier(2), []

    def work(number: int) -> None:
        images, target, name = jobs[number]
        start.wait()
        for _ in range(15):
            try:
                if not torch.equal(CAM(name)(net, images, target), wanted[number]):
                    wrong.append("another map")
            except Exception as error:  # reported by the test
                wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert [part.training for part in net.modules()] == flags
    assert not any(part._forward_hooks for part in net.modules())


# ---- errors


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (torch.zeros(3, 16, 24), ValueError, r"\(N, C, H, W\), got \(3, 16, 24\)"),
        ([[1.0]], ValueError, r"\(N, C, H, W\), got list"),
        (torch.zeros(0, 3, 16, 24), ValueError, r"empty: \(0, 3, 16, 24\)"),
        (torch.zeros(1, 3, 0, 24), ValueError, r"empty: \(1, 3, 0, 24\)"),
        (
            torch.zeros(1, 3, 16, 24, dtype=torch.uint8),
            TypeError,
            r"torch\.uint8; convert to float and normalise",
        ),
        (
            torch.zeros(1, 3, 16, 24, dtype=torch.bool),
            TypeError,
            r"torch\.bool; convert to float and normalise",
        ),
        (torch.zeros(2, 4, 16, 24, dtype=torch.float64), ValueError, r"4 channels.*\(N, 3, H, W\)"),
    ],
)
def test_images_that_cannot_be_used(
    images: Any,
    error: type[Exception],
    message: str,
    nets: SimpleNamespace,
) -> None:
    for layers in (None, "features.7"):
        with pytest.raises(error, match=message):
            capture(nets.plain(), images, 1, layers=layers)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_not_finite_images_are_named(value: float, nets: SimpleNamespace) -> None:
    images = nets.images(n=3)
    images[1, 2, 3, 4] = value
    with pytest.raises(ValueError, match=r"images \[1\] hold NaN or infinite"):
        capture(nets.plain(), images, 1)


def test_finite_images_whose_sum_overflows_are_fine(nets: SimpleNamespace) -> None:
    huge = torch.full((1, 3, 16, 24), 3e38)
    with pytest.raises(ValueError, match=r"(logits|activations|scores)"):
        capture(nets.plain().float(), huge, 1)


def test_not_finite_logits_activations_and_gradients_are_named(nets: SimpleNamespace) -> None:
    net = nets.plain()
    net.head[2].bias.data[1] = float("nan")
    with pytest.raises(ValueError, match=r"logits hold NaN .*images \[0, 1\]"):
        capture(net, nets.images(), 0)
    net = nets.plain(head="gap")
    with pytest.raises(ValueError, match=r"gradients of layer 'features\.7'.*\[0, 1\]"):
        capture(net, nets.images(), lambda z: (z[0] - z[0].detach()).sqrt(), layers="features.7")
    with pytest.raises(ValueError, match="scores hold NaN"):
        capture(net, nets.images(), lambda z: z[0] * float("inf"), layers="features.7")


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.unused, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3), nn.Linear(3, 2)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.conv(self.conv(images)).mean((2, 3)))
        return logits


def test_layers_must_run_exactly_once() -> None:
    net, images = Twice(), torch.rand(1, 3, 8, 8)
    with pytest.raises(ValueError, match="'conv' ran 2 times"):
        capture(net, images, 1, layers="conv")
    with pytest.raises(ValueError, match="'unused' ran 0 times"):
        capture(net, images, 1, layers="unused")


class Odd(nn.Module):
    """A network whose middle returns something else, or loses the gradient on one of many ways."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.conv, self.aside, self.middle = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3), Middle(way)
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Any:
        if self.way == "no_grad":
            with torch.no_grad():
                return self.head(self.conv(images).mean((2, 3)))
        if self.way == "inference":
            with torch.inference_mode():
                return self.head(self.conv(images).mean((2, 3)))
        if self.way == "aside":
            self.aside(images)
        maps = self.middle(self.conv(images))
        if self.way == "detached":
            return self.head(maps.detach().mean((2, 3)))
        if self.way == "tuple":
            maps = maps[0]
        return self.head(maps.mean((2, 3)) if maps.ndim == 4 else maps.mean(1))


class Middle(nn.Module):
    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def forward(self, maps: Tensor) -> Any:
        if self.way == "tuple":
            return maps * 1.0, 3
        return maps.flatten(2).transpose(1, 2) if self.way == "tokens" else maps * 1.0


@pytest.mark.parametrize(
    ("way", "layer", "parts"),
    [
        ("tuple", "middle", ["'middle' returns tuple"]),
        (
            "tokens",
            "middle",
            [r"'middle': returns \(2, 64, 4\)", r"reshape callable returning \(N, C, H, W\)"],
        ),
        ("no_grad", "conv", ["'conv'", "no_grad"]),
        ("inference", "conv", ["'conv'", "inference_mode"]),
        ("detached", "conv", ["'conv'", "detach"]),
        ("detached", "middle", ["'middle'", "detach"]),
        ("aside", "aside", ["'aside'.*not on the way"]),
    ],
)
@pytest.mark.parametrize("frozen", [False, True])
def test_layers_without_a_map_or_a_gradient(way: str, layer: str, parts: list[str], frozen: bool) -> None:
    net = Odd(way).requires_grad_(not frozen)
    for part in parts:
        with pytest.raises(ValueError, match=part):
            capture(net, torch.rand(2, 3, 8, 8), 1, layers=(layer,))
    assert not any(each._forward_hooks for each in net.modules())


def test_tokens_with_a_reshape_callable() -> None:
    net = Odd("tokens")
    images = torch.rand(2, 3, 8, 8)
    grid = capture(
        net, images, 1, layers=Layers("middle", reshape=lambda t: t.transpose(1, 2).unflatten(2, (8, 8)))
    )
    plain = capture(net, images, 1, layers="conv")
    torch.testing.assert_close(grid.activations[0], plain.activations[0])
    torch.testing.assert_close(grid.gradients[0], plain.gradients[0])
    heatmap = CAM(layers=("middle",), reshape=lambda t: t.transpose(1, 2).unflatten(2, (8, 8)))(
        net, images, 1
    )
    assert heatmap.shape == (2, 8, 8)
    cases: tuple[tuple[Callable[[Tensor], Any], str], ...] = (
        (lambda t: t[0], r"\(64, 4\)"),
        (lambda t: t.reshape(1, 8, 8, 8), r"\(1, 8, 8, 8\)"),
        (lambda t: 3, "int"),
    )
    for wrong, shape in cases:
        with pytest.raises(ValueError, match=f"the reshape callable makes {shape}.*returning"):
            capture(net, images, 1, layers=Layers("middle", reshape=wrong))


@pytest.mark.parametrize(
    "make", [lambda z: z[:, 0], lambda z: (z, z), lambda z: {"z": z}, lambda z: z[..., None, None]]
)
def test_outputs_that_need_a_target_callable(make: Callable[..., Any], nets: SimpleNamespace) -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nets.plain()

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = make(self.net(images))
            return logits

    with pytest.raises(ValueError, match=r"must return logits \(N, K\), got .*target callable"):
        capture(Wrapped(), nets.images(), 1)


def test_batch_statistics_are_refused(nets: SimpleNamespace) -> None:
    net = nets.plain(head="gap")
    net.features[1] = nn.BatchNorm2d(4, track_running_stats=False).double()
    with pytest.raises(ValueError, match=r"'features\.1' normalises by the batch"):
        capture(net, nets.images(), 1)
