from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ltcam.cam.network.quick_passes import QuickPasses


def a_network() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    )
    normalisation = network[1]
    assert isinstance(normalisation, nn.BatchNorm2d)
    with torch.no_grad():
        for values in (normalisation.running_mean, normalisation.running_var, normalisation.weight):
            assert values is not None
            values.uniform_(0.5, 2)
    return network.eval()


class Viewing(nn.Module):
    """Takes no channels last."""

    def forward(self, images: Tensor) -> Tensor:
        return images.view(len(images), -1).mean(1)


@pytest.mark.parametrize("count", [1, 5])
def test_they_say_what_a_plain_pass_says(count: int) -> None:
    network, images = a_network(), torch.rand(count, 3, 12, 10)
    with torch.no_grad():
        assert torch.allclose(QuickPasses(network, images[:1])(images, network), network(images), atol=1e-6)


def test_images_stay_as_they_are_and_no_gradient_is_kept() -> None:
    network, images = a_network(), torch.rand(2, 3, 12, 10)
    before = images.clone()
    quickly = QuickPasses(network, images[:1])
    assert not quickly(images, lambda given: network(given.mul_(2))).requires_grad
    assert torch.equal(images, before)


def test_a_network_that_takes_no_other_memory_format_is_asked_as_it_is() -> None:
    images = torch.rand(2, 3, 4, 4)
    assert torch.allclose(QuickPasses(Viewing(), images[:1])(images, Viewing()), images.mean((1, 2, 3)))
