"""One picture of one image's truth and prediction, for people: the whole image small, its defect large."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ltcam_runtime.marking import DARK, Line, draw_outline
from ltcam_runtime.masks import quantise
from ltcam_runtime.resizing import resize

TRUTH_COLOUR = (255, 45, 150)
"""RGB of the outline of the true mask."""

PREDICTION_COLOUR = (60, 220, 255)
"""RGB of the outline of the predicted mask."""

_HEIGHT, _WIDEST = 300, 300  # of a pane, in pixels of the picture
_STRIP, _GAP, _LETTERS = 26, 6, 15
_NARROWEST = 108  # room for the caption
_GROUND, _WORDS = (24, 26, 30), (222, 225, 230)
_WINDOW_COLOUR = (255, 208, 64)
_MARGIN = 1.35  # window against the box of what is marked in it
_SMALLEST_WINDOW = 48  # px; less would show single pixels
_LARGEST_SHARE = 0.45  # a window with more of the image than this is no closer look
_HEAT_OPACITY = 0.65

_Picture = NDArray[np.uint8]
_Mask = NDArray[np.bool_]
_Window = tuple[slice, slice]


def comparison_picture(
    image: _Picture, truth: _Mask | None, predicted: _Mask, heatmap: NDArray[np.floating[Any]]
) -> _Picture:
    """Image, outline of the truth, outline of the prediction and heatmap side by side.

    Where what is marked fills only a part of the image, the four show that part, and the whole image
    with both outlines and the whole heatmap stand to their left, the part framed in them. Outlines run
    just outside the masks, so that thin defects stay visible.

    Args:
        image: (H, W, 3) uint8 RGB.
        truth: (H, W) bool, or None where nobody knows it: then nothing is said of it.
        predicted: (H, W) bool.
        heatmap: (H, W) float, raw; coloured from its own minimum to its own maximum.

    Returns:
        (h, w, 3) uint8 RGB, made for the screen.

    Raises:
        ValueError: sizes differ, or a heatmap with NaN or infinite values.
    """
    sizes = {image.shape[:2], predicted.shape, heatmap.shape, *([] if truth is None else [truth.shape])}
    if len(sizes) != 1:
        raise ValueError(f"image, truth, prediction and heatmap differ in size: {sorted(sizes)}")
    heat = _coloured(image, heatmap)
    if truth is None:
        plain = _close_panes(image, np.zeros_like(predicted), predicted, heat, _WIDEST)
        return _in_a_row([plain[0], *plain[2:]])
    window = _window(truth, predicted)
    layers = image[window], truth[window], predicted[window], heat[window]
    height, width = truth.shape
    if window != _everything(truth.shape):
        whole = _whole_panes(image, truth, predicted, heat, window)
        return _in_a_row([whole, *_close_panes(*layers, _WIDEST)])
    if width <= 2 * height:
        return _in_a_row(_close_panes(*layers, _WIDEST))
    first, second, third, fourth = _close_panes(*layers, 2 * _WIDEST)
    return _stacked([_in_a_row([first, second]), _in_a_row([third, fourth])])


def _close_panes(
    image: _Picture, truth: _Mask, predicted: _Mask, heat: _Picture, widest: int
) -> list[_Picture]:
    size = _fitted(truth.shape, (_HEIGHT, widest))
    plain = resize(image, size)
    return [
        _captioned(plain, "image", _HEIGHT),
        _captioned(
            _outlined(plain, truth, TRUTH_COLOUR), "truth" if truth.any() else "truth: none here", _HEIGHT
        ),
        _captioned(
            _outlined(plain, predicted, PREDICTION_COLOUR),
            "prediction" if predicted.any() else "prediction: none here",
            _HEIGHT,
        ),
        _captioned(resize(heat, size), "heatmap", _HEIGHT),
    ]


def _whole_panes(
    image: _Picture, truth: _Mask, predicted: _Mask, heat: _Picture, window: _Window
) -> _Picture:
    """The whole image with both outlines, and the whole heatmap; beside each other where they are tall."""
    tall = truth.shape[0] > 1.25 * truth.shape[1]
    height = _HEIGHT if tall else (_HEIGHT - _STRIP - _GAP) // 2
    size = _fitted(truth.shape, (height, _WIDEST))
    marked = _outlined(resize(image, size), truth, TRUTH_COLOUR, thickness=1)
    marked = _outlined(marked, predicted, PREDICTION_COLOUR, thickness=1)
    panes = [
        _captioned(_framed(marked, window, truth.shape), "whole image", height),
        _captioned(_framed(resize(heat, size), window, truth.shape), "heatmap", height),
    ]
    return _in_a_row(panes) if tall else _stacked(panes)


# --------------------------------------------------------------------------------------- window


def _window(truth: _Mask, predicted: _Mask) -> _Window:
    """The part to look at closely: all that is marked, else the truth, else the whole image."""
    for marks in (truth | predicted, truth):
        if marks.any():
            window = _around(cv2.boundingRect(marks.astype(np.uint8)), truth.shape)
            if truth[window].size <= _LARGEST_SHARE * truth.size:
                return window
    return _everything(truth.shape)


def _everything(shape: tuple[int, ...]) -> _Window:
    return slice(0, shape[0]), slice(0, shape[1])


def _around(box: Sequence[int], shape: tuple[int, ...]) -> _Window:
    x, y, width, height = box
    long = max(_MARGIN * width, _MARGIN * height, _SMALLEST_WINDOW, min(shape) / 6)  # of a square
    return span_around(y + height / 2, long, shape[0]), span_around(x + width / 2, long, shape[1])


def span_around(middle: float, length: float, limit: int) -> slice:
    """About `length` pixels around `middle`, moved so that they lie within 0 to `limit`."""
    whole = min(limit, round(length))
    start = min(max(0, round(middle - whole / 2)), limit - whole)
    return slice(start, start + whole)


# --------------------------------------------------------------------------------------- drawing


def _coloured(image: _Picture, heatmap: NDArray[np.floating[Any]]) -> _Picture:
    """The heatmap in colours over the grey image, at the image's size."""
    colours = cv2.applyColorMap(quantise(heatmap), cv2.COLORMAP_INFERNO)[..., ::-1]
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    mixed = cv2.addWeighted(np.ascontiguousarray(colours), _HEAT_OPACITY, grey, 1 - _HEAT_OPACITY, 0)
    return np.asarray(mixed, np.uint8)


def _outlined(picture: _Picture, mask: _Mask, colour: tuple[int, int, int], thickness: int = 3) -> _Picture:
    """A copy of the picture with the mask outlined."""
    drawn = picture.copy()
    draw_outline(drawn, mask, Line(colour, thickness, dark=int(thickness > 1)))
    return drawn


def _framed(picture: _Picture, window: _Window, shape: tuple[int, ...]) -> _Picture:
    scale = picture.shape[0] / shape[0], picture.shape[1] / shape[1]
    top, bottom = (round(scale[0] * edge) for edge in (window[0].start, window[0].stop))
    left, right = (round(scale[1] * edge) for edge in (window[1].start, window[1].stop))
    corners = (left, top), (min(right, picture.shape[1]) - 1, min(bottom, picture.shape[0]) - 1)
    cv2.rectangle(picture, *corners, DARK, 4)
    cv2.rectangle(picture, *corners, _WINDOW_COLOUR, 2)
    return picture


# ---------------------------------------------------------------------------------------- layout


def _fitted(shape: tuple[int, ...], limit: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of this shape that just fits into the limit."""
    scale = min(limit[0] / shape[0], limit[1] / shape[1])
    return max(1, round(scale * shape[0])), max(1, round(scale * shape[1]))


def _captioned(picture: _Picture, caption: str, height: int) -> _Picture:
    """The picture in the middle of a pane of this height, its caption in a strip above."""
    words = _font().getlength(caption)
    width = max(picture.shape[1], _NARROWEST, round(words) + 8)
    strip = Image.new("RGB", (width, _STRIP), _GROUND)
    ImageDraw.Draw(strip).text((width / 2, _STRIP / 2), caption, font=_font(), fill=_WORDS, anchor="mm")
    return np.concatenate([np.asarray(strip), _padded(picture, min(height, picture.shape[0]), width)])


def _padded(picture: _Picture, height: int, width: int) -> _Picture:
    """The picture in the middle of a ground of at least this size."""
    down, across = max(0, height - picture.shape[0]), max(0, width - picture.shape[1])
    sides = (down // 2, down - down // 2, across // 2, across - across // 2)
    return np.asarray(cv2.copyMakeBorder(picture, *sides, cv2.BORDER_CONSTANT, value=_GROUND), np.uint8)


def _in_a_row(panes: Sequence[_Picture]) -> _Picture:
    height = max(pane.shape[0] for pane in panes)
    padded = [_padded(pane, height, pane.shape[1]) for pane in panes]
    gap = np.full((height, _GAP, 3), _GROUND, np.uint8)
    return np.concatenate(list(_between(padded, gap)), axis=1)


def _stacked(panes: Sequence[_Picture]) -> _Picture:
    width = max(pane.shape[1] for pane in panes)
    padded = [_padded(pane, pane.shape[0], width) for pane in panes]
    gap = np.full((_GAP, width, 3), _GROUND, np.uint8)
    return np.concatenate(list(_between(padded, gap)))


def _between(panes: Sequence[_Picture], gap: _Picture) -> Iterator[_Picture]:
    for index, pane in enumerate(panes):
        if index:
            yield gap
        yield pane


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_LETTERS)
