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

from ltcam_runtime import Inspector
from ltcam_runtime.errors import RunError


@pytest.fixture(autouse=True)
def _not_tried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying files out in a process of their own is tested elsewhere."""
    monkeypatch.setattr("ltcam_runtime.exported.try_out", lambda *_: None)


def test_one_flipped_bit_in_a_weight_is_noticed(part_file: Path, tmp_path: Path) -> None:
    content = bytearray(part_file.read_bytes())
    weight = max(onnx.load(part_file).graph.initializer, key=lambda constant: len(constant.raw_data))
    content[content.index(weight.raw_data) + 1] ^= 1
    changed = tmp_path / "part.ltcam.onnx"
    changed.write_bytes(content)
    with pytest.raises(RunError, match=r"changed or damaged after its export: its checksum"):
        Inspector.load(changed)


def test_a_wrong_resize_is_noticed(part_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nearest(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[Any]:
        return cv2.resize(image, size[::-1], interpolation=cv2.INTER_NEAREST)

    monkeypatch.setattr("ltcam_runtime.inspector.resize", nearest)
    with pytest.raises(RunError, match=r"parity: of the golden image golden-\d.png.*probabilities differ"):
        Inspector.load(part_file)


def test_a_wrong_order_of_channels_is_noticed(part_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ltcam_runtime.graph_networks import GraphNetwork  # noqa: PLC0415

    respond = GraphNetwork.respond
    swapped = lambda self, images, maps=None: respond(self, [image[..., ::-1] for image in images], maps)  # noqa: E731
    monkeypatch.setattr(GraphNetwork, "respond", swapped)
    with pytest.raises(RunError, match=r"parity: .*probabilities differ"):
        Inspector.load(part_file)


def test_a_wrong_normalisation_is_noticed(
    part_file: Path, tmp_path: Path, signed: Callable[[onnx.ModelProto, Path], Path]
) -> None:
    model = onnx.load(part_file)
    means = [c for c in model.graph.initializer if list(c.dims) == [1, 3, 1, 1]]
    for constant in means[:1]:
        constant.CopyFrom(numpy_helper.from_array(np.full((1, 3, 1, 1), 0.5, np.float32), constant.name))
    with pytest.raises(RunError, match=r"parity: .*probabilities differ"):
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
