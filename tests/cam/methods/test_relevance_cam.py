"""Relevance-CAM: LRP written out as relevance, conservation, and networks with residual sums and gates."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from numpy.typing import NDArray
from tests.cam.conftest import probing_method
from torch import Tensor, nn
from torch.nn import functional

from ltcam.cam import CAM, Probe, capture, log_odds
from ltcam.cam.methods.relevance_cam import initial_relevance
from ltcam.cam.targets import resolved

RELEVANCE = probing_method("relevance-cam")


def relevance_weights(
    net: Any, images: Tensor, target: Callable[..., Any] | int | list[int] | None, layer: str, chunk: int = 8
) -> Tensor:
    captured = capture(net, images, target, layers=(layer,), gradients=False)
    with torch.no_grad():
        return RELEVANCE.weights(
            Probe(net, images, resolved(captured.output, target, len(images)), captured, chunk), 0
        )


def first_logit(logits: Tensor) -> Tensor:
    """A callable whose relevance starts with 1 at one logit and 0 elsewhere."""
    return logits[0]


def shares(parts: NDArray[np.float64], total: float) -> NDArray[np.float64]:
    """Relevance of one output by z+: positive parts share it."""
    positive = np.maximum(parts, 0)
    return positive / positive.sum() * total if positive.sum() > 0 else np.zeros_like(parts)


def by_hand(net: Any, A: NDArray[np.float64], start: list[float | int]) -> NDArray[np.float64]:
    """LRP of the tail conv, BN, ReLU, MaxPool, Linear, ReLU, Linear as messages of relevance, for one image."""
    conv = net.features[8].weight.detach().numpy()
    with torch.no_grad():
        u = net.features[8](torch.from_numpy(A)[None])
        relu = net.features[9:11](u)[0].numpy()
        hidden = net.head[:2](net.features[9:](u).flatten(1))[0].numpy()
    C, H, W = A.shape
    K = len(relu)
    pooled, places = np.zeros((K, H // 2, W // 2)), {}
    for k, i, j in itertools.product(range(K), range(H // 2), range(W // 2)):
        window = relu[k, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        di, dj = divmod(int(window.argmax()), 2)
        pooled[k, i, j], places[k, i, j] = window[di, dj], (k, 2 * i + di, 2 * j + dj)
    R_hidden: Any = sum(
        shares(net.head[2].weight.detach().numpy()[c] * hidden, R) for c, R in enumerate(start)
    )
    first = net.head[0].weight.detach().numpy()
    R_pooled: Any = sum(shares(first[o] * pooled.reshape(-1), R_hidden[o]) for o in range(len(first)))
    R_conv = np.zeros_like(relu)
    for key, R in zip(np.ndindex(pooled.shape), R_pooled, strict=True):
        R_conv[places[key]] += R * (relu[places[key]] != 0)  # ReLU and normalisation pass it on
    padded, R_input = np.pad(A, ((0, 0), (1, 1), (1, 1))), np.zeros((C, H + 2, W + 2))
    for k, i, j in itertools.product(range(K), range(H), range(W)):
        window = (slice(None), slice(i, i + 3), slice(j, j + 3))
        R_input[window] += shares(conv[k] * padded[window], R_conv[k, i, j])
    found: NDArray[np.float64] = R_input[:, 1:-1, 1:-1].sum((1, 2))
    return found


@pytest.mark.parametrize("inplace", [False, True])
def test_equals_relevance_by_hand(inplace: bool, nets: SimpleNamespace) -> None:
    for seed in range(3):
        net, images = nets.plain(seed, inplace=inplace, classes=3), nets.images(seed)
        found = relevance_weights(net, images, [1, 0], "features.7")[:, :, 0, 0].numpy()
        A = capture(net, images, 1, layers=("features.7",)).activations[0].numpy()
        wanted = np.stack([by_hand(net, A[0], [-0.5, 1, -0.5]), by_hand(net, A[1], [1, -0.5, -0.5])])
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("target", "wanted"), [
    (1, [[-1 / 3, 1, -1 / 3, -1 / 3]] * 2),
    ([0, 3], [[1, -1 / 3, -1 / 3, -1 / 3], [-1 / 3, -1 / 3, -1 / 3, 1]]),
    (lambda logits: logits[1] - 2 * logits[0], [[-2, 1, 0, 0]] * 2),
])  # fmt: skip
def test_initial_relevance_is_contrastive(
    target: Callable[..., Any] | int | list[int], wanted: list[Any]
) -> None:
    logits = torch.randn(2, 4, dtype=torch.float64)
    assert torch.allclose(initial_relevance(logits, target), torch.tensor(wanted, dtype=torch.float64))


def test_one_output_starts_with_its_sign_and_two_classes_with_their_log_odds() -> None:
    one, two = torch.tensor([[-3.0]]), torch.tensor([[0.5, -3.0]])
    assert [float(initial_relevance(one, target)) for target in (None, 1, 0)] == [1, 1, -1]
    assert torch.equal(initial_relevance(two, 1), torch.tensor([[-1.0, 1.0]]))
    assert torch.allclose(initial_relevance(two, log_odds([1])), torch.tensor([[-1.0, 1.0]]))


@pytest.mark.parametrize("head", ["flat", "gap"])
@pytest.mark.parametrize("layer", ["features.3", "features.7", "features"])
def test_relevance_is_conserved(head: str, layer: str, nets: SimpleNamespace) -> None:
    net, images = nets.plain(1, head=head), nets.images(1)
    total = relevance_weights(net, images, first_logit, layer).sum((1, 2, 3))
    assert torch.allclose(total, torch.ones(2, dtype=torch.float64), rtol=1e-10)
    contrast = relevance_weights(net, images, 1, layer).sum((1, 2, 3))
    assert torch.allclose(contrast, torch.zeros(2, dtype=torch.float64), atol=1e-10)


class Block(nn.Module):
    """Residual sum, concatenation, a gate, ReLU6: all of relevance passes through `stem`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.left, self.right = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.Conv2d(6, 4, 1)
        self.gate, self.norm = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)
        self.head = nn.Linear(10, 3)

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem(images)
        maps = functional.relu6(self.norm(self.left(stem)), inplace=True)
        maps = maps * self.gate(maps.mean((2, 3), keepdim=True)).sigmoid()
        maps += stem
        maps = torch.cat([maps, functional.relu(self.right(stem))], 1)
        maps = functional.avg_pool2d(maps, 2).mean((2, 3))
        logits: Tensor = self.head(maps * maps.tanh())
        return logits


def test_relevance_is_conserved_through_sums_concatenations_and_gates(nets: SimpleNamespace) -> None:
    net, images = nets.shaken(Block()), nets.images(2)
    total = relevance_weights(net, images, first_logit, "stem").sum((1, 2, 3))
    assert torch.allclose(total, torch.ones(2, dtype=torch.float64), rtol=1e-10)


def test_a_residual_sum_shares_in_the_proportion_of_its_parts() -> None:
    """y = sum over positions of relu(3 a) + a, one channel, one weight: three quarters through the branch."""

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.branch, self.skip = nn.Conv2d(3, 1, 1, bias=False), nn.Conv2d(1, 1, 1), nn.Identity()
            self.a.weight.data[:] = 1
            nn.init.constant_(self.branch.weight, 3)
            nn.init.zeros_(self.branch.get_parameter("bias"))

        def forward(self, images: Tensor) -> Tensor:
            a = self.a(images)
            logits: Tensor = (functional.relu(self.branch(a)) + self.skip(a)).flatten(1).sum(1, keepdim=True)
            return logits

    net, images = Sum().double(), torch.rand(1, 3, 2, 2, dtype=torch.float64)
    assert float(relevance_weights(net, images, None, "branch")) == pytest.approx(0.75)
    assert float(relevance_weights(net, images, None, "skip")) == pytest.approx(0.25)
    assert float(relevance_weights(net, images, None, "a")) == pytest.approx(1)


@pytest.mark.parametrize(("build", "layer", "lost"), [
    (lambda: torchvision.models.resnet18(num_classes=3), "layer2", 1e-6),
    (lambda: timm.create_model("tf_efficientnet_lite0", num_classes=3), "blocks.4", 1e-6),
    (lambda: timm.create_model("mobilenetv3_small_050", num_classes=3), "blocks.1", 0.02),  # biases make units active
])  # fmt: skip
def test_relevance_is_conserved_in_real_networks(build: Callable[..., Any], layer: str, lost: float) -> None:
    torch.manual_seed(0)
    net, images = build().eval().double(), torch.randn(2, 3, 64, 64, dtype=torch.float64)
    total = relevance_weights(net, images, first_logit, layer).sum((1, 2, 3))
    assert torch.allclose(total, torch.ones(2, dtype=torch.float64), rtol=lost)


def test_float32_is_close_to_float64() -> None:
    torch.manual_seed(0)
    net, images = torchvision.models.resnet18(num_classes=3).eval(), torch.randn(1, 3, 64, 64)
    single = relevance_weights(net, images, 1, "layer3")
    double = relevance_weights(net.double(), images.double(), 1, "layer3")
    assert float((single - double).abs().amax()) < 1e-4 * float(double.abs().amax())


def test_portions_and_batches_do_not_matter(nets: SimpleNamespace) -> None:
    net, images = nets.plain(4), nets.images(4, n=5)
    target = [0, 1, 1, 0, 1]
    whole = relevance_weights(net, images, target, "features.3", chunk=100)
    assert torch.allclose(relevance_weights(net, images, target, "features.3", chunk=2), whole, rtol=1e-10)
    singles = [relevance_weights(net, images[n : n + 1], target[n], "features.3") for n in range(5)]
    assert torch.allclose(torch.cat(singles), whole, rtol=1e-10)


def test_warns_of_operations_without_a_rule(nets: SimpleNamespace) -> None:
    net = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()),
        *(nn.LayerNorm(16), nn.Linear(16, 2)),
    )
    with pytest.warns(UserWarning, match=r"'1': layer_norm behind it.*not conserved"):
        relevance_weights(nets.shaken(net), nets.images(5), 1, "1")


def test_operations_in_front_of_the_layer_are_left_alone(nets: SimpleNamespace) -> None:
    net = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.LayerNorm([14, 22]), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(4, 2),
    )
    total = relevance_weights(nets.shaken(net), nets.images(5), first_logit, "2").sum((1, 2, 3))
    assert torch.allclose(total, torch.ones(2, dtype=torch.float64))


def test_models_that_return_more_than_logits_are_refused(nets: SimpleNamespace) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nets.plain()

        def forward(self, images: Tensor) -> Any:
            return {"logits": self.net(images)}

    with pytest.raises(ValueError, match=r"starts at logits \(N, K\); the model returned dict"):
        CAM("relevance-cam", layers=("net.features",))(
            Two(), nets.images(), lambda output: output["logits"][1]
        )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Dynamo does not know")
def test_compiling_changes_nothing(nets: SimpleNamespace) -> None:
    net, images = nets.plain(9).float(), nets.images(9).float()
    compiled = torch.compile(net, backend="eager")
    wanted = relevance_weights(net, images, 1, "features.7")
    assert torch.equal(relevance_weights(compiled, images, 1, "_orig_mod.features.7"), wanted)


def test_autocast_changes_nothing(nets: SimpleNamespace) -> None:
    net, images = nets.plain(9).float(), nets.images(9).float()
    wanted = relevance_weights(net, images, 1, "features.7")
    probe = Probe(net, images, 1, capture(net, images, 1, layers=("features.7",)), 8)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(RELEVANCE.weights(probe, 0), wanted)


def test_functions_called_by_keyword_follow_their_rules_too(nets: SimpleNamespace) -> None:
    class Keywords(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.norm, self.conv = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3)
            self.head = nn.Linear(5, 2)

        def forward(self, images: Tensor) -> Tensor:
            maps = functional.relu(input=self.norm(self.stem(images)), inplace=True)
            maps = functional.conv2d(input=maps, weight=self.conv.weight, bias=self.conv.bias)
            maps = functional.hardtanh(input=maps, min_val=0.0, max_val=0.2)
            pooled = functional.adaptive_avg_pool2d(input=maps, output_size=1).flatten(1)
            return functional.linear(input=pooled, weight=self.head.weight, bias=self.head.bias)

    total = relevance_weights(nets.shaken(Keywords()), nets.images(8), first_logit, "norm").sum((1, 2, 3))
    assert torch.allclose(total, torch.ones(2, dtype=torch.float64), rtol=1e-10)


class Square(torch.autograd.Function):
    """An operation that no function of torch does in sight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        found: Tensor = 2 * x * slope
        return found


@torch.jit.script
def scripted(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


class Tail(nn.Module):
    """A convolution, an operation, and a linear head."""

    def __init__(self, operation: Any) -> None:
        super().__init__()
        self.stem, self.head = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Linear(4, 2)
        self.shift = nn.Parameter(torch.ones(4, 1, 1))
        self.operation = operation

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.operation(self, self.stem(images)).mean((2, 3)))
        return logits


UNKNOWN = {
    "exp": lambda net, x: torch.exp(x),
    "exp_": lambda net, x: (x * 1).exp_(),
    "pow": lambda net, x: x**2,
    "einsum": lambda net, x: torch.einsum("nchw,nchw->nchw", x, x),
    "cumprod": lambda net, x: x.cumprod(3),
    "special_erf": lambda net, x: torch.special.erf(x),
    "reciprocal": lambda net, x: (x + net.shift.view(1, 4, 1, 1)).reciprocal(),
    "logsumexp": lambda net, x: x.logsumexp(2, keepdim=True),
    "add": lambda net, x: x + net.shift.view(1, 4, 1, 1),
    "Square": lambda net, x: Square.apply(x),  # type: ignore[no-untyped-call]
    "Sigmoid": lambda net, x: scripted(x),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_operations_that_nobody_has_listed_are_named(name: str, nets: SimpleNamespace) -> None:
    net = nets.shaken(Tail(UNKNOWN[name]))
    with pytest.warns(UserWarning, match=rf"'stem': .*\b{name}\b.* behind it .*not conserved"):
        relevance_weights(net, nets.images(5), 1, "stem")


CONSERVING = {
    "einsum": lambda net, x: torch.einsum("nchw,cd->ndhw", x, torch.eye(4, dtype=x.dtype)),
    "roll": lambda net, x: x.roll(1, 2) + x.flip(3),
    "resize": lambda net, x: functional.interpolate(x, scale_factor=2, mode="bilinear"),
    "max": lambda net, x: torch.stack([x, 2 * x]).amax(0),
    "topk": lambda net, x: x.flatten(2).topk(3).values[..., None],
    "assignment": lambda net, x: written(x),
    "padding": lambda net, x: functional.max_pool2d(functional.pad(x, (1, 1, 1, 1), value=-torch.inf), 3),
    "shuffle": lambda net, x: functional.pixel_unshuffle(functional.pixel_shuffle(x, 2), 2),
    "norm": lambda net, x: torch.stack([x, x]).norm(dim=0),
}


def written(x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    out[:, :2] = x[:, 2:]
    out[:, 2:] += x[:, :2]
    return out


@pytest.mark.parametrize("name", CONSERVING)
@pytest.mark.filterwarnings("error")
def test_operations_that_conserve_relevance_are_not_named_whoever_wrote_them(
    name: str, nets: SimpleNamespace
) -> None:
    net = nets.shaken(Tail(CONSERVING[name]))
    total = relevance_weights(net, nets.images(5), first_logit, "stem").sum((1, 2, 3))
    assert torch.allclose(total, torch.ones(2, dtype=torch.float64), rtol=1e-6)


@pytest.mark.filterwarnings("error")
def test_what_passes_by_the_layer_takes_its_share() -> None:
    """A residual sum behind a branch, with parameters that need gradients and a trained shift in front."""
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=3).eval()
    assert all(parameter.requires_grad for parameter in net.parameters())
    relevance_weights(net, torch.randn(1, 3, 64, 64), 1, "layer2.0.bn1")
