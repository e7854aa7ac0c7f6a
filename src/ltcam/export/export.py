"""A run to one file: the graph, its settings and golden images; written only if it says what the run says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from ltcam.export.golden import ENLARGED, Pixels, golden_images
from ltcam.export.openvino_form import intermediate_representation
from ltcam.export.pipeline import Pipeline, build_graph, check_maps, is_drawn
from ltcam.export.quantisation import quantised, speed_up
from ltcam.runs.inspector import Inspector
from ltcam.runs.run import WEIGHTS_FILE
from ltcam_runtime.errors import ExportError, InputError, OutputError, RunError, SettingsError
from ltcam_runtime.exported import Inspector as ExportedInspector
from ltcam_runtime.files import file_sha256
from ltcam_runtime.folders import write_file
from ltcam_runtime.graph_networks import EngineSettings, GraphNetwork
from ltcam_runtime.onnx_files import check
from ltcam_runtime.openvino_files import ARCHIVE_SUFFIX, is_archive, pack_archive
from ltcam_runtime.parity import GoldenComparison, gate, mask_iou
from ltcam_runtime.part_files import (
    DIGEST_KEY,
    MOST_GOLDEN,
    NO_DIGEST,
    PART_KEY,
    PART_SUFFIX,
    EngineName,
    Origin,
    Part,
)
from ltcam_runtime.resizing import resize
from ltcam_runtime.settings import Overrides

_KEPT_EXACT = 64  # values; smaller constants are sizes, bounds and biases, and stay float32
_TOLERANCES = {"fp32": 1e-3, "fp16": 3e-2, "int8": 5e-2}
_MOST_CALIBRATED = 64  # images that int8 is measured and judged on
_FEWEST_CALIBRATED, _GOLDEN = 4, 3
_FASTER, _LEAST_IOU = 1.1, 0.95  # than fp32; of its masks with those of fp32, on average
Precision = Literal["fp32", "fp16", "int8"]
ENGINES: dict[str, EngineName] = {"onnx": "onnxruntime", "openvino": "openvino"}
SUFFIXES = {"onnx": PART_SUFFIX, "openvino": ARCHIVE_SUFFIX}
FORMATS, PRECISIONS = tuple(ENGINES), tuple(_TOLERANCES)


@dataclass(frozen=True)
class ExportSettings:
    """What is written.

    Attributes:
        format: `onnx`, which both runtimes open, ONNX Runtime unless asked otherwise; or `openvino`, its own form.
        precision: `fp32`; `fp16`: weights of half the size, computed with in float32; or `int8`: convolutions of 8
            bits, where that is faster on this machine and masks and verdicts stay, else float32 as before.
        calibration: images that int8 is measured and judged on: OK and defective ones of the run's kind.
        golden: images to compare with; none makes synthetic ones.
        overrides: map, mask and verdict settings to use instead of the run's.
        trust_changed_run: whether a run will do that was changed after its training.
        overwrite: replace an existing file.
    """

    format: str = "onnx"
    precision: Precision = "fp32"
    calibration: tuple[Path, ...] = ()
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
        if len(self.golden) > MOST_GOLDEN:
            raise SettingsError(f"`golden`: {len(self.golden)} images; a file holds at most {MOST_GOLDEN}")
        if self.precision == "int8" and self.format != "onnx":
            raise SettingsError("`precision` int8 is for the format onnx, which OpenVINO opens as well")
        if self.precision == "int8" and len(self.calibration) < _FEWEST_CALIBRATED:
            raise SettingsError(
                f"`precision` int8 needs `calibration`: at least {_FEWEST_CALIBRATED} OK and defective images of the "
                "run's kind"
            )


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: of the file.
        size: in bytes.
        part: what it says of itself.
        parity: how it compares with the run, by runtime.
        note: what came of int8, if that was asked for.
    """

    path: Path
    size: int
    part: Part
    parity: dict[str, list[GoldenComparison]]
    note: str = ""


def export_run(
    run: str | Path,
    out: str | Path,
    settings: ExportSettings = ExportSettings(),
    progress: Callable[[str], None] = lambda _step: None,
) -> Exported:
    """Write a run's whole inspection into one file that needs no torch.

    Args:
        run: run folder.
        out: the file, `part.ltcam.onnx`; of OpenVINO's form `part.ltcam.zip`.
        settings: what is written.
        progress: called with what is done next.

    Raises:
        ExportError: an operator without translation, or a graph that says something else than the run.
        LtcamError: a run, image or place that cannot be used.
    """
    out = Path(out)
    _check_place(out, settings)
    torch.manual_seed(0)  # nothing is random; were it so, it would be so in the same way
    inspector = _opened(run, settings)
    _check_precision(inspector, settings.precision)
    check_maps(inspector.network.cams)
    progress("golden images")
    golden = golden_images(
        inspector,
        [
            (file.name, _bounded(inspector.pixels(file, file.name), inspector.network.image_size))
            for file in settings.golden
        ],
    )
    progress("graph")
    model = build_graph(_pipeline(inspector))
    if settings.precision == "fp16" and settings.format == "onnx":
        _halve_weights(model.graph)
    exact = "fp16" if settings.precision == "fp16" else "fp32"
    part = Part(
        image_size=inspector.run.image_size,
        inspection=inspector.settings,
        maps=inspector.network.run.maps,
        engine=ENGINES[settings.format],
        precision=exact,
        tolerance=_TOLERANCES[exact],
        origin=_origin(Path(run)),
        golden=golden,
    )
    try:
        found, note = _compared(model, part, progress), ""
    except ExportError as error:
        raise ExportError(f"nothing was written: {error}") from error
    if settings.precision == "int8":
        plain = build_graph(_pipeline(inspector), plain=True)
        found, note = _in_int8(inspector, plain, found, settings.calibration, progress)
    write_file(out, found.content)
    return Exported(out, len(found.content), found.part, found.parity, note)


@dataclass(frozen=True, eq=False)
class _Candidate:
    """What may be written: a file that says on every runtime what the run says."""

    content: bytes
    part: Part
    parity: dict[str, list[GoldenComparison]]


def _compared(model: onnx.ModelProto, part: Part, progress: Callable[[str], None]) -> _Candidate:
    content = (_archive if part.engine == "openvino" else _with_metadata)(model, part)
    progress(f"parity on {part.engine}")
    return _Candidate(content, part, {part.engine: _checked(content, part, part.engine)})


def _check_precision(inspector: Inspector, precision: Precision) -> None:
    gradient = [cam.method for cam in inspector.network.cams.values() if not is_drawn(cam)]
    if precision == "int8" and gradient:
        raise ExportError(
            f"int8 is for networks that draw in one pass, and this run's maps are made of gradients "
            f"({gradient[0]}); distil a student (`ltcam distill`), or keep fp32"
        )


def _in_int8(
    inspector: Inspector,
    model: onnx.ModelProto,
    whole: _Candidate,
    files: Sequence[Path],
    progress: Callable[[str], None],
) -> tuple[_Candidate, str]:
    """A plain graph in 8 bits, or the whole one where that gains nothing or says something else; and a sentence."""
    progress("int8")
    pictures = _readable(inspector, files[:: -(-len(files) // _MOST_CALIBRATED)])
    size = inspector.network.image_size
    measured, judged = pictures[::2], pictures[1::2]
    smaller = quantised(model, [resize(picture, size) for _, picture in measured])
    shown = [(name, _bounded(picture, size)) for name, picture in judged[:: -(-len(judged) // _GOLDEN)]]
    part = whole.part.model_copy(
        update={
            "precision": "int8",
            "tolerance": _TOLERANCES["int8"],
            "golden": golden_images(inspector, shown),
        }
    )
    faster = speed_up(whole.content, _with_metadata(smaller, part), resize(judged[0][1], size))
    if faster < _FASTER:
        return whole, f"int8 is {faster:.2f} times as fast as fp32 on this machine; fp32 is kept"
    said = f"int8 is {faster:.2f} times as fast as fp32 on this machine"
    try:
        found = _compared(smaller, part, progress)
    except ExportError as error:
        reason = str(error).partition(". ")[0]
        return whole, f"{said}, but {reason}; fp32 is kept"
    changes, iou = _changed(whole, found, judged)
    said += f"; of {len(judged)} images {changes} verdicts changed, masks agree to {iou:.1%}"
    return (found, said) if not changes and iou >= _LEAST_IOU else (whole, f"{said}; fp32 is kept")


def _readable(inspector: Inspector, files: Sequence[Path]) -> list[tuple[str, Pixels]]:
    pictures = []
    for file in files:
        with suppress(InputError):
            pictures.append((file.name, inspector.pixels(file, file.name)))
    if len(pictures) < _FEWEST_CALIBRATED:
        raise SettingsError(
            f"`calibration`: only {len(pictures)} of {len(files)} images could be read; int8 needs "
            f"{_FEWEST_CALIBRATED}"
        )
    return pictures


def _changed(one: _Candidate, other: _Candidate, pictures: Sequence[tuple[str, Pixels]]) -> tuple[int, float]:
    """Verdicts that differ between two files, and the mean IoU of masks made whatever the verdict."""
    names, images = zip(*pictures, strict=True)
    there, here = (
        _opened_file(each.content, each.part, "onnxruntime").inspect_batch(images, names, gate=False)
        for each in (one, other)
    )
    pairs = list(zip(there, here, strict=True))
    ious = [mask_iou(a.mask, b.mask) for a, b in pairs]
    return sum(a.verdict != b.verdict for a, b in pairs), float(np.mean(ious))


def _bounded(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """A picture that is not much larger than the network's size, as golden ones are."""
    height, width = (round(ENLARGED * side) for side in size)
    return picture if picture.size <= height * width * 3 else resize(picture, (height, width))


def _check_place(out: Path, settings: ExportSettings) -> None:
    suffix = SUFFIXES[settings.format]
    if not out.name.endswith(ARCHIVE_SUFFIX if settings.format == "openvino" else ".onnx"):
        raise SettingsError(
            f"`out` {out}: a file of the format {settings.format} is called like part{suffix}, at its end"
        )
    if out.exists() and (out.is_dir() or not settings.overwrite):
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
        weights_sha256=file_sha256(run / WEIGHTS_FILE),
        versions={name: version(name) for name in packages},
    )


def _with_metadata(model: onnx.ModelProto, part: Part) -> bytes:
    """The file's bytes, with its digest in them."""
    helper.set_model_props(model, {PART_KEY: json.dumps(part.model_dump(mode="json")), DIGEST_KEY: NO_DIGEST})
    return _signed(model.SerializeToString(deterministic=True))


def _archive(model: onnx.ModelProto, part: Part) -> bytes:
    """The bytes of OpenVINO's own form, with their digest in them."""
    graph, weights = intermediate_representation(model, half=part.precision == "fp16")
    return _signed(pack_archive(graph, weights, json.dumps(part.model_dump(mode="json")), NO_DIGEST))


def _signed(content: bytes) -> bytes:
    """The digest of all bytes in the place that was kept for it."""
    place = content.rindex(NO_DIGEST.encode())
    found = hashlib.sha256(content).hexdigest().encode()
    return content[:place] + found + content[place + len(found) :]


def _checked(content: bytes, part: Part, engine: EngineName) -> list[GoldenComparison]:
    if not is_archive(content):
        check(content)
    try:
        return gate(_opened_file(content, part, engine), part)
    except RunError as error:
        raise ExportError(f"on {engine}, {error}") from error


def _opened_file(content: bytes, part: Part, engine: EngineName) -> ExportedInspector:
    return ExportedInspector(GraphNetwork(part, content, EngineSettings(engine, "cpu")), part.inspection)


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
