"""Stages found in known and in awkward networks; layers by name."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from functools import partial
from types import MethodType, SimpleNamespace
from typing import Any

import pytest
import timm
import torch
import torchvision
from tests.cam.conftest import Plain
from torch import Tensor, nn
from torch.nn import functional

from ltcam.cam import CAM, Layers, capture, find_stages
from ltcam.cam.network import stages as module
from ltcam.cam.network.stages import resolve_layers

IMAGES = torch.zeros(1, 3, 64, 96)


def filled(net: nn.Module) -> nn.Module:
    """A network that was built without memory, with random weights."""
    net.to_empty(device="cpu")
    for part in net.modules():
        getattr(part, "reset_parameters", lambda: None)()
    return net


def torchvision_net(name: str) -> nn.Module:
    with torch.device("meta"):
        net = torchvision.models.get_model(name, weights=None)
        if name == "vgg16":
            net.classifier = nn.Linear(512 * 49, 2)  # its own has 120 million weights
    return filled(net)


KNOWN = {
    ("torchvision", "vgg16"): (
        [f"features.{i}" for i in (4, 9, 16, 23, 30)],
        [f"features.{i}" for i in (3, 8, 15, 22, 29)],
    ),
    ("torchvision", "resnet18"): (
        ["maxpool", "layer1", "layer2.1", "layer3.1", "layer4.1"],
        ["relu", "layer1", "layer2.1", "layer3.1", "layer4.1"],
    ),
    ("torchvision", "densenet121"): (
        ["features.pool0", *(f"features.transition{i}.pool" for i in (1, 2, 3)), "features.norm5"],
        ["features.relu0", *(f"features.transition{i}.conv" for i in (1, 2, 3)), "features.norm5"],
    ),
    ("timm", "tf_efficientnet_lite0"): (["blocks.0", "blocks.1.1", "blocks.2.1", "blocks.4", "bn2"],) * 2,
    ("timm", "convnext_atto"): ([f"stages.{i}" for i in range(4)],) * 2,
    ("timm", "regnety_002"): (["stem", "s1", "s2", "s3", "s4"],) * 2,
}


@pytest.mark.parametrize(("source", "name"), KNOWN)
def test_stages_of_known_networks(source: str, name: str) -> None:
    torch.manual_seed(0)
    net = torchvision_net(name) if source == "torchvision" else timm.create_model(name, num_classes=2)
    after, before = KNOWN[source, name]
    assert find_stages(net, IMAGES) == tuple(after)
    assert find_stages(net, IMAGES, taps="before") == tuple(before)
    net.train()
    captured = capture(net, torch.randn(1, 3, 64, 96), 1)
    sizes = [tuple(map_.shape[2:]) for map_ in captured.activations]
    assert sizes == sorted(sizes, reverse=True), "shallow to deep"
    assert all(bool(gradient.any()) for gradient in captured.gradients)
    assert all(part.training for part in net.modules())


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_last_stage_of_real_networks_sums_to_the_score(name: str) -> None:
    """Cut identity: y = sum of g A plus the biases behind, here those of the linear layer."""
    torch.manual_seed(1)
    net = torchvision_net(name).double()
    head: Any = getattr(net, "fc", None) or net.classifier
    captured = capture(
        net, torch.randn(2, 3, 64, 64, dtype=torch.float64), 1, layers=find_stages(net, IMAGES.double())[-1:]
    )
    product = (captured.activations[0] * captured.gradients[0]).sum((1, 2, 3)) + head.bias[1].detach()
    torch.testing.assert_close(product, captured.scores, rtol=1e-11, atol=1e-11)


def assert_all_ways_lead_through(net: nn.Module, stages: tuple[str, ...], size: tuple[int, int]) -> None:
    """With a stage's output held fast, the network says the same of any other image."""
    one, other = torch.randn(1, 3, *size), 30 * torch.randn(1, 3, *size)
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str, output: torch.Tensor) -> None:
        seen[name] = output.clone()

    with torch.no_grad():
        handles = [
            net.get_submodule(name).register_forward_hook(
                lambda _m, _i, output, name=name: keep(name, output)
            )
            for name in stages
        ]
        wanted = net(one)
        for handle in handles:
            handle.remove()
        assert (net(other) - wanted).abs().max() > 1e-3 * wanted.abs().max(), "else nothing is shown"
        for name in stages:
            handle = net.get_submodule(name).register_forward_hook(lambda *_, name=name: seen[name].clone())
            torch.testing.assert_close(net(other), wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
            handle.remove()


FAMILIES = {  # of timm, each with the number of its stages
    "test_byobnet": 5,
    "test_convnext": 4,
    "test_efficientnet": 5,
    "test_efficientnet_gn": 5,
    "test_resnet": 5,
    "cs3darknet_focus_s": 5,
    "edgenext_xx_small": 4,
    "ghostnet_050": 5,
    "hardcorenas_a": 5,
    "hrnet_w18_small": 3,
    "inception_v3": 7,
    "mobilenetv3_small_050": 5,
    "repvgg_a0": 5,
}


@pytest.mark.parametrize("name", FAMILIES)
def test_stages_are_what_all_ways_lead_through_whatever_the_size(name: str) -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        net = timm.create_model(name, num_classes=2)
    filled(net).eval()
    for parameter in net.parameters():  # large enough for every part to matter
        (nn.init.kaiming_normal_ if parameter.ndim > 1 else partial(nn.init.uniform_, a=0.5))(parameter)
    for size in ((160, 320), (96, 128) if name.startswith("hrnet") else (136, 168)):
        stages = find_stages(net, torch.zeros(1, 3, *size))
        assert len(stages) == FAMILIES[name], stages
    assert_all_ways_lead_through(net, stages, size)


class Gate(nn.Module):
    """Two branches multiplied, a skip around them: only the sum is what all ways lead through."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.left, self.right = (
            nn.Conv2d(8, 8, 3, 2, 1),
            nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.Sigmoid()),
        )
        self.skip, self.sum = nn.AvgPool2d(2, ceil_mode=True), nn.Identity()
        self.act, self.head = nn.ReLU(), nn.Linear(8, 2)
        self.aside = nn.Conv2d(8, 2, 1)

    def forward(self, images: Tensor) -> Any:
        maps = self.stem(images)
        parts = maps.chunk(2, 1)
        maps = torch.cat([parts[1], parts[0]], 1)
        out = self.act(self.left(maps) * self.right(maps) + self.skip(maps))
        return {"aside": self.aside(out), "logits": self.head(out.mean((2, 3)))}


def test_branches_gates_and_side_outputs_are_no_stages() -> None:
    assert find_stages(Gate(), torch.zeros(1, 3, 61, 45)) == ("stem", "act")


@pytest.mark.parametrize("detached", [torch.no_grad, torch.inference_mode])
def test_a_model_that_keeps_no_graph_has_stages_too(detached: type[Any], nets: SimpleNamespace) -> None:
    net = nets.plain(head="gap").float()
    net.forward = detached()(net.forward)
    assert find_stages(net, IMAGES) == nets.STAGES


class OutOfOrder(nn.Module):
    """Parts are registered in another order than they run."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 2)
        self.deep = nn.Sequential(nn.Conv2d(5, 6, 3, stride=2, padding=1), nn.ReLU())
        self.shallow = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU())
        self.middle = nn.ModuleList([nn.Conv2d(4, 5, 3, stride=2, padding=1), nn.ReLU()])

    def forward(self, images: Tensor) -> Tensor:
        maps = self.shallow(images)
        for part in self.middle:
            maps = part(maps)
        logits: Tensor = self.head(self.deep(maps).mean((2, 3)))
        return logits


def test_stages_come_in_the_order_of_running() -> None:
    assert find_stages(OutOfOrder(), IMAGES) == ("shallow.1", "middle.1", "deep.1")


class OnePool(nn.Module):
    """One pooling and one ReLU module used after every convolution, as tutorials do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3), nn.Conv2d(5, 6, 3)
        self.pool, self.relu = nn.MaxPool2d(2), nn.ReLU(inplace=True)
        self.head = nn.Linear(6, 2)

    def forward(self, images: Tensor) -> Tensor:
        for convolution in (self.conv1, self.conv2, self.conv3):
            images = self.pool(self.relu(convolution(images)))
        logits: Tensor = self.head(images.mean((2, 3)))
        return logits


def test_modules_that_run_several_times_are_no_stages() -> None:
    net = OnePool()
    for taps in ("after", "before"):
        assert find_stages(net, IMAGES, taps=taps) == ("conv1", "conv2", "conv3")
    assert CAM()(net, torch.randn(2, 3, 64, 96), 1).shape == (2, 64, 96)


class Normalize(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return (images - 0.5) / 0.25


def test_a_normalisation_inside_the_model_is_no_stage(nets: SimpleNamespace) -> None:
    net = nn.Sequential(Normalize(), nets.Plain(size=(64, 96)))
    assert find_stages(net, IMAGES) == ("1.features.3", "1.features.7", "1.features.11")
    small = nn.Sequential(Normalize(), nn.Upsample(size=(32, 48)), nets.Plain(size=(32, 48)))
    assert find_stages(small, IMAGES)[0] == "2.features.3"


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_learns_nothing_is_no_stage_whatever_its_channels(channels: int) -> None:
    class Prepared(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean(1, keepdim=True).repeat(1, channels, 1, 1)

    trunk = nn.Sequential(nn.Conv2d(channels, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 5, 3, 2, 1), nn.ReLU())
    net = nn.Sequential(
        Prepared(), nn.AvgPool2d(2), trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2)
    )
    assert find_stages(net, IMAGES) == ("2.1", "2.3")


class Weights(nn.Module):
    """Its convolution is a function of its own weights; only the activation is a module."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.act = nn.Parameter(torch.randn(4, 3, 3, 3)), nn.ReLU()
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.act(functional.conv2d(images, self.weight, stride=2)).mean((2, 3)))
        return logits


def test_an_activation_of_its_parents_weights_is_a_stage() -> None:
    assert find_stages(Weights(), IMAGES) == ("act",)


def test_stages_do_not_depend_on_the_size_that_was_looked_at_first(nets: SimpleNamespace) -> None:
    """At 8 x 8 the last pooling leaves 1 x 1, which is no stage; at 64 x 64 it leaves a map."""
    net = nn.Sequential(
        nets.plain(head="gap").features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
    ).double()
    small, large = (torch.zeros(1, 3, size, size, dtype=torch.float64) for size in (8, 64))
    assert find_stages(net, small) == ("0.3", "0.7", "0.10")
    assert find_stages(net, large) == ("0.3", "0.7", "0.11")
    assert find_stages(net, small)[-1] == "0.10"


def test_the_answer_is_remembered_and_dies_with_the_model(nets: SimpleNamespace) -> None:
    net = nets.Plain(size=(64, 96))
    runs = []
    net.register_forward_hook(lambda *_: runs.append(1))
    first = find_stages(net, IMAGES)
    assert find_stages(net, IMAGES) is first
    assert len(runs) == 1
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


def test_a_model_that_was_changed_is_looked_at_again(nets: SimpleNamespace) -> None:
    net = nets.plain(head="gap").float()
    assert find_stages(net, IMAGES) == nets.STAGES
    net.features = nn.Sequential(*net.features[:8], nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU())
    assert find_stages(net, IMAGES) == ("features.3", "features.7", "features.9")
    net.features[8].stride = (1, 1)
    assert find_stages(net, IMAGES) == ("features.3", "features.7", "features.9")
    assert CAM("layer-cam")(net, torch.randn(1, 3, 64, 96), 1).any()
    net.features = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU()))
    assert find_stages(net, IMAGES) == ("features.0.1",)


def stride_as_a_tuple(net: nn.Sequential) -> None:
    net[1][0].stride = (1, 1)  # type: ignore[index]


def other_forward(net: Any) -> None:
    first = net[0]
    first.forward = lambda images: nn.functional.avg_pool2d(nn.Sequential(*first)(images), 2)


def method_as_forward(net: nn.Sequential) -> None:
    net[2].forward = MethodType(lambda _self, maps: maps.mean((2, 3), keepdim=True), net[2])


def hook(net: nn.Sequential) -> None:
    net[1].register_forward_hook(lambda *seen: nn.functional.max_pool2d(seen[2], 2))


def hook_before(net: nn.Sequential) -> None:
    net[1].register_forward_pre_hook(lambda *seen: (seen[1][0].repeat(1, 1, 2, 2),))


@pytest.mark.parametrize("edit", [stride_as_a_tuple, other_forward, method_as_forward, hook, hook_before])
def test_whatever_changes_the_way_through_a_model_is_noticed(edit: Callable[[nn.Sequential], None]) -> None:
    def layer(channels: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(channels, 6, 3, 2, 1), nn.ReLU())

    net = nn.Sequential(
        layer(3), layer(6), layer(6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)
    ).eval()
    before = find_stages(net, IMAGES)
    edit(net)
    found = find_stages(net, IMAGES)
    assert found is not before
    other = nn.Sequential(*net)
    assert found == find_stages(other, IMAGES)
    assert find_stages(net, IMAGES) is found
    gone = weakref.ref(net)
    del net, other
    gc.collect()
    assert gone() is None


def test_only_the_graph_of_the_pass_is_kept(nets: SimpleNamespace) -> None:
    """Looking for stages needs no more memory than a pass without gradients: nothing is saved for going back."""
    net = nets.plain(head="gap").float()
    saved: list[Any] = []
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda packed: packed):
        find_stages(net, IMAGES)
    assert not saved


def test_looking_leaves_the_model_as_it_was(nets: SimpleNamespace) -> None:
    net = nets.Plain(size=(64, 96))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    find_stages(net.train(), IMAGES)
    assert all(part.training and not part._forward_hooks for part in net.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    with pytest.raises(RuntimeError, match="mat1"):
        find_stages(net, torch.zeros(1, 3, 40, 40))
    assert all(part.training and not part._forward_hooks for part in net.modules())


def test_another_thread_running_the_model_is_not_watched(nets: SimpleNamespace) -> None:
    """The other thread's images have another size; its sizes must not get into the answer."""
    net = nets.plain(head="gap").float()
    other = torch.zeros(1, 3, 8, 8)
    done: list[Any] = []

    def meddle(_module: Plain, _inputs: tuple[Tensor]) -> None:
        if threading.current_thread() is threading.main_thread() and not done:
            thread = threading.Thread(target=lambda: done.append(net(other)))
            thread.start()
            thread.join()

    handle = net.register_forward_pre_hook(meddle)
    calls = module._watch(net, IMAGES).calls
    handle.remove()
    assert done
    assert calls["features.3"].size_out == (32, 48)
    assert calls["features.3"].count == 1


def test_no_stage_at_all() -> None:
    with pytest.raises(ValueError, match=r"no stage found.*layers="):
        find_stages(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 96, 2)), IMAGES)
    with pytest.raises(ValueError, match=r"`taps` 'behind'.*after, before"):
        find_stages(nn.Sequential(nn.Flatten()), IMAGES, taps="behind")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (
            ["features.33"],
            [r"no layer 'features\.33'", r"close: features\.3", r"4-D output: features\.0"],
        ),
        (["feature"], ["no layer 'feature'", "close: features"]),
        ([""], ["no layer ''"]),
        ([], ["layers is empty", r"features\.0"]),
        (["features.3", "features.7", "features.3"], [r"more than once: 'features\.3'"]),
        ([nn.ReLU()], ["holds a ReLU", "names of layers"]),
    ],
)
def test_names_that_cannot_be_used(names: Any, parts: list[str], nets: SimpleNamespace) -> None:
    for part in parts:
        with pytest.raises(ValueError, match=part):
            resolve_layers(nets.Plain(size=(64, 96)), names, IMAGES)


class ChannelsLast(nn.Module):
    """Maps (N, h, w, C) between linear layers, as MambaOut and Swin have them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(3, 24, 4, 4), nn.LayerNorm(24), nn.Linear(24, 2)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.stem(images).permute(0, 2, 3, 1)).mean((1, 2)))
        return logits


@pytest.mark.parametrize("size", [(64, 64), (97, 161), (130, 70)])
def test_maps_with_their_channels_last_are_not_taken_for_others(size: tuple[int, int]) -> None:
    net, images = ChannelsLast().eval(), torch.randn(2, 3, *size)
    with pytest.raises(ValueError, match=r"channels last, \(N, h, w, C\), in norm; .*permute\(0, 3, 1, 2\)"):
        find_stages(net, images)
    with pytest.raises(ValueError, match=r"layer 'norm' returns maps .* look like \(N, h, w, C\)"):
        capture(net, images, layers="norm")
    maps = capture(net, images, 1, layers=Layers("norm", reshape=lambda maps: maps.permute(0, 3, 1, 2)))
    assert maps.activations[0].shape == (2, 24, size[0] // 4, size[1] // 4)


def test_a_layer_with_two_names_is_found_by_both_and_refused_twice(nets: SimpleNamespace) -> None:
    net = nets.Plain(size=(64, 96))
    net.again = net.features[3]
    assert resolve_layers(net, ["again"], IMAGES) == (net.features[3],)
    with pytest.raises(ValueError, match=r"'features\.3', 'again'"):
        resolve_layers(net, ["features.3", "again"], IMAGES)


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4, 1)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(
            functional.adaptive_avg_pool2d(functional.relu(self.conv(images)), 1).flatten(1)
        )
        return logits


def test_a_convolution_alone_is_a_stage() -> None:
    assert find_stages(Functional(), IMAGES) == ("conv",)


class Depth(nn.Module):
    """As many blocks run as a setting says."""

    def __init__(self, depth: Any) -> None:
        super().__init__()
        self.depth = depth
        self.blocks = nn.Sequential(*(nn.Conv2d(3, 3, 3, stride=2, padding=1) for _ in range(4)))
        self.head = nn.Linear(3, 2)

    def forward(self, images: Tensor) -> Tensor:
        (depth,) = self.depth.values() if isinstance(self.depth, dict) else self.depth
        for block in list(self.blocks)[:depth]:
            images = block(images)
        logits: Tensor = self.head(images.mean((2, 3)))
        return logits


@pytest.mark.parametrize("make", [lambda n: [n], lambda n: (n,), lambda n: {"depth": n}])
def test_settings_in_lists_change_the_stages(make: Callable[[int], Any]) -> None:
    net = Depth(make(2))
    assert find_stages(net, IMAGES)[-1] == "blocks.1"
    net.depth = make(4)
    assert find_stages(net, IMAGES)[-1] == "blocks.3"


def test_maps_of_a_convolution_have_their_channels_first() -> None:
    """Whatever their sizes look like: 32 channels of 32 x 64."""
    net = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.MaxPool2d((2, 1)), nn.Conv2d(32, 32, 3, padding=1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2),
    )  # fmt: skip
    images = torch.randn(1, 3, 64, 64)
    assert find_stages(net, images)[-1] == "2"
    wanted = CAM("layer-cam", layers=("2",), reshape=lambda maps: maps)(net, images, 1)
    assert torch.equal(CAM("layer-cam", layers=("2",))(net, images, 1), wanted)


class Tokens(nn.Module):
    """Patches, then blocks that work on tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 16, stride=16)
        self.blocks = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
        self.head = nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(self.patches(images).flatten(2).transpose(1, 2)).mean(1))
        return logits


def test_tokens_behind_the_last_map_are_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"behind its last map, patches, .* tokens \(N, T, C\), in blocks"):
        assert find_stages(Tokens(), IMAGES) == ("patches",)


def test_scripted_convolutions_are_warned_of(nets: SimpleNamespace) -> None:
    net = nets.plain(head="gap")
    net.features[4] = torch.jit.script(net.features[4])
    with pytest.warns(UserWarning, match=r"scripted parts \(torch\.jit\): features\.4;"):
        find_stages(net, nets.images())
