"""Exported graphs as networks, on ONNX Runtime or OpenVINO."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltcam_runtime.counts import MOST_THREADS, check_count
from ltcam_runtime.engines import import_onnxruntime, import_openvino
from ltcam_runtime.errors import RunError, SettingsError
from ltcam_runtime.networks import Response
from ltcam_runtime.onnx_files import with_outputs
from ltcam_runtime.openvino_files import GRAPH, WEIGHTS, is_archive, unpack_archive
from ltcam_runtime.part_files import IMAGES, LOGITS, EngineName, Part, PartFile, output_name
from ltcam_runtime.processors import allowed_processors
from ltcam_runtime.reading import Workers

_Run = Callable[[NDArray[np.uint8]], dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class EngineSettings:
    """What runs a graph, and where.

    Attributes:
        engine: None takes what the file was made for.
        device: of ONNX Runtime `cpu` or `cuda`; of OpenVINO `cpu`, `gpu` or `npu`; `auto` is `cpu`.
        threads: None takes all cores; `MOST_THREADS` at most.

    Raises:
        SettingsError: another number of threads.
    """

    engine: EngineName | None = None
    device: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.threads is not None:
            check_count("threads", self.threads, MOST_THREADS)


AS_EXPORTED = EngineSettings()
"""What the file was made for, on all cores."""


@dataclass(frozen=True, eq=False)
class GraphNetwork:
    """A graph and its maps, usable from several threads.

    For every set of outputs that is asked for, the part of the graph that makes them is loaded once: what needs no
    heatmap pays for no gradient.

    Attributes:
        part: what the file says of itself.
        content: the graph's file.
        engine: what runs it.
    """

    part: Part
    content: bytes
    engine: EngineSettings
    _loaded: dict[tuple[str, ...], _Run] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; the first one is `ok`."""
        return self.part.inspection.classes

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images it takes."""
        return self.part.image_size

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the heatmaps it can make."""
        return tuple(self.part.maps)

    def respond(self, images: Sequence[NDArray[np.uint8]], maps: Sequence[str] | None = None) -> Response:
        """Probabilities, and the heatmaps that are asked for; see `ltcam_runtime.networks.Network`.

        Raises:
            RunError: the graph cannot be used on these images.
        """
        names = self.maps if maps is None else tuple(maps)
        outputs = [output_name(name, self.maps) for name in names]
        run = self._runner((LOGITS, *sorted(outputs)))
        with _named_errors():
            found = run(np.stack(images))
        logits = found[LOGITS].astype(np.float64)
        weights = np.exp(logits - logits.max(1, keepdims=True))
        probabilities = weights / weights.sum(1, keepdims=True)
        return Response(
            probabilities, {name: found[output] for name, output in zip(names, outputs, strict=True)}
        )

    @contextmanager
    def workers(self, batch_size: int) -> Iterator[Workers]:
        """Two threads: while the graph computes for one, the other one reads, or makes masks."""
        yield Workers(2, batch_size)

    def _runner(self, outputs: tuple[str, ...]) -> _Run:
        with self._lock:
            if outputs not in self._loaded:
                load = ENGINE_LOADERS[self.engine.engine or self.part.engine]
                with _named_errors():
                    self._loaded[outputs] = load(self.content, outputs, self.engine)
            return self._loaded[outputs]


def open_network(file: PartFile, engine: EngineSettings) -> GraphNetwork:
    """The network of a file.

    Raises:
        SettingsError: an engine that is not installed, or has no such device.
    """
    chosen = EngineSettings(engine.engine or file.part.engine, engine.device, engine.threads)
    return GraphNetwork(file.part, file.content, chosen)


def _on_onnxruntime(model: bytes, outputs: Sequence[str], engine: EngineSettings) -> _Run:
    if is_archive(model):
        raise SettingsError("`engine` onnxruntime: the file is OpenVINO's; export the run to an ONNX file")
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = engine.threads or allowed_processors()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = runtime.InferenceSession(
        with_outputs(model, outputs), options, providers=_providers(runtime, engine.device)
    )

    def run(images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return dict(zip(outputs, session.run(list(outputs), {IMAGES: images}), strict=True))

    return run


def _providers(runtime: Any, device: str) -> list[str]:
    names = {"auto": [], "cpu": [], "cuda": ["CUDAExecutionProvider"]}
    if device not in names:
        raise SettingsError(f"`device` {device!r}: ONNX Runtime has {', '.join(names)}")
    missing = set(names[device]) - set(runtime.get_available_providers())
    if missing:
        raise SettingsError(
            f"`device` {device}: this onnxruntime has no {missing.pop()}; install onnxruntime-gpu"
        )
    return [*names[device], "CPUExecutionProvider"]


def _on_openvino(model: bytes, outputs: Sequence[str], engine: EngineSettings) -> _Run:
    openvino = import_openvino()
    core = openvino.Core()
    device = "CPU" if engine.device == "auto" else engine.device.upper()
    if device not in {name.split(".")[0] for name in core.available_devices}:
        raise SettingsError(
            f"`device` {engine.device}: OpenVINO finds {', '.join(core.available_devices).lower()} here"
        )
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "f32"
    }  # bfloat16 would be its default where it can
    if device == "CPU":
        settings["INFERENCE_NUM_THREADS"] = engine.threads or allowed_processors()
    compiled = core.compile_model(_openvino_model(openvino, core, model, outputs), device, settings)

    def run(images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        result = compiled.create_infer_request().infer({IMAGES: images})
        return {name: np.array(result[name]) for name in outputs}

    return run


def _openvino_model(openvino: Any, core: Any, model: bytes, outputs: Sequence[str]) -> Any:
    """The part of a graph that makes some outputs, of either form."""
    if not is_archive(model):
        return core.read_model(with_outputs(model, outputs))
    entries, _ = unpack_archive(model)
    whole = core.read_model(entries[GRAPH], entries[WEIGHTS])
    wanted = [result for result in whole.get_results() if result.output(0).names & set(outputs)]
    return openvino.Model(wanted, whole.get_parameters(), "ltcam")


ENGINE_LOADERS: Mapping[EngineName, Callable[[bytes, Sequence[str], EngineSettings], _Run]] = {
    "onnxruntime": _on_onnxruntime,
    "openvino": _on_openvino,
}
"""What makes a function of a file: pixels to outputs by name."""


@contextmanager
def _named_errors() -> Iterator[None]:
    """Turn whatever a runtime raises into a RunError; they have types of their own, and text of many lines."""
    try:
        yield
    except (RunError, SettingsError):
        raise
    except Exception as error:
        words = " ".join(str(error).split())[:300]
        raise RunError(f"the exported graph cannot be used: {words or type(error).__name__}") from error
