"""Files that are damaged, foreign or hostile: one clear error, soon, and without harm."""

from __future__ import annotations

import hashlib
import re
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ltcam_runtime import Inspector
from ltcam_runtime.engines import import_openvino
from ltcam_runtime.errors import RunError
from ltcam_runtime.graph_networks import EngineSettings
from ltcam_runtime.onnx_files import DamagedError, check, metadata, with_outputs
from ltcam_runtime.openvino_files import unpack_archive
from ltcam_runtime.part_files import NO_DIGEST, read_part


def refused(path: Path, message: str, **options: object) -> None:
    started = time.process_time()
    with pytest.raises(RunError, match=message) as caught:
        Inspector.load(path, **options)  # type: ignore[arg-type]
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).isprintable()  # in one line, without the colours of a runtime's log
    assert time.process_time() - started < 5


def with_nodes(part: Path, *nodes: onnx.NodeProto, **constants: np.ndarray) -> onnx.ModelProto:
    """An exported model that computes something more, and adds it to its logits."""
    model = onnx.load(part)
    for node in model.graph.node:
        if "logits" in node.output:
            node.output[0] = "logits_alone"
    model.graph.node.extend(nodes)
    model.graph.node.append(helper.make_node("Add", ["logits_alone", "more"], ["logits"]))
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    return model


def test_an_empty_a_foreign_and_a_text_file(tmp_path: Path) -> None:
    foreign = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", 1, [1])],
        [helper.make_tensor_value_info("y", 1, [1])],
    )
    contents = {
        "not one that `ltcam export` wrote": (b"", helper.make_model(foreign).SerializeToString()),
        "no ONNX file": (b"<html>not found</html>", b"\xff" * 400),
        "damaged or cut short": (b"PK\x03\x04" + bytes(100),),
    }
    for message, files in contents.items():
        for index, content in enumerate(files):
            path = tmp_path / f"{index}.ltcam.onnx"
            path.write_bytes(content)
            refused(path, message)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.5, 0.9, 0.9999])
def test_a_file_that_was_cut_short(share: float, part_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "part.ltcam.onnx"
    path.write_bytes(part_file.read_bytes()[: int(share * part_file.stat().st_size)])
    refused(path, "cut short|damaged|not one that|no graph|holds no|checksum")


def test_bytes_that_were_changed_anywhere(part_file: Path, tmp_path: Path) -> None:
    whole = part_file.read_bytes()
    path = tmp_path / "part.ltcam.onnx"
    rng = np.random.default_rng(0)
    for place in [0, 1, 5, len(whole) - 1, *rng.integers(0, len(whole), 60)]:
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        with pytest.raises(RunError):
            read_part(path)


def write_archive(path: Path, entries: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> Path:
    """With a right checksum, as somebody who knows the format would write it."""
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        archive.comment = NO_DIGEST.encode()
    content = path.read_bytes()
    path.write_bytes(content[:-64] + hashlib.sha256(content).hexdigest().encode())
    return path


def test_archives_that_were_cut_short_or_changed_anywhere(archive_file: Path, tmp_path: Path) -> None:
    whole = archive_file.read_bytes()
    path = tmp_path / "part.ltcam.zip"
    for share in (0.001, 0.3, 0.9, 0.9999):
        path.write_bytes(whole[: int(share * len(whole))])
        refused(path, "cut short|damaged|checksum")
    path.write_bytes(whole[:-64])
    refused(path, "damaged|checksum")
    rng = np.random.default_rng(0)
    for place in [5, 30, len(whole) - 1, len(whole) - 64, *rng.integers(4, len(whole), 30)]:
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        with pytest.raises(RunError):
            read_part(path)


def test_archives_of_another_kind(archive_file: Path, tmp_path: Path) -> None:
    entries, _ = unpack_archive(archive_file.read_bytes())
    path = tmp_path / "part.ltcam.zip"
    Inspector.load(write_archive(path, entries), check=False)
    refused(write_archive(path, {**entries, "../more": b"x"}), "not one that `ltcam export` wrote")
    refused(write_archive(path, dict(list(entries.items())[:2])), "not one that `ltcam export` wrote")
    refused(write_archive(path, entries, zipfile.ZIP_DEFLATED), "its entries are compressed")
    refused(write_archive(path, {**entries, "graph.xml": b"<net/>"}), "cannot be used")
    refused(write_archive(path, {**entries, "graph.bin": entries["graph.bin"][:100]}), "cannot be used")
    weights = bytearray(entries["graph.bin"])
    kernel = re.search(rb'shape="\d+, ?\d+, ?3, ?3" offset="(\d+)" size="(\d+)"', entries["graph.xml"])
    assert kernel is not None
    place = slice(int(kernel[1]), int(kernel[1]) + int(kernel[2]))
    weights[place] = (np.frombuffer(weights[place], np.float32) * np.float32(1.2)).tobytes()
    with pytest.raises(RunError, match="parity: of the golden image"):
        Inspector.load(write_archive(path, {**entries, "graph.bin": bytes(weights)}))


def test_an_archive_with_a_directory_of_many_entries(tmp_path: Path) -> None:
    many = write_archive(tmp_path / "part.ltcam.zip", {str(number): b"" for number in range(2000)})
    refused(many, "not one that `ltcam export` wrote")
    whole = many.read_bytes()
    counts = len(whole) - 64 - 22 + 8
    many.write_bytes(whole[:counts] + struct.pack("<2H", 3, 3) + whole[counts + 4 :])
    refused(many, "not one that `ltcam export` wrote")
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)  # of a directory that counts in 64 bits
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 3, 3, 150, 0, 64)
    many.write_bytes(whole[: counts - 8] + locator + end + b"0" * 64)
    refused(many, "not one that `ltcam export` wrote")


def test_an_archive_that_asks_for_more_memory_than_there_is(
    part_file: Path, archive_file: Path, tmp_path: Path
) -> None:
    nodes = (
        helper.make_node("Expand", ["one", "much"], ["wide"]),
        helper.make_node("Sin", ["wide"], ["waves"]),
        helper.make_node("ReduceMean", ["waves"], ["more"], keepdims=0),
    )
    much = np.array([10**6, 10**6], np.int64)
    openvino = import_openvino()
    model = openvino.Core().read_model(
        with_nodes(part_file, *nodes, one=np.ones(1, np.float32), much=much).SerializeToString()
    )
    openvino.save_model(model, tmp_path / "graph.xml", compress_to_fp16=False)
    entries, _ = unpack_archive(archive_file.read_bytes())
    hostile = {name: (tmp_path / name).read_bytes() for name in ("graph.xml", "graph.bin")}
    path = write_archive(tmp_path / "part.ltcam.zip", {**entries, **hostile})
    refused(path, "cannot be used|hostile")


def test_constants_in_other_files(
    part_file: Path, tmp_path: Path, signed: Callable[[onnx.ModelProto, Path], Path]
) -> None:
    model = onnx.load(part_file)
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(4096))
    constant = max(model.graph.initializer, key=lambda constant: len(constant.raw_data))
    constant.ClearField("raw_data")
    constant.data_location = TensorProto.EXTERNAL
    entry = constant.external_data.add()
    entry.key, entry.value = "location", "../secret.bin"
    refused(signed(model, tmp_path / "part.ltcam.onnx"), "keeps constants in other files")


def test_constants_larger_than_the_file(
    part_file: Path, tmp_path: Path, signed: Callable[[onnx.ModelProto, Path], Path]
) -> None:
    model = onnx.load(part_file)
    model.graph.initializer[0].dims[:] = [10**6, 10**6]
    refused(signed(model, tmp_path / "part.ltcam.onnx"), "constant of 1000000 x 1000000 values")
    model = onnx.load(part_file)
    constant = next(c for c in model.graph.initializer if len(c.dims) == 4)
    constant.dims[0] *= 2
    refused(signed(model, tmp_path / "part.ltcam.onnx"), "a constant of .* values has .* bytes")


def test_operators_of_other_makers(
    part_file: Path, tmp_path: Path, signed: Callable[[onnx.ModelProto, Path], Path]
) -> None:
    model = with_nodes(part_file, helper.make_node("Anything", ["logits_alone"], ["more"], domain="com.evil"))
    refused(signed(model, tmp_path / "part.ltcam.onnx"), "operators of 'com.evil'")


def test_constants_that_hardly_take_any_room(
    part_file: Path, tmp_path: Path, signed: Callable[[onnx.ModelProto, Path], Path]
) -> None:
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("values", TensorProto.FLOAT, [1], [1.0]),
        helper.make_tensor("indices", TensorProto.INT64, [1], [0]),
        [2**33],
    )
    model = with_nodes(part_file, helper.make_node("Constant", [], ["more"], sparse_value=sparse))
    refused(signed(model, tmp_path / "part.ltcam.onnx"), "constants that no exported inspector has")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("side", [2**15, 10**6])
def test_a_graph_that_asks_for_more_memory_than_there_is(
    engine: str, side: int, part_file: Path, tmp_path: Path, signed: Callable[[onnx.ModelProto, Path], Path]
) -> None:
    """A few bytes that want gigabytes: tried out in a process that may not have them."""
    nodes = (
        helper.make_node("Expand", ["one", "much"], ["wide"]),
        helper.make_node("Sin", ["wide"], ["waves"]),
        helper.make_node("ReduceMean", ["waves"], ["more"], keepdims=0),
    )
    model = with_nodes(part_file, *nodes, one=np.ones(1, np.float32), much=np.array([side, side], np.int64))
    path = signed(model, tmp_path / "part.ltcam.onnx")
    refused(path, "cannot be used|hostile", engine=EngineSettings(engine, threads=1))  # type: ignore[arg-type]


def test_a_graph_that_never_ends(
    part_file: Path,
    tmp_path: Path,
    signed: Callable[[onnx.ModelProto, Path], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ltcam_runtime.trial._SECONDS", 1)
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["still"]), helper.make_node("Sin", ["before"], ["after"])],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, None),
        ],
    )
    loop = helper.make_node("Loop", ["often", "yes", "logits_alone"], ["more"], body=body)
    model = with_nodes(part_file, loop, often=np.array(2**62), yes=np.array(True))
    refused(signed(model, tmp_path / "part.ltcam.onnx"), "more memory or time|not ready in time")


def with_other_map(part: dict[str, Any]) -> dict[str, Any]:
    """Settings that draw from a map that there is not."""
    nowhere = {"map": "nowhere", "sign": "nowhere"}
    inspection = {**part["inspection"], "default": {"parts": [nowhere, nowhere]}, "kinds": {}}
    return {**part, "inspection": inspection}


@pytest.mark.parametrize(
    ("written", "white"),
    [
        ({"schema_version": 1, "white": 65535}, None),
        ({"schema_version": 1, "white": 4095}, 4095),
        ({"schema_version": 2, "white": 65535}, 65535),
        ({"schema_version": 2, "white": None}, None),
    ],
)
def test_the_first_schema_knew_no_white_of_sixteen_bits(
    written: dict[str, int | None],
    white: int | None,
    with_part: Callable[[Callable[[dict[str, Any]], object]], Path],
) -> None:
    """It wrote 65535 where the training had other images, too."""

    def changed(part: dict[str, Any]) -> dict[str, Any]:
        inspection = {**part["inspection"], "white": written["white"]}
        return {**part, "inspection": inspection, "schema_version": written["schema_version"]}

    assert read_part(with_part(changed)).part.inspection.white == white


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda part: {**part, "schema_version": 3}, "schema version 3, this ltcam-runtime reads up to 2"),
        (lambda part: {**part, "image_size": [4096, 4097]}, "field 'image_size'"),
        (lambda part: {**part, "surprise": 1}, "field 'surprise'"),
        (lambda part: {**part, "golden": []}, "field 'golden'"),
        (with_other_map, "field 'maps': .*draw from maps that the graph does not make: nowhere"),
        (lambda part: [part], "it|its|Input"),
        (lambda part: {**part, "golden": [{**part["golden"][0], "image": "AAAA"}]}, "golden image .*damaged"),
    ],
)
def test_settings_of_another_kind(
    change: Callable[[dict[str, Any]], object],
    message: str,
    with_part: Callable[[Callable[[dict[str, Any]], object]], Path],
) -> None:
    path = with_part(change)
    with pytest.raises(RunError, match=message):
        Inspector.load(path)


def test_the_reader_reads_what_protobuf_writes(part_file: Path) -> None:
    """Without the library: the same texts, and parts of the graph that the library takes."""
    content = part_file.read_bytes()
    check(content)
    model = onnx.load(part_file)
    assert metadata(content) == {entry.key: entry.value for entry in model.metadata_props}
    part = onnx.load_from_string(with_outputs(content, ["heatmap", "probabilities"]))
    assert {output.name for output in part.graph.output} == {"heatmap", "probabilities"}
    with pytest.raises(DamagedError, match="no output nothing"):
        with_outputs(content, ["nothing"])
