"""Exported graphs on the runtimes that there are, and the same answers from torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from ltcam.cam import CAM, log_odds
from ltcam.export.export import ExportSettings, export_run
from ltcam.export.pipeline import Pipeline, build_graph
from ltcam.models.classifier import build_classifier, stages_of
from ltcam.models.student import build_student
from ltcam.runs.folder import write_run
from ltcam.runs.run import Run
from ltcam_runtime.engines import import_onnxruntime, import_openvino
from ltcam_runtime.part_files import DIGEST_KEY, IMAGES, LOGITS, NO_DIGEST, PART_KEY, output_name
from ltcam_runtime.settings import MAP, CamSettings, MaskSettings, SharpeningSettings

Answer = dict[str, NDArray[np.float32]]
RUNTIMES = ("onnxruntime", "openvino")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def on_onnxruntime(model: bytes, feeds: Mapping[str, NDArray[Any]]) -> Answer:
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def on_openvino(model: bytes, feeds: Mapping[str, NDArray[Any]]) -> Answer:
    openvino = import_openvino()
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(model), "CPU", settings)
    result = compiled(dict(feeds))
    return {name: result[output] for output in compiled.outputs for name in output.names}


@pytest.fixture(params=RUNTIMES)
def ask(request: pytest.FixtureRequest) -> Callable[[bytes, Mapping[str, NDArray[Any]]], Answer]:
    """(model, inputs) -> outputs, on each runtime."""
    return {"onnxruntime": on_onnxruntime, "openvino": on_openvino}[request.param]


def in_torch(
    network: nn.Module, maps: Mapping[str, CAM], images: NDArray[np.uint8], defects: tuple[int, ...]
) -> Answer:
    """What the engine says of uint8 images (N, H, W, 3)."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    batch = (torch.from_numpy(images).permute(0, 3, 1, 2).float().contiguous() / 255 - mean) / std
    found: Answer = {}
    for name, cam in maps.items():
        explained = cam.explain(network, batch, log_odds(defects))
        found[output_name(name, tuple(maps))] = explained.heatmaps.numpy()
        assert isinstance(explained.output, torch.Tensor)
        found[LOGITS] = explained.output.numpy()
    return found


def pictures(count: int, size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """Blotches and noise (N, H, W, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, -(-size[0] // 8), -(-size[1] // 8), 3))
    blotches = coarse.repeat(8, 1).repeat(8, 2)[:, : size[0], : size[1]]
    return (blotches + rng.integers(-20, 20, blotches.shape)).clip(0, 255).astype(np.uint8)


def settled(network: nn.Module, seed: int = 0) -> nn.Module:
    """In evaluation mode, frozen, with random normalisations and weights that let something through."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.normal_(module.bias, 0, 0.1)
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(module.weight, 0, 1.4 / module.weight[0].numel() ** 0.5)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def settle() -> Callable[..., nn.Module]:
    return settled


@pytest.fixture(scope="session")
def paint() -> Callable[..., NDArray[np.uint8]]:
    return pictures


@pytest.fixture
def check(ask: Callable[..., Answer]) -> Callable[..., None]:
    """Export a network, and compare every output with torch's, for one image and for several."""

    def compare(
        network: nn.Module,
        maps: Mapping[str, CAM],
        size: tuple[int, int] = (32, 48),
        defects: tuple[int, ...] = (1,),
        paint: Callable[..., NDArray[np.uint8]] = pictures,
    ) -> None:
        model = build_graph(Pipeline(network, maps, size, MEAN, STD, defects)).SerializeToString()
        for count in (3, 1):
            images = paint(count, size)
            found, expected = ask(model, {IMAGES: images}), in_torch(network, maps, images, defects)
            for name, values in expected.items():
                scale = float(np.abs(values).max())
                assert scale > 0, f"{name} is empty and tests nothing"
                assert np.abs(found[name] - values).max() <= 2e-5 * scale, name

    return compare


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a run folder of a tiny network with random weights: what a training leaves, without its seconds."""

    def make(size: tuple[int, int] = (64, 96), **values: Any) -> Path:
        folder = tmp_path_factory.mktemp("runs") / "run"
        folder.mkdir()
        student = values.get("network") == "student"
        classes = values.pop("classes", ("ok", "hole"))
        torch.manual_seed(5)  # what is not settled below is made at random: the same whatever ran before
        classifier = (build_student if student else build_classifier)("test_resnet", len(classes))
        settled(classifier)
        nn.init.normal_(classifier.head.weight, 0, 0.05)
        stages = stages_of(classifier, size)
        values = {
            "maps": {MAP: CamSettings(stages=stages[1:], percentile=None)},
            "sharpening": SharpeningSettings(polarity="dark"),
            "mask": MaskSettings(reach=0.7, fill_holes=True),
            **values,
        }
        run = Run(
            classes=classes,
            image_size=size,
            mean=MEAN,
            std=STD,
            backbone="test_resnet",
            stages=stages,
            seed=0,
            **values,
        )
        write_run(folder, run, classifier)
        return folder

    return make


@pytest.fixture(scope="session")
def run_folder(make_run: Callable[..., Path]) -> Path:
    """A run. Not to be changed."""
    return make_run()


@pytest.fixture(scope="session")
def part_file(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That run, exported. Not to be changed."""
    return export_run(run_folder, tmp_path_factory.mktemp("parts") / "part.ltcam.onnx").path


@pytest.fixture(scope="session")
def archive_file(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run in OpenVINO's own form. Not to be changed."""
    out = tmp_path_factory.mktemp("archives") / "part.ltcam.zip"
    return export_run(run_folder, out, ExportSettings(format="openvino")).path


def sign(model: onnx.ModelProto, path: Path) -> Path:
    """A model with a right checksum, as somebody who knows the format would write it."""
    for entry in model.metadata_props:
        if entry.key == DIGEST_KEY:
            entry.value = NO_DIGEST
    content = model.SerializeToString()
    found = hashlib.sha256(content).hexdigest().encode()
    place = content.rindex(NO_DIGEST.encode())
    path.write_bytes(content[:place] + found + content[place + 64 :])
    return path


@pytest.fixture(scope="session")
def signed() -> Callable[[onnx.ModelProto, Path], Path]:
    """(model, path) -> path of a file with a right checksum."""
    return sign


@pytest.fixture
def with_part(part_file: Path, tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], object]], Path]:
    """(change) -> path of the exported file with other contents of its settings, and a right checksum."""

    def written(change: Callable[[dict[str, Any]], object]) -> Path:
        model = onnx.load(part_file)
        entry = next(entry for entry in model.metadata_props if entry.key == PART_KEY)
        entry.value = json.dumps(change(json.loads(entry.value)))
        return sign(model, tmp_path / "part.ltcam.onnx")

    return written
