from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ltcam.reports.html import (
    bars,
    breakable,
    image_uri,
    number,
    render,
    shaded_confusion,
    threshold,
)


@given(st.lists(st.floats(0, 5000), min_size=1, max_size=60))
def test_bars_count_every_value_once(values: list[float]) -> None:
    found = bars(values)
    assert sum(bar.count for bar in found) == len(values)
    assert 1 <= len(found) <= 16
    assert found[0].low == min(values)
    assert found[-1].high == max(values)


def test_bars_of_nothing_and_of_whole_numbers() -> None:
    assert bars([]) == []
    assert [bar.count for bar in bars([3, 3, 3])] == [3]
    assert len(bars([1, 2, 4])) == 4


def test_a_confusion_is_shaded_by_the_share_of_its_row() -> None:
    table = shaded_confusion(("ok", "crack"), {"ok": [4, 0], "crack": [1, 2], "never seen": [0, 0]})
    assert table["classes"] == ("ok", "crack")
    assert table["rows"] == [
        ("ok", [(4, 45), (0, 0)]),
        ("crack", [(1, 15), (2, 30)]),
        ("never seen", [(0, 0), (0, 0)]),
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (1234567, "1\u202f234\u202f567"), (12.0, "12"), (0.12345, "0.123")]
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize("value", [1e-5, 1e-9, 0.5, 0.123, 0.1234, 0.999999, 1.0, 0.0, 0.0004, 0.9995])
def test_a_threshold_is_the_one_that_is_meant(value: float) -> None:
    assert float(threshold(value)) == value
    assert threshold(0.5) == "0.500"


def test_breakable_escapes() -> None:
    assert breakable("<i>/a_b") == "&lt;i&gt;/<wbr>a_<wbr>b"


def test_image_uri_keeps_the_colours() -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 0] = 200
    data = base64.b64decode(image_uri(image).split(",", 1)[1])
    decoded = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.abs(decoded.astype(int) - image).max() < 8


def test_whatever_is_invisible_in_a_name_is_shown_by_its_code(tmp_path: Path) -> None:
    (tmp_path / "page.html.j2").write_text(
        '{% extends "base.html.j2" %}{% block title %}{{ name }}{% endblock %}'
        '{% block content %}<a title="{{ name }}">{{ name | breakable }}</a>{% endblock %}'
    )
    page = render("page.html.j2", beside=tmp_path / "page.py", name="a\u202eb\x1b<b>\udcff 1\u202f000")
    assert page.count("a\\u202eb\\x1b&lt;b&gt;\\udcff 1\u202f000") >= 3
    assert not set(page) & set("\u202e\x1b\udcff")
