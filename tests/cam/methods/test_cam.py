"""The original CAM: the head's own weights, where the identity y = sum_k w_k mean(A_k) + b holds."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
import torchvision
from tests.cam.conftest import probing_method
from torch import Tensor, nn

from ltcam.cam import CAM, Probe, capture, log_odds

CAM_METHOD = probing_method("cam")


def gap_net(nets: SimpleNamespace, seed: int = 0, classes: int = 3) -> Any:
    found: Any = nets.plain(seed, head="gap", classes=classes)
    return found


def signed_map(net: Any, images: Tensor, target: Any, layer: str) -> Tensor:
    return CAM("cam", layers=(layer,), relu="none")(net, images, target)


@pytest.mark.parametrize("target", [0, 2, [2, 1], None])
def test_is_the_head_s_rows_times_the_pooled_layer(
    target: int | list[int] | None, nets: SimpleNamespace
) -> None:
    net, images = gap_net(nets), nets.images(1)
    found = CAM("cam", layers=("features",), relu="none")
    captured = capture(net, images, target, layers=("features",), gradients=False)
    logits = net(images)
    classes = (
        logits.argmax(1).tolist() if target is None else [target] * 2 if isinstance(target, int) else target
    )
    rows = net.head[0].weight.detach()[classes]
    weights = CAM_METHOD.weights(Probe(net, images, classes, captured, 8), 0)
    assert torch.equal(weights[:, :, 0, 0], rows)
    by_hand = torch.stack([
        (rows[n, :, None, None] * captured.activations[0][n]).sum(0) for n in range(2)
    ])  # fmt: skip
    wanted = torch.nn.functional.interpolate(by_hand[:, None], size=(16, 24), mode="bilinear")[:, 0]
    assert torch.allclose(found(net, images, target), wanted, rtol=1e-10, atol=1e-12)


def test_means_of_its_map_give_the_score_without_bias(nets: SimpleNamespace) -> None:
    net, images = gap_net(nets), nets.images(2)
    captured = capture(net, images, 1, layers=("features",), gradients=False)
    weights = CAM_METHOD.weights(Probe(net, images, 1, captured, 8), 0)
    means = (weights * captured.activations[0]).sum(1).mean((1, 2))
    assert torch.allclose(means + net.head[0].bias[1], net(images)[:, 1], rtol=1e-10)


def test_is_grad_cam_there_up_to_the_number_of_positions(nets: SimpleNamespace) -> None:
    net, images = gap_net(nets), nets.images(3)
    ours = signed_map(net, images, 1, "features")
    grad_cam = CAM("grad-cam", layers=("features",), relu="none")(net, images, 1)
    assert torch.allclose(ours, grad_cam * 2 * 3, rtol=1e-10)  # features returns 2 x 3 positions


def test_a_difference_of_logits_has_the_difference_of_rows(nets: SimpleNamespace) -> None:
    net, images = gap_net(nets, classes=2), nets.images(4)
    ours = signed_map(net, images, log_odds([1]), "features")
    both = [signed_map(net, images, c, "features") for c in (0, 1)]
    assert torch.allclose(ours, both[1] - both[0], rtol=1e-9, atol=1e-12)


def test_one_output_takes_the_sign_of_the_class(nets: SimpleNamespace) -> None:
    net, images = gap_net(nets, classes=1), nets.images(5)
    assert torch.equal(signed_map(net, images, 0, "features"), -signed_map(net, images, 1, "features"))


def test_a_target_that_is_not_linear_is_refused(nets: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="linear in the logits"):
        signed_map(gap_net(nets), nets.images(), lambda logits: logits.softmax(0)[1], "features")


def test_another_layer_is_refused_and_the_right_one_named(nets: SimpleNamespace) -> None:
    net, images = gap_net(nets), nets.images()
    with pytest.raises(ValueError, match=r"'features\.7' is not it; write layers=\('features',\)"):
        signed_map(net, images, 1, "features.7")


def test_a_head_of_two_linear_layers_is_refused(nets: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match=r"global average pooling.*Grad-CAM"):
        signed_map(nets.plain(), nets.images(), 1, "features")


def test_a_network_without_a_linear_head_is_refused() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Softmax(1)).eval()
    with pytest.raises(ValueError, match="no linear layer of pooled maps"):
        signed_map(net, torch.randn(1, 3, 8, 8), 1, "0")


def test_a_pointwise_convolution_is_a_head_too() -> None:
    torch.manual_seed(0)
    net: Any = nn.Sequential(
        *(nn.Conv2d(3, 5, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Dropout()),
        *(nn.Conv2d(5, 4, 1), nn.Flatten()),
    ).eval()
    images = torch.randn(2, 3, 9, 9)
    captured = capture(net, images, 3, layers=("1",), gradients=False)
    weights = CAM_METHOD.weights(Probe(net, images, 3, captured, 8), 0)
    assert torch.equal(weights[:, :, 0, 0], net[4].weight.detach()[[3, 3], :, 0, 0])


def test_models_that_return_more_than_logits_are_refused(nets: SimpleNamespace) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = gap_net(nets)

        def forward(self, images: Tensor) -> Any:
            return self.net(images), images.mean()

    with pytest.raises(ValueError, match="returns logits"):
        signed_map(Two(), nets.images(), lambda output: output[0][1], "net.features")


@pytest.mark.parametrize(("build", "layer"), [
    (lambda: torchvision.models.resnet18(num_classes=3), "layer4"),
    (lambda: timm.create_model("tf_efficientnet_lite0", num_classes=3), "bn2"),
])  # fmt: skip
def test_real_networks_name_their_layer(build: Callable[..., Any], layer: str) -> None:
    torch.manual_seed(0)
    net, images = build().eval(), torch.randn(1, 3, 64, 64)
    assert float(CAM("cam", layers=(layer,), relu="none")(net, images, 1).abs().amax()) > 0
    with pytest.raises(ValueError, match=rf"write layers=\('{layer}'"):
        CAM("cam")(net, images, 1)
