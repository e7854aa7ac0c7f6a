"""The whole network as one graph: uint8 images in; logits, probabilities and heatmaps out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from ltcam.cam import CAM, GradientMethod, Truncation, get_method
from ltcam.cam.fusion import fuse, resize_maps
from ltcam.cam.network.eval_mode import evaluating
from ltcam.export.derivatives import write_gradients
from ltcam.export.onnx_graph import OnnxGraph
from ltcam.export.operators import Emitter, UntranslatedError
from ltcam.export.tracing import Batch, Node, Trace, trace, with_folded_normalisations
from ltcam.export.truncation import write_selection
from ltcam.models.seeded import SeededClassifier, SeedMethod
from ltcam.models.student import STUDENT, Student
from ltcam_runtime.errors import ExportError
from ltcam_runtime.part_files import IMAGES, LOGITS, PROBABILITIES, output_name


@dataclass(frozen=True)
class Pipeline:
    """What a graph is made of.

    Attributes:
        network: a classifier, with seed maps or without, or a student, in evaluation mode.
        maps: the heatmaps wanted, by name; layers named.
        image_size: (height, width) of the images.
        mean: per channel, of values 0 to 1.
        std: per channel.
        defects: indices of the classes whose log-odds against the others the maps explain.
    """

    network: nn.Module
    maps: Mapping[str, CAM]
    image_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    defects: tuple[int, ...]

    @property
    def explained(self) -> dict[str, CAM]:
        """The maps that are made of activations and gradients."""
        return {name: cam for name, cam in self.maps.items() if not is_drawn(cam)}


def build_graph(pipeline: Pipeline, *, plain: bool = False) -> onnx.ModelProto:
    """The graph of a pipeline.

    Its input `images` is (N, H, W, 3) uint8 RGB; its outputs are `logits` and `probabilities` (N, K) and, for each
    map, `heatmap` (of several, `heatmap:NAME`) (N, H, W), all float32.

    Args:
        pipeline: what it is made of.
        plain: whether all convolutions are written as such; else large ones of graphs without gradients are not.

    Raises:
        ExportError: what has no translation, naming operator and layer.
    """
    graph = OnnxGraph()
    height, width = pipeline.image_size
    images = graph.add_input(IMAGES, TensorProto.UINT8, ("N", height, width, 3))
    emitter = Emitter(graph, images, fewer_products=not plain and not pipeline.explained)
    with evaluating(pipeline.network), _naming_layers(pipeline):
        outputs, heatmaps = _written(pipeline, emitter, _normalised(graph, images, pipeline))
    classes = outputs.shape[1]
    graph.add_output(outputs.value, LOGITS, TensorProto.FLOAT, ("N", classes))
    softmax = graph.op("Softmax", outputs.value, axis=1)
    graph.add_output(softmax, PROBABILITIES, TensorProto.FLOAT, ("N", classes))
    for name, value in heatmaps.items():
        graph.add_output(value, output_name(name, tuple(heatmaps)), TensorProto.FLOAT, ("N", height, width))
    return graph.model("ltcam")


def check_maps(maps: Mapping[str, CAM]) -> None:
    """Refuse what no graph can say, before anything is computed.

    Raises:
        ExportError: a map that is made of more than one forward and one backward pass.
    """
    for cam in maps.values():
        if not is_drawn(cam):
            _layers(cam)


@dataclass(frozen=True)
class _Outputs:
    """The network's logits: their value in the graph, and their shape."""

    value: str
    shape: tuple[int, int]


def _normalised(graph: OnnxGraph, images: str, pipeline: Pipeline) -> str:
    """(N, H, W, 3) uint8 to (N, 3, H, W) float32: (x / 255 - mean) / std."""
    mean, std = (np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (pipeline.mean, pipeline.std))
    values = graph.as_float(graph.op("Transpose", images, perm=[0, 3, 1, 2]))
    shares = graph.op("Div", values, graph.constant(255))
    return graph.op("Div", graph.op("Sub", shares, graph.constant(mean)), graph.constant(std))


def _written(pipeline: Pipeline, emitter: Emitter, images: str) -> tuple[_Outputs, dict[str, str]]:
    """Logits, and the heatmaps by name: one forward pass for all of them, one backward pass for those of gradients."""
    drawn = [name for name, cam in pipeline.maps.items() if is_drawn(cam)]
    explained = pipeline.explained
    layers = tuple(dict.fromkeys(layer for cam in explained.values() for layer in _layers(cam)))
    forward = _forward(pipeline, drawn)
    traced = with_folded_normalisations(
        trace(_tapped(pipeline.network, forward, layers), [(3, *pipeline.image_size)])
    )
    logits, *values = emitter.write(traced, [images])
    outputs, count = _outputs(traced, logits), len(drawn)
    heatmaps = dict(zip(drawn, values[:count], strict=True))
    if explained:
        tapped_at = zip(traced.outputs[1 + count :], values[count:], strict=True)
        taps = dict(zip(layers, tapped_at, strict=True))
        heatmaps |= _explained(pipeline, emitter, traced, outputs, taps)
    return outputs, {name: heatmaps[name] for name in pipeline.maps}


def _outputs(traced: Trace, value: str) -> _Outputs:
    shape = traced.outputs[0].shape
    if len(shape) != 2 or not isinstance(shape[1], int):
        raise ExportError(f"the network puts out {len(shape)} dimensions; logits (N, K) are needed")
    return _Outputs(value, (0, shape[1]))


def is_drawn(cam: CAM) -> bool:
    """Whether the network makes this map in its forward pass."""
    return cam.method == STUDENT or isinstance(cam.method, SeedMethod)


def _forward(pipeline: Pipeline, drawn: Sequence[str]) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """Images to the network's logits and, at the images' size, the maps (N, H, W) that it draws."""
    network = pipeline.network
    if isinstance(network, SeededClassifier):
        methods = [pipeline.maps[name].method for name in drawn]
        kinds = [method.kind for method in methods if isinstance(method, SeedMethod)]
        return _seeding(network, kinds, pipeline.image_size, explained=len(drawn) < len(pipeline.maps))
    if not drawn:
        return lambda images: (network(images),)
    if not isinstance(network, Student):
        raise ExportError("only a student or a network with seed maps draws by itself; this network is none")
    student = network

    def draw(images: Tensor) -> tuple[Tensor, ...]:
        logits, found = student.segment(images)
        return logits, *[found.sigmoid()] * len(drawn)

    return draw


def _seeding(
    network: SeededClassifier, kinds: Sequence[int], size: tuple[int, int], *, explained: bool
) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """Logits and seed maps. What adds nothing to the logits is left out: no verdict needs to wait for it.

    Args:
        network: with seed maps.
        kinds: whose maps are drawn.
        size: (height, width) of the images.
        explained: whether gradients are asked for, which shall find their way to every block.
    """
    passed = network.seeding(whole=explained)

    def draw(images: Tensor) -> tuple[Tensor, ...]:
        logits, maps = passed(images)
        chosen = [maps[:, kind - 1 : kind] for kind in kinds]
        return logits, *(
            functional.interpolate(one, size=size, mode="bilinear", align_corners=False)[:, 0]
            for one in chosen
        )

    return draw


def _explained(
    pipeline: Pipeline,
    emitter: Emitter,
    traced: Trace,
    outputs: _Outputs,
    taps: Mapping[str, tuple[Node, str]],
) -> dict[str, str]:
    """The heatmaps that are made of activations and gradients; all maps share one backward pass."""
    nodes = [node for node, _ in taps.values()]
    gradient = _score_gradient(emitter, outputs.value, outputs.shape[1], pipeline.defects)
    gradients = write_gradients(emitter, traced, traced.outputs[0], gradient, nodes)
    known = {
        layer: _Stage(_map_shape(layer, node), activation, slope)
        for (layer, (node, activation)), slope in zip(taps.items(), gradients, strict=True)
    }
    selections: dict[tuple[_Stage, Truncation], str] = {}
    heatmaps = {}
    for name, cam in pipeline.explained.items():
        stages = [known[layer] for layer in _layers(cam)]
        kept = [_kept(emitter.graph, stage, cam.truncation, selections) for stage in stages if cam.truncation]
        heatmaps[name] = _heatmap(emitter, cam, stages, kept, pipeline.image_size)
    return heatmaps


@dataclass(frozen=True)
class _Stage:
    """One layer: the shape (C, h, w) of its maps, and the values of activations and gradients."""

    shape: tuple[int, int, int]
    activations: str
    gradients: str


def _layers(cam: CAM) -> tuple[str, ...]:
    method = get_method(cam.method)
    if not isinstance(method, GradientMethod):
        raise ExportError(
            f"{method.title} is no gradient method and cannot be exported; export another `method`, or a student of "
            "the run (`ltcam distill`)"
        )
    if cam.layers is None or cam.reshape is not None:
        raise ExportError("only maps of named layers, without a callable that reshapes them, can be exported")
    return cam.layers


def _map_shape(layer: str, tap: Node) -> tuple[int, int, int]:
    if len(tap.shape) != 4 or tap.shape[0] != Batch(1):
        raise ExportError(f"layer {layer!r} puts out no maps (N, C, h, w)")
    return tap.size(1), tap.size(2), tap.size(3)


def _tapped(
    network: nn.Module, forward: Callable[[Tensor], tuple[Tensor, ...]], layers: Sequence[str]
) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """What a pass of the network gives, and copies of what these layers put out."""
    modules = dict(network.named_modules())

    def run(images: Tensor) -> tuple[Tensor, ...]:
        taken: dict[str, Tensor] = {}
        handles = []
        try:
            for layer in layers:

                def hook(_module: nn.Module, _inputs: object, output: Tensor, layer: str = layer) -> Tensor:
                    taken[layer] = output.clone()
                    return taken[layer]  # what follows reads the copy, so that it has the layer's gradient

                handles.append(modules[layer].register_forward_hook(hook))
            found = forward(images)
        finally:
            for handle in handles:
                handle.remove()
        return *found, *(taken[layer] for layer in layers)

    return run


def _score_gradient(emitter: Emitter, logits: str, classes: int, defects: Sequence[int]) -> str:
    """Of the log-odds logsumexp(z of defects) - logsumexp(z of the others): a softmax of each of the two."""
    graph = emitter.graph
    rest = [index for index in range(classes) if index not in defects]
    parts = []
    for chosen in (list(defects), rest):
        outside = np.full((1, classes), -np.inf, np.float32)
        outside[0, chosen] = 0
        parts.append(graph.op("Softmax", graph.op("Add", logits, graph.constant(outside)), axis=1))
    return graph.op("Sub", *parts)


def _kept(
    graph: OnnxGraph, stage: _Stage, truncation: Truncation, known: dict[tuple[_Stage, Truncation], str]
) -> str:
    """T of a stage; maps that truncate alike share it."""
    key = stage, replace(truncation, reading="gradient")
    if key not in known:
        known[key] = write_selection(graph, stage.gradients, stage.shape, truncation)
    return known[key]


def _heatmap(
    emitter: Emitter, cam: CAM, stages: Sequence[_Stage], kept: Sequence[str], size: tuple[int, int]
) -> str:
    """One map (N, H, W): the engine's own code is traced, only its percentile is written by hand."""

    def draw(*values: Tensor) -> tuple[Tensor]:
        activations, gradients = values[: len(stages)], values[len(stages) : 2 * len(stages)]
        selections: list[Tensor | None] = [t.clone() for t in values[2 * len(stages) :]]  # is written over
        selections = selections or [None] * len(stages)
        maps = [cam.stage_map(a, g, t) for a, g, t in zip(activations, gradients, selections, strict=True)]
        return (fuse(maps, size, fusion=cam.fusion, stage_scale=cam.stage_scale),)

    shapes = [stage.shape for stage in stages]
    _remember_matrices(shapes, size)
    traced = trace(draw, shapes * (3 if kept else 2))
    inputs = [*(stage.activations for stage in stages), *(stage.gradients for stage in stages), *kept]
    return emitter.write(traced, inputs)[0]


def _remember_matrices(shapes: Sequence[tuple[int, int, int]], size: tuple[int, int]) -> None:
    """Let the engine resize once for real: matrices that it made while it is traced would hold no numbers."""
    for _, height, width in shapes:
        resize_maps(torch.zeros(1, height, width), size)


@contextmanager
def _naming_layers(pipeline: Pipeline) -> Iterator[None]:
    """Say of an operator that has no translation in which layer it is."""
    try:
        yield
    except UntranslatedError as error:
        layer = _layer_with(pipeline, error.operator)
        where = f" (layer {layer!r})" if layer else ""
        raise ExportError(
            f"the network cannot be exported: {error}{where}; take another backbone or map"
        ) from error


def _layer_with(pipeline: Pipeline, operator: str) -> str:
    """The first layer of the network that runs an operator, or ""."""
    inside: list[str] = []
    found: list[str] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function._schema.name.removeprefix("aten::").rstrip("_") == operator.rstrip("_") and inside:
                found.append(inside[-1])
            return function(*args, **(kwargs or {}))

    handles = []
    try:
        for name, module in pipeline.network.named_modules():
            handles.append(module.register_forward_pre_hook(lambda *_, name=name: inside.append(name)))
            handles.append(module.register_forward_hook(lambda *_: inside.pop() and None))
        with torch.no_grad(), Watch():  # type: ignore[no-untyped-call]
            pipeline.network(torch.zeros(1, 3, *pipeline.image_size))
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else ""
