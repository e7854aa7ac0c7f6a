"""Convolutions with fewer products: the same values as torch's, whatever the sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from torch import nn

from ltcam.cam import CAM
from ltcam.export.onnx_graph import OnnxGraph
from ltcam.export.pipeline import Pipeline, build_graph
from ltcam.export.winograd import FEWEST_CHANNELS, Layer, layer_of, write_convolution
from ltcam.models.student import STUDENT, build_student

PLAIN = {"strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1], "group": 1}


def computed(layer: Layer, image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    graph = OnnxGraph()
    value = graph.add_input("image", TensorProto.FLOAT, ("N", layer.channels, layer.height, layer.width))
    found = write_convolution(graph, value, graph.constant(weight), layer)
    graph.add_output(found, "found", TensorProto.FLOAT, ("N", layer.filters, layer.height, layer.width))
    session = onnxruntime.InferenceSession(
        graph.model("layer").SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(["found"], {"image": image})[0])


@settings(max_examples=25)
@given(
    st.builds(Layer, *(st.integers(1, 19) for _ in range(4))), st.integers(1, 3), st.integers(0, 2**32 - 1)
)
@example(Layer(3, 5, 4, 4), 2, 0)
@example(Layer(1, 1, 1, 1), 1, 0)
def test_any_size_gives_what_torch_gives(layer: Layer, images: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(images, layer.channels, layer.height, layer.width)).astype(np.float32)
    weight = (rng.normal(size=(layer.filters, layer.channels, 3, 3)) / 9).astype(np.float32)
    exact = torch.nn.functional.conv2d(
        torch.from_numpy(image).double(), torch.from_numpy(weight).double(), padding=1
    ).numpy()
    found = computed(layer, image, weight)
    assert found.shape == exact.shape
    assert np.abs(found - exact).max() < 2e-5 * max(float(np.abs(exact).max()), 1.0)


@pytest.mark.parametrize(
    ("changes", "kernel", "size"),
    [
        ({"strides": [2, 2]}, (3, 3), (56, 56)),
        ({"pads": [0, 0, 0, 0]}, (3, 3), (56, 56)),
        ({"dilations": [2, 2]}, (3, 3), (56, 56)),
        ({"group": 128}, (3, 3), (56, 56)),
        ({}, (1, 1), (56, 56)),
        ({}, (3, 3), (7, 7)),  # two by two tiles, a quarter of them outside
        ({}, (3, 3), (1, 400)),
    ],
)
def test_what_gains_nothing_stays_a_convolution(
    changes: dict[str, Any], kernel: tuple[int, int], size: tuple[int, int]
) -> None:
    image, weights = (1, FEWEST_CHANNELS, *size), (FEWEST_CHANNELS, FEWEST_CHANNELS, *kernel)
    assert layer_of(image, weights, PLAIN | changes, transposed=False) is None
    assert layer_of(image, weights, PLAIN | changes, transposed=True) is None


def test_a_large_layer_gains() -> None:
    sizes = (1, FEWEST_CHANNELS, 56, 40), (256, FEWEST_CHANNELS, 3, 3)
    assert layer_of(*sizes, PLAIN, transposed=False) == Layer(FEWEST_CHANNELS, 256, 56, 40)
    few = (1, 64, 56, 40), (256, 64, 3, 3)
    assert layer_of(*few, PLAIN, transposed=False) is None


def graphs_of(network: nn.Module, cam: CAM) -> list[onnx.ModelProto]:
    pipeline = Pipeline(network, {"map": cam}, (64, 96), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), (1,))
    return [build_graph(pipeline, plain=plain) for plain in (True, False)]


def sizes_of_kernels(model: onnx.ModelProto) -> set[int]:
    return {
        side
        for node in model.graph.node
        if node.op_type == "Conv"
        for constant in model.graph.initializer
        if constant.name == node.input[1]
        for side in constant.dims[2:]
    }


def test_a_student_of_vgg16_says_the_same() -> None:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    network = build_student("vgg16", 2).eval().requires_grad_(False)
    models = graphs_of(network, CAM(STUDENT))
    assert [6 in sizes_of_kernels(model) for model in models] == [False, True]
    images = rng.integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    plain, faster = (
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            ["heatmap", "probabilities"], {"images": images}
        )
        for model in models
    )
    for one, other in zip(plain, faster, strict=True):
        assert np.abs(one - other).max() < 1e-4 * np.ptp(one)
    assert len(models[1].SerializeToString()) < 1.01 * len(models[0].SerializeToString())


def test_gradients_are_made_of_plain_convolutions() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, FEWEST_CHANNELS, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(FEWEST_CHANNELS, FEWEST_CHANNELS, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(FEWEST_CHANNELS, 2),
    ).eval()
    models = graphs_of(network, CAM("layer-cam", layers=("3",)))
    assert not any(6 in sizes_of_kernels(model) for model in models)
