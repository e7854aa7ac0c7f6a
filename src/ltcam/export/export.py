"""A run to one file: the graph, its settings and golden images; written only if it says what the run says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from ltcam.export.golden import golden_images
from ltcam.export.pipeline import Pipeline, build_graph
from ltcam.runs.inspector import Inspector
from ltcam.runs.run import WEIGHTS_FILE
from ltcam_runtime.errors import ExportError, OutputError, RunError, SettingsError
from ltcam_runtime.exported import Inspector as ExportedInspector
from ltcam_runtime.folders import write_file
from ltcam_runtime.graph_networks import EngineSettings, GraphNetwork
from ltcam_runtime.onnx_files import check
from ltcam_runtime.parity import Comparison, gate
from ltcam_runtime.part_files import DIGEST_KEY, NO_DIGEST, PART_KEY, EngineName, Origin, Part
from ltcam_runtime.settings import Overrides

_KEPT_EXACT = 64  # values; smaller constants are sizes, bounds and biases, and stay float32
_TOLERANCES = {"fp32": 1e-3, "fp16": 2e-2}
Precision = Literal["fp32", "fp16"]
ENGINES: dict[str, EngineName] = {"onnx": "onnxruntime", "openvino": "openvino"}
FORMATS, PRECISIONS = tuple(ENGINES), tuple(_TOLERANCES)


@dataclass(frozen=True)
class ExportSettings:
    """What is written.

    Attributes:
        format: `onnx` or `openvino`: which runtime opens the file unless asked otherwise. Both can.
        precision: `fp32`, or `fp16`: weights of half the size, computed with in float32.
        golden: images to compare with; none makes synthetic ones.
        overrides: map, mask and verdict settings to use instead of the run's.
        trust_changed_run: whether a run will do that was changed after its training.
        overwrite: replace an existing file.
    """

    format: str = "onnx"
    precision: Precision = "fp32"
    golden: tuple[Path, ...] = ()
    overrides: Overrides = field(default_factory=Overrides)
    trust_changed_run: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("format", self.format, FORMATS),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in known:
                raise SettingsError(f"`{name}` {value!r} is unknown; choose from {', '.join(known)}")


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: of the file.
        size: in bytes.
        part: what it says of itself.
        parity: how it compares with the run, by runtime.
    """

    path: Path
    size: int
    part: Part
    parity: dict[str, list[Comparison]]


def export_run(
    run: str | Path,
    out: str | Path,
    settings: ExportSettings = ExportSettings(),
    progress: Callable[[str], None] = lambda _step: None,
) -> Exported:
    """Write a run's whole inspection into one file that needs no torch.

    Args:
        run: run folder.
        out: the file, `part.ltcam.onnx`.
        settings: what is written.
        progress: called with what is done next.

    Raises:
        ExportError: an operator without translation, or a graph that says something else than the run.
        LtcamError: a run, image or place that cannot be used.
    """
    out = Path(out)
    _check_place(out, settings.overwrite)
    torch.manual_seed(0)  # nothing is random; were it so, it would be so in the same way
    inspector = _opened(run, settings)
    progress("golden images")
    golden = golden_images(inspector, settings.golden)
    progress("graph")
    model = build_graph(_pipeline(inspector))
    if settings.precision == "fp16":
        _halve_weights(model.graph)
    part = Part(
        image_size=inspector.run.image_size,
        inspection=inspector.settings,
        maps=inspector.network.run.maps,
        engine=ENGINES[settings.format],
        precision=settings.precision,
        tolerance=_TOLERANCES[settings.precision],
        origin=_origin(Path(run)),
        golden=golden,
    )
    content = _with_metadata(model, part)
    parity: dict[str, list[Comparison]] = {}
    for engine in dict.fromkeys(("onnxruntime", part.engine)):
        progress(f"parity on {engine}")
        parity[engine] = _checked(content, part, engine)
    write_file(out, content)
    return Exported(out, len(content), part, parity)


def _check_place(out: Path, overwrite: bool) -> None:
    if not out.name.endswith(".onnx"):
        raise SettingsError(f"`out` {out}: the file's name must end in .onnx, such as part.ltcam.onnx")
    if out.exists() and (out.is_dir() or not overwrite):
        raise OutputError(f"{out} is there already; give another name, or `overwrite=True`")


def _opened(run: str | Path, settings: ExportSettings) -> Inspector:
    """The run with the settings asked for, and with no other maps than kinds of defect are drawn from."""
    inspector = Inspector.load(run, device="cpu", trust_changed_run=settings.trust_changed_run).overridden(
        settings.overrides
    )
    maps = inspector.network.run.maps
    network = inspector.network.with_maps({name: maps[name] for name in inspector.settings.maps})
    return Inspector(network, inspector.settings)


def _pipeline(inspector: Inspector) -> Pipeline:
    run = inspector.run
    return Pipeline(
        network=inspector.network.classifier.to(memory_format=torch.contiguous_format),  # type: ignore[call-overload]
        maps=inspector.network.cams,
        image_size=run.image_size,
        mean=run.mean,
        std=run.std,
        defects=tuple(range(1, len(run.classes))),
    )


def _origin(run: Path) -> Origin:
    packages = ("ltcam", "ltcam-runtime", "torch", "timm", "onnx", "onnxruntime")
    return Origin(
        run=run.resolve().name,
        weights_sha256=hashlib.sha256((run / WEIGHTS_FILE).read_bytes()).hexdigest(),
        versions={name: version(name) for name in packages},
    )


def _with_metadata(model: onnx.ModelProto, part: Part) -> bytes:
    """The file's bytes, with its digest in them."""
    helper.set_model_props(model, {PART_KEY: json.dumps(part.model_dump(mode="json")), DIGEST_KEY: NO_DIGEST})
    content: bytes = model.SerializeToString(deterministic=True)
    place = content.rindex(NO_DIGEST.encode())
    found = hashlib.sha256(content).hexdigest().encode()
    return content[:place] + found + content[place + len(found) :]


def _checked(content: bytes, part: Part, engine: EngineName) -> list[Comparison]:
    check(content)
    network = GraphNetwork(part, content, EngineSettings(engine, "cpu"))
    try:
        return gate(ExportedInspector(network, part.inspection), part)
    except RunError as error:
        raise ExportError(f"nothing was written: on {engine}, {error}") from error


def _halve_weights(graph: onnx.GraphProto) -> None:
    """Keep large constants in float16, and make them float32 when the file is loaded."""
    casts = []
    for constant in graph.initializer:
        if constant.data_type != TensorProto.FLOAT or np.prod(constant.dims) <= _KEPT_EXACT:
            continue
        name, values = constant.name, numpy_helper.to_array(constant)
        constant.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [constant.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
