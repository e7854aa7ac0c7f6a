from __future__ import annotations

import matplotlib as mpl
from PIL import Image

from ltcam.reports.curves import new_figure, styled, write_figure


def test_equal_figures_are_equal_files_and_nothing_else_changes(tmp_path):
    before = dict(mpl.rcParams)
    for name in ("a", "b"):
        with styled():
            figure, (left, right) = new_figure(1, 2, width=4, height=2, share_y=True)
            left.plot([0, 1], [0, 1])
            right.set_title("right")
        (tmp_path / name).mkdir()
        write_figure(figure, tmp_path / name, "figure")
    for ending in ("svg", "png"):
        assert (tmp_path / f"a/figure.{ending}").read_bytes() == (
            tmp_path / f"b/figure.{ending}"
        ).read_bytes()
    assert Image.open(tmp_path / "a/figure.png").size == (800, 400)
    assert dict(mpl.rcParams) == before
