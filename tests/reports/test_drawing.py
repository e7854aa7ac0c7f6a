from __future__ import annotations

import base64
import math
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation

from ltcam.reports.drawing import Axis, chart_uri, line_chart, reliability_chart


def lines_of(figure: Figure) -> dict[str, Line2D]:
    return {str(line.get_label()): line for line in figure.axes[0].lines}


def test_one_place_has_whole_numbers_beside_it() -> None:
    (axes,) = line_chart(Axis("epoch", [1]), {"a": [0.2]}, low=0, high=1).axes
    assert [float(tick).is_integer() for tick in axes.get_xticks()] == [True] * len(axes.get_xticks())


def test_missing_values_interrupt_a_line_and_empty_series_are_left_out() -> None:
    nan = math.nan
    series = {"a": [1, 2, nan, 3, math.inf], "b": [nan] * 5}
    lines = lines_of(line_chart(Axis("epoch", [1, 2, 3, 4, 5]), series, low=0, high=1))
    assert list(lines) == ["a"]
    np.testing.assert_array_equal(lines["a"].get_ydata(), [1, 2, nan, 3, nan])


def test_colours_belong_to_places() -> None:
    both = lines_of(line_chart(Axis("epoch", [1, 2]), {"a": [1, 2], "b": [1, 2]}, low=0, high=1))
    alone = lines_of(line_chart(Axis("epoch", [1, 2]), {"a": [math.nan] * 2, "b": [1, 2]}, low=0, high=1))
    assert alone["b"].get_color() == both["b"].get_color() != both["a"].get_color()


def test_the_axis_holds_every_value_and_the_mark_its_word() -> None:
    (axes,) = line_chart(Axis("epoch", [1, 2], (2, "kept <b>")), {"a": [0.2, 7.0]}, low=0, high=1).axes
    low, high = axes.get_ylim()
    assert low == 0
    assert high > 7
    assert [text.get_text() for text in axes.texts] == ["kept <b>"]


def test_unequal_lengths() -> None:
    with pytest.raises(ValueError, match=r"2 places for series of \[1\]"):
        line_chart(Axis("epoch", [1, 2]), {"a": [1.0]}, low=0, high=1)


def test_a_chart_is_an_svg_in_the_pages_colours_that_loads_nothing() -> None:
    uri = chart_uri(line_chart(Axis("epoch", [1, 2, 3]), {"<a>": [0.1, 0.2, 0.3]}, low=0, high=1))
    kind, content = uri.split(",")
    assert kind == "data:image/svg+xml;base64"
    text = base64.b64decode(content).decode()
    ElementTree.fromstring(text)  # our own
    assert "prefers-color-scheme:dark" in text
    assert text.count("#2458c9") == 1, "colours are named once, and used by name"
    assert "<script" not in text
    assert uri == chart_uri(line_chart(Axis("epoch", [1, 2, 3]), {"<a>": [0.1, 0.2, 0.3]}, low=0, high=1))


def test_reliability_has_a_dot_per_bin_and_the_number_of_its_images() -> None:
    bins = [
        {"images": 12, "score": 0.08, "defective": 0.0},
        {"images": 3, "score": 0.93, "defective": 2 / 3},
    ]
    (axes,) = reliability_chart(bins).axes
    assert np.asarray(axes.collections[0].get_offsets()).tolist() == [[0.08, 0.0], [0.93, 2 / 3]]
    assert [text.get_text() for text in axes.texts] == ["12", "3"]


def test_numbers_of_reliability_stand_where_its_line_does_not() -> None:
    shares = (0.0, 0.2, 1.0, 0.6, 0.9)
    bins = [{"images": 5, "score": 0.1 + 0.2 * at, "defective": share} for at, share in enumerate(shares)]
    (axes,) = reliability_chart(bins).axes
    above = [isinstance(text, Annotation) and text.xyann[1] > 0 for text in axes.texts]
    assert above == [True, False, True, False, True]
