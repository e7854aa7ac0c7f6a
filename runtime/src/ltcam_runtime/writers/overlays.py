"""overlays/NAME.jpg: the image with what was found in it, for people.

The picture is made for the screen: small images are enlarged by a whole factor and very large ones
reduced, so that lines and letters have the same size everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ltcam_runtime.encoding import write_picture
from ltcam_runtime.marking import DARK, Line, draw_outline
from ltcam_runtime.masks import quantise
from ltcam_runtime.phrases import counted
from ltcam_runtime.resizing import fitted_size, resize, resize_heatmap
from ltcam_runtime.results import Inspection, Region, Verdict
from ltcam_runtime.writers.protocol import FolderWriter

_SHORT_SIDE = 480  # enlarged until the shorter side has this many pixels (at most eightfold)
_LONG_SIDE = 2000  # reduced until the longer side has at most this many
_STRIP = 34
_PAD = 10
_GROUND = (24, 26, 30)
_GREY = (170, 174, 180)
_WHITE = (245, 246, 248)
_CHIPS: dict[Verdict, tuple[int, int, int]] = {
    "ok": (38, 132, 82),
    "unsure": (196, 132, 20),
    "defect": (200, 48, 48),
}
_TINT_FROM, _TINT_FULL, _TINT_MOST = 0.30, 0.85, 0.50
_LIGHT = (96, 236, 255)  # cyan: far from the tint and from most parts
_LINE = Line(_LIGHT, thickness=2)
_SPECK, _MOST_BOXES = 14, 40
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 90]


class OverlayWriter(FolderWriter):
    """Writes a JPEG per image."""

    def add(self, inspection: Inspection, image: NDArray[np.uint8]) -> None:
        """Write the overlay of one inspection."""
        picture = draw_overlay(image, inspection)
        path = self.path(inspection, ".jpg")
        write_picture(path, picture, _JPEG)


def draw_overlay(image: NDArray[np.uint8], found: Inspection) -> NDArray[np.uint8]:
    """Draw what was found: hot parts tinted, mask outlined, specks boxed, verdict in a strip above.

    Lines run outside the mask, so that thin defects stay visible. Nothing is tinted where the mask is
    empty, since every heatmap has a hottest place, that of a flawless image too.

    Args:
        image: (H, W, 3) uint8 RGB.
        found: what was said of it.

    Returns:
        (h, w, 3) uint8 RGB, at the scale of a screen.

    Raises:
        ValueError: sizes differ, or a heatmap with NaN or infinite values.
    """
    mask, heatmap = found.mask, found.heatmap
    if image.shape[:2] != mask.shape or mask.shape != heatmap.shape:
        raise ValueError(
            f"image {image.shape[:2]}, mask {mask.shape} and heatmap {heatmap.shape} differ in size"
        )
    picture = draw_found(image, mask, heatmap, found.regions, _display_size(*mask.shape))
    return _with_strip(picture, found.verdict, f"score {found.score:.2f}", _summary(found.regions, mask))


def draw_found(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    heatmap: NDArray[np.floating[Any]],
    regions: Sequence[Region],
    size: tuple[int, int],
) -> NDArray[np.uint8]:
    """The picture of an overlay without its caption, at any size.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.
        heatmap: (H, W) float, raw.
        regions: the regions of the mask.
        size: (height, width) of the picture.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    height, width = mask.shape
    picture = resize(image, size)
    if mask.any():
        _tint(picture, quantise(resize_heatmap(heatmap.astype(np.float32, copy=False), size)))
        draw_outline(picture, mask, _LINE)
        _box_specks(picture, regions, size[1] / width, size[0] / height)
    return picture


def _display_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) on the screen: a whole multiple of a small image's, a fraction of a huge one's."""
    factor = max(1, min(8, _SHORT_SIDE // min(height, width), _LONG_SIDE // max(height, width)))
    return fitted_size((factor * height, factor * width), _LONG_SIDE)


@lru_cache(maxsize=1)
def _tint_tables() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Colour (1, 256, 3) RGB and opacity (256,) of each of the heatmap's 256 levels."""
    levels = np.arange(256, dtype=np.uint8)
    # Inferno's dark end would look like a shadow on the part, its pale end like a highlight.
    colours = cv2.applyColorMap((100 + levels * 0.45).astype(np.uint8), cv2.COLORMAP_INFERNO)
    ramp = np.clip((levels / 255 - _TINT_FROM) / (_TINT_FULL - _TINT_FROM), 0, 1)
    opacity = _TINT_MOST * ramp**2 * (3 - 2 * ramp)
    return np.ascontiguousarray(colours.reshape(1, 256, 3)[..., ::-1]), opacity.astype(np.float32)


def _tint(picture: NDArray[np.uint8], levels: NDArray[np.uint8]) -> None:
    colours, opacity = _tint_tables()
    x, y, width, height = cv2.boundingRect((levels > _TINT_FROM * 255).astype(np.uint8))
    if width == 0:
        return
    hot = np.s_[y : y + height, x : x + width]
    within = np.ascontiguousarray(levels[hot])
    over = opacity[within]
    coloured = cv2.LUT(cv2.cvtColor(within, cv2.COLOR_GRAY2RGB), colours)
    picture[hot] = cv2.blendLinear(coloured, np.ascontiguousarray(picture[hot]), over, 1 - over)


def _box_specks(
    picture: NDArray[np.uint8], regions: Sequence[Region], scale_x: float, scale_y: float
) -> None:
    """Boxes around the largest of the regions that are too small to be seen."""
    specks = [region for region in regions if max(region.box[2] * scale_x, region.box[3] * scale_y) < _SPECK]
    for region in specks[:_MOST_BOXES]:
        x, y, width, height = region.box
        left, top = int(x * scale_x) - _PAD, int(y * scale_y) - _PAD
        right, bottom = int((x + width) * scale_x) + _PAD, int((y + height) * scale_y) + _PAD
        cv2.rectangle(picture, (left, top), (right, bottom), DARK, 3)
        cv2.rectangle(picture, (left, top), (right, bottom), _LIGHT, 1)


# ---------------------------------------------------------------------------------------- strip


def _summary(regions: Sequence[Region], mask: NDArray[np.bool_]) -> str:
    area = 100 * float(mask.mean())
    if area == 0:
        return "no defect marked"
    share = f"{area:.2f} %" if area >= 0.01 else "< 0.01 %"
    return f"{counted(len(regions), 'regions')}, {share} of the area"


def _with_strip(picture: NDArray[np.uint8], verdict: Verdict, score: str, summary: str) -> NDArray[np.uint8]:
    strip = _strip(picture.shape[1], verdict, score, summary)
    missing = strip.shape[1] - picture.shape[1]
    if missing:
        left = missing // 2
        sides = (0, 0, left, missing - left)
        picture = np.asarray(
            cv2.copyMakeBorder(picture, *sides, cv2.BORDER_CONSTANT, value=_GROUND), dtype=np.uint8
        )
    return np.concatenate([strip, picture])


def _strip(width: int, verdict: Verdict, score: str, summary: str) -> NDArray[np.uint8]:
    """The caption, at least `width` wide; the summary is left out where there is no room for it."""
    bold, plain = _font(17), _font(15)
    word = verdict.upper()
    chip = round(bold.getlength(word)) + 2 * _PAD
    after_chip = chip + _PAD + 4
    after_score = after_chip + round(plain.getlength(score)) + 2 * _PAD
    wanted = after_score + round(plain.getlength(summary)) + _PAD
    width = max(width, after_score)

    strip = Image.new("RGB", (width, _STRIP), _GROUND)
    draw = ImageDraw.Draw(strip)
    middle = _STRIP / 2
    draw.rectangle((0, 0, chip, _STRIP), fill=_CHIPS[verdict])
    draw.text((chip / 2, middle), word, font=bold, fill=_WHITE, anchor="mm")
    draw.text((after_chip, middle), score, font=plain, fill=_WHITE, anchor="lm")
    if wanted <= width:
        draw.text((width - _PAD, middle), summary, font=plain, fill=_GREY, anchor="rm")
    return np.asarray(strip)


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
