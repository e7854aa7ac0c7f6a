"""The judge: how good a mask is, by image labels and the classifier alone.

A good mask holds all of the defect and little else. So the classifier looks at two pictures that the mask makes:

    filled   the image with OK texture in the mask's place: does it look OK now? (necessary pixels)
    pasted   an OK image with the mask's pixels: does it look defective now? (sufficient pixels)

and the mask's area has a price. OK texture is what an OK image shows at that place, as bright as the ring around the
hole, and feathered: a large hole that is filled in smoothly would look defective for its smoothness.
`docs/accuracy.md` says how well that ranks masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Scores = Callable[[Sequence[Image]], Sequence[float]]
"""Images (h, w, 3) at the network's size to their log-odds of being defective."""

AREA_PRICE = 0.11
"""Of the area's logarithm; the whole drop is worth 1, the whole rise too."""

_INPAINT_RADIUS_PX = 3
_RING_PX = 7
_FEATHER_PX = 1.5
_THUMBNAIL = (8, 8)
_LEFT_OUT = 6  # one image in so many


@dataclass(frozen=True)
class Mark:
    """What the classifier says of one mask.

    Attributes:
        drop: how far the score falls towards that of OK images once the mask is filled, as a share of the way, -1 to 1.
        rise: how far the score of an OK image rises once the mask's pixels are pasted in, likewise.
        area: share of the image that the mask covers, 0 to 1.
    """

    drop: float
    rise: float
    area: float


@dataclass(frozen=True, eq=False)
class Case:
    """A defective image, ready to be judged masks of.

    Attributes:
        image: (h, w, 3) at the network's size.
        donor: an OK image that looks like it, of the same size.
        score: of the image.
        donor_score: of the donor.
        ok_score: what an OK image has, typically.
    """

    image: Image
    donor: Image
    score: float
    donor_score: float
    ok_score: float


def marks(case: Case, masks: Sequence[Mask], scores: Scores) -> list[Mark]:
    """What the classifier says of each mask of one image. Equal masks are asked about once.

    Args:
        case: the image.
        masks: (H, W) each, of the same picture at any size.
        scores: the classifier.
    """
    size = case.image.shape[:2]
    small = [_of_size(mask, size) for mask in masks]
    different = {mask.tobytes(): mask for mask in small}
    pictures = []
    for mask in different.values():
        pictures += [replaced(case.image, case.donor, mask), replaced(case.donor, case.image, mask)]
    asked = list(scores(pictures)) if pictures else []
    way = max(case.score - case.ok_score, 1e-3)
    found = {
        key: (
            float(np.clip((case.score - asked[2 * place]) / way, -1, 1)),
            float(np.clip((asked[2 * place + 1] - case.donor_score) / way, -1, 1)),
        )
        for place, key in enumerate(different)
    }
    return [Mark(*found[key.tobytes()], float(mask.mean())) for key, mask in zip(small, masks, strict=True)]


def value(found: Sequence[Mark]) -> float:
    """How good the masks of several images are, larger is better.

        value = mean over images, the worst sixth of them aside, of  beyond(drop) + beyond(rise) - AREA_PRICE ln(area),
        beyond(share) = max((share - area) / (1 - area), 0)

    A mask anywhere that covers 60 % of an image takes about 60 % of what is defective with it, so only what goes beyond
    its area counts, as for Cohen's kappa: the rest is chance. A score that rises when a mask is filled says that the
    texture did not suit, and nothing of the mask: it counts as no drop. One image that a way of drawing fails on, or
    that has no defect after all, does not decide: of six or more the worst are left out.

    Args:
        found: one mark per image.
    """
    values = sorted(worth(mark) for mark in found)
    return float(np.mean(values[len(values) // _LEFT_OUT :]))


def worth(mark: Mark) -> float:
    """What one mask contributes to `value`: beyond(drop) + beyond(rise) - AREA_PRICE ln(area)."""
    gained = _beyond(mark.drop, mark.area) + _beyond(mark.rise, mark.area)
    return float(gained - AREA_PRICE * np.log(max(mark.area, SMALLEST)))


def _beyond(share: float, area: float) -> float:
    """How far a share goes beyond what a mask of that area has by chance, 0 to 1."""
    return max((share - area) / (1 - area), 0.0) if area < 1 else 0.0


SMALLEST = 1e-4
"""Share of an image below which a mask is not cheaper for being smaller."""


def replaced(image: Image, donor: Image, mask: Mask) -> Image:
    """The image with another one's pixels in the mask's place, as bright as what is around it, feathered.

    Args:
        image: (h, w, 3).
        donor: (h, w, 3).
        mask: (h, w).
    """
    if not mask.any():
        return image
    hole = _hole(mask)
    around = cv2.dilate(hole, np.ones((2 * _RING_PX + 1, 2 * _RING_PX + 1), np.uint8))
    ring = (around > 0) & (hole == 0)
    pixels = donor.astype(np.float32)
    if ring.any():
        pixels = pixels + (image[ring].astype(np.float32).mean(0) - pixels[ring].mean(0))
    share = np.maximum(cv2.GaussianBlur(hole.astype(np.float32), (0, 0), _FEATHER_PX), hole)[:, :, None]
    return np.asarray(np.clip(image + share * (pixels - image), 0, 255).round(), np.uint8)


def _hole(mask: Mask) -> NDArray[np.uint8]:
    """What is filled with a mask, 0 or 1: a pixel more on each side, since the edge of a defect is half defect."""
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)), np.uint8)


def filled_in(image: Image, mask: Mask) -> Image:
    """The image with the mask's pixels made up from what is around them.

    Args:
        image: (h, w, 3) uint8.
        mask: (H, W) bool, of the same picture at another size.
    """
    holes = _hole(_of_size(mask, image.shape[:2]))
    return np.asarray(cv2.inpaint(image, holes, _INPAINT_RADIUS_PX, cv2.INPAINT_TELEA), np.uint8)


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
