"""The drop-in classes against the package they stand in for, called with its own examples' arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn

from ltcam.cam import capture
from ltcam.compat import pytorch_grad_cam as drop_in

peers = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed (extra: dev)")
model_targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")

Small = Callable[..., tuple[Any, Tensor]]  # the tests look into the network

EXACT = ("GradCAM", "XGradCAM", "LayerCAM", "HiResCAM")
LAYERS = ("features.3", "features.7", "features.11")


def theirs(
    name: str, net: nn.Module, images: Tensor, targets: Any, layers: list[nn.Module], **settings: Any
) -> NDArray[np.float32]:
    """The other package's result; it fills .grad, wants unfrozen parameters, prints progress."""
    reshape = settings.pop("reshape_transform", None)
    with getattr(peers, name)(model=net, target_layers=layers, reshape_transform=reshape) as cam:
        found: NDArray[np.float32] = cam(input_tensor=images.clone(), targets=targets, **settings)
        return found


def ours(
    name: str, net: nn.Module, images: Tensor, targets: Any, layers: list[nn.Module], **settings: Any
) -> NDArray[np.float32]:
    reshape = settings.pop("reshape_transform", None)
    with getattr(drop_in, name)(model=net, target_layers=layers, reshape_transform=reshape) as cam:
        found: NDArray[np.float32] = cam(input_tensor=images, targets=targets, **settings)
        return found


def modules(net: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    return [net.get_submodule(name) for name in names]


def assert_close(found: NDArray[np.float32], wanted: NDArray[np.float32], tolerance: float = 1e-5) -> None:
    assert found.dtype == np.float32
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < tolerance
    assert wanted.max() > 0.99  # not an empty map


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("targets", [None, [0, 2, 0], [1, 1, 1]])
def test_equals_the_package_at_one_layer(name: str, targets: list[int] | None, small: Small) -> None:
    net, images = small(1)
    given = targets and [model_targets.ClassifierOutputTarget(c) for c in targets]
    for layer in LAYERS:
        at = modules(net, [layer])
        wanted = theirs(name, net, images, given, at)
        live = wanted.max((1, 2)) > 0.5
        assert live.any()
        assert_close(ours(name, net, images, given, at)[live], wanted[live])


@pytest.mark.parametrize("name", EXACT)
def test_several_layers_are_the_mean_of_their_scaled_maps(name: str, small: Small) -> None:
    net, images = small(2)
    at = modules(net, LAYERS)
    given = [model_targets.ClassifierOutputTarget(1)] * 3
    # its epsilon of 1e-7 beside small maps is what remains
    assert_close(ours(name, net, images, given, at), theirs(name, net, images, given, at), 1e-3)


def test_grad_cam_plus_plus_where_gradients_are_large(small: Small) -> None:
    """Its 1e-6 beside squared gradients vanishes only there."""
    net, images = small(3)
    net.head[2].weight.data *= 1e4
    at = modules(net, LAYERS[-1:])
    given = [model_targets.ClassifierOutputTarget(2)] * 3
    wanted = theirs("GradCAMPlusPlus", net, images, given, at)
    assert_close(ours("GradCAMPlusPlus", net, images, given, at), wanted)


def test_ablation_cam_behind_a_relu(small: Small) -> None:
    """It ablates to 0 only where an image's smallest activation is 0, and turns the map where y < 0."""
    net, images = small(4, head="gap")
    net.head[0].bias.data[:] = 5
    at = modules(net, ("features.10",))
    given = [model_targets.ClassifierOutputTarget(0)] * 3
    wanted = theirs("AblationCAM", net, images, given, at)
    assert_close(ours("AblationCAM", net, images, given, at), wanted, 1e-4)


def test_score_cam_up_to_its_corners(small: Small) -> None:
    """It resizes masks with corners aligned, which moves them by up to half a position of the layer."""
    net, images = small(5)
    at = modules(net, LAYERS[:1])
    given = [model_targets.ClassifierOutputTarget(0)] * 3
    assert_close(ours("ScoreCAM", net, images, given, at), theirs("ScoreCAM", net, images, given, at), 0.08)


def test_full_grad_of_layers_in_order(small: Small) -> None:
    net, images = small(6)
    given = [model_targets.ClassifierOutputTarget(0)] * 3
    assert_close(ours("FullGrad", net, images, given, []), theirs("FullGrad", net, images, given, []), 1e-3)


@pytest.mark.parametrize("name", EXACT)
def test_residual_network_as_in_its_first_example(name: str) -> None:
    torch.manual_seed(0)
    net = torchvision.models.resnet18().eval()
    images = torch.randn(2, 3, 96, 96)
    given = [model_targets.ClassifierOutputTarget(281), model_targets.ClassifierOutputTarget(7)]
    at = [net.layer3[-1]]
    assert_close(ours(name, net, images, given, at), theirs(name, net, images, given, at))


class Transformer(nn.Module):
    """Patches, a class token, one attention block with a norm in front: what ViT's example needs."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, stride=8)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.norm1, self.attention = nn.LayerNorm(8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        logits: Tensor = self.head(x[:, 0])
        return logits


def reshape_transform(tensor: Tensor, height: int = 3, width: int = 4) -> Tensor:
    result = tensor[:, 1:, :].reshape(tensor.size(0), height, width, tensor.size(2))
    return result.transpose(2, 3).transpose(1, 2)


@pytest.mark.parametrize("name", ["GradCAM", "LayerCAM", "HiResCAM"])
def test_transformer_with_reshape_as_in_its_example(name: str) -> None:
    torch.manual_seed(1)
    net, images = Transformer().eval(), torch.randn(2, 3, 24, 32)
    settings: dict[str, Any] = {
        "targets": None,
        "layers": [net.norm1],
        "reshape_transform": reshape_transform,
    }
    wanted = theirs(name, net, images, **settings)
    live = wanted.max((1, 2)) > 0.5
    assert live.any()
    assert_close(ours(name, net, images, **settings)[live], wanted[live], 1e-4)


@pytest.mark.parametrize("name", ["GradCAM", "LayerCAM"])
def test_smoothing_by_augmentation(name: str, small: Small) -> None:
    net, images = small(7)
    at = modules(net, LAYERS[1:2])
    given = [model_targets.ClassifierOutputTarget(1)] * 3
    wanted = theirs(name, net, images, given, at, aug_smooth=True)
    found = ours(name, net, images, given, at, aug_smooth=True)
    assert np.abs(found - wanted).max() < 1e-5
    assert np.abs(found - ours(name, net, images, given, at)).max() > 0.01  # it does something


@pytest.mark.parametrize("name", ["HiResCAM", "LayerCAM", "ScoreCAM"])
def test_smoothing_by_the_first_component_up_to_its_sign(name: str, small: Small) -> None:
    net, images = small(8)
    at = modules(net, LAYERS[1:2])
    given = [model_targets.ClassifierOutputTarget(1)] * 3
    wanted = theirs(name, net, images, given, at, eigen_smooth=True)
    found = ours(name, net, images, given, at, eigen_smooth=True)
    tolerance = 0.08 if name == "ScoreCAM" else 1e-3
    same_sign = [np.corrcoef(o.ravel(), w.ravel())[0, 1] > 0.5 for o, w in zip(found, wanted, strict=True)]
    assert any(same_sign)
    assert np.abs(found - wanted)[same_sign].max() < tolerance


def test_first_component_is_that_of_numpy() -> None:
    maps = torch.randn(2, 5, 4, 6, dtype=torch.float64) + 1
    for one, found in zip(maps, drop_in.first_component(maps), strict=True):
        points = one.reshape(5, -1).T.numpy()
        points = points - points.mean(0)
        wanted = (points @ np.linalg.svd(points)[2][0]).reshape(4, 6)
        sign = np.sign((wanted * one.sum(0).numpy()).sum() - wanted.sum() * one.sum(0).mean().item())
        np.testing.assert_allclose(found.numpy(), sign * wanted, atol=1e-10)


def test_own_targets_are_those_of_the_package() -> None:
    logits = torch.randn(4, requires_grad=True)
    for name in ("ClassifierOutputTarget", "ClassifierOutputSoftmaxTarget"):
        for given in (logits, torch.stack([logits, 2 * logits])):
            own, other = (getattr(module, name)(2)(given) for module in (drop_in, model_targets))
            assert torch.equal(own, other)
    for category in (0, 1):
        own, other = (
            module.BinaryClassifierOutputTarget(category)(logits[:1]) for module in (drop_in, model_targets)
        )
        assert torch.equal(own, other)


def test_one_output_is_explained_as_it_is(small: Small) -> None:
    net, images = small(9, classes=1)
    at = modules(net, LAYERS[-1:])
    as_is = ours("LayerCAM", net, images, [drop_in.ClassifierOutputTarget(0)] * 3, at)
    assert np.array_equal(as_is, ours("LayerCAM", net, images, None, at))
    turned = ours("LayerCAM", net, images, [drop_in.BinaryClassifierOutputTarget(0)] * 3, at)
    assert np.abs(as_is - turned).max() > 0.1


def test_targets_that_ask_the_same_share_a_pass(small: Small) -> None:
    net, images = small(10)
    seen: list[int] = []
    handle = net.register_forward_hook(lambda _m, inputs, _o: seen.append(len(inputs[0])))
    capture(net, images, 1, layers=LAYERS)  # a network is looked at before its first pass
    seen.clear()
    at = modules(net, LAYERS[-1:])
    targets = [drop_in.ClassifierOutputTarget(c) for c in (2, 0, 2)]
    mixed = ours("GradCAM", net, images, targets, at)
    handle.remove()
    assert seen == [2, 1]
    singles = [ours("GradCAM", net, images[n : n + 1], [targets[n]], at)[0] for n in range(3)]
    assert np.abs(mixed - np.stack(singles)).max() < 1e-5


def test_outputs_are_those_of_the_model_in_the_images_order(
    small: Small,
) -> None:
    net, images = small(11)
    cam = drop_in.GradCAM(net, modules(net, LAYERS[-1:]))
    assert cam.outputs is None
    cam(images, [drop_in.ClassifierOutputTarget(c) for c in (2, 0, 2)])
    outputs: Any = cam.outputs
    assert torch.allclose(outputs, net(images), atol=1e-6)
    assert not outputs.requires_grad
    full = drop_in.FullGrad(net, [])
    full(images)
    assert torch.allclose(full.outputs, net(images), atol=1e-6)


def test_batch_size_bounds_what_the_network_is_given(small: Small) -> None:
    net, images = small(12)
    cam = drop_in.ScoreCAM(net, modules(net, LAYERS[-1:]))
    cam.batch_size = 2
    seen = []
    handle = net.register_forward_hook(lambda _m, inputs, _o: seen.append(len(inputs[0])))
    cam(images[:1])
    handle.remove()
    assert max(seen) == 2
    assert drop_in.AblationCAM(net, modules(net, LAYERS[-1:]), None, object(), 5).batch_size == 5


def test_model_is_left_as_it_was(small: Small) -> None:
    net, images = small(13)
    net.train()
    for parameter in net.parameters():
        parameter.requires_grad_(False)  # the package itself cannot explain a frozen model
    net.head[2].bias.requires_grad_(True)
    net.head[2].bias.grad = torch.ones(3)
    ours("LayerCAM", net, images, None, modules(net, LAYERS))
    assert all(module.training for module in net.modules())
    assert [p.requires_grad for p in net.head.parameters()] == [False, False, False, True]
    assert torch.equal(net.head[2].bias.grad, torch.ones(3))
    assert not any(module._forward_hooks for module in net.modules())


def test_wrapped_models_and_their_modules(small: Small) -> None:
    net, images = small(14)
    wrapped = nn.DataParallel(net)
    wanted = ours("GradCAM", net, images, None, modules(net, LAYERS))
    found = ours("GradCAM", wrapped, images, None, modules(wrapped.module, LAYERS))
    assert np.array_equal(found, wanted)


def test_with_swallows_nothing(small: Small) -> None:
    net, images = small(15)
    with pytest.raises(IndexError), drop_in.GradCAM(net, modules(net, LAYERS[:1])) as cam:
        cam(images, [drop_in.ClassifierOutputTarget(99)] * 3)


def test_mistakes_are_named(small: Small) -> None:
    net, images = small(16)
    with pytest.raises(ValueError, match="targets has 1 entries for 3 images"):
        ours("GradCAM", net, images, [drop_in.ClassifierOutputTarget(0)], modules(net, LAYERS))
    with pytest.raises(ValueError, match="target_layers holds ReLU, which is no module of the model"):
        ours("GradCAM", net, images, None, [nn.ReLU()])
    with pytest.raises(ValueError, match="layers is empty"):
        ours("GradCAM", net, images, None, [])
    with pytest.raises(ValueError, match="eigen_smooth=False"):
        ours("FullGrad", net, images, None, [], eigen_smooth=True)
    with pytest.raises(ValueError, match=r"ratio_channels_to_ablate=0\.5 is not offered"):
        drop_in.AblationCAM(net, [], ratio_channels_to_ablate=0.5)
