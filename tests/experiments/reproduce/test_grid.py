from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from ltcam.experiments.reproduce.figures.grid import (
    Head,
    Panel,
    Shown,
    Strip,
    close_window,
    grid,
    round_length,
)
from ltcam.experiments.reproduce.figures.plates import (
    Answer,
    layers_figure,
    methods_figure,
    spread,
    stage_figure,
    truncation_figure,
)
from ltcam.reports.drawing import FOUND, FRAME, TRUE, encoded


def shown(
    shape: tuple[int, int] = (400, 160),
    box: tuple[slice, slice] = (slice(100, 110), slice(30, 80)),
    name: str = "kos1/Part2.jpg",
) -> Shown:
    rng = np.random.default_rng(0)
    truth = np.zeros(shape, bool)
    truth[box] = True
    return Shown(name, rng.integers(0, 255, (*shape, 3), dtype=np.uint8), truth)


def window_of(truth: NDArray[np.bool_]) -> tuple[slice, slice]:
    window = close_window(truth)
    assert window is not None
    return window


def heat(shape: tuple[int, int], seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def pictures(figure: Figure) -> list[AxesImage]:
    """Pictures, in the order drawn: of each panel the whole, then the part. The last of all is the colour bar."""
    (axes,) = figure.axes
    return axes.get_images()[:-1]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def inside(picture: AxesImage, points: NDArray[Any]) -> bool:
    """Whether all points (N, 2) lie on a picture, to within a line's width."""
    left, right, bottom, top = picture.get_extent()
    x, y = np.transpose(points)
    return bool(
        left - 0.02 <= x.min()
        and x.max() <= right + 0.02
        and top - 0.02 <= y.min()
        and y.max() <= bottom + 0.02
    )


def outlines(picture: AxesImage) -> set[str]:
    """Colours of the lines along masks in a picture."""
    lines = [each for each in picture.axes.collections if isinstance(each, LineCollection)]
    found = [each for each in lines if inside(picture, np.concatenate(each.get_segments()))]
    return {to_hex(np.asarray(each.get_edgecolor())[0]) for each in found}


def frames(picture: AxesImage) -> list[tuple[float, ...]]:
    """Left, top, width and height of the frames inside a picture, as shares of it."""
    left, right, bottom, top = picture.get_extent()
    boxes = [each for each in picture.axes.patches if isinstance(each, Rectangle)]
    found = [each for each in boxes if inside(picture, each.get_bbox().get_points())]
    across, down = right - left, bottom - top
    return [
        (
            (each.get_x() - left) / across,
            (each.get_y() - top) / down,
            each.get_width() / across,
            each.get_height() / down,
        )
        for each in found
    ]


# ---------------------------------------------------------------------------------------- the window


@pytest.mark.parametrize(
    "box",
    [
        (slice(100, 110), slice(30, 80)),
        (slice(0, 3), slice(0, 150)),
        (slice(390, 400), slice(150, 160)),
        (slice(20, 160), slice(70, 75)),
    ],
)
def test_the_window_holds_the_defect_and_lies_in_the_image(box: tuple[slice, slice]) -> None:
    truth = shown(box=box).truth
    rows, columns = window_of(truth)
    assert truth[rows, columns].sum() == truth.sum()
    assert rows.start >= 0
    assert rows.stop <= 400
    assert columns.start >= 0
    assert columns.stop <= 160
    assert (rows.stop - rows.start) * (columns.stop - columns.start) <= truth.size / 2


def test_no_window_where_it_would_be_no_closer_look() -> None:
    assert close_window(np.zeros((400, 160), bool)) is None
    assert close_window(shown(box=(slice(0, 390), slice(0, 150))).truth) is None
    assert close_window(np.ones((20, 20), bool)) is None


# ---------------------------------------------------------------------------------------- the grid


def test_whole_and_part_of_every_panel_with_the_part_framed() -> None:
    image = shown()
    panels = (Panel(image.image, outlined=False), Panel(heat((400, 160)), found=image.truth, note="0.42"))
    figure = grid(
        [Head("image"), Head("Grad-CAM", "S5")], [Strip(image, (panels,))], found="mask", notes="IoU"
    )
    whole, part, other_whole, other_part = pictures(figure)
    rows, columns = window_of(image.truth)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    for picture in (whole, other_whole):
        (frame,) = frames(picture)
        assert frame == pytest.approx((columns.start / 160, rows.start / 400, width / 160, height / 400))
    assert frames(part) == [pytest.approx((0, 0, 1, 1))]
    assert {to_hex(each.get_edgecolor()) for each in figure.axes[0].patches} == {FRAME}
    # Masks are outlined where they can be seen: in the larger part, and not in the image itself.
    assert outlines(whole) == outlines(part) == outlines(other_whole) == set()
    assert outlines(other_part) == {TRUE, FOUND}
    assert {"image", "Grad-CAM", "S5", "0.42"} <= set(words(figure))
    assert any("kos1/Part2.jpg" in text and "defect 0.78 %" in text for text in words(figure))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["true mask", "mask", "part shown larger below"]
    encoded(figure, "svg")


def test_outlines_run_along_the_mask() -> None:
    image = shown()
    panel = Panel(heat((400, 160)))
    (_, part) = pictures(grid([Head("map")], [Strip(image, ((panel,),))]))
    (line,) = part.axes.collections
    assert isinstance(line, LineCollection)
    points = np.concatenate(line.get_segments())
    left, right, bottom, top = part.get_extent()
    rows, columns = window_of(image.truth)
    x = columns.start + (points[:, 0] - left) / (right - left) * (columns.stop - columns.start)
    y = rows.start + (points[:, 1] - top) / (bottom - top) * (rows.stop - rows.start)
    assert (x.min(), x.max()) == pytest.approx((30, 80), abs=0.2)  # the mask's first and last border
    assert (y.min(), y.max()) == pytest.approx((100, 110), abs=0.2)


def test_without_a_part_the_whole_is_outlined() -> None:
    image = shown(box=(slice(0, 390), slice(0, 150)))
    figure = grid([Head("map")], [Strip(image, ((Panel(heat((400, 160))),),))])
    (whole,) = pictures(figure)
    assert outlines(whole) == {TRUE}
    assert not figure.axes[0].patches
    assert "part shown larger below" not in [text.get_text() for text in figure.legends[0].get_texts()]


def test_pictures_keep_their_shape_and_nothing_lies_outside_or_on_another() -> None:
    strips = [
        Strip(
            shown(shape, (slice(40, 44), slice(30, 44)), name),
            ((Panel(heat(shape)), Panel(heat(shape))),) * 2,
            ("a", "b"),
        )
        for shape, name in (((400, 160), "tall"), ((120, 300), "wide"), ((130, 130), "square"))
    ]
    figure = grid([Head("one"), Head("two\nlines", "detail")], strips)
    across, down = figure.get_size_inches()
    boxes = []
    for place, picture in enumerate(pictures(figure)):
        left, right, bottom, top = picture.get_extent()
        truth = strips[place // 8].shown.truth
        rows, columns = window_of(truth)
        shape = (rows.stop - rows.start, columns.stop - columns.start) if place % 2 else truth.shape
        assert (right - left) / (bottom - top) == pytest.approx(shape[1] / shape[0])
        assert 0 <= left < right <= across
        assert 0 < top < bottom < down
        boxes.append((left, right, bottom, top))
    assert len(boxes) == 24
    for place, (left, right, bottom, top) in enumerate(boxes):
        for other in boxes[:place]:
            assert right <= other[0] or other[1] <= left or bottom <= other[3] or other[2] <= top


def test_colours_run_from_the_maps_own_minimum_to_its_maximum() -> None:
    image = shown(box=(slice(0, 390), slice(0, 150)))
    values = np.linspace(-5, 20, 400 * 160, dtype=np.float32).reshape(400, 160)
    (picture,) = pictures(grid([Head("map")], [Strip(image, ((Panel(values),),))]))
    drawn = picture.get_array()
    assert drawn is not None
    ends = [[round(255 * part) for part in to_rgba(colour)[:3]] for colour in ("#000004", "#fcffa4")]
    np.testing.assert_allclose(drawn[0, 0], ends[0], atol=6)
    np.testing.assert_allclose(drawn[-1, -1], ends[1], atol=12)
    flat = grid([Head("map")], [Strip(image, ((Panel(np.ones((400, 160), np.float32)),),))])
    assert len(np.unique(np.asarray(pictures(flat)[0].get_array()).reshape(-1, 3), axis=0)) == 1


def test_what_does_not_fit_together() -> None:
    with pytest.raises(ValueError, match="no images"):
        grid([Head("a")], [])
    with pytest.raises(ValueError, match="1 columns"):
        grid([Head("a")], [Strip(shown(), ((None, None),))])


@pytest.mark.parametrize(("most", "length"), [(0.4, 1), (1, 1), (7, 5), (99, 50), (100, 100), (460, 200)])
def test_scale_bars_have_round_lengths(most: float, length: int) -> None:
    assert round_length(most) == length


# ---------------------------------------------------------------------------------------- the figures


def test_stages_show_their_maxima() -> None:
    image = shown()
    maps = [4 * heat((20, 8)), 7 * heat((10, 4))]
    maps[0].flat[0], maps[1].flat[0] = 4, 7
    figure = stage_figure([image], [maps], [Head("S1", "20 × 8"), Head("S2")])
    assert {"image", "true mask", "S1", "20 × 8", "S2", "4", "7"} <= set(words(figure))
    assert len(pictures(figure)) == 2 * 4


def test_two_lines_per_image() -> None:
    images = [shown(name="one"), shown(name="two")]
    maps = [[heat((10, 4)), heat((5, 2))]] * 2
    heads = [Head("S1"), Head("sum")]
    for make in (truncation_figure, layers_figure):
        figure = make(images, maps, maps, heads, ("whole", "truncated"))
        assert len(pictures(figure)) == 2 * 2 * 2 * 3
        assert words(figure).count("whole") == words(figure).count("truncated") == 2


def test_methods_show_their_masks_and_iou() -> None:
    image = shown()
    answers = {
        Head("Grad-CAM"): [Answer(heat((20, 8)), image.truth, 1.0)],
        Head("None"): [Answer(heat((20, 8)), np.zeros_like(image.truth), None)],
    }
    figure = methods_figure([image], answers)
    assert "1.00" in words(figure)
    drawn = [outlines(picture) for picture in pictures(figure)]
    assert drawn.count({TRUE, FOUND}) == 1
    assert drawn.count({TRUE}) == 1
    with pytest.raises(ValueError, match="Grad-CAM: 1 answers for 2 images"):
        methods_figure([image, image], answers)


def test_layers_shown_are_spread_over_all() -> None:
    assert spread(13) == tuple(range(13))
    chosen = spread(97)
    assert len(chosen) == 13
    assert (chosen[0], chosen[-1]) == (0, 96)
    steps = np.diff(chosen)
    assert steps.max() - steps.min() <= 1
    assert spread(1) == (0,)
