"""Rows of pictures of one image each: the whole image small and, below it, its defect large.

All figures that show images are made of this. Everything is placed in inches, from the top left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from ltcam.reports.comparison_picture import span_around
from ltcam.reports.drawing import FOUND, FRAME, HEAT, PNG_DPI, TEXT_WIDTH, TRUE, new_figure
from ltcam_runtime.resizing import resize_heatmap

Picture = NDArray[np.uint8] | NDArray[np.bool_] | NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Window = tuple[slice, slice]

_NARROWEST, _WIDEST = 0.62, 1.3  # of a column
_TALLEST = (1.9, 1.3)  # of a whole image, in widths of its column; where there are several bands
_CROP_ASPECT = 0.72  # height of the larger part against its width
_GAP, _LABEL, _HEAD, _TITLE, _NOTE, _FOOT = 0.05, 0.2, 0.125, 0.19, 0.13, 0.5
_MARGIN = 1.25  # larger part against the box of what is marked in it
_SMALLEST_WINDOW = 48  # px; less would show single pixels
_LARGEST_SHARE = 0.5  # a part that is more of the image than this is no closer look
_THIN_MASKS = 3.0  # brightness of a pixel of a small picture against its share of the mask
_THIN, _DARK = 0.7, [withStroke(linewidth=1.9, foreground="#101418")]
_SOFT = "#3a444f"


@dataclass(frozen=True, eq=False)
class Shown:
    """An image that a figure shows.

    Attributes:
        name: for people.
        image: (H, W, 3) uint8 RGB.
        truth: (H, W) bool.
    """

    name: str
    image: NDArray[np.uint8]
    truth: Mask

    def fitted(self, heatmap: NDArray[np.float32]) -> NDArray[np.float32]:
        """A heatmap (h, w) of it at its own size (H, W), by bilinear interpolation as in eq. 8."""
        return resize_heatmap(heatmap, self.truth.shape)


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture of an image.

    Attributes:
        picture: (H, W, 3) uint8 RGB; (H, W) bool; or (H, W) float, raw, coloured from its own minimum to its
            own maximum.
        found: (H, W) bool mask to outline, or None.
        outlined: whether the true mask is outlined too.
        note: a few letters below it.
    """

    picture: Picture
    found: Mask | None = None
    outlined: bool = True
    note: str = ""


@dataclass(frozen=True)
class Head:
    """What stands above a column.

    Attributes:
        title: of one or several lines.
        detail: a line in smaller letters below, or "".
    """

    title: str
    detail: str = ""


@dataclass(frozen=True, eq=False)
class Strip:
    """All that is shown of one image.

    Attributes:
        shown: the image.
        bands: a line of panels each; None leaves its place empty.
        labels: at the left of each band, or "".
    """

    shown: Shown
    bands: tuple[tuple[Panel | None, ...], ...]
    labels: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class _Sizes:
    """Inches.

    Attributes:
        column: width of a column.
        left: of the first column.
        whole: height of the whole images.
        crop: height of the larger parts, 0 without.
    """

    column: float
    left: float
    whole: float
    crop: float

    @property
    def band(self) -> float:
        return self.whole + (self.crop + _GAP if self.crop else 0) + _NOTE

    def x(self, place: int) -> float:
        return self.left + place * (self.column + _GAP)


def image_panel(shown: Shown) -> Panel:
    """The image as it is."""
    return Panel(shown.image, outlined=False)


def truth_panel(shown: Shown) -> Panel:
    """The true mask."""
    return Panel(shown.truth, outlined=False)


def close_window(truth: Mask) -> Window | None:
    """The part of an image to show larger: around all that is marked.

    Args:
        truth: (H, W) bool.

    Returns:
        Rows and columns; None where nothing is marked, or where what is marked fills the image anyway.
    """
    if not truth.any():
        return None
    x, y, across, down = cv2.boundingRect(truth.astype(np.uint8))
    smallest = max(_SMALLEST_WINDOW, min(truth.shape) / 5)
    width = max(_MARGIN * across, _MARGIN * down / _CROP_ASPECT, smallest)
    # Where the sides of the image are in the way, the part has another shape, and still holds the defect.
    rows = span_around(
        y + down / 2, max(_CROP_ASPECT * min(width, truth.shape[1]), _MARGIN * down), truth.shape[0]
    )
    columns = span_around(x + across / 2, width, truth.shape[1])
    window = rows, columns
    return window if truth[window].size <= _LARGEST_SHARE * truth.size else None


def grid(columns: Sequence[Head], strips: Sequence[Strip], *, found: str = "", notes: str = "") -> Figure:
    """A figure of strips one below the other.

    Args:
        columns: their heads.
        strips: the images.
        found: what the outlined masks are; "" where there are none.
        notes: what the letters below the panels are.

    Raises:
        ValueError: no images, or a band of another number of panels than columns.
    """
    if not strips:
        raise ValueError("there are no images to show")
    for strip in strips:
        if any(len(band) != len(columns) for band in strip.bands) or len(strip.labels) != len(strip.bands):
            raise ValueError(f"{strip.shown.name}: {len(columns)} columns, but other numbers of panels")
    labelled = any(label for strip in strips for label in strip.labels)
    left = _LABEL if labelled else 0.02
    column = (TEXT_WIDTH - left) / len(columns) - _GAP
    column = min(max(column, _NARROWEST), _WIDEST)
    width = max(left + len(columns) * (column + _GAP), 4.6)
    detailed = any(each.detail for each in columns)
    head = _HEAD * (max(each.title.count("\n") + 1 for each in columns) + detailed) + 0.05
    windows = [close_window(strip.shown.truth) for strip in strips]
    sizes = [_sizes(strip, window, column, left) for strip, window in zip(strips, windows, strict=True)]
    heights = [_TITLE + len(strip.bands) * each.band for strip, each in zip(strips, sizes, strict=True)]
    canvas = _Canvas(new_figure(width, head + sum(heights) + _FOOT))
    lift = _HEAD * detailed
    for place, each in enumerate(columns):
        middle = sizes[0].x(place) + column / 2
        canvas.text(middle, head - 0.03 - lift, each.title, weight="bold", va="baseline", size=6.8)
        canvas.text(middle, head - 0.03, each.detail, va="baseline", size=5.8, color=_SOFT)
    top = head
    for strip, window, size, height in zip(strips, windows, sizes, heights, strict=True):
        _draw_strip(_Sheet(canvas, size, window), strip, top)
        top += height
    _draw_foot(canvas, top + 0.13, found, notes, framed=any(window is not None for window in windows))
    return canvas.figure


def _sizes(strip: Strip, window: Window | None, column: float, left: float) -> _Sizes:
    height, width = strip.shown.truth.shape
    tallest = _TALLEST[len(strip.bands) > 1]
    crop = 0.0 if window is None else _CROP_ASPECT * column
    return _Sizes(column, left, min(height / width, tallest) * column, crop)


# --------------------------------------------------------------------------------------- drawing


class _Canvas:
    """A figure with places in inches from its top left corner; one pair of axes for all, since many are slow."""

    def __init__(self, figure: Figure):
        self.figure = figure
        across, down = figure.get_size_inches()
        self.axes = figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        self.axes.set_xlim(0, across)
        self.axes.set_ylim(down, 0)

    def text(self, x: float, y: float, words: str, **options: Any) -> None:
        """Words, by default in the middle of x, and below y."""
        given = {"ha": "center", "va": "top", "size": 7.0, "linespacing": 1.15, **options}
        self.axes.text(x, y, words, **given)

    def picture(self, raster: NDArray[np.uint8], place: _Place) -> None:
        """Pixels (h, w, 3) where the place is."""
        drawn = AxesImage(self.axes, extent=place.extent, origin="upper", interpolation="none")
        drawn.set_data(raster)
        self.axes.add_image(drawn)

    def frame(self, place: _Place, *, dark: bool = False) -> None:
        """The frame of a part."""
        left, right, bottom, top = place.extent
        self.axes.add_patch(
            Rectangle(
                (left, top),
                right - left,
                bottom - top,
                fill=False,
                edgecolor=FRAME,
                linewidth=_THIN,
                path_effects=_DARK if dark else None,
            )
        )


@dataclass(frozen=True)
class _Place:
    """Where a part of an image is drawn.

    Attributes:
        x: left of it, in inches; y is its top.
        y: see there.
        inches: of one pixel.
        rows: of the image.
        columns: of the image.
    """

    x: float
    y: float
    inches: float
    rows: slice
    columns: slice

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top in inches."""
        right = self.x + self.inches * (self.columns.stop - self.columns.start)
        return self.x, right, self.y + self.inches * (self.rows.stop - self.rows.start), self.y

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels of the print."""
        left, right, bottom, top = self.extent
        return max(1, round(PNG_DPI * (bottom - top))), max(1, round(PNG_DPI * (right - left)))

    def part(self, rows: slice, columns: slice) -> _Place:
        """Where a part of it is."""
        x = self.x + self.inches * (columns.start - self.columns.start)
        y = self.y + self.inches * (rows.start - self.rows.start)
        return _Place(x, y, self.inches, rows, columns)


def _fitted(box: tuple[float, float, float, float], rows: slice, columns: slice) -> _Place:
    """As large as fits into the middle of the box (x, y, width, height)."""
    height, width = rows.stop - rows.start, columns.stop - columns.start
    x, y, across, down = box
    inches = min(across / width, down / height)
    return _Place(x + (across - inches * width) / 2, y + (down - inches * height) / 2, inches, rows, columns)


@dataclass(frozen=True, eq=False)
class _Sheet:
    """What is drawn on, and by which measures; `window` is the part that is shown larger, if any."""

    canvas: _Canvas
    sizes: _Sizes
    window: Window | None


def _draw_strip(sheet: _Sheet, strip: Strip, top: float) -> None:
    canvas, sizes = sheet.canvas, sheet.sizes
    canvas.text(sizes.left, top + 0.05, _title(strip.shown), ha="left", size=6.5, color=_SOFT)
    y = top + _TITLE
    for number, (band, label) in enumerate(zip(strip.bands, strip.labels, strict=True)):
        if label:
            middle = y + (sizes.band - _NOTE) / 2
            canvas.text(0.03, middle, label, rotation=90, weight="bold", ha="left", va="center")
        for place, panel in enumerate(band):
            if panel is not None:
                corner = sizes.x(place), y
                _draw_panel(sheet, strip.shown, panel, corner, scale=not number + place)
        y += sizes.band


def _title(shown: Shown) -> str:
    height, width = shown.truth.shape
    return (
        f"{shown.name}   {height} \N{MULTIPLICATION SIGN} {width} px, defect {100 * shown.truth.mean():.2g} %"
    )


def _draw_panel(
    sheet: _Sheet, shown: Shown, panel: Panel, corner: tuple[float, float], *, scale: bool
) -> None:
    canvas, sizes, (x, y) = sheet.canvas, sheet.sizes, corner
    everything = slice(0, shown.truth.shape[0]), slice(0, shown.truth.shape[1])
    whole = _fitted((x, y, sizes.column, sizes.whole), *everything)
    _draw_picture(canvas, shown, panel, whole, closer=sheet.window is None)
    places = [whole]
    if sheet.window is not None:
        canvas.frame(whole.part(*sheet.window), dark=True)
        part = _fitted((x, y + sizes.whole + _GAP, sizes.column, sizes.crop), *sheet.window)
        _draw_picture(canvas, shown, panel, part, closer=True)
        canvas.frame(part)
        places.append(part)
    if scale:
        for place in places:
            _scale_bar(canvas, place)
    if panel.note:
        canvas.text(x + sizes.column / 2, y + sizes.band - _NOTE + 0.015, panel.note, size=5.8, color=_SOFT)


def _draw_picture(canvas: _Canvas, shown: Shown, panel: Panel, place: _Place, *, closer: bool) -> None:
    """A part of the panel's picture; with the masks outlined if `closer`."""
    canvas.picture(_raster(panel.picture, (place.rows, place.columns), place.size), place)
    if closer:
        for mask, colour in ((shown.truth if panel.outlined else None, TRUE), (panel.found, FOUND)):
            if mask is not None:
                _outline(canvas, mask, place, colour)


def _raster(picture: Picture, window: Window, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A part of a picture in colours, (h, w, 3) uint8 RGB, at the size it is printed at: small files, no aliasing."""
    height, width = size
    part = picture[window]
    way = cv2.INTER_AREA if height < part.shape[0] else cv2.INTER_LINEAR
    if part.ndim == 3:
        return np.asarray(
            cv2.resize(np.ascontiguousarray(part), (width, height), interpolation=way), np.uint8
        )
    if part.dtype == np.bool_:
        share = cv2.resize(part.astype(np.float32), (width, height), interpolation=way)
        grey = np.rint(255 * np.minimum(1, _THIN_MASKS * share)).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    low, high = float(picture.min()), float(picture.max())
    scaled = (part.astype(np.float32) - low) / (high - low if high > low else 1)
    colours = colormaps[HEAT](
        np.clip(cv2.resize(scaled, (width, height), interpolation=way), 0, 1), bytes=True
    )
    return np.asarray(colours[..., :3], np.uint8)


def _outline(canvas: _Canvas, mask: Mask, place: _Place, colour: str) -> None:
    """A line along the border of the mask; it is a drawn line, so that thin masks do not vanish in small pictures."""
    part = np.pad(mask[place.rows, place.columns], 1)  # so that the line closes at the border
    if not part.any():
        return
    # Contours run through the middles of border pixels; of a mask three times as large, a sixth of a pixel inside.
    large = np.repeat(np.repeat(part.astype(np.uint8), 3, axis=0), 3, axis=1)
    found, _ = cv2.findContours(large, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    corner = np.array([place.x, place.y])
    lines = [corner + place.inches * ((line[:, 0] + 0.5) / 3 - 1) for line in found]
    closed = [np.concatenate([line, line[:1]]) for line in lines]
    canvas.axes.add_collection(LineCollection(closed, colors=[colour], linewidths=0.5), autolim=False)


def _scale_bar(canvas: _Canvas, place: _Place) -> None:
    """A line of a round number of pixels, at the lower left."""
    left, right, bottom, top = place.extent
    length = round_length(0.45 * (place.columns.stop - place.columns.start))
    x, y = left + 0.06 * (right - left), bottom - 0.06 * min(right - left, bottom - top)
    ends = [x, x + place.inches * length]
    canvas.axes.add_line(Line2D(ends, [y, y], color="white", linewidth=1.2, path_effects=_DARK))
    canvas.text(
        x, y - 0.02, f"{length} px", ha="left", va="bottom", size=5.2, color="white", path_effects=_DARK
    )


def round_length(most: float) -> int:
    """The largest of 1, 2, 5, 10, 20, 50, ... that is not above `most`; 1 at least."""
    power = 10 ** math.floor(math.log10(max(most, 1)))
    return int(max(factor * power for factor in (1, 2, 5) if factor * power <= max(most, 1)))


def _draw_foot(canvas: _Canvas, top: float, found: str, notes: str, *, framed: bool) -> None:
    """The colours, what the lines are, and what the notes are."""
    left, right, bottom = 0.22, 1.32, top + 0.075
    colours = np.repeat(colormaps[HEAT](np.arange(256), bytes=True)[None, :, :3], 8, axis=0)
    drawn = AxesImage(canvas.axes, extent=(left, right, bottom, top), origin="upper", interpolation="none")
    drawn.set_data(colours)
    canvas.axes.add_image(drawn)
    for share in (0, 0.5, 1):
        x = left + share * (right - left)
        canvas.axes.add_line(Line2D([x, x], [bottom, bottom + 0.025], color="black", linewidth=0.5))
        canvas.text(x, bottom + 0.035, f"{share:g}", size=5.8)
    words = "from each map's own minimum (0) to its maximum (1)" + (
        f"; below the maps: {notes}" if notes else ""
    )
    canvas.text(1.45, top - 0.025, words, ha="left", size=5.8, color=_SOFT)
    lines = [Line2D([], [], color=TRUE, linewidth=1.0, label="true mask")]
    if found:
        lines.append(Line2D([], [], color=FOUND, linewidth=1.0, label=found))
    if framed:
        lines.append(Line2D([], [], color=FRAME, linewidth=1.4, label="part shown larger below"))
    across, down = canvas.figure.get_size_inches()
    canvas.figure.legend(
        handles=lines,
        loc="upper left",
        bbox_to_anchor=(1.45 / across, 1 - (top + 0.09) / down),
        ncols=3,
        fontsize=5.8,
        borderpad=0,
        borderaxespad=0,
        handlelength=1.6,
        columnspacing=1.4,
    )
