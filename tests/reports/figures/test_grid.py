from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgba

from ltcam.reports.figures.grid import Head, Panel, Shown, Strip, close_window, grid, round_length
from ltcam.reports.figures.layers import layers_figure, spread
from ltcam.reports.figures.methods import Answer, methods_figure
from ltcam.reports.figures.stages import stage_figure, truncation_figure
from ltcam.reports.figures.style import FOUND, FRAME, TRUE, encoded


def shown(shape=(400, 160), box=(slice(100, 110), slice(30, 80)), name="kos1/Part2.jpg"):
    rng = np.random.default_rng(0)
    truth = np.zeros(shape, bool)
    truth[box] = True
    return Shown(name, rng.integers(0, 255, (*shape, 3), dtype=np.uint8), truth)


def heat(shape, seed=1):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def pictures(figure):
    """Axes that hold a picture, by their left and top."""
    return [axes for axes in figure.axes if axes.get_images()]


def words(figure):
    return [text.get_text() for text in figure.texts]


def outlines(axes):
    """Colours of the lines along masks."""
    return {to_hex(c.get_edgecolor()[0]) for c in axes.collections}


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
def test_the_window_holds_the_defect_and_lies_in_the_image(box):
    truth = shown(box=box).truth
    rows, columns = close_window(truth)
    assert truth[rows, columns].sum() == truth.sum()
    assert rows.start >= 0
    assert rows.stop <= 400
    assert columns.start >= 0
    assert columns.stop <= 160
    assert (rows.stop - rows.start) * (columns.stop - columns.start) <= truth.size / 2


def test_no_window_where_it_would_be_no_closer_look():
    assert close_window(np.zeros((400, 160), bool)) is None
    assert close_window(shown(box=(slice(0, 390), slice(0, 150))).truth) is None
    assert close_window(np.ones((20, 20), bool)) is None


# ---------------------------------------------------------------------------------------- the grid


def test_whole_and_part_of_every_panel_with_the_part_framed():
    image = shown()
    panels = (Panel(image.image, outlined=False), Panel(heat((400, 160)), found=image.truth, note="0.42"))
    figure = grid(
        [Head("image"), Head("Grad-CAM", "S5")], [Strip(image, (panels,))], found="mask", notes="IoU"
    )
    whole, part, other_whole, other_part = pictures(figure)
    rows, columns = close_window(image.truth)
    assert part.get_xlim() == (columns.start - 0.5, columns.stop - 0.5)
    assert part.get_ylim() == (rows.stop - 0.5, rows.start - 0.5)
    assert whole.get_xlim() == (-0.5, 159.5)
    (frame,) = whole.patches
    assert to_hex(frame.get_edgecolor()) == FRAME
    assert (frame.get_x(), frame.get_y()) == (columns.start - 0.5, rows.start - 0.5)
    assert (frame.get_width(), frame.get_height()) == (
        columns.stop - columns.start,
        rows.stop - rows.start,
    )
    # Masks are outlined where they can be seen: in the larger part, and not in the image itself.
    assert outlines(whole) == outlines(part) == outlines(other_whole) == set()
    assert outlines(other_part) == {TRUE, FOUND}
    assert {"image", "Grad-CAM", "S5", "0.42"} <= set(words(figure))
    assert any("kos1/Part2.jpg" in text and "defect 0.78 %" in text for text in words(figure))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["true mask", "mask", "part shown larger below"]
    encoded(figure, "svg")


def test_without_a_part_the_whole_is_outlined():
    image = shown(box=(slice(0, 390), slice(0, 150)))
    figure = grid([Head("map")], [Strip(image, ((Panel(heat((400, 160))),),))])
    (whole,) = pictures(figure)
    assert outlines(whole) == {TRUE}
    assert not whole.patches
    assert "part shown larger below" not in [text.get_text() for text in figure.legends[0].get_texts()]


def test_pictures_keep_their_shape_and_nothing_lies_outside_or_on_another():
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
    for axes in pictures(figure):
        box = axes.get_position()
        left, right = axes.get_xlim()
        bottom, top = axes.get_ylim()
        assert (box.width * across) / (box.height * down) == pytest.approx(
            (right - left) / (bottom - top), rel=0.02
        )
        assert box.x0 >= 0
        assert box.y0 > 0
        assert box.x1 <= 1
        assert box.y1 < 1
        boxes.append(box)
    for place, box in enumerate(boxes):
        for other in boxes[:place]:
            apart = box.x1 <= other.x0 or other.x1 <= box.x0 or box.y1 <= other.y0 or other.y1 <= box.y0
            assert apart


def test_colours_run_from_the_maps_own_minimum_to_its_maximum():
    image = shown(box=(slice(0, 390), slice(0, 150)))
    values = np.linspace(-5, 20, 400 * 160, dtype=np.float32).reshape(400, 160)
    (axes,) = pictures(grid([Head("map")], [Strip(image, ((Panel(values),),))]))
    drawn = axes.get_images()[0].get_array()
    ends = [[round(255 * part) for part in to_rgba(colour)[:3]] for colour in ("#000004", "#fcffa4")]
    np.testing.assert_allclose(drawn[0, 0], ends[0], atol=6)
    np.testing.assert_allclose(drawn[-1, -1], ends[1], atol=12)
    flat = grid([Head("map")], [Strip(image, ((Panel(np.ones((400, 160), np.float32)),),))])
    assert len(np.unique(pictures(flat)[0].get_images()[0].get_array().reshape(-1, 3), axis=0)) == 1


def test_what_does_not_fit_together():
    with pytest.raises(ValueError, match="no images"):
        grid([Head("a")], [])
    with pytest.raises(ValueError, match="1 columns"):
        grid([Head("a")], [Strip(shown(), ((None, None),))])


@pytest.mark.parametrize(("most", "length"), [(0.4, 1), (1, 1), (7, 5), (99, 50), (100, 100), (460, 200)])
def test_scale_bars_have_round_lengths(most, length):
    assert round_length(most) == length


# ---------------------------------------------------------------------------------------- the figures


def test_stages_show_their_maxima():
    image = shown()
    maps = [4 * heat((20, 8)), 7 * heat((10, 4))]
    maps[0].flat[0], maps[1].flat[0] = 4, 7
    figure = stage_figure([image], [maps], [Head("S1", "20 × 8"), Head("S2")])
    assert {"image", "true mask", "S1", "20 × 8", "S2", "4", "7"} <= set(words(figure))
    assert len(pictures(figure)) == 2 * 4


def test_two_lines_per_image():
    images = [shown(name="one"), shown(name="two")]
    maps = [[heat((10, 4)), heat((5, 2))]] * 2
    heads = [Head("S1"), Head("sum")]
    for make in (truncation_figure, layers_figure):
        figure = make(images, maps, maps, heads, ("whole", "truncated"))
        assert len(pictures(figure)) == 2 * 2 * 2 * 3
        assert words(figure).count("whole") == words(figure).count("truncated") == 2


def test_methods_show_their_masks_and_iou():
    image = shown()
    answers = {
        Head("Grad-CAM"): [Answer(heat((20, 8)), image.truth, 1.0)],
        Head("None"): [Answer(heat((20, 8)), np.zeros_like(image.truth), None)],
    }
    figure = methods_figure([image], answers)
    assert "1.00" in words(figure)
    drawn = [outlines(axes) for axes in pictures(figure)]
    assert drawn.count({TRUE, FOUND}) == 1
    assert drawn.count({TRUE}) == 1
    with pytest.raises(ValueError, match="Grad-CAM: 1 answers for 2 images"):
        methods_figure([image, image], answers)


def test_layers_shown_are_spread_over_all():
    assert spread(13) == tuple(range(13))
    chosen = spread(97)
    assert len(chosen) == 13
    assert (chosen[0], chosen[-1]) == (0, 96)
    steps = np.diff(chosen)
    assert steps.max() - steps.min() <= 1
    assert spread(1) == (0,)
