from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltcam.reports.chart import HEIGHT, WIDTH, line_chart, ticks


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_ticks_are_round_even_and_hold_the_range(low, span):
    high = low + span
    found = ticks(low, high)
    step = found[1] - found[0]
    assert 2 <= len(found) <= 9
    assert found[0] <= low + 1e-3 * step
    assert found[-1] >= high - 1e-3 * step
    assert [b - a for a, b in pairwise(found)] == pytest.approx([step] * (len(found) - 1), rel=1e-3)


def test_ticks_of_fractions():
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(0.9, 1.0) == [0.9, 0.92, 0.94, 0.96, 0.98, 1.0]
    assert ticks(0.0, 0.71) == [0.0, 0.2, 0.4, 0.6, 0.8]


def test_dots_stand_where_their_values_are():
    chart = line_chart([1, 2, 3], {"a": [0.0, 0.5, 1.0]}, low=0, high=1)
    dots = chart.lines[0].dots
    assert [dot.y for dot in dots] == [chart.bottom, (chart.top + chart.bottom) / 2, chart.top]
    assert dots[1].x - dots[0].x == pytest.approx(dots[2].x - dots[1].x)
    assert [tick.text for tick in chart.x_ticks] == ["1", "2", "3"]
    assert {tick.text: tick.at for tick in chart.y_ticks}["1"] == chart.top
    assert dots[0].text == "a, epoch 1: 0"
    for dot in dots:
        assert chart.left <= dot.x <= chart.right <= WIDTH
        assert chart.top <= dot.y <= chart.bottom <= HEIGHT


def test_missing_values_interrupt_a_line_and_empty_series_are_left_out():
    nan = math.nan
    chart = line_chart([1, 2, 3, 4, 5], {"a": [1, 2, nan, 3, math.inf], "b": [nan] * 5}, low=0, high=1)
    assert [line.name for line in chart.lines] == ["a"]
    assert len(chart.lines[0].dots) == 3
    assert len(chart.lines[0].pieces) == 1  # 1, 2; the 3 stands alone


def test_colours_belong_to_places():
    chart = line_chart([1, 2], {"a": [math.nan] * 2, "b": [1, 2]}, low=0, high=1)
    assert [line.place for line in chart.lines] == [1]


def test_one_epoch_and_its_mark_stand_in_the_middle():
    chart = line_chart([1], {"a": [0.3]}, low=0, high=0, mark=1)
    assert chart.lines[0].pieces == ()
    assert chart.lines[0].dots[0].x == chart.mark == chart.x_ticks[0].at


def test_many_epochs_have_few_numbers():
    chart = line_chart(list(range(1, 201)), {"a": [1.0] * 200}, low=0, high=0)
    assert 4 <= len(chart.x_ticks) <= 10


def test_unequal_lengths():
    with pytest.raises(ValueError, match=r"2 places for series of \[1\]"):
        line_chart([1, 2], {"a": [1.0]}, low=0, high=1)
