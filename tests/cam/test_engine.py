"""Heatmaps end to end, and what must hold for all of them."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ltcam.cam import (
    CAM,
    Layers,
    Truncation,
    capture,
    find_stages,
    list_gradient_methods,
    list_methods,
    resize_maps,
    truncated,
)

NAMES = [method.name for method in list_gradient_methods()]
TRUNCATIONS = (
    None,
    Truncation(0),
    Truncation(50),
    Truncation(75, "stage"),
    Truncation(50, "channel", "mask"),
)
SETTINGS = st.builds(
    CAM,
    method=st.sampled_from(NAMES),
    truncation=st.sampled_from(TRUNCATIONS),
    fusion=st.sampled_from(["sum", "mean", "max", "product"]),
    stage_scale=st.sampled_from(["none", "max", "minmax", "tanh"]),
)


@pytest.mark.parametrize("truncation", TRUNCATIONS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_heatmap_is_the_sum_of_resized_relu_maps(
    name: str, truncation: Truncation | None, nets: SimpleNamespace, literal: SimpleNamespace
) -> None:
    net, images = nets.plain(1), nets.images(1)
    cam = CAM(name, truncation)
    captured = capture(net, images, 1, layers=nets.STAGES)
    wanted = np.zeros((2, 16, 24))
    for A, g in zip(captured.activations, captured.gradients, strict=True):
        stage = np.maximum(literal.signed_map(name, A, g, truncation), 0)
        wanted += np.stack([literal.resized(one, (16, 24)) for one in stage])
    np.testing.assert_allclose(cam(net, images, 1).numpy(), wanted, rtol=1e-9, atol=1e-13)
    assert torch.equal(cam(net, images, 1), cam.heatmaps(captured)), "found stages are the named ones"


@pytest.mark.parametrize("name", NAMES)
def test_without_relu_stages_stay_signed(name: str, nets: SimpleNamespace, literal: SimpleNamespace) -> None:
    net, images = nets.plain(2), nets.images(2)
    cam = CAM(name, relu="none")
    captured = cam.capture(net, images, 0)
    for found, A, g in zip(cam.stage_maps(captured), captured.activations, captured.gradients, strict=True):
        np.testing.assert_allclose(found.numpy(), literal.signed_map(name, A, g), rtol=1e-10, atol=1e-14)
    cut = dataclasses.replace(cam, relu="stage").stage_maps(captured)
    assert all(torch.equal(a.clamp_min(0), b) for a, b in zip(cam.stage_maps(captured), cut, strict=True))


def test_gap_head_identities_of_the_last_stage(nets: SimpleNamespace) -> None:
    net, images = nets.plain(3, head="gap"), nets.images(3)
    last = nets.STAGES[-1:]
    maps = {
        name: CAM(name, layers=last, relu="none").stage_maps(capture(net, images, 1, layers=last))[0]
        for name in NAMES
    }
    torch.testing.assert_close(maps["grad-cam"], maps["hires-cam"], rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(maps["grad-cam"], maps["xgrad-cam"], rtol=1e-10, atol=1e-14)
    captured = capture(net, images, 1, layers=last)
    torch.testing.assert_close(
        maps["hires-cam"].sum((1, 2)) + net.head[0].bias[1].detach(), captured.scores, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("name", NAMES)
def test_channel_rescaling_of_the_network_changes_no_map(name: str, nets: SimpleNamespace) -> None:
    """Channels of a ReLU stage times s and the next convolution's weights over s: the same function."""
    net, images = nets.plain(4), nets.images(4)
    cam = CAM(name, Truncation(50), layers=nets.STAGES)
    before = cam(net, images, 1)
    s = torch.tensor([0.02, 1.0, 7.0, 40.0], dtype=torch.float64)
    net.features[1].weight.data *= s
    net.features[1].bias.data *= s
    net.features[4].weight.data /= s.reshape(1, 4, 1, 1)
    after = cam(net, images, 1)
    torch.testing.assert_close(after, before, rtol=1e-8, atol=1e-12)


def test_k2_probability_target_gives_the_log_odds_map_up_to_a_factor(nets: SimpleNamespace) -> None:
    net, images = nets.plain(5), nets.images(5, n=1)
    by_odds = CAM("layer-cam", Truncation(50))(net, images, lambda z: z[1] - z[0])
    by_probability = CAM("layer-cam", Truncation(50))(net, images, lambda z: z.softmax(0)[1])
    torch.testing.assert_close(
        by_probability / by_probability.max(), by_odds / by_odds.max(), rtol=1e-9, atol=1e-12
    )


@settings(max_examples=12)
@given(cam=SETTINGS, seed=st.integers(0, 50), n=st.integers(2, 4))
def test_batch_equals_singles(cam: CAM, seed: int, n: int, nets: SimpleNamespace) -> None:
    net, images = nets.plain(seed, classes=3), nets.images(seed, n=n)
    targets = [index % 3 for index in range(n)]
    together = cam(net, images, targets)
    alone = torch.cat([cam(net, image[None], target) for image, target in zip(images, targets, strict=True)])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-13)
    order = list(reversed(range(n)))
    torch.testing.assert_close(cam(net, images[order], targets[::-1]), together[order], rtol=1e-9, atol=1e-13)


class Mirrored(nn.Module):
    """Kernels that are their own mirror image, and global pooling: flipping commutes with the network."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        for part in net.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.data = (part.weight.data + part.weight.data.flip(3)) / 2

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images)
        return logits


@settings(max_examples=12)
@given(cam=SETTINGS, seed=st.integers(0, 50))
def test_flip_equivariance(cam: CAM, seed: int, nets: SimpleNamespace) -> None:
    net, images = Mirrored(nets.plain(seed, head="gap")), nets.images(seed, n=1)
    torch.testing.assert_close(
        cam(net, images.flip(3), 1), cam(net, images, 1).flip(2), rtol=1e-8, atol=1e-12
    )


@settings(max_examples=12)
@given(cam=SETTINGS, seed=st.integers(0, 50), order=st.permutations([0, 1, 2]))
def test_order_of_layers_does_not_matter(
    cam: CAM, seed: int, order: list[int], nets: SimpleNamespace
) -> None:
    net, images = nets.plain(seed), nets.images(seed)
    shuffled = dataclasses.replace(cam, layers=tuple(nets.STAGES[i] for i in order))
    torch.testing.assert_close(shuffled(net, images, 1), cam(net, images, 1), rtol=1e-10, atol=1e-14)


def test_pre_pool_stages_hold_the_same_gradients(nets: SimpleNamespace) -> None:
    """Max pooling routes each gradient to one place: same kept values, LayerCAM summed over windows."""
    net, images = nets.plain(6), nets.images(6)
    before, after = (capture(net, images, 1, layers=Layers(taps=taps)) for taps in ("before", "after"))
    assert before.layers == ("features.2", "features.6", "features.10")
    assert after.layers == nets.STAGES
    for p in (None, 50):
        cam = truncated("layer-cam", p)
        for fine, coarse in zip(cam.stage_maps(before), cam.stage_maps(after), strict=True):
            summed = torch.nn.functional.avg_pool2d(fine[:, None], 2)[:, 0] * 4
            torch.testing.assert_close(summed, coarse, rtol=1e-12, atol=1e-16)


def test_capture_once_serves_many_maps(nets: SimpleNamespace) -> None:
    net, images = nets.plain(7), nets.images(7)
    captured = capture(net, images, 1)
    for name in NAMES:
        for p in (None, 0, 50):
            assert torch.equal(truncated(name, p).heatmaps(captured), truncated(name, p)(net, images, 1))


def test_all_negative_evidence_is_an_all_zero_map(nets: SimpleNamespace) -> None:
    net = nets.plain(8, head="gap")
    net.head[0].weight.data = -net.head[0].weight.data.abs()
    heatmap = CAM("grad-cam", layers=nets.STAGES[-1:])(net, nets.images(8), 1)
    assert not heatmap.any()


@pytest.mark.parametrize("name", NAMES)
def test_signed_activations_are_used_as_they_are_and_warned_of_where_they_are_divided_by(
    name: str, nets: SimpleNamespace, recwarn: pytest.WarningsRecorder
) -> None:
    net, images = nets.plain(9), nets.images(9)
    cam = CAM(name, layers=("features.1", "features.7"))
    captured = cam.capture(net, images, 1)
    assert captured.activations[0].min() < 0
    cam.heatmaps(captured)
    texts = [str(warning.message) for warning in recwarn.list]
    if name in {"xgrad-cam", "grad-cam++"}:
        assert len(texts) == 1
        assert "features.1 " in texts[0]
        assert "features.7" not in texts[0]
    else:
        assert not texts
    recwarn.clear()
    positive = dataclasses.replace(cam, positive_activations=True)
    clamped = dataclasses.replace(captured, activations=tuple(A.clamp_min(0) for A in captured.activations))
    assert torch.equal(positive.heatmaps(captured), cam.heatmaps(clamped))
    assert not recwarn.list


@pytest.mark.parametrize("name", ["xgrad-cam", "grad-cam++"])
@pytest.mark.filterwarnings("ignore:layers .* ran in half precision")
def test_sums_that_nearly_cancel_are_refused_in_half_precision(name: str, nets: SimpleNamespace) -> None:
    net, images = nets.plain(9).bfloat16(), nets.images(9, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match=r"features\.1 return negative ones.*use float32"):
        CAM(name, layers=("features.1", "features.7"))(net, images, 1)
    CAM(name, layers=("features.1",), positive_activations=True)(net, images, 1)
    CAM(name, layers=("features.7",))(net, images, 1)


def test_a_cam_is_a_value() -> None:
    assert CAM("layer-cam", Truncation(50)) == truncated("layer-cam")
    assert hash(CAM()) == hash(CAM())
    with pytest.raises(dataclasses.FrozenInstanceError):
        CAM().method = "layer-cam"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"method": "eigen"}, "`method` 'eigen'.*grad-cam, "),
        ({"fusion": "median"}, "`fusion` 'median'.*sum, mean, max, product"),
        ({"stage_scale": "sum"}, "`stage_scale` 'sum'.*none, max, minmax, tanh"),
        ({"relu": "last"}, "`relu` 'last'.*stage, none"),
        ({"truncation": 50}, r"truncation=50 .*Truncation\(percentile\)"),
    ],
)
def test_settings_are_checked_when_they_are_made(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CAM(**bad)


def test_heatmaps_have_the_size_of_the_images_and_are_raw(nets: SimpleNamespace) -> None:
    net, images = nets.plain(10, head="gap"), nets.images(10, n=1, size=(19, 33))
    heatmap = CAM("layer-cam")(net, images, 1)
    assert heatmap.shape == (1, 19, 33)
    stages = find_stages(net, images)
    cam = CAM("layer-cam", layers=stages)
    maps = cam.stage_maps(cam.capture(net, images, 1))
    assert torch.allclose(
        heatmap, torch.stack([resize_maps(each, (19, 33)) for each in maps]).sum(0), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.05), (torch.bfloat16, 0.2)])
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("method", [method.name for method in list_methods()])
@pytest.mark.filterwarnings("ignore:layers .* ran in half precision")
def test_half_precision_gives_the_maps_of_float32(
    method: str, dtype: torch.dtype, tolerance: float, autocast: bool, nets: SimpleNamespace
) -> None:
    """The stated tolerances, as shares of each map's largest value: 5 % in float16, 20 % in bfloat16.

    FullGrad brings every channel to 0..1, what is nearly constant too: 30 % in bfloat16.
    """
    tolerance *= 1.5 if method == "fullgrad" else 1
    net, images = nets.plain(3, head="gap").float(), nets.images(3, dtype=torch.float32)
    stages = {"cam": ("features.11",)}.get(method, nets.STAGES[-2:])
    cam = CAM(method) if method == "fullgrad" else CAM(method, layers=stages, relu="none")
    wanted = cam(net, images, [0, 1])
    if autocast:
        with torch.autocast("cpu", dtype):
            found = cam(net, images, [0, 1])
    else:
        found = cam(net.to(dtype), images.to(dtype), [0, 1])
    assert found.dtype == torch.float32
    largest = wanted.abs().amax((1, 2))
    assert largest.all()
    assert ((found - wanted).abs().amax((1, 2)) <= tolerance * largest).all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"chunk": 2.5}, "chunk=2.5"), ({"chunk": "a"}, "chunk='a'"), ({"taps": "nope"}, "`taps` 'nope'")],
)
def test_settings_that_are_unknown_are_refused_at_once(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CAM(layers=("features.3",), **settings)


def test_layers_may_come_as_a_list() -> None:
    assert hash(CAM(layers=["a", "b"])) == hash(CAM(layers=("a", "b")))  # type: ignore[arg-type]


def test_a_capture_without_gradients_is_said_to_be_one(nets: SimpleNamespace) -> None:
    captured = capture(nets.plain(), torch.zeros(1, 3, 16, 24, dtype=torch.float64), 1, gradients=False)
    with pytest.raises(ValueError, match="needs gradients, and this capture has none"):
        CAM("layer-cam").heatmaps(captured)


def test_one_name_is_one_layer(nets: SimpleNamespace) -> None:
    """Not one per letter: a Sequential's `14` is not its `1` and `4`."""
    net = nn.Sequential(
        *(nn.Conv2d(3, 3, 3, padding=1) for _ in range(12)), nn.Flatten(), nn.Linear(3 * 16 * 24, 2)
    )
    net.double()
    assert CAM("layer-cam", layers="11").layers == ("11",)  # type: ignore[arg-type]
    wanted = CAM("layer-cam", layers=("11",))(net, nets.images(), 1)
    assert torch.equal(CAM("layer-cam", layers="11")(net, nets.images(), 1), wanted)  # type: ignore[arg-type]


def test_a_word_is_no_switch() -> None:
    with pytest.raises(ValueError, match="positive_activations='no' must be True or False"):
        CAM(positive_activations="no")  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["layer-cam", "score-cam", "relevance-cam", "fullgrad"])
def test_compiled_parts_keep_their_layers(method: str, nets: SimpleNamespace) -> None:
    net, images = nets.plain(head="gap"), nets.images()
    wanted = CAM(method)(net, images, 1)
    whole: Any = torch.compile(net, backend="eager")
    whole(images)
    torch.testing.assert_close(CAM(method)(whole, images, 1), wanted)
    torch.testing.assert_close(CAM(method)(whole, images, 1), wanted)
    net.features[4] = torch.compile(net.features[4], backend="eager")
    net(images)
    torch.testing.assert_close(CAM(method)(net, images, 1), wanted)


class Heads(nn.Module):
    """Returns a list of equal heads."""

    def __init__(self, net: nn.Module, count: int) -> None:
        super().__init__()
        self.net, self.count = net, count

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.net(images)] * self.count


@pytest.mark.parametrize("method", ["score-cam", "ablation-cam", "lift-cam"])
@pytest.mark.parametrize("heads", [2, 8])
def test_lists_of_heads_in_batches_of_any_size(method: str, heads: int, nets: SimpleNamespace) -> None:
    net, images = nets.plain(head="gap"), nets.images()[:1].repeat(3, 1, 1, 1)
    found = CAM(method)(Heads(net, heads), images, lambda logits: logits[0][1])
    torch.testing.assert_close(found, CAM(method)(net, images, lambda logits: logits[1]))
