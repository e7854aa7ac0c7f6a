"""What a trained network says of the images that were held back: numbers for run.json, pictures for the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ltcam.calibration.validation import validation
from ltcam.data.dataset import Dataset, Sample
from ltcam.reports.comparison_picture import comparison_picture
from ltcam.reports.examples import ExamplePicture
from ltcam.runs.inspector import Inspector
from ltcam.training.images import PreparedImages
from ltcam.training.listener import Listener
from ltcam_runtime.resizing import fitted_size, resize
from ltcam_runtime.verdicts import decide

_AT_ONCE = 8
_LONG_SIDE = 300  # px of an image that is shown alone
_MOST_MISTAKES, _MOST_FOUND, _MOST_PASSED = 6, 12, 4


def validate(
    inspector: Inspector, held_back: PreparedImages, dataset: Dataset, listener: Listener
) -> tuple[dict[str, Any], tuple[ExamplePicture, ...]]:
    """Inspect the images that were held back; where there are none, draw some that were trained on.

    Args:
        inspector: the run as it will be written.
        held_back: images of the validation side, at the network's size.
        dataset: with the sides that were used.
        listener: told about progress.

    Returns:
        What verdicts came to (see `calibration.validation`; empty where nothing was held back), and pictures.
    """
    listener.begun("inspecting validation images")
    if not len(held_back.samples):
        return {}, tuple(_drawn(inspector, _trained_on(dataset), listener))
    probabilities = probabilities_of(inspector, held_back.images)
    found = validation(inspector.run.classes, held_back.labels.numpy(), probabilities, inspector.run.verdict)
    shown = _to_show(inspector, held_back.samples, 1 - probabilities[:, 0])
    return found, tuple(_drawn(inspector, shown, listener))


def probabilities_of(inspector: Inspector, images: torch.Tensor) -> NDArray[np.float64]:
    """(N, K) of the classes, of images (N, 3, h, w) uint8 at the network's size."""
    rows = []
    for batch in torch.split(images, _AT_ONCE):
        pixels = [np.ascontiguousarray(image) for image in batch.permute(0, 2, 3, 1).numpy()]
        rows.append(inspector.network.respond(pixels, maps=()).probabilities)
    return np.concatenate(rows)


def _to_show(
    inspector: Inspector, samples: Sequence[Sample], scores: NDArray[np.float64]
) -> list[tuple[str, Sample]]:
    """Mistakes first, then what a person should look at, then of every kind what is found, least sure first."""
    settings = inspector.run.verdict
    verdicts = [
        decide(float(score), settings.threshold, unsure_margin=settings.unsure_margin) for score in scores
    ]
    rising = [int(place) for place in np.argsort(scores, kind="stable")]
    groups = {
        "missed": [i for i in rising if samples[i].defective and verdicts[i] == "ok"][:_MOST_MISTAKES],
        "alarms": [i for i in rising[::-1] if not samples[i].defective and verdicts[i] == "defect"][
            :_MOST_MISTAKES
        ],
        "unsure": [i for i in rising if verdicts[i] == "unsure"][:_MOST_MISTAKES],
        "found": _of_every_kind(
            [i for i in rising if samples[i].defective and verdicts[i] == "defect"], samples
        ),
        "passed": [i for i in rising[::-1] if not samples[i].defective and verdicts[i] == "ok"][
            :_MOST_PASSED
        ],
    }
    return [(group, samples[place]) for group, places in groups.items() for place in places]


def _of_every_kind(places: Sequence[int], samples: Sequence[Sample]) -> list[int]:
    """Up to twelve, as many of each kind as of every other, kinds together and each in its order."""
    by_kind: dict[str, list[int]] = {}
    for place in places:
        by_kind.setdefault(samples[place].label, []).append(place)
    each = max(1, _MOST_FOUND // max(len(by_kind), 1))
    return [place for kind in sorted(by_kind) for place in by_kind[kind][:each]][: 2 * _MOST_FOUND]


def _trained_on(dataset: Dataset) -> list[tuple[str, Sample]]:
    samples = [sample for sample in dataset.of_split("train") if sample.defective]
    return [("trained", samples[place]) for place in _of_every_kind(range(len(samples)), samples)]


def _drawn(
    inspector: Inspector, shown: Sequence[tuple[str, Sample]], listener: Listener
) -> Iterator[ExamplePicture]:
    files = ((sample.id, sample.path) for _, sample in shown)
    for done, ((group, sample), item) in enumerate(
        zip(shown, inspector.inspect_files(files, batch_size=1), strict=True), start=1
    ):
        listener.progress(done, len(shown))
        found = item.inspection
        if item.image is not None and found is not None:
            if group == "passed":  # where nothing is found the hottest place says nothing
                picture = resize(item.image, fitted_size(found.size, _LONG_SIDE))
            else:
                picture = comparison_picture(item.image, None, found.mask, found.heatmap)
            yield ExamplePicture(
                sample.id, group, sample.label, None, found.verdict, found.score, picture, compared=False
            )
