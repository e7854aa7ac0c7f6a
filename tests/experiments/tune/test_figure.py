from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from ltcam.experiments.tune.figure import percentile_curves
from ltcam.reports.drawing import encoded, save_figure

PERCENTILES = [0, 50, 90]
CURVES: dict[str, Any] = {
    "LTGrad-CAM": (PERCENTILES, [0.1, 0.3, 0.2], [0.1, 0.2, None]),
    "LTFullGrad": (PERCENTILES, [0.1, 0.1, 0.1], [0.2, 0.1, 0.0]),
}


def lines_of(figure: Figure, title: str) -> dict[str, Line2D]:
    (axes,) = [axes for axes in figure.axes if axes.get_title() == title]
    return {str(line.get_label()): line for line in axes.get_lines()}


def test_a_panel_per_method_with_both_sides() -> None:
    lines = lines_of(percentile_curves(CURVES), "LTGrad-CAM")
    assert list(lines) == ["train", "test"]
    np.testing.assert_array_equal(lines["train"].get_xdata(), PERCENTILES)
    np.testing.assert_array_equal(lines["train"].get_ydata(), [0.1, 0.3, 0.2])
    np.testing.assert_array_equal(lines["test"].get_ydata(), [0.1, 0.2, math.nan])


def test_choices_and_untruncated_forms_are_marked() -> None:
    figure = percentile_curves(
        CURVES,
        {"on train masks": {"LTGrad-CAM": 50, "LTFullGrad": None}, "without masks": {"LTGrad-CAM": 90}},
        {"LTFullGrad": (0.15, None)},
    )
    lines = lines_of(figure, "LTGrad-CAM")
    assert set(np.asarray(lines["on train masks"].get_xdata())) == {50}
    assert set(np.asarray(lines["without masks"].get_xdata())) == {90}
    other = lines_of(figure, "LTFullGrad")
    assert all(math.isnan(x) for x in np.asarray(other["on train masks"].get_xdata()))
    assert set(np.asarray(other["train, no truncation"].get_ydata())) == {0.15}
    assert "test, no truncation" not in other
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert sorted(names) == sorted({*lines, *other})


def test_a_long_legend_fits_into_the_figure() -> None:
    choices = {f"chosen with true masks of {side}": {"LTGrad-CAM": 50} for side in ("train", "test")}
    figure = percentile_curves(CURVES, choices, {"LTGrad-CAM": (0.1, 0.1)})
    encoded(figure, "png")  # places it
    box = figure.legends[0].get_window_extent()
    across, down = figure.get_size_inches() * figure.dpi
    assert box.x0 >= 0
    assert box.x1 <= across
    assert box.y1 <= down


def test_all_panels_share_an_axis_that_holds_every_value() -> None:
    figure = percentile_curves(
        {**CURVES, "high": (PERCENTILES, [0.9] * 3, [0.95] * 3), "fourth": CURVES["LTGrad-CAM"]}
    )
    assert len(figure.axes) == 4
    for axes in figure.axes:
        low, high = axes.get_ylim()
        assert low == 0
        assert 0.95 < high <= 1
        assert axes.get_xlim()[0] < 0
        assert axes.get_xlim()[1] > 90


def test_undefined_values_alone_can_be_drawn() -> None:
    figure = percentile_curves({"nothing": ([50], [None], [None])})
    assert encoded(figure, "png").startswith(b"\x89PNG")
    assert [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes] == ["nothing"]


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="no curves"):
        percentile_curves({})
    with pytest.raises(ValueError, match="odd: 3 percentiles"):
        percentile_curves({"odd": (PERCENTILES, [0.1], [0.1, 0.2, 0.3])})


def test_files_are_the_same_every_time_and_name_no_date(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    for name in ("one", "two"):
        png, svg = save_figure(percentile_curves(CURVES), tmp_path, name)
        assert (png.name, svg.name) == (f"{name}.png", f"{name}.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    text = (tmp_path / "one.svg").read_text()
    assert "dc:date" not in text
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.width > 1000
    assert dict(mpl.rcParams) == before
