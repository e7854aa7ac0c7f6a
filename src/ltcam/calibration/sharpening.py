"""Which contrast sharpens the masks of a run: chosen from image labels, with the classifier as the judge.

A good mask is small, and the image looks flawless to the classifier once the mask's pixels are filled in from
what is around them. So each candidate makes its masks of some defective images; the masks are filled in, the
classifier looks again, and the candidate is valued by

    mean of (score drop) - AREA_PRICE x mean of (area)

with the score drop as a share of the way down to the OK images' score, and the area as a share of the
unsharpened mask's. No pixel label takes part. `docs/accuracy.md` says how well that ranks masks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ltcam.runs.inspector import Inspector
from ltcam_runtime.errors import InputError
from ltcam_runtime.images import read_image, resize, resize_heatmap
from ltcam_runtime.inspector import make_mask, sharpened
from ltcam_runtime.settings import MaskSettings, Overrides, SharpeningSettings
from ltcam_runtime.sharpening import Contrast, local_contrast

AREA_PRICE = 0.1  # how much of the score drop the whole area of the unsharpened mask is worth
REACH = 0.15  # share of Otsu's threshold down to which a sharpened mask follows a defect's faint parts
WINDOWS = (0.12, 0.25, 0.6)  # shares of the shorter side; smaller ones cut off a defect's faint parts
POLARITIES = ("dark", "bright", "either", "both", "colour")
MOST_DEFECTIVE, MOST_OK = 16, 12  # images looked at
FEWEST_DEFECTIVE = 4
_AS_GOOD = 0.005  # of value; of candidates this close to the best the first, simplest one is taken
_FILLED = 3  # candidates, the best ones, that are tried with their holes filled as well

# Half of the contrast that a tenth of an OK image's pixels exceed: a whole one cuts off defects' faint ends.
_FLOOR_PERCENTILE, _FLOOR_SHARE = 90, 0.5
_SURELY_GREY = 6  # largest difference of two colour channels that an image may have and count as grey
_INPAINT_RADIUS_PX = 3
_AT_ONCE = 8

Image = NDArray[np.uint8]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SharpeningChoice:
    """What was chosen, and why.

    Attributes:
        sharpening: the best candidate's settings.
        mask: mask settings that go with it.
        evidence: as JSON values: one sentence, and per candidate its settings, drop, area and value.
    """

    sharpening: SharpeningSettings
    mask: MaskSettings
    evidence: Mapping[str, Any]


@dataclass(frozen=True)
class Candidate:
    """One way from a heatmap to a mask."""

    sharpening: SharpeningSettings
    mask: MaskSettings


@dataclass(frozen=True)
class _Case:
    """A defective image, ready to be masked and filled in."""

    image: Image
    heatmap: NDArray[np.float32]
    shrunk: Image
    score: float


def choose_sharpening(
    inspector: Inspector,
    defective: Sequence[Path],
    ok: Sequence[Path],
    progress: Progress = lambda _done, _total: None,
) -> SharpeningChoice:
    """Value every candidate on a few images and take the best; none is a candidate like the others.

    Args:
        inspector: the trained classifier; its own sharpening plays no part.
        defective: files of defective images, of the training or validation side.
        ok: files of OK images, likewise.
        progress: called with (done, total).
    """
    plain = inspector.overridden(Overrides(sharpen="none", reach=1.0))
    rng = np.random.default_rng(inspector.run.seed)
    normal = _read_some(ok, MOST_OK, rng)
    images = _read_some(defective, MOST_DEFECTIVE, rng)
    if len(images) < FEWEST_DEFECTIVE or not normal:
        return _none(
            inspector,
            f"none: {len(images)} defective images are too few to choose on; {FEWEST_DEFECTIVE} are enough",
        )
    normal_score = float(
        np.median(plain.network.defect_scores([resize(i, plain.run.image_size) for i in normal]))
    )
    cases = [case for case in (_case(plain, image) for image in images) if case.score > normal_score]
    if len(cases) < FEWEST_DEFECTIVE:
        return _none(inspector, "none: the classifier does not tell the defective images from OK ones")
    unfilled = [Candidate(each, _mask_settings(plain.run.mask, each)) for each in _sharpenings(normal)]
    marks = _marks_of_all(plain, cases, unfilled, normal_score, lambda done: progress(done, 2 * len(cases)))
    # Holes are filled for the best only: it changes little where it is not needed.
    best = sorted(unfilled, key=lambda candidate: -_value(marks[candidate]))[:_FILLED]
    filled = [_filled(each) for each in best]
    marks |= _marks_of_all(
        plain, cases, filled, normal_score, lambda done: progress(len(cases) + done, 2 * len(cases))
    )
    return _chosen(marks)


def _sharpenings(normal: Sequence[Image]) -> list[SharpeningSettings]:
    """No sharpening, and every polarity and window with the floor that OK images set."""
    grey = all(int(np.ptp(image.astype(np.int16), axis=2).max()) <= _SURELY_GREY for image in normal)
    found = [SharpeningSettings()]
    for polarity in POLARITIES:
        if polarity == "colour" and grey:
            continue
        for window in WINDOWS:
            contrast = Contrast(polarity, window)  # type: ignore[arg-type]
            reached = [np.percentile(local_contrast(image, contrast), _FLOOR_PERCENTILE) for image in normal]
            floor = round(_FLOOR_SHARE * float(np.median(reached)), 2)
            found.append(
                SharpeningSettings.model_validate({"polarity": polarity, "window": window, "floor": floor})
            )
    return found


def _marks_of_all(
    inspector: Inspector,
    cases: Sequence[_Case],
    candidates: Sequence[Candidate],
    normal_score: float,
    done: Callable[[int], None],
) -> dict[Candidate, list[tuple[float, float]]]:
    """(score drop, area) of each candidate's mask of each image."""
    marks: dict[Candidate, list[tuple[float, float]]] = {candidate: [] for candidate in candidates}
    for number, case in enumerate(cases, start=1):
        for candidate, mark in zip(
            candidates, _marks(inspector, case, candidates, normal_score), strict=True
        ):
            marks[candidate].append(mark)
        done(number)
    return marks


def _marks(
    inspector: Inspector, case: _Case, candidates: Sequence[Candidate], normal_score: float
) -> list[tuple[float, float]]:
    """(score drop, area) of each candidate's mask of one image."""
    masks = _masks(case, candidates)
    whole = max(float(make_mask(case.heatmap, inspector.run.mask).mean()), 1e-9)
    # Many candidates make the same mask (one without holes, say): the network is asked about each mask once.
    different = {mask.tobytes(): mask for mask in masks}
    asked = inspector.network.defect_scores([filled_in(case.shrunk, mask) for mask in different.values()])
    score_of = dict(zip(different, asked, strict=True))
    scores = [score_of[mask.tobytes()] for mask in masks]
    return [
        (
            float(np.clip((case.score - score) / (case.score - normal_score), -1, 1)),
            float(mask.mean()) / whole,
        )
        for mask, score in zip(masks, scores, strict=True)
    ]


def _masks(case: _Case, candidates: Sequence[Candidate]) -> list[NDArray[np.bool_]]:
    """Each candidate's mask; a heatmap is sharpened once for all that differ in their mask settings only."""
    heatmaps = {
        sharpening: sharpened(case.heatmap, case.image, sharpening)
        for sharpening in {candidate.sharpening for candidate in candidates}
    }
    return [make_mask(heatmaps[candidate.sharpening], candidate.mask) for candidate in candidates]


def _mask_settings(mask: MaskSettings, sharpening: SharpeningSettings) -> MaskSettings:
    return mask.model_copy(update={"reach": 1.0 if sharpening.polarity == "none" else REACH})


def filled_in(image: Image, mask: NDArray[np.bool_]) -> Image:
    """The image with the mask's pixels made up from what is around them.

    Args:
        image: (h, w, 3) uint8.
        mask: (H, W) bool, of the same picture at another size.
    """
    height, width = image.shape[:2]
    shares = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    # One pixel more on each side: the edge of a defect is half defect.
    holes = cv2.dilate((shares > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.asarray(cv2.inpaint(image, holes, _INPAINT_RADIUS_PX, cv2.INPAINT_TELEA), np.uint8)


def _value(marks: Sequence[tuple[float, float]]) -> float:
    drop, area = np.mean(marks, axis=0)
    return float(drop - AREA_PRICE * area)


def _filled(candidate: Candidate) -> Candidate:
    """The same, with what masks enclose."""
    return Candidate(candidate.sharpening, candidate.mask.model_copy(update={"fill_holes": True}))


def _chosen(
    marks: Mapping[Candidate, Sequence[tuple[float, float]]],
) -> SharpeningChoice:
    most = max(map(_value, marks.values()))
    best = next(candidate for candidate, found in marks.items() if _value(found) >= most - _AS_GOOD)
    if _filled(best) in marks and _value(marks[_filled(best)]) > _value(marks[best]):
        best = _filled(best)  # no less simple: where nothing is enclosed it is the same mask
    rows = [
        {
            **candidate.sharpening.model_dump(mode="json"),
            "fill_holes": candidate.mask.fill_holes,
            "drop": round(float(np.mean(found, axis=0)[0]), 4),
            "area": round(float(np.mean(found, axis=0)[1]), 4),
            "value": round(_value(found), 4),
        }
        for candidate, found in marks.items()
    ]
    chosen = rows[list(marks).index(best)]
    count = len(marks[best])
    sentence = (
        f"best of {len(rows)} candidates (of equals the simplest) by score drop against area on {count} "
        "defective images, by their image labels"
    )
    evidence = {
        "sentence": sentence,
        "rule": f"score drop - {AREA_PRICE} x area",
        "candidates": sorted(rows, key=lambda row: (row is not chosen, -row["value"])),
    }
    return SharpeningChoice(best.sharpening, best.mask, evidence)


def _none(inspector: Inspector, sentence: str) -> SharpeningChoice:
    return SharpeningChoice(SharpeningSettings(), inspector.run.mask, {"sentence": sentence})


def _read_some(files: Sequence[Path], most: int, rng: np.random.Generator) -> list[Image]:
    """Images of at most so many files, drawn at random; unreadable ones are passed over."""
    images: list[Image] = []
    for index in rng.permutation(len(files)):
        if len(images) == most:
            break
        try:
            images.append(read_image(files[index]))
        except InputError:
            continue
    return images


def _case(inspector: Inspector, image: Image) -> _Case:
    shrunk = resize(image, inspector.run.image_size)
    found = inspector.network.explain([shrunk])
    heatmap = resize_heatmap(found.heatmaps[0].cpu().numpy(), image.shape[:2])
    return _Case(image, heatmap, shrunk, float(found.scores[0]))
