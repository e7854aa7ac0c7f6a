"""A run to one file, and that file to the same verdicts and masks."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image

from ltcam.export.export import SUFFIXES, ExportSettings, export_run
from ltcam.export.pipeline import build_graph
from ltcam.jobs.models import load_model
from ltcam.models.student import STUDENT
from ltcam.runs.inspector import Inspector as TrainedInspector
from ltcam_runtime import Inspector
from ltcam_runtime.errors import ExportError, OutputError, RunError, SettingsError
from ltcam_runtime.graph_networks import EngineSettings
from ltcam_runtime.openvino_files import unpack_archive
from ltcam_runtime.parity import _LEAST_IOU
from ltcam_runtime.part_files import read_part
from ltcam_runtime.settings import MAP, CamSettings, MaskSettings, Overrides

ENGINES = [EngineSettings("onnxruntime", threads=1), EngineSettings("openvino", threads=1)]


def inspections_agree(trained: Any, exported: Any, images: Any) -> None:
    for index, image in enumerate(images):
        one = trained.inspect_batch([image], [str(index)], gate=False)[0]
        other = exported.inspect_batch([image], [str(index)], gate=False)[0]
        assert other.verdict == one.verdict
        assert other.score == pytest.approx(one.score, abs=1e-6)
        assert np.quantile(np.abs(other.heatmap - one.heatmap), 0.999) <= 1e-4 * np.ptp(one.heatmap)
        assert (other.mask & one.mask).sum() >= 0.999 * (other.mask | one.mask).sum()
        assert one.mask.any()
        assert [region.box for region in other.regions] == [region.box for region in one.regions]


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.engine)
def test_the_file_inspects_like_the_run(
    engine: EngineSettings, run_folder: Path, part_file: Path, paint: Callable[..., NDArray[np.uint8]]
) -> None:
    exported = Inspector.load(part_file, engine=engine)
    inspections_agree(TrainedInspector.load(run_folder), exported, paint(3, (90, 140)))


def test_a_student_is_exported(
    make_run: Callable[..., Path], tmp_path: Path, paint: Callable[..., NDArray[np.uint8]]
) -> None:
    drawn = CamSettings(method=STUDENT.name, stages=("trunk.layer2",))
    run = make_run(network="student", maps={MAP: drawn}, mask=MaskSettings(threshold=0.02, of="value"))
    exported = export_run(run, tmp_path / "student.ltcam.onnx")
    assert set(exported.parity) == {"onnxruntime"}
    inspections_agree(TrainedInspector.load(run), Inspector.load(exported.path), paint(2, (64, 96)))


def test_maps_of_several_kinds_of_defect_are_all_there(
    make_run: Callable[..., Path], tmp_path: Path, paint: Callable[..., NDArray[np.uint8]]
) -> None:
    lt = CamSettings(method="grad-cam", percentile=50, stages=("trunk.layer2", "trunk.layer3"), fusion="sum")
    other = CamSettings(method="hires-cam", stages=("trunk.layer3",), fusion="sum")
    unused = CamSettings(method="score-cam", stages=("trunk.layer2",))
    maps = {MAP: lt, "unused": unused, "fine": other}
    run = make_run(classes=("ok", "dent", "hole"), maps=maps, kinds={"hole": {"map": "fine"}})
    exported = Inspector.load(export_run(run, tmp_path / "part.ltcam.onnx").path)
    assert exported.network.maps == (MAP, "fine")
    inspections_agree(TrainedInspector.load(run), exported, paint(2, (64, 96)))


def test_openvinos_own_form_inspects_like_the_run(
    run_folder: Path, archive_file: Path, paint: Callable[..., NDArray[np.uint8]]
) -> None:
    exported = Inspector.load(archive_file)
    assert exported.network.engine.engine == "openvino"
    inspections_agree(TrainedInspector.load(run_folder), exported, paint(3, (90, 140)))
    images = list(paint(2, (64, 96)))
    for one, other in zip(
        exported.inspect_batch(images, ["a", "b"]),
        exported.inspect_batch(images, ["a", "b"], cascade=True),
        strict=True,
    ):
        assert one.verdict == other.verdict
        assert one.score == pytest.approx(other.score, abs=1e-6)
        assert np.array_equal(one.mask, other.mask)
    assert load_model(archive_file).classes == ("ok", "hole")


def test_openvinos_own_form_is_for_openvino_and_equal_for_equal_runs(
    run_folder: Path, archive_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="`engine` onnxruntime: the file is OpenVINO's"):
        Inspector.load(archive_file, engine=ENGINES[0], check=False).inspect(np.zeros((64, 96, 3), np.uint8))
    settings = ExportSettings(format="openvino")
    again = export_run(run_folder, tmp_path / "again.ltcam.zip", settings)
    assert again.path.read_bytes() == archive_file.read_bytes()
    half = export_run(
        run_folder,
        tmp_path / "half.ltcam.zip",
        ExportSettings(format="openvino", precision="fp16", overrides=Overrides(sharpen="none")),
    )
    sizes = [unpack_archive(each.path.read_bytes())[0]["graph.bin"] for each in (half, again)]
    assert len(sizes[0]) < 0.6 * len(sizes[1])


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_a_file_looks_closer_where_its_run_does(format: str, run_folder: Path, tmp_path: Path) -> None:  # noqa: A002
    overrides = Overrides(zoom=2, verdict_threshold=0.01, sharpen="none")
    out = tmp_path / f"part{SUFFIXES[format]}"
    exported = Inspector.load(export_run(run_folder, out, ExportSettings(format, overrides=overrides)).path)
    assert exported.settings.zoom == 2
    image = np.full((300, 420, 3), 128, np.uint8)
    image[40:44, 60:64], image[250:254, 400:404] = 20, 240
    trained = TrainedInspector.load(run_folder).overridden(overrides)
    inspections_agree(trained, exported, [image])
    once = trained.overridden(Overrides(zoom=0)).inspect(image)
    assert not np.array_equal(trained.inspect(image).mask, once.mask)


def test_overrides_are_exported(run_folder: Path, tmp_path: Path) -> None:
    overrides = Overrides(method="grad-cam", percentile=50, threshold=0.25, verdict_threshold=0.9)
    exported = export_run(run_folder, tmp_path / "part.ltcam.onnx", ExportSettings(overrides=overrides))
    assert exported.part.inspection.default.mask.threshold == 0.25
    assert exported.part.inspection.verdict.threshold == 0.9


def test_golden_images_of_the_user_are_taken(
    run_folder: Path, tmp_path: Path, paint: Callable[..., NDArray[np.uint8]]
) -> None:
    files = []
    for index, pixels in enumerate(paint(2, (50, 70))):
        files.append(tmp_path / f"{index}.png")
        Image.fromarray(pixels).save(files[-1])
    exported = export_run(run_folder, tmp_path / "part.ltcam.onnx", ExportSettings(golden=tuple(files)))
    assert [golden.name for golden in exported.part.golden] == ["0.png", "1.png"]
    Inspector.load(exported.path)


def test_golden_images_may_be_photos_of_any_size_but_not_any_number(
    run_folder: Path, tmp_path: Path, paint: Callable[..., NDArray[np.uint8]]
) -> None:
    photo = tmp_path / "photo.png"
    Image.fromarray(paint(1, (3648, 5472))[0]).save(photo, compress_level=1)
    exported = export_run(run_folder, tmp_path / "part.ltcam.onnx", ExportSettings(golden=(photo,)))
    Inspector.load(exported.path)
    with pytest.raises(SettingsError, match="`golden`: 65 images; a file holds at most 64"):
        ExportSettings(golden=(photo,) * 65)


def test_half_weights_take_half_the_space_and_pass_their_own_gate(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    run = make_run(sharpening={}, mask=MaskSettings(threshold=0.5))
    whole, half = (
        export_run(run, tmp_path / f"{precision}.ltcam.onnx", ExportSettings(precision=precision))
        for precision in ("fp32", "fp16")
    )
    weights = [
        sum(len(constant.raw_data) for constant in onnx.load(exported.path).graph.initializer)
        for exported in (whole, half)
    ]
    assert weights[1] < 0.52 * weights[0]
    Inspector.load(half.path)


@pytest.fixture
def student(make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("ltcam.export.export._LEAST_IOU", 0.7)  # masks of random weights are specks
    monkeypatch.setitem(_LEAST_IOU, "int8", 0.7)
    drawn = CamSettings(method=STUDENT.name, stages=("trunk.layer2",))
    return make_run(network="student", maps={MAP: drawn}, mask=MaskSettings(threshold=0.02, of="value"))


@pytest.fixture
def calibration(paint: Callable[..., NDArray[np.uint8]], tmp_path: Path) -> ExportSettings:
    files = []
    for index, pixels in enumerate(paint(8, (80, 120))):
        files.append(tmp_path / f"{index}.png")
        Image.fromarray(pixels).save(files[-1])
    files.append(tmp_path / "broken.png")
    files[-1].write_bytes(b"no picture")
    return ExportSettings(precision="int8", calibration=tuple(files))


def test_a_student_in_8_bits_is_kept_where_it_is_faster_and_says_the_same(
    student: Path, calibration: ExportSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ltcam.export.export.speed_up", lambda *_: 1.7)
    found = export_run(student, tmp_path / "part.ltcam.onnx", calibration)
    assert found.part.precision == "int8", found.note
    assert "1.70 times as fast" in found.note
    assert "0 verdicts changed" in found.note
    assert [golden.name for golden in found.part.golden] == ["1.png", "5.png"]
    graph = onnx.load(found.path).graph
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("QuantizeLinear") > 10
    constants = {constant.name: constant for constant in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    whole = [n for n in graph.node if n.op_type == "Conv" and n.input[1] in constants]
    assert len(whole) == 1, "what the heatmap is drawn by stays in float32"
    assert makers[whole[0].input[0]].op_type != "QuantizeLinear"
    inspector = Inspector.load(found.path)
    image = np.asarray(Image.open(calibration.calibration[0]))
    one, other = (each.inspect(image) for each in (inspector, TrainedInspector.load(student)))
    assert one.verdict == other.verdict
    assert one.score == pytest.approx(other.score, abs=0.05)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"speed_up": lambda *_: 1.05}, r"int8 is 1\.05 times as fast as fp32 on this machine; fp32 is kept"),
        ({"_changed": lambda *_: (1, 1.0)}, "1 verdicts changed, masks agree to 100.0%; fp32 is kept"),
        ({"_changed": lambda *_: (0, 0.6)}, "0 verdicts changed, masks agree to 60.0%; fp32 is kept"),
        ({"quantised": lambda model, _: spoilt(model)}, "but on onnxruntime, parity: .*; fp32 is kept"),
    ],
)
def test_where_8_bits_gain_nothing_fp32_is_kept_and_the_reason_said(
    change: dict[str, Callable[..., Any]],
    said: str,
    student: Path,
    calibration: ExportSettings,
    tmp_path: Path,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"speed_up": lambda *_: 2.0, **change}.items():
            patch.setattr(f"ltcam.export.export.{name}", value)
        found = export_run(student, tmp_path / "part.ltcam.onnx", calibration)
    assert re.search(said, found.note)
    assert found.part.precision == "fp32"
    plain = export_run(student, tmp_path / "plain.ltcam.onnx")
    assert found.path.read_bytes() == plain.path.read_bytes()


def spoilt(model: Any) -> Any:
    found = onnx.ModelProto()
    found.CopyFrom(model)
    for constant in found.graph.initializer:
        values = numpy_helper.to_array(constant)
        if values.ndim == 4:
            constant.CopyFrom(numpy_helper.from_array(values * np.float32(0.5), constant.name))
    return found


def test_8_bits_are_for_what_needs_no_gradient_and_want_images(
    run_folder: Path, student: Path, calibration: ExportSettings, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="needs `calibration`: at least 4"):
        ExportSettings(precision="int8")
    with pytest.raises(ExportError, match=r"maps are made of gradients .*layer-cam.*ltcam distill"):
        export_run(run_folder, tmp_path / "part.ltcam.onnx", calibration)
    broken = ExportSettings(precision="int8", calibration=calibration.calibration[-1:] * 5)
    with pytest.raises(SettingsError, match="only 0 of 5 images could be read"):
        export_run(student, tmp_path / "part.ltcam.onnx", broken)
    assert not (tmp_path / "part.ltcam.onnx").exists()


def test_how_much_faster_a_graph_is(run_folder: Path, student: Path, tmp_path: Path) -> None:
    from ltcam.export.quantisation import speed_up  # noqa: PLC0415

    slow, fast = (
        export_run(run, tmp_path / f"{index}.ltcam.onnx").path.read_bytes()
        for index, run in enumerate((run_folder, student))
    )
    assert speed_up(slow, fast, np.zeros((64, 96, 3), np.uint8)) > 0


def test_settings_of_the_map_are_fixed_in_the_file(part_file: Path) -> None:
    inspector = Inspector.load(part_file, check=False)
    assert inspector.overridden(Overrides(threshold=0.5)).settings.default.mask.threshold == 0.5
    with pytest.raises(SettingsError, match="`method` 'grad-cam': maps are fixed"):
        inspector.overridden(Overrides(method="grad-cam"))


def test_services_and_archives_take_the_file_like_a_run(
    part_file: Path, run_folder: Path, paint: Callable[..., NDArray[np.uint8]]
) -> None:
    exported, trained = load_model(part_file), load_model(run_folder)
    assert exported.classes == trained.classes
    assert exported.settings == trained.settings
    one, other = (
        model.inspector.inspect_batch(list(paint(1, (64, 96))), ["x"])[0] for model in (exported, trained)
    )
    assert one.score == pytest.approx(other.score, abs=1e-6)


def test_what_is_there_is_kept(part_file: Path, run_folder: Path) -> None:
    before = part_file.read_bytes()
    with pytest.raises(OutputError, match="is there already"):
        export_run(run_folder, part_file)
    assert part_file.read_bytes() == before


def test_equal_runs_give_equal_files(run_folder: Path, part_file: Path, tmp_path: Path) -> None:
    again = export_run(run_folder, tmp_path / "again.ltcam.onnx")
    assert again.path.read_bytes() == part_file.read_bytes()


def test_a_graph_that_says_something_else_is_not_written(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ltcam.export import export  # noqa: PLC0415

    build = build_graph

    def wrong(pipeline: Any) -> Any:
        model = build(pipeline)
        weight = max(model.graph.initializer, key=lambda constant: len(constant.raw_data))
        values = numpy_helper.to_array(weight) * 1.01
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float32), weight.name))
        return model

    monkeypatch.setattr(export, "build_graph", wrong)
    with pytest.raises(ExportError, match=r"nothing was written: on onnxruntime, parity: .*golden-"):
        export_run(run_folder, tmp_path / "part.ltcam.onnx")
    assert not list(tmp_path.iterdir())


def test_settings_that_there_are_not_are_refused(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="`precision` 'int3'"):
        ExportSettings(precision="int3")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=r"format onnx is called like part\.ltcam\.onnx"):
        export_run(run_folder, tmp_path / "part.ltcam.zip")
    with pytest.raises(SettingsError, match=r"format openvino is called like part\.ltcam\.zip"):
        export_run(run_folder, tmp_path / "part.ltcam.onnx", ExportSettings(format="openvino"))


def test_a_cascade_gives_the_same_inspections(
    part_file: Path, paint: Callable[..., NDArray[np.uint8]]
) -> None:
    inspector = Inspector.load(part_file, check=False)
    images = list(paint(4, (64, 96)))
    names = [str(index) for index in range(len(images))]
    scores = sorted(i.score for i in inspector.inspect_batch(images, names))
    halved = inspector.overridden(Overrides(verdict_threshold=(scores[1] + scores[2]) / 2))
    plain, cascade = (halved.inspect_batch(images, names, cascade=cascade) for cascade in (False, True))
    assert {inspection.verdict for inspection in plain} == {"ok", "defect"}
    for one, other in zip(plain, cascade, strict=True):
        assert one.verdict == other.verdict
        assert one.score == pytest.approx(other.score, abs=1e-6)
        assert np.array_equal(one.mask, other.mask)


def test_the_part_that_gives_verdicts_has_no_gradient_in_it(part_file: Path) -> None:
    from ltcam_runtime.onnx_files import with_outputs  # noqa: PLC0415

    model = onnx.load_from_string(with_outputs(part_file.read_bytes(), ["logits"]))
    onnx.checker.check_model(model, full_check=True)
    whole = onnx.load(part_file)
    assert [output.name for output in model.graph.output] == ["logits"]
    assert len(model.graph.node) < 0.4 * len(whole.graph.node)


def test_what_a_file_says_of_itself(part_file: Path, run_folder: Path) -> None:
    part = read_part(part_file).part
    assert part.origin.run == run_folder.name
    assert len(part.origin.weights_sha256) == 64
    assert part.image_size == (64, 96)
    with pytest.raises(RunError, match="is not there"):
        read_part(Path("nowhere.ltcam.onnx"))
