from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ltcam.models.classifier import Classifier
from ltcam.models.seeded import SeededClassifier, SeedHeads, features_at, seeded, tapped


class Trunk(nn.Module):
    """Two blocks and global pooling."""

    num_features = 5

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d(3, 4, 3, 2, 1)
        self.coarse = nn.Conv2d(4, 5, 3, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.coarse(self.fine(images).relu()).relu()
        return found.mean((2, 3))


def a_classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(Trunk(), 3).eval()


def random_heads(channels: tuple[int, ...] = (4, 5), maps: int = 2) -> SeedHeads:
    torch.manual_seed(1)
    heads = SeedHeads(channels, maps)
    for parameter in heads.parameters():
        nn.init.normal_(parameter)
    return heads


def test_maps_are_the_sum_of_convolutions_at_the_finest_size() -> None:
    heads, fine, coarse = random_heads(), torch.randn(2, 4, 8, 6), torch.randn(2, 5, 4, 3)
    # Features brought to the finest size first, and one linear map of all of them: what was fitted.
    large = functional.interpolate(coarse, size=(8, 6), mode="bilinear", align_corners=False)
    first, second = heads.convolutions
    assert isinstance(first, nn.Conv2d)
    assert isinstance(second, nn.Conv2d)
    assert first.bias is not None
    expected = torch.einsum("nchw,kc->nkhw", fine, first.weight[:, :, 0, 0]) + first.bias[None, :, None, None]
    expected = expected + torch.einsum("nchw,kc->nkhw", large, second.weight[:, :, 0, 0])
    assert torch.allclose(heads([fine, coarse]), expected, atol=1e-5)


def test_seed_maps_beside_a_classifier_change_no_logit() -> None:
    classifier, images = a_classifier(), torch.randn(2, 3, 16, 12)
    before = classifier(images)
    found = seeded(classifier, ("trunk.fine", "trunk.coarse"), random_heads())
    assert torch.equal(found(images), before)
    assert found.seeds(images)[1].shape == (2, 2, 8, 6)
    assert not found.training


def test_peaks_add_to_the_logits() -> None:
    found = seeded(a_classifier(), ("trunk.fine", "trunk.coarse"), random_heads())
    images = torch.randn(2, 3, 16, 12)
    before = found(images)
    nn.init.constant_(found.peaks.weight[1], 2.0)
    _, maps = found.seeds(images)
    after = found(images)
    assert torch.allclose(after[:, 1], before[:, 1] + 2 * maps.amax((2, 3)).sum(1), atol=1e-5)
    assert torch.equal(after[:, 0], before[:, 0])


def test_maps_of_parts_add_nothing_to_the_logits() -> None:
    classifier, images = a_classifier(), torch.randn(2, 3, 16, 12)
    before = classifier(images)
    found = seeded(classifier, ("trunk.fine", "trunk.coarse"), random_heads(maps=4))
    assert torch.equal(found(images), before)
    assert found.seeds(images)[1].shape[1] == found.seed_maps == 4


def test_its_weights_are_those_of_a_classifier_and_of_its_heads() -> None:
    found = seeded(a_classifier(), ("trunk.fine", "trunk.coarse"), random_heads())
    again = SeededClassifier(Trunk(), 3, ("trunk.fine", "trunk.coarse"), (4, 5)).eval()
    again.load_state_dict(found.state_dict())
    images = torch.randn(1, 3, 16, 12)
    assert torch.equal(again(images), found(images))


@pytest.mark.parametrize("has_seeds", [False, True])
def test_rescaled_logits(has_seeds: bool) -> None:
    classifier, images = a_classifier(), torch.randn(2, 3, 16, 12)
    nn.init.normal_(classifier.head.bias)
    if has_seeds:
        classifier = seeded(classifier, ("trunk.fine", "trunk.coarse"), random_heads())
        nn.init.normal_(classifier.peaks.weight)
    before = classifier(images)
    classifier.rescale(0.25, -1.5)
    assert torch.allclose(classifier(images), 0.25 * before + torch.tensor([0.0, -1.5, -1.5]), atol=1e-6)


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("peaks", [0.0, 2.0])
def test_the_shortest_way_leads_to_the_same_logits(trained: bool, peaks: float) -> None:
    found = seeded(a_classifier(), ("trunk.fine", "trunk.coarse"), random_heads())
    nn.init.constant_(found.peaks.weight, peaks)
    if not trained:
        nn.init.zeros_(found.head.weight)
    images = torch.randn(2, 3, 16, 12)
    assert torch.equal(found.logits(images), found(images))
    whole, short = found.seeding(whole=True)(images), found.seeds(images)
    assert all(torch.equal(one, other) for one, other in zip(whole, short, strict=True))


def test_blocks_behind_the_last_tapped_one_do_not_run() -> None:
    classifier, images = a_classifier(), torch.randn(1, 3, 8, 8)
    _, expected = tapped(classifier, ("trunk.fine",), images)
    ran: list[str] = []
    for name in ("trunk.fine", "trunk.coarse"):
        classifier.get_submodule(name).register_forward_hook(lambda *_, name=name: ran.append(name))
    (feature,) = features_at(classifier, ("trunk.fine",), images)
    assert torch.equal(feature, expected[0])
    assert ran == ["trunk.fine"]
    assert all(len(module._forward_hooks) <= 1 for module in classifier.modules())


def test_tapped_blocks_leave_no_hook_behind() -> None:
    classifier = a_classifier()
    pooled, features = tapped(classifier, ("trunk.fine",), torch.randn(1, 3, 8, 8))
    assert (pooled.shape, features[0].shape) == ((1, 5), (1, 4, 4, 4))
    assert not any(module._forward_hooks for module in classifier.modules())
