"""Whole networks as graphs: the same logits and heatmaps as the engine's, on every runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from tests.export.conftest import Answer
from torch import Tensor, nn
from torch.nn import functional

from ltcam.cam import CAM, Truncation, log_odds
from ltcam.cam.fusion import Fusion, StageScale
from ltcam.cam.truncation import Scope, TruncationReading
from ltcam.export.pipeline import Pipeline, build_graph
from ltcam.models.classifier import Classifier
from ltcam.models.seeded import SeededClassifier, SeedHeads, seed_method, seeded
from ltcam.models.student import STUDENT, build_student
from ltcam_runtime.errors import ExportError
from ltcam_runtime.onnx_files import with_outputs
from ltcam_runtime.part_files import HEATMAP, IMAGES, LOGITS, PROBABILITIES, output_name

METHODS = ("grad-cam", "grad-cam++", "xgrad-cam", "layer-cam", "hires-cam")
STATISTICS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Pooled(nn.Module):
    """Stages, the mean over all places, a linear layer."""

    def __init__(self, *stages: nn.Module, channels: int, classes: int = 2) -> None:
        super().__init__()
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.stages(images).mean((2, 3)))
        return logits


class Residual(nn.Module):
    """A block with a shortcut and squeeze-and-excitation, in place where networks are."""

    def __init__(
        self, channels: int, width: int, stride: int = 1, gate: type[nn.Module] = nn.Hardsigmoid
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False),
            nn.BatchNorm2d(width),
        )
        self.squeeze = nn.Sequential(nn.Conv2d(width, 4, 1), nn.SiLU(), nn.Conv2d(4, width, 1), gate())
        self.shortcut = nn.Conv2d(channels, width, 1, stride)

    def forward(self, maps: Tensor) -> Tensor:
        body = self.body(maps)
        body = body * self.squeeze(body.mean((2, 3), keepdim=True))
        body += self.shortcut(maps)
        return functional.relu_(body)


class Dense(nn.Module):
    """Normalised before its convolution, joined to what it reads, then thinned out."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, width, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        joined = torch.cat([maps, self.conv(functional.relu(self.norm(maps)))], 1)
        return functional.avg_pool2d(joined, 2)


class Next(nn.Module):
    """Layer normalisation over channels, GELU, a scale per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.wide, self.narrow = nn.Linear(channels, 2 * channels), nn.Linear(2 * channels, channels)
        self.gamma = nn.Parameter(torch.linspace(0.5, 1.5, channels))

    def forward(self, maps: Tensor) -> Tensor:
        inner = self.norm(self.conv(maps).permute(0, 2, 3, 1))
        inner = self.narrow(functional.gelu(self.wide(inner))).permute(0, 3, 1, 2)
        logits: Tensor = maps + inner * self.gamma.reshape(1, -1, 1, 1)
        return logits


def plain() -> nn.Module:
    return Pooled(
        nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True)),
        nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(inplace=True)),
        nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=True)),
        channels=8,
    )


def overlapping() -> nn.Module:
    return Pooled(
        nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Hardtanh(0, 6)),
        nn.Sequential(nn.MaxPool2d(3, 2, 1), Residual(6, 8, 2)),
        nn.Sequential(nn.AvgPool2d(3, 2, 1), nn.Conv2d(8, 8, 3, 1, 2, dilation=2), nn.Tanh()),
        channels=8,
    )


def gated() -> nn.Module:
    return Pooled(
        nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Hardswish(inplace=True)),
        nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(8, 8, 3, 2), nn.SiLU(inplace=True)),
        Residual(8, 8, gate=nn.Sigmoid),
        channels=8,
    )


def dense() -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.LeakyReLU(0.1))
    return Pooled(stem, Dense(6, 4), Dense(10, 4), channels=14)


def following() -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ELU())
    return Pooled(stem, Next(8), nn.Sequential(nn.AdaptiveAvgPool2d((3, 4)), Next(8)), channels=8)


NETWORKS = {network.__name__: network for network in (plain, overlapping, gated, dense, following)}
LAYERS = ("stages.0", "stages.1", "stages.2")


@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_layer_gives_the_engines_maps(
    name: str, settle: Callable[..., nn.Module], check: Callable[..., None]
) -> None:
    maps = {
        "": CAM("layer-cam", layers=LAYERS[1:], fusion="product", positive_activations=True),
        "lt": CAM("grad-cam", Truncation(50), layers=LAYERS, relu="none"),
    }
    check(settle(NETWORKS[name]()), maps)


@pytest.mark.parametrize("scope", ["channel", "stage"])
def test_every_method_in_every_form(
    scope: Scope, settle: Callable[..., nn.Module], check: Callable[..., None]
) -> None:
    options: dict[str, Any] = {"layers": LAYERS, "fusion": "max", "stage_scale": "max"}
    maps = {method: CAM(method, **options) for method in METHODS}
    for method in METHODS:
        for reading in get_args(TruncationReading):
            maps[f"{method} {reading}"] = CAM(method, Truncation(37.5, scope, reading), **options)
    check(settle(plain()), maps)


@pytest.mark.parametrize("fusion", ["sum", "mean", "max", "product"])
def test_every_fusion_and_scale(
    fusion: Fusion, settle: Callable[..., nn.Module], check: Callable[..., None]
) -> None:
    scales: tuple[StageScale, ...] = get_args(StageScale)
    check(settle(plain()), {s: CAM("layer-cam", layers=LAYERS, fusion=fusion, stage_scale=s) for s in scales})


def test_several_kinds_of_defect_are_explained_together(
    settle: Callable[..., nn.Module], check: Callable[..., None]
) -> None:
    network = plain()
    network.head = nn.Linear(8, 4)
    check(settle(network), {"": CAM("grad-cam", layers=LAYERS)}, defects=(1, 2, 3))


def test_a_student_draws(settle: Callable[..., nn.Module], check: Callable[..., None]) -> None:
    network = settle(build_student("test_resnet", 2))
    check(network, {"": CAM(STUDENT), "cam": CAM("layer-cam", layers=("trunk.layer2",))}, size=(64, 64))


class Trunk(nn.Module):
    """Three blocks, each at half the size of the one before; pooled features (N, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(old, new, 3, 2, 1), nn.BatchNorm2d(new), nn.ReLU(inplace=True))
                for old, new in ((3, 6), (6, 8), (8, 8))
            )
        )
        self.num_features = 8

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.blocks(images).mean((2, 3))
        return logits


def with_seeds(
    settle: Callable[..., nn.Module], *, head: bool = True, peaks: bool = True
) -> SeededClassifier:
    """Three classes; logits are made of pooled features, of the seed maps' peaks, or of both."""
    heads = SeedHeads([6, 8], 2)
    network: Any = settle(seeded(Classifier(Trunk(), 3), ("trunk.blocks.0", "trunk.blocks.1"), heads))
    for parameter in heads.parameters():
        nn.init.normal_(parameter, 0, 0.5)
    for part, used in ((network.head, head), (network.peaks, peaks)):
        nn.init.normal_(part.weight, 0, 0.5 if used else 0)
    assert isinstance(network, SeededClassifier)
    return network


SEEDS = {"seed a": CAM(seed_method(1)), "seed b": CAM(seed_method(2))}


@pytest.mark.parametrize("logits", [{}, {"head": False}, {"peaks": False}], ids=str)
def test_seed_maps_and_maps_of_gradients_are_one_graph(
    logits: dict[str, Any], settle: Callable[..., nn.Module], check: Callable[..., None]
) -> None:
    layers = ("trunk.blocks.0", "trunk.blocks.1")
    maps = {"map": CAM("layer-cam", layers=layers, fusion="product", positive_activations=True), **SEEDS}
    check(with_seeds(settle, **logits), maps, defects=(1, 2))


@pytest.mark.parametrize("logits", [{}, {"head": False}, {"peaks": False}], ids=str)
def test_seed_maps_alone_need_no_gradient(
    logits: dict[str, Any], settle: Callable[..., nn.Module], check: Callable[..., None]
) -> None:
    network = with_seeds(settle, **logits)
    check(network, dict(reversed(SEEDS.items())), defects=(1, 2))
    model = build_graph(Pipeline(network, SEEDS, (32, 48), *STATISTICS, (1, 2)))
    convolutions = sum(node.op_type == "Conv" for node in model.graph.node)
    # Where no verdict needs the last block, it is not computed.
    assert convolutions == 2 + 2 + (logits != {"head": False})
    verdicts = onnx.load_from_string(with_outputs(model.SerializeToString(), [LOGITS]))
    seeds = 2 * (logits != {"peaks": False})
    assert sum(node.op_type == "Conv" for node in verdicts.graph.node) == convolutions - 2 + seeds


def test_a_peak_that_several_places_share_gives_each_its_part(
    settle: Callable[..., nn.Module], check: Callable[..., None]
) -> None:
    network = with_seeds(settle, head=False)
    layers = ("trunk.blocks.1",)
    maps = {"map": CAM("hires-cam", layers=layers, relu="none")}

    def flat(count: int, size: tuple[int, int]) -> NDArray[np.uint8]:
        return np.full((count, *size, 3), 200, np.uint8)  # all places inside of the border are the same

    check(network, maps, defects=(1, 2), paint=flat)


def test_a_stage_without_any_activation_is_zero_and_not_nan(
    settle: Callable[..., nn.Module], ask: Callable[[bytes, Mapping[str, NDArray[Any]]], Answer]
) -> None:
    network: Any = settle(plain())
    nn.init.zeros_(network.stages[1][1].weight)
    nn.init.constant_(network.stages[1][1].bias, -1)
    maps = {name: CAM(name, Truncation(50), layers=LAYERS, fusion="product") for name in METHODS}
    model = build_graph(Pipeline(network, maps, (16, 16), *STATISTICS, (1,)))
    found = ask(model.SerializeToString(), {IMAGES: np.full((2, 16, 16, 3), 200, np.uint8)})
    for name in maps:
        assert not found[output_name(name, tuple(maps))].any()


def test_of_equal_values_in_a_pooling_window_the_first_one_takes_the_gradient(
    settle: Callable[..., nn.Module], ask: Callable[[bytes, Mapping[str, NDArray[Any]]], Answer]
) -> None:
    """Numbers are multiples of 1/16, so that no runtime rounds them and all values of a window are equal."""
    network = Pooled(
        nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(6, 4, 1)),
        nn.MaxPool2d(3, 2, 1),
        channels=4,
    )
    for parameter in settle(network).parameters():
        parameter.copy_((parameter * 16).round() / 16)
    cam = CAM("layer-cam", layers=("stages.0", "stages.1"))
    model = build_graph(Pipeline(network, {"": cam}, (16, 16), (0.5,) * 3, (0.25,) * 3, (1,)))
    found = ask(model.SerializeToString(), {IMAGES: np.full((1, 16, 16, 3), 255, np.uint8)})[HEATMAP]
    expected = cam(network, torch.full((1, 3, 16, 16), 2.0), log_odds([1])).numpy()
    assert expected.max() > expected.min()
    assert np.abs(found - expected).max() <= 1e-6 * expected.max()


def test_inputs_and_outputs_say_what_they_are(settle: Callable[..., nn.Module]) -> None:
    model = build_graph(
        Pipeline(settle(plain()), {"": CAM("grad-cam", layers=LAYERS)}, (16, 24), *STATISTICS, (1,))
    )
    onnx.checker.check_model(model, full_check=True)

    def shape(value: onnx.ValueInfoProto) -> list[int | str]:
        return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]

    assert [(value.name, shape(value)) for value in model.graph.input] == [(IMAGES, ["N", 16, 24, 3])]
    assert {value.name: shape(value) for value in model.graph.output} == {
        LOGITS: ["N", 2],
        PROBABILITIES: ["N", 2],
        HEATMAP: ["N", 16, 24],
    }


def test_what_cannot_be_exported_names_operator_and_layer(settle: Callable[..., nn.Module]) -> None:
    network = Pooled(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
        nn.Sequential(nn.PixelShuffle(2), nn.Softsign()),
        channels=1,
    )
    with pytest.raises(ExportError, match=r"operator pixel_shuffle .*layer 'stages.1.0'"):
        build_graph(
            Pipeline(settle(network), {"": CAM("grad-cam", layers=LAYERS[:1])}, (16, 16), *STATISTICS, (1,))
        )


@pytest.mark.parametrize("cam", [CAM("score-cam", layers=LAYERS), CAM("fullgrad"), CAM("grad-cam")])
def test_maps_that_no_graph_makes_are_refused(cam: CAM, settle: Callable[..., nn.Module]) -> None:
    with pytest.raises(ExportError, match="be exported"):
        build_graph(Pipeline(settle(plain()), {"": cam}, (16, 16), *STATISTICS, (1,)))
