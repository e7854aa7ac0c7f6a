"""Whatever makes a line PC's results differ from the training's is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from ltcam.export.export import ExportSettings, export_run
from ltcam_runtime import Inspector
from ltcam_runtime.errors import RunError
from ltcam_runtime.parity import GoldenComparison, differences


@pytest.fixture(autouse=True)
def _not_tried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying files out in a process of their own is tested elsewhere."""
    monkeypatch.setattr("ltcam_runtime.exported.try_out", lambda *_: None)


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def precise_file(
    request: pytest.FixtureRequest,
    part_file: Path,
    run_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The same run with weights of each precision, of which float16 has the wider limits. Not to be changed."""
    if request.param == "fp32":
        return part_file
    out = tmp_path_factory.mktemp("halves") / "part.ltcam.onnx"
    return export_run(run_folder, out, ExportSettings(precision="fp16")).path


def test_one_flipped_bit_in_a_weight_is_noticed(part_file: Path, tmp_path: Path) -> None:
    content = bytearray(part_file.read_bytes())
    weight = max(onnx.load(part_file).graph.initializer, key=lambda constant: len(constant.raw_data))
    content[content.index(weight.raw_data) + 1] ^= 1
    changed = tmp_path / "part.ltcam.onnx"
    changed.write_bytes(content)
    with pytest.raises(RunError, match=r"changed or damaged after its export: its checksum"):
        Inspector.load(changed)


def test_a_wrong_resize_is_noticed(precise_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nearest(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[Any]:
        return cv2.resize(image, size[::-1], interpolation=cv2.INTER_NEAREST)

    monkeypatch.setattr("ltcam_runtime.inspector.resize", nearest)
    with pytest.raises(
        RunError,
        match=r"parity: of the golden image golden-\d.png.*(probabilities differ|heatmap differs|mask covers)",
    ):
        Inspector.load(precise_file)


def test_a_wrong_order_of_channels_is_noticed(precise_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ltcam_runtime.graph_networks import GraphNetwork  # noqa: PLC0415

    respond = GraphNetwork.respond
    swapped = lambda self, images, maps=None: respond(self, [image[..., ::-1] for image in images], maps)  # noqa: E731
    monkeypatch.setattr(GraphNetwork, "respond", swapped)
    with pytest.raises(RunError, match=r"parity: .*(probabilities differ|heatmap differs|mask covers)"):
        Inspector.load(precise_file)


def test_a_wrong_normalisation_is_noticed(
    precise_file: Path, tmp_path: Path, signed: Callable[[onnx.ModelProto, Path], Path]
) -> None:
    model = onnx.load(precise_file)
    means = [c for c in model.graph.initializer if list(c.dims) == [1, 3, 1, 1]]
    for constant in means[:1]:
        constant.CopyFrom(numpy_helper.from_array(np.full((1, 3, 1, 1), 0.5, np.float32), constant.name))
    with pytest.raises(RunError, match=r"parity: .*(probabilities differ|heatmap differs|mask covers)"):
        Inspector.load(signed(model, tmp_path / "part.ltcam.onnx"))


@pytest.mark.parametrize(("field", "value"), [("reach", 0.05), ("threshold", 0.99)])
def test_settings_that_were_changed_are_noticed(
    field: str, value: float, with_part: Callable[[Callable[[dict[str, Any]], object]], Path]
) -> None:
    def changed(part: dict[str, Any]) -> dict[str, Any]:
        part["inspection"]["default"]["mask"][field] = value
        return part

    with pytest.raises(RunError, match="mask covers another area"):
        Inspector.load(with_part(changed))


def test_another_verdict_is_noticed(with_part: Callable[[Callable[[dict[str, Any]], object]], Path]) -> None:
    def changed(part: dict[str, Any]) -> dict[str, Any]:
        part["inspection"]["verdict"]["threshold"] = 0.0 if part["golden"][0]["verdict"] == "ok" else 1.0
        return part

    with pytest.raises(RunError, match=r"its verdict is (ok|defect), and was"):
        Inspector.load(with_part(changed))


def test_without_the_check_it_loads_all_the_same(part_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ltcam_runtime.exported.gate", lambda *_: pytest.fail("asked"))
    monkeypatch.setattr("ltcam_runtime.exported.try_out", lambda *_: pytest.fail("tried out"))
    assert Inspector.load(part_file, check=False).network.image_size == (64, 96)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"probability": 0.011, "mean": 0.02, "mask_iou": 0.93}, ""),  # as measured of small runs
        ({"probability": 0.03}, "probabilities"),
        ({"mean": 0.04}, "heatmap"),
        ({"mask_iou": 0.85}, "mask"),
    ],
)
def test_what_weights_of_float16_may_change(run_folder: Path, tmp_path: Path, found: Any, said: str) -> None:
    part = export_run(run_folder, tmp_path / "part.ltcam.onnx", ExportSettings(precision="fp16")).part
    same = {"heatmap": 0.0, "mean": 0.0, "probability": 0.0, "mask_iou": 1.0, "mask_pixels": 40}
    problems = differences(GoldenComparison(name="a", verdicts=("ok", "ok"), **{**same, **found}), part)
    assert [said in problem for problem in problems] == ([True] if said else [])
