"""The judge: how good a mask is, by image labels and the classifier alone.

A good mask holds all of the defect and little else. So the classifier looks at two pictures that the mask makes:

    filled   the image with OK texture in the mask's place: does it look OK now? (necessary pixels)
    pasted   an OK image with the mask's pixels: does it look defective now? (sufficient pixels)

and area has a price. OK texture is what an OK image shows at that place, as bright as the ring around the hole, and
feathered: a large hole that is filled in smoothly would look defective for its smoothness. Two holes are filled, one
as wide as the mask and one with a margin: a defect fades out, and what is left of it around a mask that ends where
people would end it still looks defective.
`docs/accuracy.md` says how well that ranks masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Scores = Callable[[Sequence[Image]], Sequence[float]]
"""Images (h, w, 3) at the network's size to their log-odds of being defective."""

AREA_PRICE = 0.06
"""Of the logarithm of a mask's area; the whole drop is worth 1, the whole rise too."""

HOLE_PRICE = 0.05
"""Of the logarithm of the area of its holes."""

LARGE, LARGE_PRICE = 0.3, 2.0
"""Share of an image that few defects cover, and the price of what a mask covers beyond it."""

MARGINS_PX = (1, 5)
"""Of the holes around a mask, at the network's size; a pixel at least, since the edge of a defect is half defect."""

_INPAINT_RADIUS_PX = 3
_RING_PX = 7
_FEATHER_PX = 1.5
_THUMBNAIL = (8, 8)
_LEFT_OUT = 6  # one image in so many


@dataclass(frozen=True)
class Mark:
    """What the classifier says of one mask.

    Attributes:
        drops: how far the score falls towards that of OK images once the hole with each of the margins is filled, as a
            share of the way, -1 to 1; narrow to wide.
        rise: how far the score of an OK image rises once the pixels of the narrow hole are pasted in, likewise.
        area: share of the image that the mask covers, 0 to 1.
        holes: share of the image that each hole covers, 0 to 1.
    """

    drops: tuple[float, ...]
    rise: float
    area: float
    holes: tuple[float, ...]

    @property
    def drop(self) -> float:
        """Of the hole that is as wide as the mask."""
        return self.drops[0]


@dataclass(frozen=True, eq=False)
class Case:
    """A defective image, ready to be judged masks of.

    Attributes:
        image: (h, w, 3) at the network's size.
        donor: an OK image that looks like it, of the same size.
        score: of the image.
        donor_score: of the donor.
        ok_score: what an OK image has, typically.
        margins: of the holes around a mask, in pixels, narrow to wide.
    """

    image: Image
    donor: Image
    score: float
    donor_score: float
    ok_score: float
    margins: tuple[int, ...] = MARGINS_PX


def marks(case: Case, masks: Sequence[Mask], scores: Scores) -> list[Mark]:
    """What the classifier says of each mask of one image. Equal masks are asked about once.

    Args:
        case: the image.
        masks: (H, W) each, of the same picture at any size.
        scores: the classifier.
    """
    size = case.image.shape[:2]
    holes = [
        [_wider(small, margin) for margin in case.margins]
        for small in (_of_size(mask, size) for mask in masks)
    ]
    pictures = {
        ("filled", hole.tobytes()): partial(replaced, case.image, case.donor, hole)
        for around in holes
        for hole in around
    }
    pictures |= {
        ("pasted", narrow.tobytes()): partial(replaced, case.donor, case.image, narrow)
        for narrow, *_ in holes
    }
    asked = (
        dict(zip(pictures, scores([made() for made in pictures.values()]), strict=True)) if pictures else {}
    )
    way = max(case.score - case.ok_score, 1e-3)

    def share(difference: float) -> float:
        return float(np.clip(difference / way, -1, 1))

    return [
        Mark(
            drops=tuple(share(case.score - asked["filled", hole.tobytes()]) for hole in around),
            rise=share(asked["pasted", around[0].tobytes()] - case.donor_score),
            area=float(mask.mean()),
            holes=tuple(float(hole.mean()) for hole in around),
        )
        for around, mask in zip(holes, masks, strict=True)
    ]


def value(found: Sequence[Mark]) -> float:
    """How good the masks of several images are, larger is better.

        value = mean over images, the worst sixth of them aside, of  worth,
        worth = mean over holes of (beyond(drop, hole) - HOLE_PRICE ln(hole)) + beyond(rise, narrow hole)
                - AREA_PRICE ln(area) - LARGE_PRICE max(area - LARGE, 0),
        beyond(share, hole) = max((share - hole) / (1 - hole), 0)

    A hole anywhere that covers 60 % of an image takes about 60 % of what is defective with it, so only what goes beyond
    its area counts, as for Cohen's kappa: the rest is chance. A score that rises when a mask is filled says that the
    texture did not suit, and nothing of the mask: it counts as no drop. One image that a way of drawing fails on, or
    that has no defect after all, does not decide: of six or more the worst are left out.

    Args:
        found: one mark per image.
    """
    values = sorted(worth(mark) for mark in found)
    return float(np.mean(values[len(values) // _LEFT_OUT :]))


def worth(mark: Mark) -> float:
    """What one mask contributes to `value`."""
    filled = [
        _beyond(drop, hole) - HOLE_PRICE * _ln(hole)
        for drop, hole in zip(mark.drops, mark.holes, strict=True)
    ]
    price = AREA_PRICE * _ln(mark.area) + LARGE_PRICE * max(mark.area - LARGE, 0.0)
    return float(np.mean(filled) + _beyond(mark.rise, mark.holes[0]) - price)


def _ln(area: float) -> float:
    """Logarithm of an area, but of no smaller one than counts."""
    return float(np.log(max(area, SMALLEST)))


def _beyond(share: float, hole: float) -> float:
    """How far a share goes beyond what a hole of that area has by chance, 0 to 1."""
    return max((share - hole) / (1 - hole), 0.0) if hole < 1 else 0.0


SMALLEST = 1e-4
"""Share of an image below which a mask is not cheaper for being smaller."""


def replaced(image: Image, donor: Image, hole: Mask) -> Image:
    """The image with another one's pixels in a hole, as bright as what is around it, feathered.

    Args:
        image: (h, w, 3).
        donor: (h, w, 3).
        hole: (h, w).
    """
    if not hole.any():
        return image
    ring = _wider(hole, _RING_PX) & ~hole
    pixels = donor.astype(np.float32)
    if ring.any():
        pixels = pixels + (image[ring].astype(np.float32).mean(0) - pixels[ring].mean(0))
    inside = hole.astype(np.float32)
    share = np.maximum(cv2.GaussianBlur(inside, (0, 0), _FEATHER_PX), inside)[:, :, None]
    return np.asarray(np.clip(image + share * (pixels - image), 0, 255).round(), np.uint8)


def _wider(mask: Mask, margin: int) -> Mask:
    """A mask with a margin on each side."""
    return np.asarray(
        cv2.dilate(mask.astype(np.uint8), np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)) > 0
    )


def filled_in(image: Image, mask: Mask) -> Image:
    """The image with the mask's pixels made up from what is around them.

    Args:
        image: (h, w, 3) uint8.
        mask: (H, W) bool, of the same picture at another size.
    """
    hole = _wider(_of_size(mask, image.shape[:2]), MARGINS_PX[0]).astype(np.uint8)
    return np.asarray(cv2.inpaint(image, hole, _INPAINT_RADIUS_PX, cv2.INPAINT_TELEA), np.uint8)


def likeness(image: Image) -> NDArray[np.float32]:
    """Numbers that are close for images that look alike: a thumbnail, and the spread of each channel."""
    small = cv2.resize(image, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    spread = cv2.meanStdDev(image)[1].ravel()
    return np.concatenate([small / np.sqrt(small.size), spread]).astype(np.float32)


def most_alike(image: Image, others: NDArray[np.float32]) -> int:
    """Index of the image, among others by their likeness (N, D), that looks most like this one."""
    return int(np.square(others - likeness(image)).sum(1).argmin())


def _of_size(mask: Mask, size: tuple[int, int]) -> Mask:
    """The mask at another size: every pixel that it touches."""
    if mask.shape == size:
        return mask
    height, width = size
    shares = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(shares > 0)
