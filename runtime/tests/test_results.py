from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ltcam_runtime.errors import OutputError, SettingsError
from ltcam_runtime.regions import find_regions
from ltcam_runtime.results import Inspection


def inspection(name: str = "part.png", *, pixels: bool = True) -> Inspection:
    heatmap = np.zeros((40, 60), np.float32)
    heatmap[10:20, 15:40] = 1
    mask = heatmap > 0.5
    return Inspection(
        image=name,
        size=(40, 60),
        verdict="defect",
        score=0.875,
        class_scores={"ok": 0.125, "dent": 0.875},
        heatmap=heatmap,
        mask=mask,
        regions=find_regions(mask, heatmap, "dent"),
        pixels=np.full((40, 60, 3), 90, np.uint8) if pixels else None,
    )


def test_repr_is_a_line() -> None:
    assert repr(inspection()) == "Inspection('part.png', defect, score 0.8750, 1 region, 250 of 40 x 60 px)"


@pytest.mark.parametrize("pixels", [True, False])
def test_saved_files_say_the_same(pixels: bool, tmp_path: Path) -> None:
    found = inspection("line 1/../part.png", pixels=pixels)
    file = found.save(tmp_path / "found")
    assert file.is_relative_to(tmp_path / "found")
    assert json.loads(file.read_text()) == found.to_json()
    beside = {path.name.split(".", 1)[1]: path for path in file.parent.iterdir()}
    assert set(beside) == {"json", "overlay.jpg", "mask.png", "heatmap.png"}
    mask = np.asarray(Image.open(beside["mask.png"]))
    np.testing.assert_array_equal(mask, found.mask * np.uint8(255))
    heat = np.asarray(Image.open(beside["heatmap.png"]))
    assert heat.dtype == np.uint16
    np.testing.assert_array_equal(heat, found.mask * np.uint16(65535))
    assert Image.open(beside["overlay.jpg"]).width >= 60


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    inspection().save(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with pytest.raises(OutputError, match="there already"):
        inspection().save(tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    inspection().save(tmp_path, overwrite=True)


def test_a_plot_shows_image_and_heatmap() -> None:
    pytest.importorskip("matplotlib")
    figure = inspection("50 $ part.png").plot()
    found, heat = figure.axes
    assert found.get_title() == "defect, score 0.88"
    shown = found.images[0].get_array()
    assert shown is not None
    assert shown.shape == (40, 60, 3)
    np.testing.assert_array_equal(heat.images[0].get_array(), inspection().heatmap)
    figure.canvas.draw()


def test_a_plot_without_matplotlib_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *given: Any, **named: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *given, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingsError, match="pip install matplotlib"):
        inspection().plot()
