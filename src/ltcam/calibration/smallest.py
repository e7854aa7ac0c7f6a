"""The smallest piece of a mask that is worth keeping, of each kind of defect, from image labels.

What masks of OK images are made of is never a defect: specks of grain, as large as grain is. Pieces on defective
images that are no larger are most likely specks, too. A kind of defect that is itself a speck must not be lost with
them, nor the pieces that a large one comes in: so nothing is left out that has a tenth of the area of what is typically
the largest piece on images of the kind; a twentieth where masks are cut by Otsu's threshold, which splits an OK image
wherever that is, so that its pieces say little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from ltcam.calibration.looks import Look
from ltcam_runtime.inspector import draw
from ltcam_runtime.resizing import resize_heatmap
from ltcam_runtime.settings import DrawingSettings, KindSettings, part_name

_D = TypeVar("_D", bound=DrawingSettings)

MOST_LOOKED_AT = 24
"""OK images that are looked at."""

_COVERED = 0.9  # share of the pieces on OK images that are left out
# Of the typical largest piece on images of the kind, in pixels; pieces of that area stay.
_SHARE, _SHARE_OTSU = 0.1, 0.05


@dataclass(frozen=True)
class Smallest:
    """The smallest piece of a kind's masks that is kept, and why.

    Attributes:
        area_px: pieces of this many pixels stay, at an image's own size.
        specks: pieces found on OK images.
        speck_px: area that nine of ten of these do not exceed; 0 where there are none.
        typical_px: area of the largest piece on an image of the kind, typically; 0 where none is found.
    """

    area_px: int
    specks: int
    speck_px: int
    typical_px: int


def smallest_piece(kind: DrawingSettings, ok: Sequence[Look], defective: Sequence[Look]) -> Smallest:
    """The smallest piece that masks of a kind, or of a part of one, should keep.

    Args:
        kind: what is drawn of it.
        ok: looks at OK images.
        defective: looks at images of it.
    """
    specks = [area for look in ok for area in _areas(look, kind)]
    largest = [max(areas) for look in defective if (areas := _areas(look, kind))]
    speck_px = int(np.quantile(specks, _COVERED)) if specks else 0
    typical_px = int(np.median(largest)) if largest else 0
    share = _SHARE_OTSU if kind.mask.threshold == "otsu" else _SHARE
    return Smallest(max(1, min(speck_px + 1, int(share * typical_px))), len(specks), speck_px, typical_px)


def smallest_pieces(
    kind: str, settings: KindSettings, ok: Sequence[Look], defective: Sequence[Look]
) -> dict[str, Smallest]:
    """The smallest piece of a kind's masks, and of each of its parts', by name.

    Args:
        kind: its name.
        settings: what is drawn of it.
        ok: looks at OK images.
        defective: looks at images of the kind.
    """
    found = {kind: smallest_piece(settings, ok, defective)}
    for place, part in enumerate(settings.parts):
        of_part = [look for look in defective if settings.part_of(look.heatmaps) == place]
        found[part_name(kind, place)] = smallest_piece(part, ok, of_part)
    return found


def with_smallest_pieces_of(kind: str, settings: KindSettings, found: Mapping[str, Smallest]) -> KindSettings:
    """The same settings of a kind and its parts, but smaller pieces are left out."""
    parts = tuple(
        with_smallest(part, found[part_name(kind, place)].area_px)
        for place, part in enumerate(settings.parts)
    )
    return with_smallest(settings, found[kind].area_px).model_copy(update={"parts": parts})


def with_smallest(settings: _D, area_px: int) -> _D:
    """The same settings of what is drawn, but smaller pieces are left out."""
    return settings.model_copy(update={"mask": settings.mask.model_copy(update={"min_area_px": area_px})})


def _areas(look: Look, kind: DrawingSettings) -> list[int]:
    """Areas in pixels of the connected pieces of an image's mask, as they are before any is left out."""
    heatmap = resize_heatmap(look.heatmaps[kind.map], look.image.shape[:2])
    mask: NDArray[np.bool_] = draw(heatmap, look.image, with_smallest(kind, 1))[1]
    stats = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)[2]
    return [int(area) for area in stats[1:, cv2.CC_STAT_AREA]]
